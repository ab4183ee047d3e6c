//! The hash of etcd's keys as they stood at a revision, in steps.
//!
//! Promises: it depends on nothing but the keys and their rows at that revision, so replicas that have the same give the
//! same, whatever each has compacted or written since; it is computed from the rows themselves and not from the digest that
//! is kept beside them, so that it finds a row that is not what it was. A step is short, however many keys and versions
//! there are, and however large: whoever runs it hands out others' turns in between. Left out on purpose: etcd's own hash,
//! which covers how its pages are laid out.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_types::Revision;

use super::{User, Version};
use crate::digest;
use crate::keyspace::{KeyspaceTag, Row};

/// Versions that one step looks at, at most.
const STEP_VERSIONS: usize = 1_024;
/// A step that has hashed this many bytes of keys and values is over.
const STEP_BYTES: usize = 1 << 20;

/// See the module. It owns what it reads: writes may go on.
#[derive(Debug, Clone)]
pub struct KvHash {
    versions: OrdMap<Version, Option<Arc<Row>>>,
    revision: Revision,
    compacted: Revision,
    /// Versions that were looked at.
    after: Bound<Version>,
    /// What stands under the key of the last of them.
    stands: Option<(Bytes, Arc<Row>)>,
    /// Of the rows of all keys before.
    sum: u128,
}

impl KvHash {
    /// Of the keys at a revision that can be read.
    pub(super) fn new(user: &User, revision: Revision) -> Self {
        Self {
            versions: user.versions.clone(),
            revision,
            compacted: user.compacted(),
            after: Bound::Unbounded,
            stands: None,
            sum: 0,
        }
    }

    /// The revision whose keys it is of.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that could be read when it began.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Goes on for a moment; gives the hash when everything was looked at.
    pub fn step(&mut self) -> Option<u32> {
        let mut bytes = 0;
        // A clone shares everything; it leaves the rest of the hash to be changed meanwhile.
        let versions = self.versions.clone();
        let next = versions.range((self.after.clone(), Bound::Unbounded));
        let mut last = None;
        for (seen, (version, row)) in next.enumerate() {
            if seen == STEP_VERSIONS || bytes >= STEP_BYTES {
                break;
            }
            if self.stands.as_ref().is_some_and(|(key, _)| *key != version.key) {
                bytes += self.settle();
            }
            if version.revision <= self.revision.0 {
                self.stands = row.as_ref().map(|row| (version.key.clone(), Arc::clone(row)));
            }
            last = Some(version);
        }
        if let Some(last) = last {
            self.after = Bound::Excluded(last.clone());
            return None;
        }
        self.settle();
        let [.., a, b, c, d] = digest::keys(self.revision, self.sum).to_be_bytes();
        Some(u32::from_be_bytes([a, b, c, d]))
    }

    /// Adds what stands under a key of which nothing more comes; tells how many bytes that was.
    fn settle(&mut self) -> usize {
        let Some((key, row)) = self.stands.take() else {
            return 0;
        };
        let digest = digest::row(KeyspaceTag::User, &key, &row);
        self.sum = self.sum.wrapping_add(digest);
        key.len() + row.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Written;
    use crate::refusal::Refusal;

    fn put(user: &mut User, key: &str, value: &str, lease: i64) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        user.put(Bytes::copy_from_slice(key.as_bytes()), Written { value, lease });
        user.close();
    }

    fn delete(user: &mut User, key: &'static str) {
        user.delete(Bytes::from(key));
        user.close();
    }

    /// Revisions 2 to 7.
    fn story() -> User {
        let mut user = User::new();
        put(&mut user, "a", "1", 0);
        put(&mut user, "b", "1", 0);
        put(&mut user, "a", "2", 0);
        delete(&mut user, "b");
        put(&mut user, "c", "1", 5);
        put(&mut user, "b", "2", 0);
        user
    }

    fn whole(mut hash: KvHash) -> u32 {
        loop {
            if let Some(whole) = hash.step() {
                assert_eq!(hash.step(), Some(whole), "asking again changes nothing");
                return whole;
            }
        }
    }

    fn at(user: &User, revision: u64) -> u32 {
        whole(user.hash(revision).expect("a revision that is kept"))
    }

    #[test]
    fn a_revision_has_its_hash_whatever_is_compacted_or_written_later() {
        let first = story();
        let hashes: Vec<u32> = (1..=7).map(|revision| at(&first, revision)).collect();
        assert_eq!(at(&first, 0), hashes[6], "the present one");
        let mut different = hashes.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), hashes.len(), "{hashes:?}");
        for compacted in 1..=7 {
            let mut user = story();
            user.compact(compacted).expect("a revision that is kept");
            put(&mut user, "d", "1", 0);
            delete(&mut user, "a");
            for revision in compacted..=7 {
                let want = hashes[usize::try_from(revision).expect("small") - 1];
                assert_eq!(at(&user, revision), want, "{revision} after {compacted}");
                let hash = user.hash(revision).expect("kept");
                assert_eq!(
                    (hash.revision().0, hash.compacted().0),
                    (revision, compacted),
                    "it says what it is of"
                );
            }
        }
    }

    #[test]
    fn everything_that_etcd_shows_of_a_key_counts() {
        let of = |writes: &[(&str, &str, i64)]| {
            let mut user = User::new();
            for (key, value, lease) in writes {
                put(&mut user, key, value, *lease);
            }
            at(&user, 0)
        };
        let hashes = [
            of(&[]),
            of(&[("a", "1", 0)]),
            of(&[("b", "1", 0)]),
            of(&[("a", "2", 0)]),
            of(&[("a", "1", 7)]),
            of(&[("a", "1", 0), ("a", "1", 0)]),
            of(&[("a", "1", 0), ("b", "1", 0)]),
            of(&[("b", "1", 0), ("a", "1", 0)]),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{index}: {hashes:?}");
        }
    }

    #[test]
    fn a_revision_that_cannot_be_read_has_none() {
        let mut user = story();
        user.compact(4).expect("kept");
        let refused = |revision| user.hash(revision).map(|_| ()).expect_err("not there");
        assert_eq!(refused(3), Refusal::KvCompacted { floor: 4 });
        assert_eq!(refused(8), Refusal::KvFutureRevision { revision: 8 });
    }

    #[test]
    fn a_step_is_bounded_in_versions_and_in_bytes() {
        let mut many = User::new();
        for number in 0..3 * STEP_VERSIONS {
            // Versions of one key, and keys that are gone, count as well as keys that are there.
            put(&mut many, &format!("k{}", number % 7), "v", 0);
        }
        let mut large = User::new();
        for number in 0..8 {
            put(&mut large, &format!("k{number}"), &"v".repeat(STEP_BYTES / 2), 0);
        }
        for (case, user, least) in [("versions", many, 3), ("bytes", large, 4)] {
            let mut hash = user.hash(0).expect("kept");
            let steps = std::iter::from_fn(|| hash.step().is_none().then_some(())).count();
            assert!((least..least + 3).contains(&steps), "{case}: {steps}");
        }
    }

    #[test]
    fn it_is_pinned() {
        // Replicas of two releases are compared by it.
        assert_eq!(
            (at(&User::new(), 0), at(&story(), 0)),
            (1_767_587_193, 2_644_962_588)
        );
    }
}
