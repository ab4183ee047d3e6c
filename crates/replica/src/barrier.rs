//! The read barrier: proof that this replica led after a read arrived, shared by all the reads that wait.
//!
//! Promises: a read that passes was confirmed by a majority in a round that began after the read arrived (ReadIndex,
//! Raft thesis section 6.4), and everything committed by then is applied here. At most one round is in flight; reads
//! that arrive meanwhile share the next. There are no lease reads. Reads are held through an election until their
//! deadline, unless another replica is known to lead.

use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use quorate_types::limits::READS_WAITING_MAX;
use quorate_types::{Index, NodeId, Term};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::failover::Reign;
use crate::leadership::Leadership;
use crate::raft::types::{Raft, TypeConfig};
use crate::unavailable::Unavailable;

/// While nobody leads, waiting reads look again at least this often.
const HOLD_RECHECK: Duration = Duration::from_millis(5);

type Passed = oneshot::Sender<Result<Passage, Unavailable>>;

/// What a barrier proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The term in which this replica led.
    pub(crate) term: Term,
    /// A state that has applied this index is new enough for the reads that waited, here or at any other replica.
    pub(crate) index: Index,
}

/// Asks for barriers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Barrier {
    waiting: mpsc::Sender<Passed>,
    leadership: watch::Receiver<Leadership>,
}

impl Barrier {
    /// The handle and the task behind it.
    pub(crate) fn new(
        me: NodeId,
        raft: Raft,
        leadership: watch::Receiver<Leadership>,
        isolated: watch::Receiver<bool>,
        applied_reign: watch::Receiver<Option<Reign>>,
    ) -> (Self, BarrierTask) {
        let (waiting, receiver) = mpsc::channel(READS_WAITING_MAX);
        let barrier = Self {
            waiting,
            leadership: leadership.clone(),
        };
        (
            barrier,
            BarrierTask {
                me,
                raft,
                leadership,
                isolated,
                applied_reign,
                waiting: receiver,
            },
        )
    }

    /// Waits until this replica is proven to lead at a moment after this call, and has applied what was committed then.
    pub(crate) async fn pass(&self, deadline: Instant) -> Result<Passage, Unavailable> {
        let (passed, outcome) = oneshot::channel();
        match self.waiting.try_send(passed) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(Unavailable::Overloaded {
                    what: "reads waiting",
                });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Unavailable::Stopped),
        }
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => {
                let leadership = self.leadership.borrow();
                if leadership.is_me {
                    Err(Unavailable::TimedOut)
                } else {
                    Err(Unavailable::not_leader(&leadership))
                }
            }
        }
    }
}

/// The task that runs the rounds.
pub(crate) struct BarrierTask {
    me: NodeId,
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
    /// True while this replica leads and no majority answers it.
    isolated: watch::Receiver<bool>,
    /// The newest reign whose first entry this replica has applied.
    applied_reign: watch::Receiver<Option<Reign>>,
    waiting: mpsc::Receiver<Passed>,
}

impl BarrierTask {
    /// Runs rounds until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut round = Vec::new();
        loop {
            tokio::select! {
                received = self.waiting.recv_many(&mut round, READS_WAITING_MAX) => if received == 0 { return },
                () = stop.cancelled() => return,
            }
            let outcome = tokio::select! {
                outcome = self.confirm(&mut round) => outcome,
                () = stop.cancelled() => Err(Unavailable::Stopped),
            };
            for passed in round.drain(..) {
                // The reader may have given up.
                let _ = passed.send(outcome.clone());
            }
        }
    }

    /// One round, repeated through an election. Returns early when all its readers have given up.
    async fn confirm(&mut self, round: &mut Vec<Passed>) -> Result<Passage, Unavailable> {
        loop {
            let serving = *self.applied_reign.borrow();
            match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                // A round from before the reign's first entry was applied proves nothing: until then some answers of voters are
                // given in their names (see [`crate::peer`]'s `granted`). That entry is applied by now, so once more is enough.
                Ok(read) if serving != Some(Reign::of(read.committed_leader_id())) => {}
                // A read id is of the leader's own term: its first entry is part of it.
                Ok(read) => {
                    return Ok(Passage {
                        term: Term(read.committed_leader_id().term),
                        index: Index(read.index()),
                    });
                }
                Err(RaftError::Fatal(_)) => return Err(Unavailable::Stopped),
                Err(RaftError::APIError(error)) => {
                    let leadership = self.leadership.borrow_and_update().clone();
                    let forwarded = matches!(error, LinearizableReadError::<TypeConfig>::ForwardToLeader(_));
                    let another = leadership
                        .leader
                        .as_ref()
                        .is_some_and(|leader| leader.node != self.me);
                    if (forwarded && another) || *self.isolated.borrow() {
                        return Err(Unavailable::not_leader(&leadership));
                    }
                    // Reads that joined meanwhile may ride along: the next attempt begins after them, too.
                    while let Ok(passed) = self.waiting.try_recv() {
                        round.push(passed);
                    }
                    round.retain(|passed| !passed.is_closed());
                    if round.is_empty() {
                        return Err(Unavailable::TimedOut);
                    }
                    let _ = timeout(HOLD_RECHECK, self.leadership.changed()).await;
                }
            }
        }
    }
}
