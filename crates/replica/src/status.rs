//! What a replica knows of itself, for people, probes and metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use quorate_types::{ClusterId, Index, Member, MemberName, NodeId, Revision};

use crate::fault::Fault;
use crate::group::Group;
use crate::leadership::{LeaderChange, Leadership};
use crate::liveness::board::Board;
use crate::metrics::Gauge;
use crate::profile::{Profile, Timing};
use crate::raft::types::LogId;
use crate::replica::Replica;

/// A replica's part in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// It stands for election.
    Candidate,
    /// It receives the log and has no vote.
    Learner,
    /// Not part of a group yet.
    Forming,
    /// Stopped, by a fault or in order.
    Stopped,
}

impl Role {
    /// The name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Forming => "forming",
            Self::Stopped => "stopped",
        }
    }
}

/// May clients be sent here?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Caught up, and it knows the leader or is it.
    Ready,
    /// Not now, for this reason.
    NotReady {
        /// One line.
        why: String,
    },
}

/// A snapshot of everything worth showing. Nothing here is linearizable.
#[derive(Debug, Clone)]
pub struct Status {
    /// The replica's name.
    pub name: MemberName,
    /// Its binary's version.
    pub version: String,
    /// Absent while it is not part of a group.
    pub cluster: Option<ClusterId>,
    /// Absent while it is not part of a group.
    pub node: Option<NodeId>,
    /// Its part.
    pub role: Role,
    /// Who leads, as it knows.
    pub leadership: Leadership,
    /// The members of its log's membership, and whether each votes.
    pub members: Vec<(Member, bool)>,
    /// How often its directory was opened.
    pub boot_count: u64,
    /// Since this run began.
    pub uptime: Duration,
    /// The last entry of its log.
    pub last_log: Option<Index>,
    /// The last entry that it knows to be committed.
    pub committed: Option<Index>,
    /// The last entry that it has applied.
    pub applied: Option<Index>,
    /// The last entry of its newest snapshot.
    pub snapshot: Option<Index>,
    /// The last entry that it has purged.
    pub purged: Option<Index>,
    /// The metadata's revision.
    pub revision: Revision,
    /// The cluster's feature level.
    pub feature_level: u32,
    /// The digest of its state after `applied`.
    pub digest: u128,
    /// The same without the place in the log and log time.
    pub content_digest: u128,
    /// Collections in all databases.
    pub collections: u64,
    /// Partitions of all collections.
    pub partitions: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Watchers at this replica.
    pub watchers: usize,
    /// The profile that was asked for.
    pub profile: Profile,
    /// The timing in use: the profile's, or stretched.
    pub timing: Timing,
    /// Median of the last log flushes.
    pub flush_p50: Duration,
    /// 99th percentile of the last log flushes.
    pub flush_p99: Duration,
    /// Each other member.
    pub peers: Vec<PeerStatus>,
    /// The last change of leader that it saw.
    pub last_change: Option<LeaderChange>,
    /// Why it has stopped.
    pub fault: Option<Arc<Fault>>,
    /// Things that an operator should know, one line each.
    pub warnings: Vec<String>,
}

/// One other member, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub node: NodeId,
    /// Our liveness link to it is up.
    pub linked: bool,
    /// Median of the recent round trips on that link.
    pub round_trip: Option<Duration>,
    /// On the leader: the last entry that it is known to have.
    pub matched: Option<Index>,
}

/// A replica that is further behind than this many entries is not ready.
const READY_LAG_MAX: u64 = 5_000;
/// A profile that would have to stretch by more than this for what was measured is too tight: worth a warning.
const STRETCH_WARNING: u32 = 1;

