//! The calls in which writes travel to the leader.
//!
//! Promises: a write leaves at once while few calls are in flight, and together with the others that wait while many are.
//! When another replica leads, or the connection breaks, every write without an answer is told so at once. Left out on
//! purpose: sending again; whoever waits for the answer decides that ([`super::verdict`]).

use std::sync::Arc;

use bytes::Bytes;
use quorate_types::limits::{APPEND_BYTES_MAX, PROPOSALS_IN_FLIGHT_MAX};
use quorate_types::{Member, NodeId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::verdict::Attempt;
use crate::leadership::Leadership;
use crate::peer::client::{Peer, Peers};
use crate::peer::forwarded::{self, PROPOSALS_PER_CALL_MAX, Proposal, Proposed};
use crate::unavailable::Unavailable;

/// Calls that wait for answers at once. Further writes gather into fewer, larger calls: a call costs far more than a write, at both
/// ends, and what gathers is appended and flushed together.
const CALLS_IN_FLIGHT_MAX: usize = 4;
/// Bytes of commands in one call, unless a single one has more.
const CALL_BYTES_MAX: usize = APPEND_BYTES_MAX;

/// Sends writes to the leader; cheap to clone.
#[derive(Clone)]
pub(super) struct Calls {
    queue: mpsc::Sender<Queued>,
}

struct Queued {
    entry: Bytes,
    deadline: Instant,
    said: oneshot::Sender<Attempt>,
}

impl Queued {
    fn tell(self, attempt: Attempt) {
        // Whoever gave up does not listen.
        let _ = self.said.send(attempt);
    }
}

/// The task behind it.
pub(super) struct CallsTask {
    me: NodeId,
    peers: Arc<Peers>,
    members: watch::Receiver<Vec<Member>>,
    leadership: watch::Receiver<Leadership>,
    queue: mpsc::Receiver<Queued>,
}

impl Calls {
    /// The handle and the task behind it.
    pub(super) fn new(
        me: NodeId,
        peers: Arc<Peers>,
        members: watch::Receiver<Vec<Member>>,
        leadership: watch::Receiver<Leadership>,
    ) -> (Self, CallsTask) {
        let (queue, receiver) = mpsc::channel(PROPOSALS_IN_FLIGHT_MAX);
        let task = CallsTask {
            me,
            peers,
            members,
            leadership,
            queue: receiver,
        };
        (Self { queue }, task)
    }

    /// Asks the leader, once, to propose `entry`.
    pub(super) async fn propose(&self, entry: Bytes, deadline: Instant) -> Attempt {
        let (said, hears) = oneshot::channel();
        let queued = Queued {
            entry,
            deadline,
            said,
        };
        match self.queue.try_send(queued) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Attempt::Failed(Unavailable::Overloaded {
                    what: "writes to forward",
                });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Attempt::Failed(Unavailable::Stopped),
        }
        match timeout_at(deadline, hears).await {
            Ok(Ok(attempt)) => attempt,
            // It may have left before the deadline, or before the replica stopped.
            Ok(Err(_)) | Err(_) => Attempt::Lost,
        }
    }
}

impl CallsTask {
    /// Calls until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut calls = JoinSet::new();
        loop {
            let mut queued = Vec::new();
            tokio::select! {
                received = self.queue.recv_many(&mut queued, PROPOSALS_PER_CALL_MAX),
                    if calls.len() < CALLS_IN_FLIGHT_MAX => if received == 0 { break },
                Some(_) = calls.join_next() => continue,
                () = stop.cancelled() => break,
            }
            queued.retain(|queued| !queued.said.is_closed());
            match self.leader() {
                Ok((leader, peer)) => {
                    for batch in batches(queued, CALL_BYTES_MAX) {
                        calls.spawn(call(leader, Arc::clone(&peer), self.leadership.clone(), batch));
                    }
                }
                Err(not_leader) => {
                    for queued in queued {
                        queued.tell(Attempt::Failed(not_leader.clone()));
                    }
                }
            }
        }
        calls.shutdown().await;
    }

    /// The connections to whoever else leads now.
    fn leader(&self) -> Result<(NodeId, Arc<Peer>), Unavailable> {
        let leadership = self.leadership.borrow();
        let found = leadership.leader.as_ref().filter(|leader| leader.node != self.me);
        found
            .and_then(|leader| other(leader.node, &self.members.borrow(), &self.peers))
            .ok_or_else(|| Unavailable::not_leader(&leadership))
    }
}

/// The connections to another member.
pub(super) fn other(node: NodeId, members: &[Member], peers: &Peers) -> Option<(NodeId, Arc<Peer>)> {
    let member = members.iter().find(|member| member.node == node)?;
    Some((node, peers.get(member).ok()?))
}

