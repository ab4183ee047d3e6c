//! Replica to replica over gRPC: both ends of `proto/quorate/peer/v1`.
//!
//! Promises: every call says between whom it runs, and a call of another cluster, for another node, or from a data
//! directory that the group has not admitted is refused before Raft sees it. Left out on purpose: liveness, which has a
//! transport of its own ([`crate::liveness`]).

pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod convert;
pub(crate) mod forwarded;
mod granted;
pub(crate) mod leases;
pub(crate) mod members;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod snapshot;

/// Messages, client and server of package `quorate.peer.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub(crate) mod wire {
    tonic::include_proto!("quorate.peer.v1");
}
