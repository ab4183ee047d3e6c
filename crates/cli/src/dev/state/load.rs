//! The load as its clients feel it: counts, rate, and the times between acknowledgements. Pure.
//!
//! Promises: a gap is the time between two acknowledgements that followed each other; the gaps of the last
//! [`GAPS_MAX`] acknowledgements are kept.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::moment::Moment;

/// Gaps that are kept: about 20 seconds of the load.
const GAPS_MAX: usize = 4_096;
/// Rates are counted over this long.
const RATE_OVER: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Load {
    /// Writes that were sent.
    pub(in super::super) sent: u64,
    /// Writes that were acknowledged.
    pub(in super::super) acknowledged: u64,
    /// Writes that were given up.
    pub(in super::super) failed: u64,
    /// Reads that were answered.
    pub(in super::super) reads: u64,
    /// Reads that were given up.
    pub(in super::super) reads_failed: u64,
    /// When the last write was acknowledged.
    pub(in super::super) last_acknowledged: Option<Moment>,
    gaps: VecDeque<Gap>,
}

/// The time between an acknowledgement and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Gap {
    /// When it ended.
    pub(in super::super) end: Moment,
    /// How long it was.
    pub(in super::super) length: Duration,
}

impl Load {
    /// A write was acknowledged.
    pub(super) fn acknowledge(&mut self, at: Moment) {
        self.acknowledged += 1;
        if let Some(last) = self.last_acknowledged {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.pop_front();
            }
            self.gaps.push_back(Gap {
                end: at,
                length: at.since(last),
            });
        }
        self.last_acknowledged = Some(at);
    }

    /// Writes that wait for their answer.
    pub(in super::super) fn waiting(&self) -> u64 {
        self.sent.saturating_sub(self.acknowledged + self.failed)
    }

    /// Writes acknowledged per second, lately.
    pub(in super::super) fn rate(&self, now: Moment) -> f64 {
        let since = now.before(RATE_OVER);
        let lately = self.gaps.iter().rev().take_while(|gap| gap.end > since).count();
        lately as f64 / RATE_OVER.as_secs_f64()
    }

    /// The longest gap that ended after `since`, and not after `until` unless it is the first that did.
    pub(super) fn longest(&self, since: Moment, until: Moment) -> Option<Gap> {
        let after = self.gaps.partition_point(|gap| gap.end <= since);
        let later = self.gaps.partition_point(|gap| gap.end <= until);
        // A gap that lasts until later than asked for began before, so it is a part of what is asked for.
        let to = (later + 1).min(self.gaps.len());
        let gaps = self.gaps.range(after.min(to)..to);
        gaps.copied().max_by_key(|gap| gap.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn the_longest_gap_is_the_longest_that_ended_since() {
        let mut load = Load::default();
        for at in [100, 105, 400, 405, 460, 465] {
            load.acknowledge(ms(at));
        }
        let cases = [
            ("all of it", 0, 1_000, Some((400, 295))),
            ("an end at the moment itself is over", 400, 1_000, Some((460, 55))),
            ("it may have begun before", 399, 1_000, Some((400, 295))),
            ("it may end later", 101, 200, Some((400, 295))),
            ("what is later is another matter", 101, 104, Some((105, 5))),
            ("the last", 460, 1_000, Some((465, 5))),
            ("nothing since", 465, 1_000, None),
        ];
        for (name, since, until, want) in cases {
            let found = load
                .longest(ms(since), ms(until))
                .map(|gap| (gap.end, gap.length));
            let want = want.map(|(end, length)| (ms(end), Duration::from_millis(length)));
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn gaps_are_bounded_and_counted() {
        let mut load = Load {
            sent: 10_001,
            failed: 1,
            ..Load::default()
        };
        for at in 0..10_000 {
            load.acknowledge(ms(at * 5));
        }
        assert_eq!(
            (load.gaps.len(), load.acknowledged, load.waiting()),
            (GAPS_MAX, 10_000, 0)
        );
        let rate = load.rate(ms(9_999 * 5));
        assert!((199.0..=201.0).contains(&rate), "{rate}");
    }
}
