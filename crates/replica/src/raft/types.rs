//! openraft's type parameters, chosen once, and the short names for them.

use std::fmt;

use bytes::Bytes;
use quorate_machine::Outcome;
use quorate_types::{Index, Member, NodeId, Position, Revision, Term};

use super::runtime::Runtime;
use super::state::StateMachine;

/// An encoded command, as the log holds it.
#[derive(Clone)]
pub(crate) struct CommandBytes(pub(crate) Bytes);

impl fmt::Debug for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry gave. `None` for entries without a command.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// The machine's answer.
    pub(crate) outcome: Option<Outcome>,
    /// The metadata's revision after the entry.
    pub(crate) revision: Revision,
    /// Where the entry stands in the log.
    pub(crate) index: Index,
}

openraft::declare_raft_types!(
    /// Quorate's Raft: opaque commands, members with addresses, leader ids ordered by (term, node), so that two
    /// candidates of one term do not split the vote.
    pub(crate) TypeConfig:
        D = CommandBytes,
        R = Applied,
        NodeId = NodeId,
        Node = Member,
        AsyncRuntime = Runtime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<NodeId, Member>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type RpcError = openraft::errors::RPCError<TypeConfig>;

/// A log id in our own words.
pub(crate) fn position(log_id: &LogId) -> Position {
    let leader = log_id.committed_leader_id();
    Position {
        term: Term(leader.term),
        leader: leader.node_id,
        index: Index(log_id.index()),
    }
}

/// A position in openraft's words.
pub(crate) fn log_id(position: Position) -> LogId {
    let leader = LeaderId {
        term: position.term.0,
        node_id: position.leader,
    };
    LogId::new(leader, position.index.0)
}

/// A vote from its parts.
pub(crate) fn vote(term: Term, node: NodeId, committed: bool) -> Vote {
    if committed {
        Vote::new_committed(term.0, node)
    } else {
        Vote::new(term.0, node)
    }
}
