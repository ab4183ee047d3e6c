//! Who leads, as this replica sees it, and how the last change came about.
//!
//! Promises: [`Leadership`] never names a leader whose process this replica knows to be gone, nor one that it has not
//! heard of since it started itself: the vote on its disk may be for a leader that died long ago. `serving` is true only
//! once this replica leads and has applied the first entry of its own term, so that its state includes everything that
//! any earlier leader acknowledged. Between two replicas' views the one with the higher term is right.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use quorate_host::Clock;
use quorate_types::{Member, NodeId, Term};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failover::Reign;
use crate::failover::observed::Observed;
use crate::failover::timeline::{Step, Timeline};
use crate::metrics::Metrics;
use crate::raft::types::Raft;

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The highest term that this replica has seen.
    pub term: Term,
    /// Absent while nobody is known to lead.
    pub leader: Option<Leader>,
    /// It is this replica.
    pub is_me: bool,
    /// It is this replica, and its first entry is applied: it may serve and do the leader's duties.
    pub serving: bool,
}

/// The leader's whereabouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its node id.
    pub node: NodeId,
    /// Its `host:port` for clients.
    pub client_address: String,
}

/// Why leadership changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeReason {
    /// The group's first leader.
    Formation,
    /// Witnesses agreed that the old leader's process is gone.
    Crash,
    /// Heartbeats stopped coming.
    Timeout,
    /// The old leader handed over.
    Transfer,
}

impl ChangeReason {
    /// The label in metrics and in status output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Formation => "formation",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::Transfer => "transfer",
        }
    }
}

/// The last change of leader as this replica saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderChange {
    /// The new leader's term.
    pub term: Term,
    /// The new leader.
    pub node: NodeId,
    /// How it came about.
    pub reason: ChangeReason,
    /// When this replica knew, Unix milliseconds.
    pub at_unix_ms: u64,
    /// From the first sign that the old leader was gone (or from knowing no leader) until then.
    pub took: Duration,
    /// The steps that this replica took part in, with moments of the machine's monotonic clock, nanoseconds.
    pub steps: Vec<(Step, u64)>,
}

/// What the task works with.
pub(crate) struct LeadershipTask {
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    pub(crate) observed: Arc<Observed>,
    /// True while this replica leads and no majority answers it.
    pub(crate) isolated: watch::Receiver<bool>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    /// The newest reign whose first entry this replica has applied.
    pub(crate) applied_reign: watch::Receiver<Option<Reign>>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) members: watch::Sender<Vec<Member>>,
    pub(crate) last_change: watch::Sender<Option<LeaderChange>>,
    /// This replica takes part in the forming of the group: the first leader that it sees is the group's first.
    pub(crate) forming: bool,
}

impl LeadershipTask {
    /// Publishes every change until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut raft = self.raft.server_metrics();
        let mut observed = self.observed.subscribe();
        let mut leaderless_since = Some(Instant::now());
        let mut known: Option<Reign> = None;
        loop {
            let (now, members) = {
                let server = raft.borrow_and_update();
                let alive = crate::peer::service::reign_of(&server.vote).filter(|reign| {
                    let is_met = reign.leader == self.me || self.observed.run_of(*reign).is_some();
                    server.current_leader == Some(reign.leader)
                        && is_met
                        && !self.observed.leader_is_dead(*reign)
                });
                let membership = server.membership_config.membership();
                let members: Vec<Member> = membership.nodes().map(|(_, member)| member.clone()).collect();
                let leads = server.state == ServerState::Leader && !*self.isolated.borrow_and_update();
                let is_me = leads && alive.is_some_and(|reign| reign.leader == self.me);
                (
                    self.view(Term(server.vote.leader_id.term), alive, is_me, &members),
                    members,
                )
            };
            if now.is_me {
                self.timeline.mark(Step::Elected);
            }
            if now.serving {
                self.timeline.mark(Step::FirstCommit);
            }
            self.members
                .send_if_modified(|old| std::mem::replace(old, members.clone()) != members);
            self.leadership
                .send_if_modified(|old| std::mem::replace(old, now.clone()) != now);

            // A leader counts once it is settled: our own leadership when we serve, another's as soon as we know.
            let settled = now.leader.as_ref().filter(|_| !now.is_me || now.serving);
            let settled = settled.map(|leader| Reign {
                term: now.term,
                leader: leader.node,
            });
            if settled > known {
                let took = leaderless_since.map(|since| since.elapsed()).unwrap_or_default();
                self.changed(known, settled, took);
                known = settled;
            }
            if settled.is_some() {
                leaderless_since = None;
            } else if now.leader.is_none() {
                leaderless_since.get_or_insert_with(Instant::now);
            }
            let gone = tokio::select! {
                changed = raft.changed() => changed.is_err(),
                changed = self.applied_reign.changed() => changed.is_err(),
                changed = self.isolated.changed() => changed.is_err(),
                () = observed.changed() => false,
                () = stop.cancelled() => true,
            };
            if gone {
                return;
            }
        }
    }

    fn view(&self, term: Term, alive: Option<Reign>, is_me: bool, members: &[Member]) -> Leadership {
        let leader = alive
            .filter(|reign| reign.leader != self.me || is_me)
            .and_then(|reign| {
                let member = members.iter().find(|member| member.node == reign.leader)?;
                Some(Leader {
                    node: reign.leader,
                    client_address: member.client_address.clone(),
                })
            });
        let serving = is_me && *self.applied_reign.borrow() == alive;
        Leadership {
            term,
            is_me: is_me && leader.is_some(),
            serving: serving && leader.is_some(),
            leader,
        }
    }

    fn changed(&self, old: Option<Reign>, new: Option<Reign>, took: Duration) {
        let steps = self.timeline.steps();
        self.timeline.clear();
        let Some((new, reason)) = new.and_then(|new| Some((new, self.reason(old, new)?))) else {
            return;
        };
        let at_unix_ms = self.clock.unix_ms();
        let change = LeaderChange {
            term: new.term,
            node: new.leader,
            reason,
            at_unix_ms,
            took,
            steps,
        };
        self.metrics.leader_changed(reason);
        tracing::info!(
            term = %new.term, leader = %new.leader, reason = reason.name(), took_ms = took.as_secs_f64() * 1e3,
            "the leader has changed"
        );
        self.last_change.send_replace(Some(change));
    }

    /// `None` when this replica has just started and finds a leader in place: nothing has changed then.
    fn reason(&self, old: Option<Reign>, new: Reign) -> Option<ChangeReason> {
        let Some(old) = old else {
            return self.forming.then_some(ChangeReason::Formation);
        };
        Some(match self.observed.transfer() {
            Some((from, to)) if from == old && to == new.leader => ChangeReason::Transfer,
            _ if self.observed.died() == Some(old) => ChangeReason::Crash,
            _ => ChangeReason::Timeout,
        })
    }
}
