//! What is compacted, and when. Pure: looks in, decisions out; a look is one interval after the one before.
//!
//! Promises, as etcd: by revisions, the newest ones are kept, looked after every five minutes; by time, what was overwritten
//! within the retention is kept, and a bit more: a look remembers the revision, ten looks to a retention (to an hour when that
//! is shorter), and what is compacted is the oldest remembered one, once a retention (an hour). A compaction that did not come
//! about is decided again at the next look.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_types::Revision;

use crate::config::AutoCompaction;

/// Between two looks after a number of revisions.
const REVISIONS_EVERY: Duration = Duration::from_secs(5 * 60);
/// However long the retention is, this often something is compacted.
const PERIOD_MAX: Duration = Duration::from_secs(3_600);
/// Looks in such a period.
const LOOKS_PER_PERIOD: u32 = 10;
/// Bounds of a retention: looks do not follow on one another, and what is remembered is below a megabyte.
const RETENTION_MIN: Duration = Duration::from_secs(1);
const RETENTION_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// See the module.
#[derive(Debug)]
pub(super) struct Rule {
    interval: Duration,
    kept: Kept,
    /// What was compacted last.
    last: Revision,
}

#[derive(Debug)]
enum Kept {
    Revisions(u64),
    Time {
        /// What the revision was at the last looks, the oldest first.
        remembered: VecDeque<Revision>,
        remembered_max: usize,
        /// Looks since something was compacted, or since the beginning.
        looks: usize,
        /// Looks until something is compacted again.
        wait: usize,
    },
}

impl Rule {
    /// The first look, at this revision.
    pub(super) fn new(setting: AutoCompaction, revision: Revision) -> Self {
        let (interval, kept) = match setting {
            AutoCompaction::Revisions { keep } => (REVISIONS_EVERY, Kept::Revisions(keep)),
            AutoCompaction::Periodic { retention } => {
                let retention = retention.clamp(RETENTION_MIN, RETENTION_MAX);
                let interval = retention.min(PERIOD_MAX) / LOOKS_PER_PERIOD;
                let looks = retention.as_nanos() / interval.as_nanos();
                let looks = usize::try_from(looks).unwrap_or(usize::MAX);
                let kept = Kept::Time {
                    remembered: [revision].into(),
                    remembered_max: looks.saturating_add(1),
                    looks: 0,
                    wait: looks,
                };
                (interval, kept)
            }
        };
        let last = Revision(0);
        Self { interval, kept, last }
    }

    /// Between two looks.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// A look: what is to be compacted now. Who does not lead only remembers, so that it knows when it does.
    pub(super) fn look(&mut self, revision: Revision, leads: bool) -> Option<Revision> {
        let target = match &mut self.kept {
            Kept::Revisions(keep) => Revision(revision.0.saturating_sub(*keep)),
            Kept::Time {
                remembered,
                remembered_max,
                looks,
                wait,
            } => {
                *looks = looks.saturating_add(1);
                let oldest = remembered.front().copied().unwrap_or_default();
                let is_due = *looks >= *wait;
                remembered.push_back(revision);
                if remembered.len() > *remembered_max {
                    remembered.pop_front();
                }
                if !is_due {
                    return None;
                }
                oldest
            }
        };
        (leads && target > Revision(0) && target != self.last).then_some(target)
    }

