//! Forwarding: writes and reads at any replica, for clients that know no redirect.
//!
//! Promises:
//! - A write is proposed here when this replica leads, and by the leader otherwise. It has a number of this replica's own, as
//!   if the replica were a client of the machine ([`numbers`]), so it is sent again after a change of leader or a lost
//!   connection and never acts twice ([`verdict`]). What cannot be known any more is reported as unknown.
//! - The answer comes when this replica itself has applied the write: who writes here and then reads here, be it a stale
//!   read, sees it.
//! - A read is linearizable, here as at the leader ([`reads`]); so are renewals of etcd's leases ([`leases`]).
//! - Changes of members are asked of the leader in the same way ([`members`]).
//! - While nobody leads, all wait, until their deadline. Everything that waits is bounded, and what is too much is refused
//!   at once.
//!
//! Left out on purpose: an order. Writes that are in flight together may be executed in any order; who needs one waits for the
//! answer. Leadership, which only ever comes from [`crate::leadership`]: what a replica says that it does not lead is no
//! news of who does.

mod calls;
mod leases;
mod ledger;
pub(crate) mod members;
mod numbers;
mod reads;
pub(crate) mod serve;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_host::{Clock, entropy};
use quorate_machine::{Command, Image, Outcome, Refusal, RequestId};
use quorate_types::{ClientId, Index, Member, NodeId};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::barrier::Barrier;
use crate::duties::kv_leases::{KvLeaseClocks, KvLeaseTime, LeaseQuestion};
use crate::leadership::Leadership;
use crate::peer::client::Peers;
use crate::proposer::Proposer;
use crate::published::Published;
use crate::room::Room;
use crate::unavailable::Unavailable;
use calls::{Calls, CallsTask, deposed};
use leases::{Leases, LeasesTask};
use numbers::{Number, Numbers};
use reads::{Reads, ReadsTask};
use verdict::{Attempt, Next, given_up, judge};

/// Before a write is sent again to the same leader.
const AGAIN_AFTER: Duration = Duration::from_millis(5);
/// Numbers that one write may take: each was answered by "client unknown" at once, and a group that goes on like that is
/// broken.
const NUMBERS_MAX: u32 = 4;
/// As wide as a request id can be: what a write without a number yet will need at most.
const WIDEST: RequestId = RequestId {
    client: ClientId(u128::MAX),
    sequence: u64::MAX,
    floor: u64::MAX,
};

/// See the module; cheap to clone.
#[derive(Clone)]
pub(crate) struct Forwarder {
    published: Published,
    proposer: Proposer,
    barrier: Barrier,
    leadership: watch::Receiver<Leadership>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    room: Room,
    numbers: Arc<Numbers>,
    /// Who holds it registers; the others wait. A caller that gives up passes it on.
    turn: Arc<Mutex<()>>,
    calls: Calls,
    reads: Reads,
    leases: Leases,
}

/// What it is made of.
pub(crate) struct Parts {
    pub(crate) me: NodeId,
    pub(crate) published: Published,
    pub(crate) proposer: Proposer,
    pub(crate) barrier: Barrier,
    pub(crate) kv_leases: KvLeaseClocks,
    pub(crate) peers: Arc<Peers>,
    pub(crate) members: watch::Receiver<Vec<Member>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: CancellationToken,
}

/// The tasks behind a forwarder.
pub(crate) struct Tasks {
    calls: CallsTask,
    reads: ReadsTask,
    leases: LeasesTask,
    stop: CancellationToken,
}

impl Tasks {
    /// Forwards until the replica stops.
    pub(crate) async fn run(self) {
        let writes = self.calls.run(self.stop.clone());
        let reads = self.reads.run(self.stop.clone());
        let leases = self.leases.run(self.stop);
        futures_util::future::join3(writes, reads, leases).await;
    }
}

impl Forwarder {
    /// The handle and the tasks behind it.
    pub(crate) fn new(parts: Parts) -> (Self, Tasks) {
        let Parts {
            me,
            published,
            proposer,
            barrier,
            kv_leases,
            peers,
            members,
            leadership,
            clock,
            stop,
        } = parts;
        let (calls, calls_task) = Calls::new(me, Arc::clone(&peers), members.clone(), leadership.clone());
        let (leases, leases_task) = Leases::new(
            me,
            kv_leases,
            Arc::clone(&peers),
            members.clone(),
            leadership.clone(),
        );
        let (reads, waiting) = Reads::new(leadership.clone());
        let reads_task = ReadsTask {
            me,
            barrier: barrier.clone(),
            published: published.clone(),
            peers,
            members,
            leadership: leadership.clone(),
            waiting,
        };
        let tasks = Tasks {
            calls: calls_task,
            reads: reads_task,
            leases: leases_task,
            stop: stop.clone(),
        };
        let forwarder = Self {
            published,
            proposer,
            barrier,
            leadership,
            clock,
            stop,
            room: Room::new("writes in flight"),
            numbers: Arc::default(),
            turn: Arc::default(),
            calls,
            reads,
            leases,
        };
        (forwarder, tasks)
    }

    /// See [`crate::Replica::propose_anywhere`].
    pub(crate) async fn propose(
        &self,
        command: &Command,
        deadline: Instant,
    ) -> Result<(Outcome, Index), Unavailable> {
        let taken = self.numbers.take();
        let entry = self.encode(command, Some(taken.as_ref().map_or(WIDEST, Number::request)));
        // From here on the command occupies memory, whatever it waits for.
        let _place = self.room.admit(entry.len())?;
        let (mut number, mut ready) = match taken {
            Some(number) => (number, Some(entry)),
            None => (self.number(deadline).await?, None),
        };
        let mut open = false;
        for _ in 0..NUMBERS_MAX {
            match self
                .drive(command, Some(&number), ready.take(), &mut open, deadline)
                .await
            {
                Next::Answer { index, outcome } => return self.show(index, outcome, &number, deadline).await,
                Next::GiveUp(why) => return Err(why),
                Next::Renumber | Next::Again => {
                    self.numbers.forgotten(&number);
                    number = self.number(deadline).await?;
                }
            }
        }
        tracing::warn!("the group registers this replica as a client and does not know it, again and again");
        Err(Unavailable::TimedOut)
    }

