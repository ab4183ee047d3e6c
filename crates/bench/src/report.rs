//! The result of a run, as figures.
//!
//! Promises: pure; a fault's figures are of its rounds alone; what was not measured is absent, never 0.

use crate::gap::Gap;
use crate::percentile::{Percentiles, milliseconds};
use crate::phases::{Steps, summary};
use crate::round::Round;

/// The word for what `--restart-time` measures, where a fault would stand.
pub(crate) const RESTART: &str = "restart";

/// Everything that a run measured.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// One for each system and fault.
    pub results: Vec<Outcome>,
    /// Where and how.
    pub setting: Setting,
    /// Why the run ended before its time. The results are those of the rounds until then.
    pub aborted: Option<String>,
}

/// Where and how a run was done.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// Members of each system.
    pub replicas: usize,
    /// The replicas' timeouts; absent when the default was taken.
    pub profile: Option<String>,
    /// Objects in the catalog.
    pub objects: u64,
    /// Megabytes of rows.
    pub ballast_mb: u64,
    /// The commit of the source.
    pub commit: String,
    /// Processors.
    pub cores: usize,
    /// The machine's load over one minute, before.
    pub load_before: Option<f64>,
    /// And after.
    pub load_after: Option<f64>,
    /// What holds the replicas' data.
    pub file_system: Option<String>,
    /// When the run ended, Unix milliseconds.
    pub at_unix_ms: u64,
}

/// What one round showed, so that a bad one can be understood. Milliseconds.
#[derive(Debug, Clone)]
pub struct Each {
    /// The gap.
    pub gap_ms: f64,
    /// When it began, after the fault; negative when before it.
    pub gap_from_ms: f64,
    /// How long the machine itself stood still; 0 when it did not.
    pub paused_ms: f64,
    /// From the fault to each step of the failover.
    pub steps_ms: Vec<(String, f64)>,
}

impl Each {
    fn of(round: &Round) -> Option<Self> {
        let gap = round.gap?;
        let steps = round.steps.iter();
        Some(Self {
            gap_ms: milliseconds(gap.ns),
            gap_from_ms: if gap.from_ns < round.fault_ns {
                -milliseconds(round.fault_ns - gap.from_ns)
            } else {
                milliseconds(gap.from_ns - round.fault_ns)
            },
            paused_ms: milliseconds(round.paused_ns),
            steps_ms: steps
                .map(|(name, ns)| (name.clone(), milliseconds(*ns)))
                .collect(),
        })
    }
}

/// The figures of one system under one fault.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// `quorate`, or the etcd with its timing.
    pub system: String,
    /// The fault, or `restart`.
    pub fault: String,
    /// Rounds that were run.
    pub rounds: u64,
    /// Each round that had a gap, in order of time.
    pub each: Vec<Each>,
    /// Their percentiles.
    pub gap_ms: Option<Percentiles>,
    /// Rounds in which the machine itself did not stand still for 10 ms.
    pub calm_rounds: u64,
    /// The percentiles of those rounds alone.
    pub calm_gap_ms: Option<Percentiles>,
    /// Milliseconds from the fault to each step, in order of time.
    pub phases_ms: Vec<(String, Percentiles)>,
    /// Writes that were sent.
    pub writes: u64,
    /// Of these, calls that ended with an error.
    pub failed_calls: u64,
    /// Why the first of them did.
    pub first_failure: Option<String>,
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// Executions beyond one of a write.
    pub doubled: u64,
    /// Rounds after which nobody answered.
    pub unrecovered: u64,
    /// Rounds that cost more than one term: an election failed, or leadership changed again.
    pub unrest: u64,
    /// Writes that left more than a period late.
    pub late_sends: u64,
    /// How late the latest of them left, milliseconds.
    pub latest_send_ms: f64,
    /// Memory of the leader when it was struck, the most of all rounds, megabytes.
    pub leader_mb: Option<u64>,
}

impl Outcome {
    pub(crate) fn of_rounds(system: &str, fault: &str, rounds: &[Round]) -> Self {
        let gaps_ns: Vec<u64> = rounds.iter().filter_map(Round::gap_ns).collect();
        let calm: Vec<&Round> = rounds.iter().filter(|round| round.paused_ns == 0).collect();
        let calm_gaps_ns: Vec<u64> = calm.iter().filter_map(|round| round.gap_ns()).collect();
        let steps: Vec<Steps> = rounds.iter().map(|round| round.steps.clone()).collect();
        let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum();
        Self {
            system: system.to_owned(),
            fault: fault.to_owned(),
            rounds: rounds.len() as u64,
            each: rounds.iter().filter_map(Each::of).collect(),
            gap_ms: Percentiles::of_ns(&gaps_ns),
            calm_rounds: calm.len() as u64,
            calm_gap_ms: Percentiles::of_ns(&calm_gaps_ns),
            phases_ms: summary(&steps),
            writes: sum(|round| round.writes),
            failed_calls: sum(|round| round.failed),
            first_failure: rounds.iter().find_map(|round| round.first_failure.clone()),
            lost: sum(|round| round.tally.lost),
            doubled: sum(|round| round.tally.doubled),
            unrecovered: sum(|round| u64::from(round.gap.is_none())),
            unrest: sum(|round| u64::from(round.unrest)),
            late_sends: sum(|round| round.late),
            latest_send_ms: milliseconds(rounds.iter().map(|round| round.latest_ns).max().unwrap_or(0)),
            leader_mb: rounds.iter().filter_map(|round| round.leader_mb).max(),
        }
    }

