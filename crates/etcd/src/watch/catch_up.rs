//! Watches that are behind read the history, all those of a stream together, a page at a time.
//!
//! Promises: a page is bounded in sets and in what comes of it; who was behind and has read everything of a state is synced
//! with what the hub hands out later, without a gap and without a double; who wants what is forgotten ends and is told
//! from where on there is something.
//!
//! Why there is no gap: a stream subscribes to a watch's keys before it takes the state that the watch reads, so the hub
//! hands it everything of interest that is newer than that state. Why there is no double: what the watch has read is
//! below its next revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_replica::machine::{Change, ChangeSet, Image, KeyRow, KvRange};
use quorate_types::Revision;

use super::keys::Keys;
use super::watches::{Watch, WatchId, Watches};

/// Sets that one page looks at: a fraction of a millisecond.
const PAGE_SETS: usize = 1_024;
/// Sets for all watches together that a page gives, beyond which it ends with the revision.
const PAGE_FINDS: usize = 4_096;

/// What came of a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// These have ended.
    pub(super) ended: Vec<(WatchId, Watch)>,
    /// What they wanted is older than this.
    pub(super) compacted: Revision,
    /// What the others get, each in the order of revisions.
    pub(super) found: BTreeMap<WatchId, Vec<Arc<ChangeSet>>>,
    /// How far they are now.
    pub(super) position: Revision,
}

/// Reads the next page for the watches that are behind.
pub(super) fn read(watches: &mut Watches, image: &Image) -> Page {
    let (compacted, floor) = (image.kv_compacted(), image.kv_history_floor());
    let mut page = Page {
        ended: watches.end_below(floor.min(compacted)),
        compacted,
        ..Page::default()
    };
    let Some((id, next)) = watches.last() else {
        return page;
    };
    if next < floor {
        page.read_compacted(watches, id, image);
        return page;
    }
    page.position = Revision(next.0 - 1);
    let Ok(history) = image.kv_history(next) else {
        // Not reached: `next` is not below the floor.
        return page;
    };
    let mut finds = 0;
    for set in history.take(PAGE_SETS) {
        for id in watches.missed(&set) {
            page.found.entry(id).or_default().push(Arc::clone(&set));
            finds += 1;
        }
        page.position = set.revision;
        if finds >= PAGE_FINDS {
            break;
        }
    }
    // Above all that there is: watches of the future.
    let is_all = page.position >= image.kv_revision();
    watches.reach(page.position, is_all);
    page
}

impl Page {
    /// A watch begins at the revision that was compacted, and its changes are no longer known here. The rows that it wrote
    /// last still stand; what it deleted is not known any more, as in earlier releases of etcd.
    fn read_compacted(&mut self, watches: &mut Watches, id: WatchId, image: &Image) {
        let Some(watch) = watches.get_mut(id) else {
            return;
        };
        self.position = self.compacted;
        watch.next = self.compacted.next();
        let rows = written_at(image, &watch.keys, self.compacted);
        if !rows.is_empty() {
            let change = |row: KeyRow| Change {
                key: row.key,
                before: None,
                after: Some(row.row),
            };
            let set = ChangeSet {
                revision: self.compacted,
                changes: rows.into_iter().map(change).collect(),
            };
            self.found.insert(id, vec![Arc::new(set)]);
        }
    }
}

/// The rows that stood at `revision` and were written last by it.
fn written_at(image: &Image, keys: &Keys, revision: Revision) -> Vec<KeyRow> {
    let (key, range_end) = keys.bounds();
    let range = KvRange {
        key,
        range_end,
        revision: revision.0,
        min_mod_revision: revision.0,
        ..KvRange::default()
    };
    // A compacted revision can be read.
    image
        .kv_range(&range)
        .map(|ranged| ranged.rows)
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "catch_up_tests.rs"]
mod tests;
