//! The newest of what compactions forgot, for watchers that were about to read it.
//!
//! Promises: a watcher that is a moment behind loses nothing to a compaction of everything; what is here is complete from
//! its first revision up to the last compaction, and bounded in sets and bytes. It enters neither digests nor snapshots, and
//! no command sees it: a machine out of a snapshot begins without.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_types::Revision;

use crate::keyspace::{ChangeSet, HistoryIter};

/// Change sets at most: those of a few batches of entries.
const SETS_MAX: usize = 4_096;
/// Bytes of keys and values at most. A set that is larger alone is not kept.
const BYTES_MAX: usize = 8 << 20;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    sets: OrdMap<u64, Arc<ChangeSet>>,
    bytes: usize,
}

impl Tail {
    /// Takes what a compaction has dropped, ascending.
    pub(super) fn take(&mut self, dropped: &[Arc<ChangeSet>]) {
        // There may be millions, and only the last of them can stay.
        let from = dropped.len().saturating_sub(SETS_MAX);
        if from > 0 {
            *self = Self::default();
        }
        for set in &dropped[from..] {
            self.bytes += set.bytes();
            self.sets.insert(set.revision.0, Arc::clone(set));
        }
        while self.sets.len() > SETS_MAX || self.bytes > BYTES_MAX {
            let Some(Revision(oldest)) = self.first() else {
                break;
            };
            self.bytes -= self.sets.remove(&oldest).map_or(0, |set| set.bytes());
        }
    }

    /// The first revision that is here.
    pub(super) fn first(&self) -> Option<Revision> {
        self.sets.get_min().map(|(revision, _)| Revision(*revision))
    }

    /// From a revision on.
    pub(super) fn since(&self, from: Revision) -> HistoryIter {
        HistoryIter::new(self.sets.clone(), from)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::keyspace::Change;

    fn sets(revisions: impl Iterator<Item = u64>, key_bytes: usize) -> Vec<Arc<ChangeSet>> {
        let change = Change {
            key: Bytes::from(vec![0; key_bytes]),
            before: None,
            after: None,
        };
        let set = |revision| ChangeSet {
            revision: Revision(revision),
            changes: vec![change.clone()],
        };
        revisions.map(|revision| Arc::new(set(revision))).collect()
    }

    fn held(tail: &Tail) -> Vec<u64> {
        tail.since(Revision(0)).map(|set| set.revision.0).collect()
    }

    #[test]
    fn the_newest_stay_over_several_compactions() {
        let mut tail = Tail::default();
        assert_eq!((tail.first(), held(&tail)), (None, vec![]));
        tail.take(&sets(2..5, 1));
        tail.take(&[]);
        tail.take(&sets(5..7, 1));
        assert_eq!(
            (tail.first(), held(&tail)),
            (Some(Revision(2)), vec![2, 3, 4, 5, 6])
        );
        assert_eq!(tail.since(Revision(6)).count(), 1);
        let last = 6 + SETS_MAX as u64;
        tail.take(&sets(7..=last, 1));
        assert_eq!((tail.first(), held(&tail).len()), (Some(Revision(7)), SETS_MAX));
        tail.take(&sets(last + 1..=last + 1, 1));
        assert_eq!((tail.first(), tail.bytes), (Some(Revision(8)), SETS_MAX));
        tail.take(&sets(last + 2..last + 9_999, 1));
        assert_eq!(held(&tail).len(), SETS_MAX);
    }

    #[test]
    fn few_large_sets_are_bounded_too() {
        let mut tail = Tail::default();
        tail.take(&sets(2..12, BYTES_MAX / 4));
        assert_eq!(held(&tail), [8, 9, 10, 11]);
        tail.take(&sets(12..13, BYTES_MAX + 1));
        assert_eq!((held(&tail), tail.bytes), (vec![], 0));
    }
}