    /// See [`crate::Replica::read_anywhere`].
    pub(crate) async fn read(&self, deadline: Instant) -> Result<Image, Unavailable> {
        let leads = self.leadership.borrow().is_me;
        if leads {
            match self.barrier.pass(deadline).await {
                Ok(_) => return Ok(self.published.image()),
                // Another does now.
                Err(Unavailable::NotLeader { .. }) => {}
                Err(why) => return Err(why),
            }
        }
        self.reads.pass(deadline).await?;
        Ok(self.published.image())
    }

    /// See [`crate::Replica::renew_kv_lease`] and [`crate::Replica::kv_lease_time`].
    pub(crate) async fn lease_time(
        &self,
        question: LeaseQuestion,
        deadline: Instant,
    ) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.leases.ask(question, deadline).await
    }

    fn encode(&self, command: &Command, request: Option<RequestId>) -> Bytes {
        command.encode(self.clock.unix_ms(), request)
    }

    /// Attempts until there is an answer, or cannot be one. Never gives [`Next::Again`].
    async fn drive(
        &self,
        command: &Command,
        number: Option<&Number>,
        mut ready: Option<Bytes>,
        open: &mut bool,
        deadline: Instant,
    ) -> Next {
        loop {
            let (leader, is_me) = match self.leader(*open, deadline).await {
                Ok(leader) => leader,
                Err(why) => return Next::GiveUp(why),
            };
            let request = number.map(Number::request);
            let entry = ready.take().unwrap_or_else(|| self.encode(command, request));
            let attempt = if is_me {
                match self.proposer.propose_entry(entry, deadline).await {
                    Ok(decided) => Attempt::Decided {
                        index: decided.index,
                        outcome: Some(decided.outcome),
                    },
                    Err(why) => Attempt::Failed(why),
                }
            } else {
                self.calls.propose(entry, deadline).await
            };
            match judge(attempt, request.as_ref(), open) {
                Next::Again => {
                    let mut leadership = self.leadership.clone();
                    let _ = timeout(AGAIN_AFTER, deposed(&mut leadership, leader)).await;
                }
                next => return next,
            }
        }
    }

    /// Who leads, and whether it is this replica; waits while nobody does.
    async fn leader(&self, open: bool, deadline: Instant) -> Result<(NodeId, bool), Unavailable> {
        let mut leadership = self.leadership.clone();
        let found = async {
            let known = leadership.wait_for(|now| now.leader.is_some()).await.ok()?;
            known.leader.as_ref().map(|leader| (leader.node, known.is_me))
        };
        let found = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            found = timeout_at(deadline, found) => match found {
                Ok(found) if Instant::now() < deadline => found,
                _ => return Err(given_up(open, &self.leadership.borrow())),
            },
        };
        found.ok_or(match open {
            true => Unavailable::OutcomeUnknown,
            false => Unavailable::Stopped,
        })
    }

    /// A number, of a client that is registered for it when need be.
    async fn number(&self, deadline: Instant) -> Result<Number, Unavailable> {
        let late = || given_up(false, &self.leadership.borrow());
        loop {
            if let Some(number) = self.numbers.take() {
                return Ok(number);
            }
            let Ok(_turn) = timeout_at(deadline, self.turn.lock()).await else {
                return Err(late());
            };
            if let Some(number) = self.numbers.take() {
                return Ok(number);
            }
            if self.numbers.is_full() {
                return Err(Unavailable::Overloaded {
                    what: "writes in flight",
                });
            }
            let client = ClientId(entropy::random_u128());
            let register = Command::RegisterClient { client };
            match self.drive(&register, None, None, &mut false, deadline).await {
                Next::Answer {
                    outcome: Some(Ok(_)), ..
                } => {
                    tracing::debug!(%client, "this replica is a client of the group");
                    self.numbers.registered(client);
                }
                Next::Answer {
                    outcome: Some(Err(Refusal::ClientLimit)),
                    ..
                } => return Err(Unavailable::Overloaded { what: "clients" }),
                // Whether it is registered does not matter to the write that wanted it, which was not executed.
                Next::GiveUp(Unavailable::OutcomeUnknown) => return Err(late()),
                Next::GiveUp(why) => return Err(why),
                Next::Answer { .. } | Next::Renumber | Next::Again => return Err(late()),
            }
        }
    }

    /// Waits until the write can be seen here, and finds its outcome when that was too large to travel.
    async fn show(
        &self,
        index: Index,
        outcome: Option<Outcome>,
        number: &Number,
        deadline: Instant,
    ) -> Result<(Outcome, Index), Unavailable> {
        tokio::select! {
            biased;
            () = self.published.reached(index) => {}
            // It is decided, but whoever asked would not find it here.
            () = tokio::time::sleep_until(deadline) => return Err(Unavailable::OutcomeUnknown),
            () = self.stop.cancelled() => return Err(Unavailable::OutcomeUnknown),
        }
        let RequestId { client, sequence, .. } = number.request();
        let outcome = outcome.or_else(|| self.published.image().remembered(client, sequence));
        // Without one, the client was evicted while its number was open.
        outcome
            .map(|outcome| (outcome, index))
            .ok_or(Unavailable::OutcomeUnknown)
    }
}
