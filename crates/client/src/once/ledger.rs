//! The numbers of one client's writes: which are open, and up to where all are settled.
//!
//! Promises: a number is given once; the floor is above a number only when that number is settled, which means that
//! nobody will ever send it again; floor and numbers only grow. Left out on purpose: who waits for a number.

use std::collections::BTreeSet;

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

    /// The next number, open from now on.
    pub(super) fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        number
    }

    /// All numbers below it are settled.
    pub(super) fn floor(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next)
    }

    /// Settles a number; returns how far the floor rose.
    pub(super) fn settle(&mut self, number: u64) -> u64 {
        let before = self.floor();
        self.open.remove(&number);
        self.floor() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_rises_when_the_oldest_is_settled() {
        // How many are taken first; then what is settled, and the floor and its rise after each.
        type Steps = &'static [(u64, u64, u64)];
        let cases: &[(&str, u64, Steps)] = &[
            ("in order", 3, &[(1, 2, 1), (2, 3, 1), (3, 4, 1)]),
            ("the oldest last", 3, &[(3, 1, 0), (2, 1, 0), (1, 4, 3)]),
            ("a gap", 3, &[(2, 1, 0), (1, 3, 2), (3, 4, 1)]),
            ("twice is once", 2, &[(1, 2, 1), (1, 2, 0), (2, 3, 1)]),
            ("a number never given", 1, &[(9, 1, 0), (1, 2, 1)]),
        ];
        for (name, taken, steps) in cases {
            let mut ledger = Ledger::new();
            assert_eq!(ledger.floor(), 1, "{name}");
            for want in 1..=*taken {
                assert_eq!(ledger.take(), want, "{name}");
            }
            for (settled, floor, rise) in *steps {
                assert_eq!(ledger.settle(*settled), *rise, "{name}: rise after {settled}");
                assert_eq!(ledger.floor(), *floor, "{name}: floor after {settled}");
            }
            assert_eq!(ledger.take(), taken + 1, "{name}: numbers are never reused");
        }
    }
}