    pub(crate) fn of_restarts(system: &str, taken_ns: Vec<u64>) -> Self {
        let rounds = taken_ns.into_iter().map(|ns| Round {
            gap: Some(Gap { from_ns: 0, ns }),
            ..Round::default()
        });
        Self::of_rounds(system, RESTART, &rounds.collect::<Vec<Round>>())
    }

    /// Nothing failed, was lost or doubled, and every round recovered.
    fn is_clean(&self) -> bool {
        self.failed_calls == 0 && self.lost == 0 && self.doubled == 0 && self.unrecovered == 0
    }
}

impl Report {
    /// Whether Quorate kept its promises in every round. etcd has no request ids, so what its client had to
    /// send twice is told and not judged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let ours = self
            .results
            .iter()
            .filter(|result| result.system == crate::quorate::NAME);
        self.aborted.is_none() && ours.into_iter().all(Outcome::is_clean)
    }

    /// How many times as long as Quorate's the other systems' median gaps are: system, fault, ratio.
    #[must_use]
    pub fn ratios(&self) -> Vec<(String, String, f64)> {
        let median = |result: &Outcome| result.gap_ms.map(|gap| gap.p50).filter(|p50| *p50 > 0.0);
        let others = self
            .results
            .iter()
            .filter(|result| result.system != crate::quorate::NAME);
        let ratio = |other: &Outcome| {
            let is_ours = |ours: &&Outcome| ours.system == crate::quorate::NAME && ours.fault == other.fault;
            let ours = median(self.results.iter().find(is_ours)?)?;
            Some((other.system.clone(), other.fault.clone(), median(other)? / ours))
        };
        others.filter_map(ratio).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::judge::Tally;

    pub(crate) fn outcome(system: &str, fault: &str, gaps_ms: &[u64]) -> Outcome {
        let step = |ms: u64| {
            vec![
                ("detected".to_owned(), ms * 200_000),
                ("client".to_owned(), ms * 1_000_000),
            ]
        };
        let round = |ms: &u64| Round {
            gap: Some(Gap {
                from_ns: 98_000_000,
                ns: ms * 1_000_000,
            }),
            fault_ns: 100_000_000,
            steps: if system == "quorate" {
                step(*ms)
            } else {
                Vec::new()
            },
            writes: 1_000,
            late: 2,
            latest_ns: 1_500_000,
            leader_mb: Some(40),
            ..Round::default()
        };
        Outcome::of_rounds(system, fault, &gaps_ms.iter().map(round).collect::<Vec<Round>>())
    }

    #[test]
    fn rounds_are_summed() {
        let rounds = [
            Round {
                gap: Some(Gap {
                    from_ns: 0,
                    ns: 9_000_000,
                }),
                writes: 10,
                failed: 1,
                first_failure: Some("late".to_owned()),
                ..Round::default()
            },
            Round {
                gap: None,
                writes: 20,
                tally: Tally { lost: 2, doubled: 3 },
                unrest: true,
                paused_ns: 12_000_000,
                ..Round::default()
            },
        ];
        let of = Outcome::of_rounds("quorate", "kill", &rounds);
        assert_eq!(
            (of.rounds, of.writes, of.failed_calls, of.lost, of.doubled),
            (2, 30, 1, 2, 3)
        );
        assert_eq!((of.unrecovered, of.unrest, of.each.len()), (1, 1, 1));
        assert_eq!(of.first_failure.as_deref(), Some("late"));
        assert_eq!(
            (of.calm_rounds, of.calm_gap_ms.map(|gap| gap.max)),
            (1, Some(9.0)),
            "the machine stood still in the other"
        );
    }

    #[test]
    fn only_quorate_is_judged() {
        let clean = Report {
            results: vec![outcome("quorate", "kill", &[9])],
            ..Report::default()
        };
        assert!(clean.is_clean());
        type Spoil = fn(&mut Report);
        let cases: &[(&str, Spoil, bool)] = &[
            (
                "a failed call",
                |report| report.results[0].failed_calls = 1,
                false,
            ),
            ("a lost write", |report| report.results[0].lost = 1, false),
            ("a doubled write", |report| report.results[0].doubled = 1, false),
            ("no recovery", |report| report.results[0].unrecovered = 1, false),
            (
                "ended before its time",
                |report| report.aborted = Some("the disk is full".to_owned()),
                false,
            ),
            ("a late send", |report| report.results[0].late_sends = 1, true),
            (
                "etcd doubled",
                |report| {
                    let mut etcd = outcome("etcd-10-50", "kill", &[99]);
                    etcd.doubled = 1;
                    report.results.push(etcd);
                },
                true,
            ),
        ];
        for (name, spoil, want) in cases {
            let mut report = clean.clone();
            spoil(&mut report);
            assert_eq!(report.is_clean(), *want, "{name}");
        }
    }

    #[test]
    fn ratios_are_of_medians_of_the_same_fault() {
        let results = vec![
            outcome("quorate", "kill", &[10, 10, 70]),
            outcome("quorate", "stop", &[500]),
            outcome("etcd-10-50", "kill", &[80, 90, 100]),
            outcome("etcd-100-1000", "stop", &[1_500]),
            outcome("etcd-100-1000", "term", &[2]),
        ];
        let ratios = Report {
            results,
            ..Report::default()
        }
        .ratios();
        let want = [("etcd-10-50", "kill", 9.0), ("etcd-100-1000", "stop", 3.0)];
        assert_eq!(
            ratios,
            want.map(|(system, fault, ratio)| (system.to_owned(), fault.to_owned(), ratio))
        );
    }
}
