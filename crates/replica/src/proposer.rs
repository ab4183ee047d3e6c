//! Proposals: from a command to its outcome, through the log.
//!
//! Promises: a command that was refused for size or load was never proposed; a proposal's outcome is either the
//! machine's answer or an [`Unavailable`] that says whether the command can have been executed. Concurrent proposals
//! are handed to Raft in batches, in the order in which they arrived. During an election, or while a fresh leader waits for
//! its first acknowledgement, proposals are held instead of failed, until their deadline.
//!
//! Left out on purpose: retries after an unknown outcome. Only the client can retry, with the same request id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::base::BoxStream;
use openraft::errors::{ClientWriteError, Fatal, ForwardReason};
use openraft::raft::WriteResult;
use quorate_host::Clock;
use quorate_machine::{Command, Outcome, RequestId};
use quorate_types::limits::PROPOSALS_IN_FLIGHT_MAX;
use quorate_types::{Index, NodeId, Revision};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::raft::types::{Applied, CommandBytes, Raft, TypeConfig};
use crate::room::Room;
use crate::unavailable::Unavailable;

/// Proposals that go to Raft in one message. More concurrency than this does not make a flush cheaper.
const BATCH_MAX: usize = 1_024;
/// Batches whose outcomes are awaited at once; a further batch waits, and with it the proposals behind it.
const BATCHES_IN_FLIGHT_MAX: usize = 256;
/// While nobody leads, a held proposal looks again at least this often: a leader's first acknowledgement is not
/// announced by openraft.
const HOLD_RECHECK: Duration = Duration::from_millis(2);

/// What a proposal gave.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The machine's answer.
    pub outcome: Outcome,
    /// The metadata's revision after it.
    pub revision: Revision,
    /// Where the command stands in the log: a replica that has applied this index shows its effect.
    pub index: Index,
}

/// Takes proposals; cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::Sender<Queued>,
    room: Room,
    /// True while this replica leads and no majority answers it.
    isolated: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

struct Queued {
    entry: Bytes,
    deadline: Instant,
    outcome: oneshot::Sender<Result<Applied, Unavailable>>,
}

impl Queued {
    fn answer(self, outcome: Result<Applied, Unavailable>) {
        // Nobody listens any more when the caller gave up; the outcome stands all the same.
        let _ = self.outcome.send(outcome);
    }
}

type Results = BoxStream<'static, Result<WriteResult<TypeConfig>, Fatal<TypeConfig>>>;

impl Proposer {
    /// The handle and the task behind it.
    pub(crate) fn new(
        me: NodeId,
        raft: Raft,
        leadership: watch::Receiver<Leadership>,
        isolated: watch::Receiver<bool>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> (Self, ProposerTask) {
        let (queue, receiver) = mpsc::channel(PROPOSALS_IN_FLIGHT_MAX);
        let proposer = Self {
            queue,
            room: Room::new("proposals in flight"),
            isolated,
            clock,
            metrics,
        };
        (
            proposer,
            ProposerTask {
                me,
                raft,
                leadership,
                queue: receiver,
            },
        )
    }

    /// Proposes `command` and waits for its outcome.
    ///
    /// The command is stamped here, with the wall clock of now.
    pub(crate) async fn propose(
        &self,
        command: &Command,
        request: Option<RequestId>,
        deadline: Instant,
    ) -> Result<Decided, Unavailable> {
        self.propose_entry(command.encode(self.clock.unix_ms(), request), deadline)
            .await
    }

    /// Proposes a command that this replica has encoded and stamped already.
    pub(crate) async fn propose_entry(
        &self,
        entry: Bytes,
        deadline: Instant,
    ) -> Result<Decided, Unavailable> {
        let started = Instant::now();
        let decided = self.enqueue(entry, deadline).await;
        self.metrics.proposed(started.elapsed(), &decided);
        decided
    }

    async fn enqueue(&self, entry: Bytes, deadline: Instant) -> Result<Decided, Unavailable> {
        let _place = self.room.admit(entry.len())?;
        let (outcome, decided) = oneshot::channel();
        if self
            .queue
            .try_send(Queued {
                entry,
                deadline,
                outcome,
            })
            .is_err()
        {
            // The permits bound the queue, so it is not full: its task is gone.
            return Err(Unavailable::Stopped);
        }
        let mut isolated = self.isolated.clone();
        let applied = tokio::select! {
            biased;
            decided = timeout_at(deadline, decided) => match decided {
                Ok(Ok(applied)) => applied?,
                Ok(Err(_)) | Err(_) => return Err(Unavailable::OutcomeUnknown),
            },
            // No majority answers: whoever has one may lead already, and the caller finds out sooner than we do.
            Ok(_) = isolated.wait_for(|isolated| *isolated) => return Err(Unavailable::OutcomeUnknown),
        };
        let outcome = applied.outcome.expect("the entry of a command has an outcome");
        Ok(Decided {
            outcome,
            revision: applied.revision,
            index: applied.index,
        })
    }
}

/// The task that hands proposals to Raft.
pub(crate) struct ProposerTask {
    me: NodeId,
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
    queue: mpsc::Receiver<Queued>,
}

impl ProposerTask {
    /// Proposes until `stop`; what is queued then is answered with "stopped".
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batches = JoinSet::new();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH_MAX), if batches.len() < BATCHES_IN_FLIGHT_MAX => {
                    if received == 0 {
                        break;
                    }
                }
                Some(_) = batches.join_next() => continue,
                () = stop.cancelled() => break,
            }
            // Submitting here, one batch after the other, keeps the order of arrival; only the waiting is spread.
            let waiting = Waiting {
                me: self.me,
                raft: self.raft.clone(),
                leadership: self.leadership.clone(),
            };
            let submitted = waiting.submit(&batch).await;
            batches.spawn(async move {
                let held = waiting.answers(batch, submitted).await;
                waiting.hold(held).await;
            });
        }
        batches.shutdown().await;
    }
}

