//! The latest changes of a keyspace, for watchers that resume, at whatever replica.
//!
//! Promises: every change set from the floor on is here, each whole; the floor rises only when a limit or a command
//! forces it, at the same entry on every replica, because the limits count what is applied and nothing else. What is
//! trimmed is bounded by [`WATCH_HISTORY_CHANGES`] and [`WATCH_HISTORY_BYTES`]; the newest set stays even if it alone is
//! above them, so that a watcher which is up to date never finds its next change compacted. etcd's history is not trimmed
//! but forgotten, when a client says so.

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use quorate_types::Revision;
use quorate_types::limits::{WATCH_HISTORY_BYTES, WATCH_HISTORY_CHANGES};

use super::ChangeSet;

/// Changes below the floor are gone; read the state and watch from its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The first revision whose changes are kept.
    pub floor: Revision,
}

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "changes below revision {} are no longer kept; read the state and watch from its revision",
            self.floor
        )
    }
}

impl std::error::Error for Compacted {}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct History {
    sets: OrdMap<u64, Arc<ChangeSet>>,
    floor: Revision,
    changes: usize,
    bytes: usize,
}

impl History {
    /// Without changes, complete from `floor` on.
    pub(super) fn new(floor: Revision) -> Self {
        Self {
            sets: OrdMap::new(),
            floor,
            changes: 0,
            bytes: 0,
        }
    }

    /// From a snapshot: the sets as they were kept, nothing trimmed.
    pub(crate) fn restored(floor: Revision, sets: impl IntoIterator<Item = ChangeSet>) -> Self {
        let mut history = Self::new(floor);
        for set in sets {
            history.add(Arc::new(set));
        }
        history
    }

    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// Changes in all sets.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Bytes of keys and values in all sets.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, set: Arc<ChangeSet>) {
        self.add(set);
    }

    /// Keeps to the limits.
    pub(super) fn trim(&mut self) {
        while self.sets.len() > 1
            && (self.changes > WATCH_HISTORY_CHANGES || self.bytes > WATCH_HISTORY_BYTES)
        {
            self.drop_oldest();
        }
    }

    /// Change sets from `from` on; none when it lies ahead.
    pub(crate) fn since(&self, from: Revision) -> Result<HistoryIter, Compacted> {
        if from < self.floor {
            return Err(Compacted { floor: self.floor });
        }
        Ok(HistoryIter {
            sets: self.sets.clone(),
            next: from.0,
        })
    }

    /// All change sets.
    pub(crate) fn all(&self) -> HistoryIter {
        HistoryIter {
            sets: self.sets.clone(),
            next: 0,
        }
    }

    fn add(&mut self, set: Arc<ChangeSet>) {
        self.changes += set.changes.len();
        self.bytes += set.bytes();
        self.sets.insert(set.revision.0, set);
    }

    /// Drops the sets below `floor`, and gives them; the floor never falls.
    pub(super) fn forget(&mut self, floor: Revision) -> Vec<Arc<ChangeSet>> {
        let mut dropped = Vec::new();
        while let Some(&(oldest, _)) = self.sets.get_min()
            && oldest < floor.0
        {
            dropped.extend(self.remove(oldest));
        }
        self.floor = self.floor.max(floor);
        dropped
    }

    fn drop_oldest(&mut self) {
        let Some(&(oldest, _)) = self.sets.get_min() else {
            return;
        };
        self.remove(oldest);
        self.floor = Revision(oldest).next();
    }

    fn remove(&mut self, revision: u64) -> Option<Arc<ChangeSet>> {
        let set = self.sets.remove(&revision)?;
        self.changes -= set.changes.len();
        self.bytes -= set.bytes();
        Some(set)
    }
}

/// Change sets in the order of their revisions. It owns what it reads: writes may go on.
#[derive(Debug, Clone)]
pub struct HistoryIter {
    sets: OrdMap<u64, Arc<ChangeSet>>,
    next: u64,
}

impl HistoryIter {
    /// The sets from `from` on.
    pub(crate) fn new(sets: OrdMap<u64, Arc<ChangeSet>>, from: Revision) -> Self {
        Self { sets, next: from.0 }
    }
}

impl Iterator for HistoryIter {
    type Item = Arc<ChangeSet>;

    fn next(&mut self) -> Option<Self::Item> {
        let (revision, set) = self.sets.get_next(&self.next)?;
        self.next = revision + 1;
        Some(Arc::clone(set))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Change;
    use super::*;

    fn set(revision: u64, changes: usize) -> Arc<ChangeSet> {
        let change = Change {
            key: Bytes::from_static(b"key"),
            before: None,
            after: None,
        };
        Arc::new(ChangeSet {
            revision: Revision(revision),
            changes: vec![change; changes],
        })
    }

    fn push(history: &mut History, set: Arc<ChangeSet>) {
        history.push(set);
        history.trim();
    }

    fn revisions(history: &History, from: u64) -> Result<Vec<u64>, Compacted> {
        let sets = history.since(Revision(from))?;
        Ok(sets.map(|set| set.revision.0).collect())
    }

    #[test]
    fn a_watcher_reads_from_its_revision_on() {
        let mut history = History::new(Revision(2));
        assert_eq!(revisions(&history, 2), Ok(vec![]));
        for revision in 2..6 {
            push(&mut history, set(revision, 1));
        }
        assert_eq!(revisions(&history, 2), Ok(vec![2, 3, 4, 5]));
        assert_eq!(revisions(&history, 5), Ok(vec![5]));
        assert_eq!(revisions(&history, 6), Ok(vec![]));
        assert_eq!(revisions(&history, u64::MAX), Ok(vec![]));
        assert_eq!(revisions(&history, 1), Err(Compacted { floor: Revision(2) }));
    }

    #[test]
    fn the_floor_rises_by_whole_sets_when_there_are_too_many_changes() {
        let mut history = History::new(Revision(1));
        let half = WATCH_HISTORY_CHANGES / 2;
        push(&mut history, set(1, half));
        push(&mut history, set(2, WATCH_HISTORY_CHANGES - half));
        assert_eq!(history.floor(), Revision(1));
        push(&mut history, set(3, 1));
        assert_eq!(history.floor(), Revision(2));
        assert_eq!(revisions(&history, 2), Ok(vec![2, 3]));
        assert_eq!(revisions(&history, 1), Err(Compacted { floor: Revision(2) }));
    }

    #[test]
    fn the_newest_set_stays_however_large_it_is() {
        let mut history = History::new(Revision(1));
        push(&mut history, set(1, 1));
        push(&mut history, set(2, WATCH_HISTORY_CHANGES + 1));
        assert_eq!(revisions(&history, 2), Ok(vec![2]));
        assert_eq!(history.changes(), WATCH_HISTORY_CHANGES + 1);
    }

    #[test]
    fn few_changes_of_huge_rows_are_bounded_too() {
        let mut history = History::new(Revision(1));
        let row = Arc::new(super::super::Row {
            value: Bytes::from(vec![0; WATCH_HISTORY_BYTES / 4]),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: 0,
        });
        for revision in 1..=8 {
            let change = Change {
                key: Bytes::from_static(b"k"),
                before: None,
                after: Some(Arc::clone(&row)),
            };
            let set = ChangeSet {
                revision: Revision(revision),
                changes: vec![change],
            };
            push(&mut history, Arc::new(set));
        }
        assert_eq!(revisions(&history, 6), Ok(vec![6, 7, 8]));
        assert_eq!(history.floor(), Revision(6));
    }
}
