//! Reads at a replica that does not lead: one question to the leader, shared by all the reads that wait.
//!
//! Promises: a read that passes waited for a question that began after the read arrived, and for what the answer names to be
//! applied here, so its state includes everything acknowledged anywhere before the read. One question is in flight at a
//! time; reads that arrive meanwhile share the next. While nobody leads, reads are held until their deadline.
//!
//! Left out on purpose: proving that the leader leads, which is the leader's own barrier ([`crate::barrier`]). When this
//! replica itself comes to lead, that is whom it asks.

use std::sync::Arc;
use std::time::Duration;

use quorate_types::limits::READS_WAITING_MAX;
use quorate_types::{Index, Member, NodeId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::calls::{deposed, other};
use super::verdict::given_up;
use crate::barrier::Barrier;
use crate::leadership::Leadership;
use crate::peer::client::Peers;
use crate::peer::{forwarded, wire};
use crate::published::Published;
use crate::unavailable::Unavailable;

/// A leader that does not answer for this long is asked again: the readers may have given up meanwhile.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// While nobody leads, waiting reads look again at least this often.
const HOLD_RECHECK: Duration = Duration::from_millis(5);
/// Rounds that wait for their index to be applied here; a further question waits for one of them.
const ROUNDS_MAX: usize = 256;

type Passed = oneshot::Sender<()>;

/// Lets reads pass; cheap to clone.
#[derive(Clone)]
pub(super) struct Reads {
    waiting: mpsc::Sender<Passed>,
    room: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
}

/// The task that asks.
pub(super) struct ReadsTask {
    pub(super) me: NodeId,
    pub(super) barrier: Barrier,
    pub(super) published: Published,
    pub(super) peers: Arc<Peers>,
    pub(super) members: watch::Receiver<Vec<Member>>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) waiting: mpsc::Receiver<Passed>,
}

impl Reads {
    /// The handle, and what its task listens to.
    pub(super) fn new(leadership: watch::Receiver<Leadership>) -> (Self, mpsc::Receiver<Passed>) {
        let (waiting, receiver) = mpsc::channel(READS_WAITING_MAX);
        let reads = Self {
            waiting,
            room: Arc::new(Semaphore::new(READS_WAITING_MAX)),
            leadership,
        };
        (reads, receiver)
    }

    /// Waits until this replica's state includes everything acknowledged before this call.
    pub(super) async fn pass(&self, deadline: Instant) -> Result<(), Unavailable> {
        let overloaded = || Unavailable::Overloaded {
            what: "reads waiting",
        };
        let _place = self.room.try_acquire().map_err(|_| overloaded())?;
        let (passed, passes) = oneshot::channel();
        self.waiting.try_send(passed).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => overloaded(),
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopped,
        })?;
        match timeout_at(deadline, passes).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(given_up(false, &self.leadership.borrow())),
        }
    }
}

impl ReadsTask {
    /// Asks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut settling = JoinSet::new();
        loop {
            let mut round = Vec::new();
            tokio::select! {
                received = self.waiting.recv_many(&mut round, READS_WAITING_MAX),
                    if settling.len() < ROUNDS_MAX => if received == 0 { break },
                Some(_) = settling.join_next() => continue,
                () = stop.cancelled() => break,
            }
            let index = tokio::select! {
                index = self.confirm(&mut round) => index,
                () = stop.cancelled() => break,
            };
            if let Some(index) = index {
                settling.spawn(settle(self.published.clone(), index, round));
            }
        }
        settling.shutdown().await;
    }

    /// One round, repeated until somebody who leads has answered. `None` when all its readers have given up.
    async fn confirm(&mut self, round: &mut Vec<Passed>) -> Option<Index> {
        loop {
            let leadership = self.leadership.borrow_and_update().clone();
            if let Some(index) = self.ask(&leadership).await {
                return Some(index);
            }
            // Reads that joined meanwhile may ride along: the next attempt begins after them, too.
            while let Ok(passed) = self.waiting.try_recv() {
                round.push(passed);
            }
            round.retain(|passed| !passed.is_closed());
            if round.is_empty() {
                return None;
            }
            let _ = timeout(HOLD_RECHECK, self.leadership.changed()).await;
        }
    }

    /// One question. `None` when there is no answer to it.
    async fn ask(&self, leadership: &Leadership) -> Option<Index> {
        let leader = leadership.leader.as_ref()?.node;
        if leader == self.me {
            let passage = self.barrier.pass(Instant::now() + ASK_TIMEOUT).await;
            return passage.ok().map(|passage| passage.index);
        }
        let (_, peer) = other(leader, &self.members.borrow(), &self.peers)?;
        let question = peer.request(wire::ReadIndexRequest {
            patience_ms: forwarded::to_patience(ASK_TIMEOUT),
        });
        let mut now = self.leadership.clone();
        let mut client = peer.forwarding();
        let answer = tokio::select! {
            biased;
            answer = timeout(ASK_TIMEOUT, client.read_index(question)) => answer.ok()?,
            () = deposed(&mut now, leader) => return None,
        };
        let said = answer.and_then(|answer| forwarded::from_read_index(answer.into_inner()));
        match said {
            Ok(Ok(index)) => Some(index),
            Ok(Err(why)) => {
                tracing::debug!(%why, "the leader did not say what to read");
                None
            }
            Err(status) => {
                tracing::debug!(%status, "the leader could not be asked what to read");
                None
            }
        }
    }
}

/// Lets a round pass once its index is applied here.
async fn settle(published: Published, index: Index, round: Vec<Passed>) {
    published.reached(index).await;
    for passed in round {
        // The reader may have given up.
        let _ = passed.send(());
    }
}
