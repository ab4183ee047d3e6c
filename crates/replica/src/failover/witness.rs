//! Who has seen the leader die, and what a node does about it. Pure: reports in, decisions out.
//!
//! Promises: a decision is taken only with reports of the same reign from a majority of every voter set, one of them
//! our own, none older than one election timeout; at most one decision for a reign until its reports have expired.
//! Among the witnesses the best `(last position, node)` elects: that is openraft's own order of candidates, so the one
//! that could win is the one that runs. The others know their rank, to stagger their back-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_types::{NodeId, Position};

use super::Reign;

/// "I have seen with my own link that this reign's leader is gone."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) from: NodeId,
    pub(crate) reign: Reign,
    /// The witness's last log entry.
    pub(crate) last: Option<Position>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) reign: Reign,
    /// Who should elect itself at once.
    pub(crate) best: NodeId,
    /// Our place among the witnesses, best first: 0 is `best`.
    pub(crate) rank: usize,
}

/// The reports of all witnesses, one per witness.
#[derive(Debug)]
pub(crate) struct Witnesses {
    me: NodeId,
    /// A report counts for this long: one election timeout, after which ordinary elections have taken over anyway.
    valid_for: Duration,
    reports: BTreeMap<NodeId, (Report, Duration)>,
    decided: Option<(Reign, Duration)>,
}

impl Witnesses {
    pub(crate) fn new(me: NodeId, valid_for: Duration) -> Self {
        Self {
            me,
            valid_for,
            reports: BTreeMap::new(),
            decided: None,
        }
    }

    /// Takes in a report, ours or another's, at `now` (time since any fixed moment).
    pub(crate) fn report(&mut self, now: Duration, report: Report) {
        self.reports.insert(report.from, (report, now));
    }

    /// Our own evidence was withdrawn.
    pub(crate) fn withdraw_ours(&mut self) {
        self.reports.remove(&self.me);
    }

    /// We have reported the death of `reign`'s leader, and the report still counts.
    pub(crate) fn have_reported(&self, now: Duration, reign: Reign) -> bool {
        self.reports
            .get(&self.me)
            .is_some_and(|(report, at)| report.reign == reign && self.counts(now, *at))
    }

    /// Decides about `reign`, the one that this node's own vote is for now.
    pub(crate) fn decide(
        &mut self,
        now: Duration,
        reign: Reign,
        voter_sets: &[BTreeSet<NodeId>],
    ) -> Option<Decision> {
        if self
            .decided
            .is_some_and(|(decided, at)| decided == reign && self.counts(now, at))
        {
            return None;
        }
        let witnesses: BTreeMap<NodeId, Option<Position>> = self
            .reports
            .values()
            .filter(|(report, at)| report.reign == reign && self.counts(now, *at))
            .map(|(report, _)| (report.from, report.last))
            .collect();
        let majority = |set: &BTreeSet<NodeId>| {
            let seen = set.iter().filter(|voter| witnesses.contains_key(voter)).count();
            seen > set.len() / 2
        };
        let is_voter = voter_sets.iter().any(|set| set.contains(&self.me));
        if !is_voter
            || voter_sets.is_empty()
            || !witnesses.contains_key(&self.me)
            || !voter_sets.iter().all(majority)
        {
            return None;
        }
        let mut ranking: Vec<(Option<Position>, NodeId)> = witnesses
            .into_iter()
            .filter(|(node, _)| voter_sets.iter().any(|set| set.contains(node)))
            .map(|(node, last)| (last, node))
            .collect();
        ranking.sort_unstable_by(|a, b| b.cmp(a));
        let best = ranking.first()?.1;
        let rank = ranking.iter().position(|(_, node)| *node == self.me)?;
        self.decided = Some((reign, now));
        Some(Decision { reign, best, rank })
    }

