//! Failover: how a group changes its leader, and why none of it can cost data.
//!
//! Four ways lead to a new leader:
//!
//! - **Crash** ([`crash`]): liveness links prove that the leader's process is gone. Each witness tells the others; when
//!   a majority of all voters (of both sets of a joint configuration) witnesses the death of the same vote's leader, the
//!   best log among them elects itself at once, and the others let go of their lease and arm a short back-up.
//! - **Timeout**: heartbeats stop coming (power, partition, a hung process). openraft's own election with pre-vote,
//!   on timeouts of the chosen [`crate::profile::Profile`].
//! - **Transfer** ([`transfer`]): the leader hands over, on request or when it shuts down; repeated until someone leads.
//! - **Gray** ([`gray`]): the leader's disk does not answer; it notices by itself and hands over.
//!
//! # Why no shortcut costs data or fresh reads
//!
//! *Committed entries.* Every vote, whatever prompted it, is granted at most once per (term, node), only to a candidate
//! whose log is at least as advanced as the voter's, and is on disk before it is answered. A committed entry is on the
//! disks of a majority, every election needs a majority, so the winner has it. Nothing here touches that rule: a crash
//! election is an ordinary election that starts early. Any number of wrong death notices can therefore cost
//! availability (a leader deposed in vain), never an entry.
//!
//! *Fresh reads.* A read is answered only after a barrier (ReadIndex) that began after the read arrived: a majority
//! confirmed the leader's vote after that moment. A deposed leader cannot get that confirmation, because a majority has
//! granted a higher vote and refuses the lower one. No read leans on a lease, hence none on a clock nor on who is
//! believed dead. The lease of a leader is used for one thing only: to keep needless elections away.
//!
//! *Availability.* What a wrong notice could cost is bounded by three rules, each for one hazard. A node acts only with
//! a majority of witnesses, itself among them: one broken host or cut link deposes nobody. A voter honours the request
//! to bypass the lease only on its own knowledge ([`gate`]): a hasty candidate cannot talk others into it. And a death
//! is believed only while nothing that the run opened is open ([`crate::liveness::board`]): a firewall that refuses
//! connections to a living leader deposes nobody. After its own boot a replica has forgotten whether it had promised
//! a lease, so it grants nothing for the length of one, again unless it knows better itself.

pub(crate) mod crash;
pub(crate) mod gate;
pub(crate) mod gray;
pub(crate) mod observed;
pub(crate) mod timeline;
pub(crate) mod transfer;
pub(crate) mod witness;

use std::fmt;

use quorate_types::{NodeId, Term};

use crate::raft::types::LeaderId;

/// Names one leadership: no two nodes ever lead under the same one. openraft's committed vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reign {
    pub(crate) term: Term,
    pub(crate) leader: NodeId,
}

impl Reign {
    /// In our own words.
    pub(crate) fn of(leader: &LeaderId) -> Self {
        Self {
            term: Term(leader.term),
            leader: leader.node_id,
        }
    }
}

impl fmt::Display for Reign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} in term {}", self.leader, self.term)
    }
}
