//! Changes of members at any replica: made here when this replica leads, and by the leader otherwise.
//!
//! Promises: a change that is answered with members is committed, and these are the members after it. While nobody leads it
//! waits, until its deadline; so it does when the leader first has to hand over, because it is itself to leave. A change is
//! asked for again after a change of leader or a lost connection, which harms nothing: no node id is given twice, so what
//! has come about already is there and is not done again. What may come about without an answer is told as that.
//!
//! Left out on purpose: what may be done to the members ([`crate::membership`]), and a queue. At most as many wait as the
//! leader lets wait; more are told that it is busy.

use std::sync::Arc;
use std::time::Duration;

use quorate_types::{Member, NodeId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::Forwarder;
use super::calls::{deposed, is_refusal, other};
use crate::leadership::Leadership;
use crate::membership::task::Members;
use crate::membership::{MemberChange, MemberError};
use crate::peer::client::{Peer, Peers};
use crate::peer::members;
use crate::raft;
use crate::raft::types::Raft;
use crate::replica::Replica;
use crate::unavailable::Unavailable;

/// Before a change is asked for again at the same leader.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The members, and whether each votes.
type Roster = Vec<(Member, bool)>;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(crate) struct MemberChanges {
    pub(crate) forwarder: Forwarder,
    pub(crate) local: Members,
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<Peers>,
    pub(crate) members: watch::Receiver<Vec<Member>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq)]
enum Attempt {
    /// Whoever was asked has answered.
    Said(Result<Roster, MemberError>),
    /// It left, and nobody said what became of it.
    Lost,
}

impl Replica {
    /// Changes voters and members wherever the leader is, in one joint change, waits until that is committed, and gives
    /// the members after it with whether each votes. While nobody leads it waits, until `deadline`.
    ///
    /// # Errors
    /// [`MemberError`]. To wish for the same again does no harm, whatever became of it.
    pub async fn change_members_anywhere(
        &self,
        change: &MemberChange,
        deadline: Instant,
    ) -> Result<Vec<(Member, bool)>, MemberError> {
        let group = self.group().map_err(no_leader)?;
        group.member_changes.change(change, deadline).await
    }

    /// The members that are decided as far as this replica knows, and whether each votes. After [`Self::read_anywhere`] that
    /// is as of that read or later.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn decided_members(&self) -> Result<Vec<(Member, bool)>, Unavailable> {
        raft::membership::decided(&self.group()?.raft)
            .await
            .map_err(|_| Unavailable::Stopped)
    }
}

impl MemberChanges {
    /// Changes, wherever the leader is; see [`Replica::change_members_anywhere`].
    async fn change(&self, change: &MemberChange, deadline: Instant) -> Result<Roster, MemberError> {
        let mut open = false;
        loop {
            let (leader, is_me) = self.forwarder.leader(open, deadline).await.map_err(no_leader)?;
            let attempt = match is_me {
                true => self.here(change, deadline).await,
                false => self.there(leader, change, deadline).await,
            };
            if let Some(answer) = judge(attempt, &mut open) {
                return answer;
            }
            let mut leadership = self.leadership.clone();
            let _ = timeout(AGAIN_AFTER, deposed(&mut leadership, leader)).await;
        }
    }

    async fn here(&self, change: &MemberChange, deadline: Instant) -> Attempt {
        let changing = lead_change(&self.local, &self.raft, change.clone());
        match timeout_at(deadline, changing).await {
            Ok(said) => Attempt::Said(said),
            Err(_) => Attempt::Lost,
        }
    }

    async fn there(&self, leader: NodeId, change: &MemberChange, deadline: Instant) -> Attempt {
        let Some((_, peer)) = other(leader, &self.members.borrow(), &self.peers) else {
            return Attempt::Said(Err(MemberError::NotLeader));
        };
        let mut leadership = self.leadership.clone();
        tokio::select! {
            biased;
            attempt = ask(&peer, change) => attempt,
            () = deposed(&mut leadership, leader) => Attempt::Lost,
            () = tokio::time::sleep_until(deadline) => Attempt::Lost,
        }
    }
}

/// At the leader: changes, and gives the members after it.
pub(crate) async fn lead_change(
    local: &Members,
    raft: &Raft,
    change: MemberChange,
) -> Result<Roster, MemberError> {
    local.change(change).await?;
    raft::membership::decided(raft)
        .await
        .map_err(|_| MemberError::Stopped)
}

async fn ask(peer: &Peer, change: &MemberChange) -> Attempt {
    let request = peer.request(members::to_change(change));
    let answer = match peer.forwarding().change_members(request).await {
        Ok(answer) => members::from_changed(answer.into_inner()),
        Err(status) if is_refusal(&status) => {
            tracing::debug!(%status, "a change of members was turned away");
            return Attempt::Said(Err(MemberError::NotLeader));
        }
        Err(status) => Err(status),
    };
    answer.map_or_else(
        |status| {
            tracing::debug!(%status, "a change of members has no answer");
            Attempt::Lost
        },
        Attempt::Said,
    )
}

/// What follows: an answer, or another attempt. `open` says, and is told, whether one of the attempts may have been carried
/// out without an answer.
fn judge(attempt: Attempt, open: &mut bool) -> Option<Result<Roster, MemberError>> {
    match attempt {
        Attempt::Said(Err(MemberError::NotLeader)) => None,
        // The leader gave up waiting; the next attempt finds what became of it.
        Attempt::Lost | Attempt::Said(Err(MemberError::OutcomeUnknown)) => {
            *open = true;
            None
        }
        Attempt::Said(Err(MemberError::Busy)) if *open => None,
        Attempt::Said(Err(MemberError::Stopped)) if *open => Some(Err(MemberError::OutcomeUnknown)),
        Attempt::Said(answer) => Some(answer),
    }
}

/// Nobody was found to ask in time.
fn no_leader(unavailable: Unavailable) -> MemberError {
    match unavailable {
        Unavailable::OutcomeUnknown => MemberError::OutcomeUnknown,
        Unavailable::Stopped => MemberError::Stopped,
        _ => MemberError::NotLeader,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_consequence() {
        let said = Attempt::Said;
        let answer = |error: MemberError| Some(Err(error));
        let behind = || MemberError::Behind {
            node: NodeId(4),
            why: "it is not connected".to_owned(),
        };
        // What was said; then what follows and whether it may have been done: at first, and after an attempt was lost.
        let cases = [
            (
                "done",
                said(Ok(Vec::new())),
                (Some(Ok(Vec::new())), false),
                Some(Ok(Vec::new())),
            ),
            (
                "another leads",
                said(Err(MemberError::NotLeader)),
                (None, false),
                None,
            ),
            ("lost", Attempt::Lost, (None, true), None),
            (
                "unknown",
                said(Err(MemberError::OutcomeUnknown)),
                (None, true),
                None,
            ),
            (
                "busy",
                said(Err(MemberError::Busy)),
                (answer(MemberError::Busy), false),
                None,
            ),
            (
                "stopped",
                said(Err(MemberError::Stopped)),
                (answer(MemberError::Stopped), false),
                answer(MemberError::OutcomeUnknown),
            ),
            (
                "refused",
                said(Err(behind())),
                (answer(behind()), false),
                answer(behind()),
            ),
        ];
        for (name, attempt, (first, open_after), later) in cases {
            let mut open = false;
            assert_eq!(judge(attempt.clone(), &mut open), first, "{name}");
            assert_eq!(open, open_after, "{name}");
            let mut open = true;
            assert_eq!(judge(attempt, &mut open), later, "{name}, later");
            assert!(open, "{name}: what was lost stays lost");
        }
    }
}
