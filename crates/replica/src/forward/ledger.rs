//! The numbers of one client's writes: which are open, and below which all are settled.
//!
//! Promises: a number is given once; the floor passes a number only when that is settled, which means that nobody will
//! ever send it again; fewer numbers lie between the floor and the newest than the machine keeps answers for one client, so
//! that none is ever refused for want of room. Left out on purpose: who waits for a number.

use std::collections::BTreeSet;

use quorate_types::limits::CLIENT_ANSWERS_MAX;

/// Numbers from the floor to the newest at most. It is the span that counts, not how many are open: an answer stays
/// remembered until the floor has passed it.
const SPAN_MAX: u64 = CLIENT_ANSWERS_MAX as u64 - 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    next: u64,
    open: BTreeSet<u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            open: BTreeSet::new(),
        }
    }

    /// The next number, open from now on; `None` when the oldest open one is too far back.
    pub(super) fn take(&mut self) -> Option<u64> {
        if self.next - self.floor() >= SPAN_MAX {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        Some(number)
    }

    /// All numbers below it are settled.
    pub(super) fn floor(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }

    /// Nobody will send this number again.
    pub(super) fn settle(&mut self, number: u64) {
        self.open.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_rises_when_the_oldest_is_settled() {
        // How many are taken first; then what is settled, and the floor after it.
        type Steps = &'static [(u64, u64)];
        let cases: &[(&str, u64, Steps)] = &[
            ("none taken", 0, &[(1, 1)]),
            ("in order", 3, &[(1, 2), (2, 3), (3, 4)]),
            ("the oldest last", 3, &[(3, 1), (2, 1), (1, 4)]),
            ("a gap", 3, &[(2, 1), (1, 3), (3, 4)]),
            ("twice is once", 2, &[(1, 2), (1, 2), (2, 3)]),
            ("a number never given", 1, &[(9, 1), (1, 2)]),
        ];
        for (name, taken, steps) in cases {
            let mut ledger = Ledger::new();
            for want in 1..=*taken {
                assert_eq!(ledger.take(), Some(want), "{name}");
                assert_eq!(ledger.floor(), 1, "{name}");
            }
            for (settled, floor) in *steps {
                ledger.settle(*settled);
                assert_eq!(ledger.floor(), *floor, "{name}: after {settled}");
            }
            assert_eq!(ledger.take(), Some(taken + 1), "{name}: numbers are never reused");
        }
    }

    #[test]
    fn the_span_is_bounded_and_not_only_the_count() {
        let mut ledger = Ledger::new();
        let taken: Vec<u64> = std::iter::from_fn(|| ledger.take()).collect();
        assert_eq!(taken.len() as u64, SPAN_MAX);
        for number in &taken[1..] {
            ledger.settle(*number);
        }
        assert_eq!(ledger.take(), None, "the oldest still holds the floor down");
        ledger.settle(1);
        assert_eq!(ledger.floor(), SPAN_MAX + 1);
        assert_eq!(ledger.take(), Some(SPAN_MAX + 1));
    }
}
