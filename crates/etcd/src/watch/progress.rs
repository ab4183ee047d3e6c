//! How far a stream's watches are, told on request and now and then. Pure.
//!
//! Promises: what is told is true: every watch that it is about has had everything up to that revision on the same stream,
//! before. A request is answered with a revision at least as high as the replica's when it was made; etcd says nothing while
//! a watch is behind, here the answer waits until none is.

use std::collections::BTreeSet;

use quorate_types::Revision;

use super::watches::{WatchId, Watches};

/// Stands for all watches of a stream.
pub(super) const ALL: WatchId = -1;

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The client asks.
    asked: bool,
    /// Of these, because it is time.
    due: BTreeSet<WatchId>,
    /// Not before everything up to this revision is delivered.
    target: Option<Revision>,
}

impl Progress {
    /// The client asks, while the replica is at `revision`.
    pub(super) fn ask(&mut self, revision: Revision) {
        self.asked = true;
        self.target = self.target.max(Some(revision));
    }

    /// It is time for those watches that want it and of which nothing was heard since the last time.
    pub(super) fn tick(&mut self, watches: &mut Watches, revision: Revision) {
        for (id, watch) in watches.live_mut() {
            if watch.notify {
                if watch.is_quiet {
                    self.due.insert(id);
                }
                watch.is_quiet = true;
            }
        }
        if !self.due.is_empty() {
            self.target = self.target.max(Some(revision));
        }
    }

    /// What is waited for.
    pub(super) fn target(&self) -> Option<Revision> {
        self.target
    }

    /// Everything up to `revision` is delivered to the synced watches: whose progress is told now.
    pub(super) fn report(&mut self, watches: &Watches, revision: Revision) -> Vec<WatchId> {
        if self.target.is_none_or(|target| revision < target) {
            return Vec::new();
        }
        let due = std::mem::take(&mut self.due);
        let is_there = |id: &WatchId| {
            let watch = watches.get(*id);
            watch.is_some_and(|watch| watch.start <= revision) && watches.is_synced(*id)
        };
        let mut told: Vec<WatchId> = due.into_iter().filter(is_there).collect();
        if self.asked && !watches.are_behind() {
            self.asked = false;
            let mut starts = watches.live().map(|(_, watch)| watch.start).peekable();
            // One that begins in the future has no progress, and then there is none of all.
            if starts.peek().is_some() && starts.all(|start| start <= revision) {
                told.push(ALL);
            }
        }
        if !self.asked {
            self.target = None;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::events::Wanted;
    use crate::watch::keys::Keys;
    use crate::watch::watches::Watch;

    /// Each with its first revision, whether it is behind, whether it wants to be told.
    fn watches(list: &[(WatchId, u64, bool, bool)]) -> Watches {
        let mut watches = Watches::default();
        for (id, start, is_behind, notify) in list {
            let watch = Watch {
                keys: Keys::of(b"a", b"").expect("keys"),
                wanted: Wanted::new(&[], false),
                fragment: false,
                notify: *notify,
                is_quiet: true,
                start: Revision(*start),
                next: Revision(*start),
            };
            watches.add(*id, watch, *is_behind);
        }
        watches
    }

    #[test]
    fn a_request_is_answered_once_all_have_everything() {
        let cases: Vec<(&str, Watches, u64, Vec<WatchId>, bool)> = vec![
            (
                "synced",
                watches(&[(1, 0, false, false), (2, 5, false, true)]),
                9,
                vec![ALL],
                true,
            ),
            (
                "not everything is handed out",
                watches(&[(1, 0, false, false)]),
                8,
                vec![],
                false,
            ),
            (
                "more than everything",
                watches(&[(1, 0, false, false)]),
                12,
                vec![ALL],
                true,
            ),
            (
                "one is behind",
                watches(&[(1, 0, false, false), (2, 2, true, false)]),
                9,
                vec![],
                false,
            ),
            (
                "one begins later",
                watches(&[(1, 0, false, false), (2, 10, false, false)]),
                9,
                vec![],
                true,
            ),
            ("no watch", watches(&[]), 9, vec![], true),
        ];
        for (case, watches, revision, want, is_done) in cases {
            let mut progress = Progress::default();
            progress.ask(Revision(9));
            assert_eq!(progress.report(&watches, Revision(revision)), want, "{case}");
            assert_eq!(progress.target().is_none(), is_done, "{case}");
        }
    }

    #[test]
    fn quiet_watches_that_want_it_are_told_when_it_is_time() {
        let mut watches = watches(&[
            (1, 0, false, true),
            (2, 0, false, false),
            (3, 0, true, true),
            (4, 50, false, true),
            (5, 0, false, true),
        ]);
        let mut progress = Progress::default();
        watches.get_mut(5).expect("there").is_quiet = false;
        progress.tick(&mut watches, Revision(9));
        assert_eq!(progress.target(), Some(Revision(9)));
        assert_eq!(progress.report(&watches, Revision(8)), [0; 0]);
        assert_eq!(progress.report(&watches, Revision(9)), [1]);
        assert_eq!(progress.target(), None);
        watches.reach(Revision(9), true);
        progress.tick(&mut watches, Revision(9));
        watches.remove(1);
        assert_eq!(progress.report(&watches, Revision(60)), [3, 4, 5]);
    }
}
