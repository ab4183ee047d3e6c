//! Handing leadership over, and not stopping half-way.
//!
//! openraft cannot abort a transfer: once started, the leader refuses writes and sends no heartbeats until somebody
//! else leads. Promises: only a follower that is nearly caught up is chosen; while nobody takes over, the transfer is
//! started again every [`RETRIGGER`], with the next best follower in turn; it ends when another replica leads or this
//! one stops. At most one runs at a time; further requests wait for the same outcome.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use quorate_types::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Reign;
use super::observed::Observed;
use crate::leadership::Leadership;
use crate::peer::service::{current_vote, reign_of};
use crate::raft::types::Raft;

/// A target has this long to take over before the next one is asked.
const RETRIGGER: Duration = Duration::from_millis(60);
/// A follower further behind than this is asked only when nobody is closer.
const LAG_ENTRIES_MAX: u64 = 1_000;
/// Requests that wait at once; more are told to come again.
const REQUESTS_MAX: usize = 16;

/// Why a transfer did not happen (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Ask the leader.
    #[error("this replica does not lead; ask the leader to hand over")]
    NotLeader,
    /// The named node cannot lead.
    #[error("node {0} is not a voter of this group; see `quorate status` for those that are")]
    NotVoter(NodeId),
    /// There is nobody to hand over to.
    #[error("no other voter can be reached; start the other replicas first")]
    NobodyElse,
    /// It goes on in the background.
    #[error("nobody has taken over within the time given; the transfer goes on, see `quorate leader show`")]
    TimedOut,
    /// Too many ask at once.
    #[error("other transfers are waiting already; try again when they are done")]
    Busy,
    /// The replica stops.
    #[error("this replica is stopping")]
    Stopped,
}

struct Request {
    to: Option<NodeId>,
    done: oneshot::Sender<Result<Leadership, TransferError>>,
}

/// Asks for transfers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Transfers(mpsc::Sender<Request>);

impl Transfers {
    /// Hands over to `to`, or to the most advanced voter, and waits until it leads.
    pub(crate) async fn hand_over(
        &self,
        to: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Leadership, TransferError> {
        let (done, outcome) = oneshot::channel();
        match self.0.try_send(Request { to, done }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(TransferError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(TransferError::Stopped),
        }
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(TransferError::Stopped),
            Err(_) => Err(TransferError::TimedOut),
        }
    }
}

/// The task that carries transfers out.
pub(crate) struct TransferTask {
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    pub(crate) observed: Arc<Observed>,
    pub(crate) board: Arc<crate::liveness::board::Board>,
    pub(crate) leadership: tokio::sync::watch::Receiver<Leadership>,
    stopping: tokio::sync::watch::Receiver<bool>,
    requests: mpsc::Receiver<Request>,
}

impl TransferTask {
    pub(crate) fn new(
        me: NodeId,
        raft: Raft,
        observed: Arc<Observed>,
        board: Arc<crate::liveness::board::Board>,
        leadership: tokio::sync::watch::Receiver<Leadership>,
        stopping: tokio::sync::watch::Receiver<bool>,
    ) -> (Transfers, Self) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        (
            Transfers(sender),
            Self {
                me,
                raft,
                observed,
                board,
                leadership,
                stopping,
                requests,
            },
        )
    }

    /// Serves requests until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let request = tokio::select! {
                Some(request) = self.requests.recv() => request,
                () = stop.cancelled() => return,
            };
            let outcome = tokio::select! {
                outcome = self.hand_over(request.to) => outcome,
                () = stop.cancelled() => Err(TransferError::Stopped),
            };
            // The caller may have stopped waiting; the transfer itself was carried through.
            let _ = request.done.send(outcome);
        }
    }

    async fn hand_over(&mut self, to: Option<NodeId>) -> Result<Leadership, TransferError> {
        let vote = current_vote(&self.raft)
            .await
            .map_err(|_| TransferError::Stopped)?;
        let reign = reign_of(&vote)
            .filter(|reign| reign.leader == self.me)
            .ok_or(TransferError::NotLeader)?;
        let first = match to {
            // It leads already: most likely a caller who lost the answer asks again, and what it wants is so.
            Some(to) if to == self.me => {
                let known = self.leadership.wait_for(|leadership| leadership.leader.is_some());
                return known
                    .await
                    .map(|now| now.clone())
                    .map_err(|_| TransferError::Stopped);
            }
            Some(to) if self.voters().contains(&to) => to,
            Some(to) => return Err(TransferError::NotVoter(to)),
            None => *self.candidates().first().ok_or(TransferError::NobodyElse)?,
        };
        tracing::info!(to = %first, "handing leadership over");
        let mut target = first;
        let mut turn = 0;
        loop {
            if let Some(new) = self.attempt(reign, target).await? {
                return Ok(new);
            }
            turn += 1;
            let candidates = self.candidates();
            if !candidates.is_empty() {
                target = candidates[turn % candidates.len()];
            } else if *self.stopping.borrow() {
                // The whole group is being stopped. Elsewhere giving up is no choice: openraft cannot take a transfer back.
                return Err(TransferError::NobodyElse);
            }
            if turn == 1 {
                tracing::warn!(to = %target, "nobody has taken over; trying again until somebody does");
            }
        }
    }

    /// One round; `Some` when another replica leads now.
    async fn attempt(&mut self, reign: Reign, target: NodeId) -> Result<Option<Leadership>, TransferError> {
        self.observed.transfer_seen(reign, target);
        self.raft
            .trigger()
            .transfer_leader(target)
            .await
            .map_err(|_| TransferError::Stopped)?;
        let done = |leadership: &Leadership| {
            leadership.term > reign.term
                && leadership
                    .leader
                    .as_ref()
                    .is_some_and(|leader| leader.node != self.me)
        };
        match timeout(RETRIGGER, self.leadership.wait_for(done)).await {
            Ok(Ok(leadership)) => Ok(Some(leadership.clone())),
            Ok(Err(_)) => Err(TransferError::Stopped),
            Err(_) => Ok(None),
        }
    }

    fn voters(&self) -> Vec<NodeId> {
        crate::raft::membership::effective(&self.raft)
            .voter_ids()
            .filter(|node| *node != self.me)
            .collect()
    }

    /// Voters that could take over, best first: linked ones, the nearly caught up before the rest, then by position.
    fn candidates(&self) -> Vec<NodeId> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = |node: &NodeId| {
            let replication = metrics.replication.as_ref()?;
            replication.get(node)?.as_ref().map(openraft::LogId::index)
        };
        let mut candidates: Vec<_> = self
            .voters()
            .into_iter()
            .map(|node| {
                let matched = matched(&node).unwrap_or(0);
                let near = last.saturating_sub(matched) <= LAG_ENTRIES_MAX;
                (self.board.peer(node).linked.is_some(), near, matched, node)
            })
            .filter(|(linked, ..)| *linked)
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.into_iter().map(|(.., node)| node).collect()
    }
}
