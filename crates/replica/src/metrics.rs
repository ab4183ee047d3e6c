//! What is counted, under documented names (`quorate_*`, Prometheus text format).
//!
//! Promises: names and labels are listed in ARCHITECTURE.md and change only with a changelog entry; counters are bumped
//! at the edges (proposer, leadership), never in the machine. Gauges are read from the status when they are asked for.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::leadership::ChangeReason;
use crate::proposer::Decided;
use crate::unavailable::Unavailable;

/// The counters of one replica.
pub(crate) struct Metrics {
    registry: Registry,
    leader_changes: Family<ReasonLabel, Counter>,
    proposals: Family<ResultLabel, Counter>,
    proposal_seconds: Histogram,
    orphans: OrphanCounters,
}

/// What became of leases whose keeper's connection broke.
#[derive(Debug, Clone)]
pub(crate) struct OrphanCounters {
    revoked: Counter,
    renewed: Counter,
    spared: Counter,
}

impl OrphanCounters {
    /// Revoked by this leader.
    pub(crate) fn revoked(&self, leases: usize) {
        self.revoked.inc_by(leases as u64);
    }

    /// There was a sign of life within the grace, at this leader.
    pub(crate) fn renewed(&self, leases: usize) {
        self.renewed.inc_by(leases as u64);
    }

    /// Their keepers broke in a burst at this replica, and nobody was told.
    pub(crate) fn spared(&self, leases: usize) {
        self.spared.inc_by(leases as u64);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The results of proposals, as [`Metrics::proposed`] names them.
const RESULTS: [&str; 6] = [
    "accepted",
    "refused",
    "not_leader",
    "outcome_unknown",
    "limited",
    "not_executed",
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("quorate");
        let leader_changes = Family::default();
        registry.register(
            "leader_changes",
            "Changes of leader that this replica saw, by reason",
            leader_changes.clone(),
        );
        for reason in [
            ChangeReason::Formation,
            ChangeReason::Crash,
            ChangeReason::Timeout,
            ChangeReason::Transfer,
        ] {
            // A series that exists from the start can be alerted on.
            let _ = leader_changes.get_or_create(&ReasonLabel {
                reason: reason.name(),
            });
        }
        let proposals = Family::default();
        registry.register(
            "proposals",
            "Commands that this replica was asked to propose, by result",
            proposals.clone(),
        );
        for result in RESULTS {
            let _ = proposals.get_or_create(&ResultLabel { result });
        }
        // 100 microseconds to about 6.5 seconds.
        let proposal_seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 17));
        registry.register(
            "proposal_seconds",
            "From the request to the outcome of a command, on the replica that proposed it",
            proposal_seconds.clone(),
        );
        let family = Family::<OutcomeLabel, Counter>::default();
        registry.register(
            "lease_orphans",
            "Leases of etcd's whose keeper's connection broke, by what became of them",
            family.clone(),
        );
        let orphans = |outcome| family.get_or_create_owned(&OutcomeLabel { outcome });
        let orphans = OrphanCounters {
            revoked: orphans("revoked"),
            renewed: orphans("renewed"),
            spared: orphans("spared"),
        };
        Self {
            registry,
            leader_changes,
            proposals,
            proposal_seconds,
            orphans,
        }
    }

    pub(crate) fn orphans(&self) -> OrphanCounters {
        self.orphans.clone()
    }

    pub(crate) fn leader_changed(&self, reason: ChangeReason) {
        self.leader_changes
            .get_or_create(&ReasonLabel {
                reason: reason.name(),
            })
            .inc();
    }

    pub(crate) fn proposed(&self, took: Duration, outcome: &Result<Decided, Unavailable>) {
        let result = match outcome {
            Ok(Decided { outcome: Ok(_), .. }) => "accepted",
            Ok(Decided { outcome: Err(_), .. }) => "refused",
            Err(Unavailable::NotLeader { .. }) => "not_leader",
            Err(Unavailable::OutcomeUnknown) => "outcome_unknown",
            Err(Unavailable::Overloaded { .. } | Unavailable::TooLarge { .. }) => "limited",
            Err(Unavailable::TimedOut | Unavailable::Stopped) => "not_executed",
        };
        self.proposals.get_or_create(&ResultLabel { result }).inc();
        if outcome.is_ok() {
            self.proposal_seconds.observe(took.as_secs_f64());
        }
    }

    /// The counters as text, followed by `gauges`: (name, help, value, labels).
    pub(crate) fn text(&self, gauges: &[Gauge]) -> String {
        let mut text = String::new();
        for gauge in gauges {
            // Writing to a string cannot fail.
            let _ = gauge.write(&mut text);
        }
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A value that is read when it is asked for.
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// (label, value of the metric); an empty label stands for none.
    pub(crate) values: Vec<(String, f64)>,
}

impl Gauge {
    pub(crate) fn one(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            values: vec![(String::new(), value)],
        }
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "# HELP quorate_{} {}.", self.name, self.help)?;
        writeln!(text, "# TYPE quorate_{} gauge", self.name)?;
        for (label, value) in &self.values {
            if label.is_empty() {
                writeln!(text, "quorate_{} {value}", self.name)?;
            } else {
                writeln!(text, "quorate_{}{{{label}}} {value}", self.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_documented_names() {
        let metrics = Metrics::new();
        metrics.leader_changed(ChangeReason::Crash);
        metrics.proposed(Duration::from_millis(1), &Err(Unavailable::OutcomeUnknown));
        metrics.orphans().revoked(2);
        let gauges = [
            Gauge::one("term", "The highest term seen", 7.0),
            Gauge {
                name: "peer_linked",
                help: "The liveness link to the peer is up",
                values: vec![("peer=\"b\"".to_owned(), 1.0)],
            },
        ];
        let text = metrics.text(&gauges);
        for line in [
            "quorate_leader_changes_total{reason=\"crash\"} 1",
            "quorate_leader_changes_total{reason=\"transfer\"} 0",
            "quorate_proposals_total{result=\"outcome_unknown\"} 1",
            "quorate_proposals_total{result=\"accepted\"} 0",
            "quorate_proposals_total{result=\"limited\"} 0",
            "quorate_lease_orphans_total{outcome=\"revoked\"} 2",
            "quorate_lease_orphans_total{outcome=\"renewed\"} 0",
            "quorate_lease_orphans_total{outcome=\"spared\"} 0",
            "quorate_term 7",
            "quorate_peer_linked{peer=\"b\"} 1",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|have| have == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
