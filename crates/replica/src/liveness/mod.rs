//! Liveness links: who is there, and whose process is certainly gone.
//!
//! Every replica keeps one raw TCP connection to every other replica's liveness listener. It carries nothing but a
//! hello and an echo, so that its end means one thing: the kernel closed the other side's sockets. Promises:
//!
//! - A run of a peer is called dead only on evidence (see [`evidence`]): the link broke, and then the same address and
//!   port refused a connection or greeted with another run of the same node; and nothing that this run opened towards
//!   us is open any more. A timeout is never evidence, nor is a name that now resolves elsewhere.
//! - Evidence is withdrawn when the run answers again.
//!
//! Left out on purpose: what follows from a death. That is [`crate::failover`]. The listener opens first and closes
//! last, and must never stand behind a proxy or a virtual address: both would make a refusal meaningless.

pub(crate) mod board;
pub(crate) mod evidence;
pub(crate) mod hello;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod listener;

use quorate_types::{BootId, ClusterId, NodeId};

/// Who we are on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    /// The highest feature level that this binary knows: the leader raises the cluster's level by it.
    pub(crate) feature_level_max: u32,
}
