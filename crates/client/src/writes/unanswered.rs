//! The writes of a stream that have no answer yet, by tag.
//!
//! Promises: tags are never reused; [`Unanswered::all`] gives the writes in the order in which they were submitted,
//! which is the order in which they are sent again. Left out on purpose: what a write is.

use std::collections::BTreeMap;

/// See the module.
#[derive(Debug)]
pub(super) struct Unanswered<T> {
    last_tag: u64,
    by_tag: BTreeMap<u64, T>,
}

impl<T> Unanswered<T> {
    pub(super) fn new() -> Self {
        Self {
            last_tag: 0,
            by_tag: BTreeMap::new(),
        }
    }

    /// Adds a write and gives it its tag.
    pub(super) fn add(&mut self, write: T) -> u64 {
        self.last_tag += 1;
        self.by_tag.insert(self.last_tag, write);
        self.last_tag
    }

    /// Takes out the write with this tag; `None` when it was answered already or never sent.
    pub(super) fn take(&mut self, tag: u64) -> Option<T> {
        self.by_tag.remove(&tag)
    }

    pub(super) fn get(&self, tag: u64) -> Option<&T> {
        self.by_tag.get(&tag)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &T)> {
        self.by_tag.iter().map(|(tag, write)| (*tag, write))
    }

    /// Drops the writes that nobody waits for.
    pub(super) fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.by_tag.retain(|_, write| wanted(write));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    /// Takes out all writes.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.by_tag).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_sent_again_in_its_order() {
        let mut unanswered = Unanswered::new();
        let tags: Vec<u64> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|w| unanswered.add(w))
            .collect();
        assert_eq!(tags, [1, 2, 3, 4]);
        assert_eq!(
            (unanswered.take(2), unanswered.take(2), unanswered.take(9)),
            (Some("b"), None, None)
        );
        unanswered.retain(|write| *write != "c");
        assert_eq!(unanswered.all().collect::<Vec<_>>(), [(1, &"a"), (4, &"d")]);
        assert_eq!(
            unanswered.add("e"),
            5,
            "a tag that is free again still names the old write to a slow server"
        );
        assert_eq!(unanswered.take_all().collect::<Vec<_>>(), ["a", "d", "e"]);
        assert!(unanswered.is_empty());
    }
}