    /// It is compacted.
    pub(super) fn compacted(&mut self, revision: Revision) {
        self.last = revision;
        if let Kept::Time { looks, wait, .. } = &mut self.kept {
            *looks = 0;
            *wait = LOOKS_PER_PERIOD as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn periodic(retention: Duration) -> AutoCompaction {
        AutoCompaction::Periodic { retention }
    }

    /// Looks at these revisions; what was decided at which look, counted from 1, and done unless it is to fail.
    fn decided(
        setting: AutoCompaction,
        revisions: impl IntoIterator<Item = u64>,
        leads: impl Fn(usize) -> bool,
        fails: &[usize],
    ) -> Vec<(usize, u64)> {
        let mut revisions = revisions.into_iter();
        let mut rule = Rule::new(setting, Revision(revisions.next().unwrap_or_default()));
        let mut all = Vec::new();
        for (look, revision) in (1..).zip(revisions) {
            if let Some(target) = rule.look(Revision(revision), leads(look)) {
                all.push((look, target.0));
                if !fails.contains(&look) {
                    rule.compacted(target);
                }
            }
        }
        all
    }

    #[test]
    fn the_interval_follows_the_retention() {
        let cases = [
            (AutoCompaction::Revisions { keep: 1_000 }, seconds(300)),
            (periodic(seconds(3_600)), seconds(360)),
            (periodic(seconds(59 * 60)), seconds(354)),
            (periodic(seconds(24 * 3_600)), seconds(360)),
            (periodic(seconds(5)), Duration::from_millis(500)),
            (periodic(Duration::ZERO), Duration::from_millis(100)),
            (periodic(Duration::MAX), seconds(360)),
        ];
        for (setting, want) in cases {
            assert_eq!(Rule::new(setting, Revision(1)).interval(), want, "{setting:?}");
        }
    }

    #[test]
    fn so_many_revisions_are_kept() {
        let keep = |keep| AutoCompaction::Revisions { keep };
        let cases: [(&str, u64, &[u64], &[usize], &[(usize, u64)]); 5] = [
            ("fewer than that", 100, &[1, 50, 99, 100], &[], &[]),
            (
                "some more",
                100,
                &[1, 101, 150, 350],
                &[],
                &[(1, 1), (2, 50), (3, 250)],
            ),
            (
                "nothing new",
                100,
                &[1, 150, 150, 150, 151],
                &[],
                &[(1, 50), (4, 51)],
            ),
            ("it fails", 100, &[1, 150, 150, 150], &[1], &[(1, 50), (2, 50)]),
            ("none is kept but the present one", 0, &[1, 7, 7], &[], &[(1, 7)]),
        ];
        for (case, kept, revisions, fails, want) in cases {
            let got = decided(keep(kept), revisions.iter().copied(), |_| true, fails);
            assert_eq!(got, want, "{case}");
        }
    }

    #[test]
    fn what_was_overwritten_lately_is_kept() {
        let hour = periodic(seconds(3_600));
        let day = periodic(seconds(24 * 3_600));
        // A hundred revisions between two looks.
        let steady = |looks: u64| (0..=looks).map(|look| 1 + 100 * look);
        let always = |_| true;
        assert_eq!(decided(hour, steady(9), always, &[]), []);
        // The first one after an hour, then each hour what was there an hour before, and a look.
        assert_eq!(
            decided(hour, steady(35), always, &[]),
            [(10, 1), (20, 901), (30, 1_901)]
        );
        // The first one after a day, then hourly.
        assert_eq!(
            decided(day, steady(265), always, &[]),
            [(240, 1), (250, 901), (260, 1_901)]
        );
        // A failure is tried again at the next look, and moves on.
        assert_eq!(
            decided(hour, steady(24), always, &[10, 11]),
            [(10, 1), (11, 1), (12, 101), (22, 1_101)]
        );
        // Nothing was written: there is nothing to do, until there is.
        let idle = (0..30).map(|look| if look < 15 { 5 } else { 6 });
        assert_eq!(decided(hour, idle, always, &[]), [(10, 5), (26, 6)]);
        assert_eq!(
            decided(hour, std::iter::repeat_n(0, 30), always, &[]),
            [],
            "no keys yet"
        );
    }

    #[test]
    fn a_new_leader_goes_on_with_what_it_remembers() {
        let hour = periodic(seconds(3_600));
        let steady = (0..=40).map(|look| 1 + 100 * look);
        let got = decided(hour, steady, |look| look >= 25, &[]);
        assert_eq!(got, [(25, 1_401), (35, 2_401)]);
        let got = decided(
            AutoCompaction::Revisions { keep: 10 },
            [1, 100, 200, 300],
            |look| look >= 2,
            &[],
        );
        assert_eq!(got, [(2, 190), (3, 290)]);
    }
}
