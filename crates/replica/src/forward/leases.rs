//! Questions about etcd's leases: one call to the leader for all that wait, at any replica.
//!
//! Promises: a renewal that is answered was confirmed by whoever led behind a barrier of its own; renewing once more does no
//! harm, so a question is asked again until somebody who leads has answered, or its caller gives up. One call is in flight at
//! a time; questions that arrive meanwhile share the next, so ten thousand keepers cost the leader a few calls a
//! millisecond at most. While nobody leads, questions are held until their deadline.

use std::sync::Arc;
use std::time::Duration;

use quorate_types::limits::LEASE_QUESTIONS_MAX;
use quorate_types::{Member, NodeId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::calls::{deposed, other};
use super::verdict::given_up;
use crate::duties::kv_leases::{KvLeaseClocks, KvLeaseTime, LeaseQuestion, LeaseSaid};
use crate::leadership::Leadership;
use crate::peer::client::Peers;
use crate::peer::leases as convert;
use crate::unavailable::Unavailable;

/// A leader that does not answer for this long is asked again: the callers may have given up meanwhile.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// While nobody leads, or a lease is about to end, look again at least this often.
const RECHECK: Duration = Duration::from_millis(5);

struct Waiting {
    question: LeaseQuestion,
    /// `None`: there is no such lease.
    said: oneshot::Sender<Option<KvLeaseTime>>,
}

/// Takes questions; cheap to clone.
#[derive(Clone)]
pub(super) struct Leases {
    waiting: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
}

/// The task that asks.
pub(super) struct LeasesTask {
    pub(super) me: NodeId,
    pub(super) clocks: KvLeaseClocks,
    pub(super) peers: Arc<Peers>,
    pub(super) members: watch::Receiver<Vec<Member>>,
    pub(super) leadership: watch::Receiver<Leadership>,
    waiting: mpsc::Receiver<Waiting>,
}

impl Leases {
    /// The handle, and the task behind it.
    pub(super) fn new(
        me: NodeId,
        clocks: KvLeaseClocks,
        peers: Arc<Peers>,
        members: watch::Receiver<Vec<Member>>,
        leadership: watch::Receiver<Leadership>,
    ) -> (Self, LeasesTask) {
        let (waiting, receiver) = mpsc::channel(LEASE_QUESTIONS_MAX);
        let leases = Self {
            waiting,
            room: Arc::new(Semaphore::new(LEASE_QUESTIONS_MAX)),
            leadership: leadership.clone(),
        };
        let task = LeasesTask {
            me,
            clocks,
            peers,
            members,
            leadership,
            waiting: receiver,
        };
        (leases, task)
    }

    /// Asks; `None` when there is no such lease.
    pub(super) async fn ask(
        &self,
        question: LeaseQuestion,
        deadline: Instant,
    ) -> Result<Option<KvLeaseTime>, Unavailable> {
        let overloaded = || Unavailable::Overloaded {
            what: "questions about leases",
        };
        let _place = self.room.try_acquire().map_err(|_| overloaded())?;
        let (said, hears) = oneshot::channel();
        let waiting = Waiting { question, said };
        self.waiting.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => overloaded(),
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopped,
        })?;
        match timeout_at(deadline, hears).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(given_up(false, &self.leadership.borrow())),
        }
    }
}

impl LeasesTask {
    /// Asks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut round = Vec::new();
        loop {
            if round.is_empty() {
                tokio::select! {
                    received = self.waiting.recv_many(&mut round, LEASE_QUESTIONS_MAX) => if received == 0 { return },
                    () = stop.cancelled() => return,
                }
            }
            // Questions that came meanwhile ride along.
            while let Ok(waiting) = self.waiting.try_recv() {
                round.push(waiting);
            }
            round.retain(|waiting| !waiting.said.is_closed());
            tokio::select! {
                () = self.turn(&mut round) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One call; what it leaves in `round` is to be asked again.
    async fn turn(&mut self, round: &mut Vec<Waiting>) {
        if round.is_empty() {
            return;
        }
        let leadership = self.leadership.borrow_and_update().clone();
        let asked = round.len().min(convert::QUESTIONS_PER_CALL_MAX);
        let questions: Vec<_> = round[..asked].iter().map(|waiting| waiting.question).collect();
        let Some(said) = self.ask(&leadership, questions).await else {
            let _ = timeout(RECHECK, self.leadership.changed()).await;
            return;
        };
        let mut again = Vec::new();
        for (waiting, said) in round.drain(..asked).zip(said) {
            let said = match said {
                LeaseSaid::Absent => None,
                LeaseSaid::Lives(time) => Some(time),
                LeaseSaid::Expiring => {
                    again.push(waiting);
                    continue;
                }
            };
            // The caller may have given up.
            let _ = waiting.said.send(said);
        }
        let only_expiring = round.is_empty() && !again.is_empty();
        round.append(&mut again);
        if only_expiring {
            sleep(RECHECK).await;
        }
    }

    /// One call. `None` when there is no answer to it.
    async fn ask(&self, leadership: &Leadership, questions: Vec<LeaseQuestion>) -> Option<Vec<LeaseSaid>> {
        let leader = leadership.leader.as_ref()?.node;
        let count = questions.len();
        let said = if leader == self.me {
            let said = self.clocks.ask(&questions, Instant::now() + ASK_TIMEOUT).await;
            Ok(said)
        } else {
            let (_, peer) = other(leader, &self.members.borrow(), &self.peers)?;
            let call = peer.request(convert::to_questions(&questions, ASK_TIMEOUT));
            let mut now = self.leadership.clone();
            let mut client = peer.forwarding();
            let answer = tokio::select! {
                biased;
                answer = timeout(ASK_TIMEOUT, client.ask_leases(call)) => answer.ok()?,
                () = deposed(&mut now, leader) => return None,
            };
            answer.and_then(|answer| convert::from_said(answer.into_inner()))
        };
        match said {
            Ok(Ok(said)) if said.len() == count => Some(said),
            Ok(Ok(_)) => {
                tracing::warn!(
                    "the leader answered another number of questions about leases than were asked"
                );
                None
            }
            Ok(Err(why)) => {
                tracing::debug!(%why, "the leader did not say how long leases live");
                None
            }
            Err(status) => {
                tracing::debug!(%status, "the leader could not be asked how long leases live");
                None
            }
        }
    }
}