    fn counts(&self, now: Duration, at: Duration) -> bool {
        now.saturating_sub(at) <= self.valid_for
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::{Index, Term};

    use super::*;

    const ME: NodeId = NodeId(1);
    const REIGN: Reign = Reign {
        term: Term(4),
        leader: NodeId(9),
    };
    const OTHER: Reign = Reign {
        term: Term(3),
        leader: NodeId(9),
    };

    fn at(index: u64) -> Option<Position> {
        Some(Position {
            term: Term(4),
            leader: NodeId(9),
            index: Index(index),
        })
    }

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// (witness, reign, last index, reported at)
    type Seen = (u64, Reign, u64, u64);

    #[test]
    fn who_may_act_and_who_runs() {
        let decision = |best, rank| {
            Some(Decision {
                reign: REIGN,
                best: NodeId(best),
                rank,
            })
        };
        let three = [set(&[1, 2, 9])];
        let five = [set(&[1, 2, 3, 4, 9])];
        let joint = [set(&[1, 2, 9]), set(&[1, 3, 4])];
        let cases: &[(&str, &[BTreeSet<NodeId>], &[Seen], Option<Decision>)] = &[
            ("nobody saw anything", &three, &[], None),
            ("we alone", &three, &[(1, REIGN, 5, 0)], None),
            ("another alone", &three, &[(2, REIGN, 5, 0)], None),
            (
                "both survivors, ours is the longer log",
                &three,
                &[(1, REIGN, 6, 0), (2, REIGN, 5, 0)],
                decision(1, 0),
            ),
            (
                "both survivors, theirs is longer",
                &three,
                &[(1, REIGN, 5, 0), (2, REIGN, 6, 0)],
                decision(2, 1),
            ),
            (
                "equal logs: the larger node",
                &three,
                &[(1, REIGN, 5, 0), (2, REIGN, 5, 0)],
                decision(2, 1),
            ),
            (
                "they mean another reign",
                &three,
                &[(1, REIGN, 5, 0), (2, OTHER, 5, 0)],
                None,
            ),
            (
                "their report has expired",
                &three,
                &[(1, REIGN, 5, 150), (2, REIGN, 5, 0)],
                None,
            ),
            ("two of five", &five, &[(1, REIGN, 5, 0), (2, REIGN, 5, 0)], None),
            (
                "three of five",
                &five,
                &[(1, REIGN, 5, 0), (2, REIGN, 5, 0), (3, REIGN, 7, 0)],
                decision(3, 2),
            ),
            (
                "three of five without us",
                &five,
                &[(2, REIGN, 5, 0), (3, REIGN, 5, 0), (4, REIGN, 5, 0)],
                None,
            ),
            (
                "a learner's word does not count",
                &three,
                &[(1, REIGN, 5, 0), (7, REIGN, 9, 0)],
                None,
            ),
            (
                "joint: a majority of the old set only",
                &joint,
                &[(1, REIGN, 5, 0), (2, REIGN, 5, 0)],
                None,
            ),
            (
                "joint: a majority of both sets",
                &joint,
                &[(1, REIGN, 5, 0), (2, REIGN, 5, 0), (3, REIGN, 4, 0)],
                decision(2, 1),
            ),
            (
                "we are no voter",
                &[set(&[2, 3, 9])],
                &[(1, REIGN, 5, 0), (2, REIGN, 5, 0), (3, REIGN, 5, 0)],
                None,
            ),
            ("no voters at all", &[], &[(1, REIGN, 5, 0)], None),
        ];
        for (name, voters, seen, want) in cases {
            let mut witnesses = Witnesses::new(ME, Duration::from_millis(100));
            for (from, reign, last, ms) in *seen {
                let report = Report {
                    from: NodeId(*from),
                    reign: *reign,
                    last: at(*last),
                };
                witnesses.report(Duration::from_millis(*ms), report);
            }
            let now = Duration::from_millis(seen.iter().map(|seen| seen.3).max().unwrap_or(0));
            assert_eq!(&witnesses.decide(now, REIGN, voters), want, "{name}");
        }
    }

    #[test]
    fn a_reign_is_decided_once_until_its_reports_expire() {
        let voters = [set(&[1, 2, 9])];
        let mut witnesses = Witnesses::new(ME, Duration::from_millis(100));
        let mut both = |now: u64| {
            let now = Duration::from_millis(now);
            for from in [1, 2] {
                witnesses.report(
                    now,
                    Report {
                        from: NodeId(from),
                        reign: REIGN,
                        last: at(5),
                    },
                );
            }
            witnesses.decide(now, REIGN, &voters).is_some()
        };
        assert!(both(0));
        assert!(!both(50));
        assert!(both(151));
    }

    #[test]
    fn withdrawn_evidence_no_longer_counts() {
        let voters = [set(&[1, 2, 9])];
        let mut witnesses = Witnesses::new(ME, Duration::from_millis(100));
        let now = Duration::ZERO;
        for from in [1, 2] {
            witnesses.report(
                now,
                Report {
                    from: NodeId(from),
                    reign: REIGN,
                    last: at(5),
                },
            );
        }
        assert!(witnesses.have_reported(now, REIGN));
        witnesses.withdraw_ours();
        assert!(!witnesses.have_reported(now, REIGN));
        assert_eq!(witnesses.decide(now, REIGN, &voters), None);
    }
}