/// What to do after Raft did not take a proposal, or lost it.
enum After {
    Answer(Unavailable),
    /// Nobody leads that we know of, or we lead and wait for the first acknowledgement: it was not proposed, keep it.
    Hold,
}

/// A batch's view of the leadership while it waits.
struct Waiting {
    me: NodeId,
    raft: Raft,
    leadership: watch::Receiver<Leadership>,
}

impl Waiting {
    fn after(&self, error: ClientWriteError<TypeConfig>) -> After {
        match error {
            ClientWriteError::ForwardToLeader(forward) => {
                let lease_pending = forward.reason == ForwardReason::LeaseExpired;
                let leadership = self.leadership.borrow();
                match &leadership.leader {
                    Some(leader) if leader.node != self.me && !lease_pending => {
                        After::Answer(Unavailable::not_leader(&leadership))
                    }
                    _ => After::Hold,
                }
            }
            // It was appended here and then replaced by another leader's entries. That leader may have had it, too.
            ClientWriteError::LogEntryDiscarded(_) => After::Answer(Unavailable::OutcomeUnknown),
            // Neither can follow from a plain write.
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
                After::Answer(Unavailable::OutcomeUnknown)
            }
        }
    }

    async fn submit(&self, batch: &[Queued]) -> Option<Results> {
        let entries: Vec<CommandBytes> = batch
            .iter()
            .map(|queued| CommandBytes(queued.entry.clone()))
            .collect();
        self.raft.client_write_many(entries).await.ok().map(lasting)
    }

    /// Answers the proposals of a batch as their results come; gives back those that must be held.
    async fn answers(&self, batch: Vec<Queued>, results: Option<Results>) -> Vec<Queued> {
        let Some(results) = results else {
            for queued in batch {
                queued.answer(Err(Unavailable::Stopped));
            }
            return Vec::new();
        };
        // openraft ends the stream early when it stops, and does not bear being asked again.
        let mut results = results.fuse();
        let mut held = Vec::new();
        for queued in batch {
            match results.next().await {
                Some(Ok(Ok(response))) => queued.answer(Ok(response.response)),
                Some(Ok(Err(error))) => match self.after(error) {
                    After::Answer(error) => queued.answer(Err(error)),
                    After::Hold => held.push(queued),
                },
                Some(Err(_)) | None => queued.answer(Err(Unavailable::OutcomeUnknown)),
            }
        }
        held
    }

    /// Proposes `held` again whenever something may have changed, until each has an answer or is past its deadline.
    async fn hold(mut self, mut held: Vec<Queued>) {
        while !held.is_empty() {
            let deadline = held
                .iter()
                .map(|queued| queued.deadline)
                .min()
                .unwrap_or_else(Instant::now);
            tokio::select! {
                _ = timeout(HOLD_RECHECK, self.leadership.changed()) => {}
                () = sleep_until(deadline) => {}
            }
            let now = Instant::now();
            let (expired, live): (Vec<_>, Vec<_>) = held
                .into_iter()
                .partition(|queued| queued.deadline <= now || queued.outcome.is_closed());
            for queued in expired {
                queued.answer(Err(Unavailable::not_leader(&self.leadership.borrow())));
            }
            let submitted = self.submit(&live).await;
            held = self.answers(live, submitted).await;
        }
    }
}

/// Raft's results, to be asked once for each proposal whatever happens: when Raft stops, its stream says so once and then
/// panics when it is asked a second time after its end, which would end the replica as broken in an orderly shutdown.
fn lasting(results: Results) -> Results {
    results.fuse().boxed()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn results_that_ended_can_be_asked_again() {
        // As openraft makes them when it is stopped.
        let stopped: Results = stream::unfold(Some(()), |left| async move {
            left?;
            Some((Err(Fatal::Stopped), None))
        })
        .boxed();
        let mut results = lasting(stopped);
        assert!(matches!(results.next().await, Some(Err(Fatal::Stopped))));
        for _ in 0..3 {
            assert!(results.next().await.is_none());
        }
    }
}