/// Cuts into batches of at most `bytes_max`, in order; a single larger entry is a batch of its own.
fn batches(queued: Vec<Queued>, bytes_max: usize) -> Vec<Vec<Queued>> {
    let mut batches: Vec<Vec<Queued>> = Vec::new();
    let mut bytes = 0;
    for queued in queued {
        bytes += queued.entry.len();
        match batches.last_mut() {
            Some(batch) if bytes <= bytes_max => batch.push(queued),
            _ => {
                bytes = queued.entry.len();
                batches.push(vec![queued]);
            }
        }
    }
    batches
}

/// One call, until all its writes have an answer or it is over.
async fn call(
    leader: NodeId,
    peer: Arc<Peer>,
    mut leadership: watch::Receiver<Leadership>,
    batch: Vec<Queued>,
) {
    let mut waiting: Vec<Option<Queued>> = batch.into_iter().map(Some).collect();
    let over = tokio::select! {
        biased;
        over = converse(&peer, &mut waiting) => over,
        // Whoever it is, the numbers see to it that asking the next leader as well does no harm.
        () = deposed(&mut leadership, leader) => Over::Broken,
    };
    let attempt = match over {
        Over::Refused => Attempt::Failed(Unavailable::not_leader(&Leadership::default())),
        Over::Broken => Attempt::Lost,
    };
    for queued in waiting.into_iter().flatten() {
        queued.tell(attempt.clone());
    }
}

/// Resolves when `leader` is no longer known to lead.
pub(super) async fn deposed(leadership: &mut watch::Receiver<Leadership>, leader: NodeId) {
    let leads = |leadership: &Leadership| leadership.leader.as_ref().map(|leader| leader.node);
    // A replica that has stopped knows of no leader.
    let _ = leadership.wait_for(|now| leads(now) != Some(leader)).await;
}

/// How a call ended.
enum Over {
    /// The peer turned it away before it read what was in it.
    Refused,
    /// What became of the writes without an answer is not known.
    Broken,
}

async fn converse(peer: &Peer, waiting: &mut [Option<Queued>]) -> Over {
    let now = Instant::now();
    let proposals = waiting.iter().flatten().map(|queued| Proposal {
        entry: queued.entry.clone(),
        patience: queued.deadline.saturating_duration_since(now),
    });
    let request = peer.request(forwarded::to_proposals(proposals.collect()));
    let mut answers = match peer.forwarding().propose(request).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => {
            tracing::debug!(%status, "writes could not be forwarded");
            return if is_refusal(&status) {
                Over::Refused
            } else {
                Over::Broken
            };
        }
    };
    loop {
        let answer = match answers.message().await {
            Ok(Some(answer)) => forwarded::from_proposed(answer),
            Ok(None) => return Over::Broken,
            Err(status) => Err(status),
        };
        let (place, said) = match answer {
            Ok(answer) => answer,
            Err(status) => {
                tracing::debug!(%status, "a call with forwarded writes has ended");
                return Over::Broken;
            }
        };
        let Some(queued) = waiting.get_mut(place).and_then(Option::take) else {
            tracing::warn!(place, "an answer to a forwarded write belongs to none");
            continue;
        };
        queued.tell(match said {
            Ok(Proposed { index, outcome }) => Attempt::Decided { index, outcome },
            Err(unavailable) => Attempt::Failed(unavailable),
        });
    }
}

/// What the peer's own checks say, and no broken connection does.
pub(super) fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::FailedPrecondition | Code::PermissionDenied | Code::InvalidArgument | Code::Unimplemented
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_bytes_and_keep_the_order() {
        let cases: &[(&str, &[usize], &[&[usize]])] = &[
            ("none", &[], &[]),
            ("one", &[1], &[&[1]]),
            ("all fit", &[1, 2, 7], &[&[1, 2, 7]]),
            ("one too many", &[1, 2, 8], &[&[1, 2], &[8]]),
            ("a large one alone", &[1, 11, 1, 9], &[&[1], &[11], &[1, 9]]),
        ];
        for (name, sizes, want) in cases {
            let queued = |size: &usize| Queued {
                entry: Bytes::from(vec![0; *size]),
                deadline: Instant::now(),
                said: oneshot::channel().0,
            };
            let cut = batches(sizes.iter().map(queued).collect(), 10);
            let sizes =
                |batch: &Vec<Queued>| batch.iter().map(|queued| queued.entry.len()).collect::<Vec<_>>();
            assert_eq!(cut.iter().map(sizes).collect::<Vec<_>>(), *want, "{name}");
        }
    }

    #[test]
    fn only_the_peers_own_checks_prove_that_nothing_was_executed() {
        for code in (0..17).map(Code::from_i32) {
            let want = matches!(
                code,
                Code::InvalidArgument
                    | Code::FailedPrecondition
                    | Code::PermissionDenied
                    | Code::Unimplemented
            );
            assert_eq!(is_refusal(&Status::new(code, "")), want, "{code:?}");
        }
    }
}
