//! What the services of operators need of a replica beside [`Node`]: its group, how far it is, the whole state.
//!
//! Promises: a few verbs, so that services are tested on a group in memory.

use std::future::Future;

use bytes::Bytes;
use quorate_replica::{MemberChange, MemberError, Replica, Role, TransferError, Unavailable};
use quorate_types::{Index, Member, NodeId};
use tokio::time::Instant;

use crate::node::Node;

/// Members, and whether each votes.
pub type Roster = Vec<(Member, bool)>;

/// See the module. Cheap to clone.
pub trait Group: Node {
    /// The members that are decided as far as this replica knows; after a [`Node::read`], as of that read or later.
    fn roster(&self) -> impl Future<Output = Result<Roster, Unavailable>> + Send;

    /// Changes members, wherever the leader is; gives the members after it, once they are decided.
    fn change_members(
        &self,
        change: MemberChange,
        deadline: Instant,
    ) -> impl Future<Output = Result<Roster, MemberError>> + Send;

    /// Hands leadership over and waits until another leads; gives who does.
    fn hand_over(
        &self,
        to: NodeId,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<NodeId>, TransferError>> + Send;

    /// How far this replica is.
    fn progress(&self) -> Progress;

    /// The whole state, at least as new as everything that was acknowledged before.
    fn state_file(&self, deadline: Instant) -> impl Future<Output = Result<StateFile, Unavailable>> + Send;
}

/// How far a replica is, as it knows by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Who leads; `None` while nobody is known to.
    pub leader: Option<NodeId>,
    /// It is this replica.
    pub leads: bool,
    /// It receives the log and has no vote.
    pub is_learner: bool,
    /// The last entry that it knows to be committed.
    pub committed: Option<Index>,
    /// The last entry that it has applied.
    pub applied: Option<Index>,
    /// Why it has stopped.
    pub fault: Option<String>,
}

/// The state as a file.
pub struct StateFile {
    /// How large it is.
    pub bytes: u64,
    /// It, piece by piece. Each takes a while to make, so hand out others' turns between them.
    pub chunks: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Group for Replica {
    async fn roster(&self) -> Result<Roster, Unavailable> {
        self.decided_members().await
    }

    async fn change_members(&self, change: MemberChange, deadline: Instant) -> Result<Roster, MemberError> {
        self.change_members_anywhere(&change, deadline).await
    }

    async fn hand_over(&self, to: NodeId, deadline: Instant) -> Result<Option<NodeId>, TransferError> {
        let now = Replica::hand_over(self, Some(to), deadline).await?;
        Ok(now.leader.map(|leader| leader.node))
    }

    fn progress(&self) -> Progress {
        let status = self.status();
        Progress {
            leader: status.leadership.leader.map(|leader| leader.node),
            leads: status.leadership.is_me,
            is_learner: status.role == Role::Learner,
            committed: status.committed,
            applied: status.applied,
            fault: status.fault.map(|fault| fault.to_string()),
        }
    }

    async fn state_file(&self, deadline: Instant) -> Result<StateFile, Unavailable> {
        let sealed = self.backup_anywhere(deadline).await?.sealed().await;
        Ok(StateFile {
            bytes: sealed.bytes(),
            chunks: Box::new(sealed),
        })
    }
}