impl Replica {
    /// Everything worth showing, now.
    #[must_use]
    pub fn status(&self) -> Status {
        let inner = self.inner();
        let fault = self.fault().borrow().clone();
        let stats = inner.store.stats();
        let mut status = Status {
            name: inner.config.name.clone(),
            version: inner.config.version.clone(),
            cluster: None,
            node: None,
            role: if fault.is_some() {
                Role::Stopped
            } else {
                Role::Forming
            },
            leadership: inner.leadership.borrow().clone(),
            members: Vec::new(),
            boot_count: inner.store.facts().boots,
            uptime: inner.started.elapsed(),
            last_log: None,
            committed: None,
            applied: None,
            snapshot: None,
            purged: None,
            revision: Revision::default(),
            feature_level: 0,
            digest: 0,
            content_digest: 0,
            collections: 0,
            partitions: 0,
            sessions: 0,
            watchers: 0,
            profile: inner.config.profile,
            timing: inner.timing,
            flush_p50: stats.flush_p50,
            flush_p99: stats.flush_p99,
            peers: Vec::new(),
            last_change: inner.last_change.borrow().clone(),
            fault,
            warnings: Vec::new(),
        };
        if let Some(group) = inner.formed.group() {
            fill(&mut status, group, &inner.board);
        } else {
            status
                .warnings
                .extend(Some(self.waiting().borrow().clone()).filter(|waiting| !waiting.is_empty()));
        }
        warn(&mut status);
        status
    }

    /// May clients be sent here?
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let not_ready = |why: String| Readiness::NotReady { why };
        let inner = self.inner();
        if let Some(fault) = &*self.fault().borrow() {
            return not_ready(format!("stopped by a fault: {fault}"));
        }
        if *inner.stopping.borrow() {
            return not_ready("stopping".to_owned());
        }
        let Some(group) = inner.formed.group() else {
            return not_ready(self.waiting().borrow().clone());
        };
        let leadership = inner.leadership.borrow().clone();
        if leadership.leader.is_none() {
            return not_ready("nobody is known to lead".to_owned());
        }
        if leadership.is_me && !leadership.serving {
            return not_ready("leads, and has not committed an entry of its own yet".to_owned());
        }
        let metrics = group.raft.metrics().borrow_watched().clone();
        if metrics.state == ServerState::Learner {
            return not_ready("a learner, without a vote".to_owned());
        }
        let committed = metrics
            .cluster_committed
            .as_ref()
            .map_or(0, openraft::LogId::index);
        let applied = metrics.last_applied.as_ref().map_or(0, openraft::LogId::index);
        let lag = committed.saturating_sub(applied);
        if lag > READY_LAG_MAX {
            return not_ready(format!("{lag} entries behind the leader"));
        }
        Readiness::Ready
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.readiness() == Readiness::Ready
    }

    /// The metrics as Prometheus reads them (OpenMetrics text).
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.inner()
            .metrics
            .text(&gauges(&self.status(), self.is_ready()))
    }
}

fn fill(status: &mut Status, group: &Group, board: &Board) {
    let metrics = group.raft.metrics().borrow_watched().clone();
    let index = |log_id: &Option<LogId>| log_id.as_ref().map(|log_id| Index(log_id.index));
    if status.fault.is_none() {
        status.role = match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Shutdown => Role::Stopped,
        };
    }
    status.cluster = Some(group.identity.cluster);
    status.node = Some(group.identity.node);
    status.last_log = metrics.last_log_index.map(Index);
    status.committed = index(&metrics.cluster_committed);
    status.applied = index(&metrics.last_applied);
    status.snapshot = index(&metrics.snapshot);
    status.purged = index(&metrics.purged);

    let image = group.published.image();
    let counts = image.counts();
    status.revision = image.revision();
    status.feature_level = image.feature_level();
    status.digest = image.digest();
    status.content_digest = image.content_digest();
    status.collections = counts.collections;
    status.partitions = counts.partitions;
    status.sessions = counts.sessions;
    status.watchers = group.hub.watchers();

    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    status.members = membership
        .nodes()
        .map(|(node, member)| (member.clone(), voters.contains(node)))
        .collect();
    let others = membership
        .nodes()
        .filter(|(node, _)| **node != group.identity.node);
    status.peers = others
        .map(|(node, _)| {
            let view = board.peer(*node);
            let matched = metrics.replication.as_ref().and_then(|matched| matched.get(node));
            PeerStatus {
                node: *node,
                linked: view.linked.is_some(),
                round_trip: view.round_trip,
                matched: matched.and_then(index),
            }
        })
        .collect();
}

