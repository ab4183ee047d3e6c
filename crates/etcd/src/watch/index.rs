//! Who is interested in a change.
//!
//! Promises: finding costs what is found, and not how many there are: single keys are looked up, ranges are searched.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use quorate_replica::machine::Change;

use super::keys::Keys;
use super::ranges::Ranges;

/// See the module. Who is interested in the same keys is in one group.
pub(super) struct Index<T> {
    single: HashMap<Bytes, BTreeSet<T>>,
    ranges: Ranges<BTreeSet<T>>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            single: HashMap::new(),
            ranges: Ranges::default(),
        }
    }
}

impl<T: Ord> Index<T> {
    pub(super) fn insert(&mut self, keys: &Keys, who: T) {
        match keys {
            Keys::One(key) => {
                self.single.entry(key.clone()).or_default().insert(who);
            }
            Keys::Range(range) => match self.ranges.get_mut(range) {
                Some(group) => {
                    group.insert(who);
                }
                None => self.ranges.insert(range.clone(), BTreeSet::from([who])),
            },
        }
    }

    pub(super) fn remove(&mut self, keys: &Keys, who: &T) {
        match keys {
            Keys::One(key) => {
                if let Some(group) = self.single.get_mut(key) {
                    group.remove(who);
                    if group.is_empty() {
                        self.single.remove(key);
                    }
                }
            }
            Keys::Range(range) => {
                if let Some(group) = self.ranges.get_mut(range) {
                    group.remove(who);
                    if group.is_empty() {
                        self.ranges.remove(range);
                    }
                }
            }
        }
    }

    /// The groups that are interested in any of the changes, each once.
    pub(super) fn interested(&self, changes: &[Change]) -> Vec<&BTreeSet<T>> {
        let mut groups: Vec<&BTreeSet<T>> = Vec::new();
        for change in changes {
            groups.extend(self.single.get(&change.key));
            self.ranges.each(&change.key, &mut |group| groups.push(group));
        }
        if changes.len() > 1 {
            groups.sort_unstable_by_key(|group| std::ptr::from_ref(*group));
            groups.dedup_by_key(|group| std::ptr::from_ref(*group));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &'static str) -> Change {
        Change {
            key: Bytes::from(key),
            before: None,
            after: None,
        }
    }

    fn found(index: &Index<u32>, keys: &[&'static str]) -> Vec<u32> {
        let changes: Vec<_> = keys.iter().map(|key| change(key)).collect();
        let groups = index.interested(&changes);
        let mut found: Vec<u32> = groups.into_iter().flatten().copied().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn everybody_interested_is_found_once() {
        let watches = [
            (1, "a", ""),
            (2, "a", ""),
            (3, "b", ""),
            (4, "a", "b"),
            (5, "a", "b"),
            (6, "", "\0"),
            (7, "b", "c"),
        ];
        let keys = |key: &str, end: &str| Keys::of(key.as_bytes(), end.as_bytes()).unwrap();
        let mut index = Index::default();
        for (who, key, end) in watches {
            index.insert(&keys(key, end), who);
        }
        let cases: &[(&[&'static str], &[u32])] = &[
            (&["a"], &[1, 2, 4, 5, 6]),
            (&["aa"], &[4, 5, 6]),
            (&["b"], &[3, 6, 7]),
            (&["c"], &[6]),
            (&["a", "b", "a", "ab"], &[1, 2, 3, 4, 5, 6, 7]),
            (&["x", "y"], &[6]),
            (&[], &[]),
        ];
        for (changed, want) in cases {
            assert_eq!(found(&index, changed), *want, "{changed:?}");
        }
        for who in [1, 4, 6] {
            let (_, key, end) = watches[who - 1];
            index.remove(&keys(key, end), &u32::try_from(who).unwrap());
        }
        assert_eq!(found(&index, &["a", "c"]), [2, 5]);
        for (who, key, end) in watches {
            index.remove(&keys(key, end), &who);
        }
        assert!(index.single.is_empty());
        assert_eq!(found(&index, &["a", "b"]), [0_u32; 0]);
    }
}
