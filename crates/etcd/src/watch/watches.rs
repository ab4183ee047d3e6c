//! The watches of one stream. Pure.
//!
//! Promises: a watch gets what is at or behind its next revision, and no revision twice. It is *synced*: it gets what the
//! hub hands out; or *behind*: it reads the history ([`super::catch_up`]); or *ended*, because what it wants is forgotten:
//! then only its id is left, until the client cancels it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_replica::machine::ChangeSet;
use quorate_types::Revision;

use super::events::Wanted;
use super::index::Index;
use super::keys::Keys;

/// A watch's number in its stream.
pub(super) type WatchId = i64;

/// One that has not ended.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) keys: Keys,
    pub(super) wanted: Wanted,
    /// Large responses may be split.
    pub(super) fragment: bool,
    /// It is told now and then how far it is.
    pub(super) notify: bool,
    /// Nothing has happened since it was asked for last.
    pub(super) is_quiet: bool,
    /// The first revision that it is interested in.
    pub(super) start: Revision,
    /// It has had everything before, as far as it is synced with that.
    pub(super) next: Revision,
}

/// See the module.
#[derive(Default)]
pub(super) struct Watches {
    /// `None` has ended.
    all: BTreeMap<WatchId, Option<Watch>>,
    index: Index<WatchId>,
    behind: BTreeSet<WatchId>,
    /// The next id that is given out, if it is free.
    free: WatchId,
}

impl Watches {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a watch has this id, or had it and its client does not know of its end.
    pub(super) fn has(&self, id: WatchId) -> bool {
        self.all.contains_key(&id)
    }

    /// The id of a new watch: the one that is asked for, or for 0 a free one.
    pub(super) fn choose_id(&mut self, asked: WatchId) -> WatchId {
        if asked != 0 {
            return asked;
        }
        while self.has(self.free) {
            self.free += 1;
        }
        self.free += 1;
        self.free - 1
    }

    /// Adds a watch under a free id.
    pub(super) fn add(&mut self, id: WatchId, watch: Watch, is_behind: bool) {
        self.index.insert(&watch.keys, id);
        self.all.insert(id, Some(watch));
        if is_behind {
            self.behind.insert(id);
        }
    }

    /// Adds one that ends as soon as it has begun.
    pub(super) fn add_ended(&mut self, id: WatchId) {
        self.all.insert(id, None);
    }

    /// Ends a watch, and gives it; its id stays taken.
    pub(super) fn end(&mut self, id: WatchId) -> Option<Watch> {
        let watch = self.all.get_mut(&id)?.take()?;
        self.index.remove(&watch.keys, &id);
        self.behind.remove(&id);
        Some(watch)
    }

    /// Removes a watch; `None` when there is none of this id, and nothing in it when it had ended.
    pub(super) fn remove(&mut self, id: WatchId) -> Option<Option<Watch>> {
        let watch = self.end(id);
        self.all.remove(&id).map(|_| watch)
    }

    pub(super) fn get(&self, id: WatchId) -> Option<&Watch> {
        self.all.get(&id)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: WatchId) -> Option<&mut Watch> {
        self.all.get_mut(&id)?.as_mut()
    }

    /// Those that have not ended.
    pub(super) fn live(&self) -> impl Iterator<Item = (WatchId, &Watch)> {
        self.all
            .iter()
            .filter_map(|(id, watch)| Some((*id, watch.as_ref()?)))
    }

    pub(super) fn live_mut(&mut self) -> impl Iterator<Item = (WatchId, &mut Watch)> {
        self.all
            .iter_mut()
            .filter_map(|(id, watch)| Some((*id, watch.as_mut()?)))
    }

    /// Some read the history.
    pub(super) fn are_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    pub(super) fn is_synced(&self, id: WatchId) -> bool {
        !self.behind.contains(&id)
    }

    /// The one that is behind the most, and the revision that it reads next.
    pub(super) fn last(&self) -> Option<(WatchId, Revision)> {
        let next = |id: &WatchId| Some((*id, self.all.get(id)?.as_ref()?.next));
        let nexts = self.behind.iter().filter_map(next);
        nexts.min_by_key(|(_, next)| *next)
    }

    /// Ends the watches that are behind `floor`, and gives them.
    pub(super) fn end_below(&mut self, floor: Revision) -> Vec<(WatchId, Watch)> {
        let is_below = |id: &WatchId| {
            let watch = self.all.get(id).and_then(Option::as_ref);
            watch.is_some_and(|watch| watch.next < floor)
        };
        let below: Vec<WatchId> = self.behind.iter().copied().filter(is_below).collect();
        let ended = below.into_iter().map(|id| Some((id, self.end(id)?)));
        ended.flatten().collect()
    }

    /// A set comes from the hub: the synced watches that it is news to, which have it now.
    pub(super) fn take(&mut self, set: &ChangeSet) -> Vec<WatchId> {
        let mut news = Vec::new();
        for id in self.index.interested(&set.changes).into_iter().flatten() {
            if self.behind.contains(id) {
                continue;
            }
            if let Some(Some(watch)) = self.all.get_mut(id)
                && watch.next <= set.revision
            {
                watch.next = set.revision.next();
                news.push(*id);
            }
        }
        news
    }

    /// The watches that are behind and that a set is news to. They do not have it yet.
    pub(super) fn missed(&self, set: &ChangeSet) -> impl Iterator<Item = WatchId> + use<'_> {
        let groups = self.index.interested(&set.changes).into_iter();
        let revision = set.revision;
        groups
            .flat_map(|group| group.intersection(&self.behind).copied())
            .filter(move |id| {
                let watch = self.all.get(id).and_then(Option::as_ref);
                watch.is_some_and(|watch| watch.next <= revision)
            })
    }

    /// What the hub had from `from` on did not come: the synced watches are behind.
    pub(super) fn lose(&mut self, from: Revision) {
        for (id, watch) in &mut self.all {
            if let Some(watch) = watch
                && self.behind.insert(*id)
            {
                watch.next = watch.next.max(from);
            }
        }
    }

    /// The watches that are behind have everything up to `position`; if that is all there is, they are synced.
    pub(super) fn reach(&mut self, position: Revision, is_all: bool) {
        for id in &self.behind {
            if let Some(Some(watch)) = self.all.get_mut(id) {
                watch.next = watch.next.max(position.next());
            }
        }
        if is_all {
            self.behind.clear();
        }
    }
}

#[cfg(test)]
#[path = "watches_tests.rs"]
mod tests;