/// Adds what an operator should know.
fn warn(status: &mut Status) {
    let slowest = status
        .peers
        .iter()
        .filter_map(|peer| peer.round_trip)
        .max()
        .unwrap_or_default();
    let way = slowest + status.flush_p99;
    let stretch = status.timing.stretch(way);
    if stretch > STRETCH_WARNING {
        status.warnings.push(format!(
            "a round trip and a flush take {:.1} ms (99th percentile), which the election timeout of {} ms does not \
             leave room for: use a quicker disk, or a profile with longer timeouts than {}",
            way.as_secs_f64() * 1e3,
            status.timing.election_min.as_millis(),
            status.profile
        ));
    }
    if status.timing != status.profile.timing() {
        status.warnings.push(format!(
            "the timeouts of profile {} were stretched to an election timeout of {} ms, because the disk was slow at start",
            status.profile,
            status.timing.election_min.as_millis()
        ));
    }
    for peer in status.peers.iter().filter(|peer| !peer.linked) {
        status
            .warnings
            .push(format!("node {} cannot be reached", peer.node));
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
fn gauges(status: &Status, ready: bool) -> Vec<Gauge> {
    let flag = |value: bool| f64::from(u8::from(value));
    let index = |value: Option<Index>| value.map_or(-1.0, |index| index.0 as f64);
    let label = |node: NodeId| format!("node=\"{node}\"");
    let peers = |value: fn(&PeerStatus) -> Option<f64>| {
        status
            .peers
            .iter()
            .filter_map(|peer| Some((label(peer.node), value(peer)?)))
            .collect()
    };
    vec![
        Gauge::one(
            "is_leader",
            "This replica leads",
            flag(status.role == Role::Leader),
        ),
        Gauge::one("is_ready", "This replica is ready, as /readyz says", flag(ready)),
        Gauge::one(
            "has_leader",
            "This replica knows a leader",
            flag(status.leadership.leader.is_some()),
        ),
        Gauge::one(
            "term",
            "The highest term that this replica has seen",
            status.leadership.term.0 as f64,
        ),
        Gauge::one(
            "log_last_index",
            "The last entry of the log; -1 for none",
            index(status.last_log),
        ),
        Gauge::one(
            "log_committed_index",
            "The last entry known to be committed; -1 for none",
            index(status.committed),
        ),
        Gauge::one(
            "log_applied_index",
            "The last entry applied; -1 for none",
            index(status.applied),
        ),
        Gauge::one(
            "log_snapshot_index",
            "The last entry of the newest snapshot; -1 for none",
            index(status.snapshot),
        ),
        Gauge::one(
            "log_flush_p50_seconds",
            "Median of the last log flushes",
            status.flush_p50.as_secs_f64(),
        ),
        Gauge::one(
            "log_flush_p99_seconds",
            "99th percentile of the last log flushes",
            status.flush_p99.as_secs_f64(),
        ),
        Gauge::one("revision", "Revision of the metadata", status.revision.0 as f64),
        Gauge::one(
            "feature_level",
            "The cluster's feature level",
            f64::from(status.feature_level),
        ),
        Gauge::one(
            "collections",
            "Collections in all databases",
            status.collections as f64,
        ),
        Gauge::one(
            "partitions",
            "Partitions of all collections",
            status.partitions as f64,
        ),
        Gauge::one("sessions", "Live sessions of workers", status.sessions as f64),
        Gauge::one("watchers", "Watchers at this replica", status.watchers as f64),
        Gauge::one(
            "boots",
            "How often the data directory was opened",
            status.boot_count as f64,
        ),
        Gauge {
            name: "peer_linked",
            help: "The liveness link to the peer is up",
            values: peers(|peer| Some(f64::from(u8::from(peer.linked)))),
        },
        Gauge {
            name: "peer_round_trip_seconds",
            help: "Median round trip on the liveness link to the peer",
            values: peers(|peer| peer.round_trip.map(|took| took.as_secs_f64())),
        },
        Gauge {
            name: "peer_matched_index",
            help: "On the leader: the last entry that the peer is known to have",
            values: peers(|peer| peer.matched.map(|matched| matched.0 as f64)),
        },
        Gauge::one(
            "leader_change_seconds",
            "How long the last change of leader took, as this replica saw it",
            status
                .last_change
                .as_ref()
                .map_or(0.0, |change| change.took.as_secs_f64()),
        ),
    ]
}
