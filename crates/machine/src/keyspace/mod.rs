//! An ordered, revisioned, persistent map from keys to rows, with the history of its latest changes.
//!
//! Promises: a commit is one revision, its changes in write order; a commit that changes nothing raises nothing; a clone
//! costs the same whatever the size; the digest is kept up to date in O(1) for each changed row. Left out on purpose:
//! what the bytes mean. Typed rows are the business of [`crate::table`]; etcd's keys ([`crate::user`]) live in another
//! instance of the same type, with its own revision and history, so that neither can see or move the other.

mod cursor;
mod history;
mod stored;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use quorate_types::Revision;

pub(crate) use cursor::Cursor;
pub(crate) use history::History;
pub use history::{Compacted, HistoryIter};

use crate::digest;

/// Which keyspace. The number is part of digests and snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyspaceTag {
    /// Typed rows, written by the domains.
    Meta = 1,
    /// etcd's keys.
    User = 2,
    /// etcd's leases.
    Leases = 3,
    /// etcd's users and roles.
    Auth = 4,
}

impl KeyspaceTag {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The value.
    pub value: Bytes,
    /// The revision that created the row.
    pub create_revision: Revision,
    /// The revision that changed it last.
    pub mod_revision: Revision,
    /// How often it was written since it was created, from 1.
    pub version: u64,
    /// The lease that it dies with; 0 is none. Only etcd's keys have one.
    pub lease: i64,
}

/// The change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// What stood there; `None` when the row was created.
    pub before: Option<Arc<Row>>,
    /// What stands there now; `None` when the row was deleted.
    pub after: Option<Arc<Row>>,
}

impl Change {
    /// Bytes that the change keeps in memory, roughly: keys and values.
    fn bytes(&self) -> usize {
        let value = |row: &Option<Arc<Row>>| row.as_ref().map_or(0, |row| row.value.len());
        self.key.len() + value(&self.before) + value(&self.after)
    }
}

/// All changes of one accepted command, in write order. One command is one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// The revision that the changes made.
    pub revision: Revision,
    /// At least one.
    pub changes: Vec<Change>,
}

impl ChangeSet {
    /// Bytes that the changes keep in memory, roughly: keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(Change::bytes).sum()
    }
}

/// A write of a transaction: a value, or `None` to delete.
pub(crate) type Write = (Bytes, Option<Bytes>);

/// What a row is to be.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) value: Bytes,
    pub(crate) lease: i64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Keyspace {
    tag: KeyspaceTag,
    revision: Revision,
    rows: OrdMap<Bytes, Arc<Row>>,
    history: History,
    /// Wrapping sum of the digests of all rows.
    digest: u128,
    /// Bytes of all keys and values.
    bytes: u64,
}

impl Keyspace {
    /// An empty keyspace at `revision`; its first commit makes the next one, and watchers may ask from `floor` on.
    pub(crate) fn new(tag: KeyspaceTag, revision: Revision, floor: Revision) -> Self {
        Self {
            tag,
            revision,
            rows: OrdMap::new(),
            history: History::new(floor),
            digest: 0,
            bytes: 0,
        }
    }

    /// From the parts of a snapshot.
    pub(crate) fn from_parts(
        tag: KeyspaceTag,
        revision: Revision,
        rows: OrdMap<Bytes, Arc<Row>>,
        history: History,
    ) -> Self {
        let mut keyspace = Self {
            tag,
            revision,
            rows,
            history,
            digest: 0,
            bytes: 0,
        };
        keyspace.digest = keyspace.recomputed_digest();
        let bytes = keyspace
            .rows
            .iter()
            .map(|(key, row)| (key.len() + row.value.len()) as u64);
        keyspace.bytes = bytes.sum();
        keyspace
    }

    pub(crate) fn tag(&self) -> KeyspaceTag {
        self.tag
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Row>> {
        self.rows.get(key)
    }

    /// Rows whose keys start with `prefix`, ascending, after `after` if it is given.
    pub(crate) fn scan<'a>(
        &'a self,
        prefix: Vec<u8>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Arc<Row>)> + use<'a> {
        let from = match after {
            Some(after) if after >= prefix.as_slice() => Bound::Excluded(after),
            _ => Bound::Included(prefix.as_slice()),
        };
        self.rows
            .range::<_, [u8]>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(&prefix))
    }

    /// The same rows, owned: the iterator keeps this state alive and is handed from thread to thread.
    pub(crate) fn cursor(&self, prefix: Vec<u8>) -> Cursor {
        Cursor::new(self.rows.clone(), prefix)
    }

    /// Applies writes as one revision. `None` when nothing changed: a delete of what is not there is no change, a put
    /// always is one (whoever does not want that does not put).
    pub(crate) fn commit(&mut self, writes: Vec<Write>) -> Option<Arc<ChangeSet>> {
        let write = |(key, value): Write| self.write(key, value.map(|value| Written { value, lease: 0 }));
        let changes = writes.into_iter().filter_map(write).collect();
        let set = self.close(changes)?;
        self.history.trim();
        Some(set)
    }

    /// Makes a write of the next revision. `None` when it changes nothing. Whoever calls this calls
    /// [`Keyspace::close`] with all changes, or drops the keyspace.
    pub(crate) fn write(&mut self, key: Bytes, written: Option<Written>) -> Option<Change> {
        let revision = self.revision.next();
        let before = self.rows.get(&key).cloned();
        let after = written.map(|written| Arc::new(Row::written(written, before.as_deref(), revision)));
        match (&before, &after) {
            (None, None) => return None,
            (_, Some(row)) => drop(self.rows.insert(key.clone(), Arc::clone(row))),
            (Some(_), None) => drop(self.rows.remove(&key)),
        }
        if let Some(row) = &before {
            self.digest = self.digest.wrapping_sub(digest::row(self.tag, &key, row));
            self.bytes -= (key.len() + row.value.len()) as u64;
        }
        if let Some(row) = &after {
            self.digest = self.digest.wrapping_add(digest::row(self.tag, &key, row));
            self.bytes += (key.len() + row.value.len()) as u64;
        }
        Some(Change { key, before, after })
    }

    /// Ends the next revision. `None` when nothing changed: the revision stays, too.
    pub(crate) fn close(&mut self, changes: Vec<Change>) -> Option<Arc<ChangeSet>> {
        if changes.is_empty() {
            return None;
        }
        self.revision = self.revision.next();
        let set = Arc::new(ChangeSet {
            revision: self.revision,
            changes,
        });
        self.history.push(Arc::clone(&set));
        Some(set)
    }

    /// Rows between two keys, ascending.
    pub(crate) fn between<'a>(
        &'a self,
        bounds: (Bound<&'a [u8]>, Bound<&'a [u8]>),
    ) -> impl Iterator<Item = (&'a Bytes, &'a Arc<Row>)> + use<'a> {
        self.rows.range::<_, [u8]>(bounds)
    }

    /// Keys whose rows are not what they were in `before`: the key, the row then, the row now. It costs what differs.
    pub(crate) fn differences<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a Bytes, Option<&'a Arc<Row>>, Option<&'a Arc<Row>>)> + use<'a> {
        before.rows.diff(&self.rows).map(|item| match item {
            DiffItem::Add(key, now) => (key, None, Some(now)),
            DiffItem::Update { old, new } => (new.0, Some(old.1), Some(new.1)),
            DiffItem::Remove(key, then) => (key, Some(then), None),
        })
    }

    /// All rows.
    pub(crate) fn rows(&self) -> &OrdMap<Bytes, Arc<Row>> {
        &self.rows
    }

    /// Drops the changes below `floor`, and gives them.
    pub(crate) fn forget(&mut self, floor: Revision) -> Vec<Arc<ChangeSet>> {
        self.history.forget(floor)
    }

    /// The digest, from scratch.
    pub(crate) fn recomputed_digest(&self) -> u128 {
        self.rows
            .iter()
            .map(|(key, row)| digest::row(self.tag, key, row))
            .fold(0, u128::wrapping_add)
    }
}

impl Row {
    fn written(written: Written, before: Option<&Self>, revision: Revision) -> Self {
        Self {
            value: written.value,
            lease: written.lease,
            create_revision: before.map_or(revision, |row| row.create_revision),
            mod_revision: revision,
            version: before.map_or(1, |row| row.version + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> Write {
        (Bytes::from(key), Some(Bytes::from(value)))
    }

    fn delete(key: &'static str) -> Write {
        (Bytes::from(key), None)
    }

    fn space() -> Keyspace {
        Keyspace::new(KeyspaceTag::Meta, Revision(1), Revision(2))
    }

    #[test]
    fn a_commit_is_one_revision_with_its_changes_in_write_order() {
        let mut space = space();
        let set = space.commit(vec![put("b", "1"), put("a", "2")]).expect("changes");
        assert_eq!(set.revision, Revision(2));
        let keys: Vec<_> = set.changes.iter().map(|change| &change.key[..]).collect();
        assert_eq!(keys, [b"b", b"a"]);
        let row = space.get(b"a").expect("written");
        assert_eq!(
            (row.create_revision, row.mod_revision, row.version),
            (Revision(2), Revision(2), 1)
        );

        let set = space.commit(vec![put("a", "3"), delete("b")]).expect("changes");
        assert_eq!(set.revision, Revision(3));
        assert_eq!(set.changes[0].before.as_ref().map(|row| row.version), Some(1));
        let row = space.get(b"a").expect("written");
        assert_eq!(
            (row.create_revision, row.mod_revision, row.version),
            (Revision(2), Revision(3), 2)
        );
        assert!(space.get(b"b").is_none());
    }

    #[test]
    fn a_commit_that_changes_nothing_raises_nothing() {
        let mut space = space();
        assert_eq!(space.commit(vec![]), None);
        assert_eq!(space.commit(vec![delete("a")]), None);
        assert_eq!(space.revision(), Revision(1));
    }

    #[test]
    fn a_row_that_is_created_again_starts_over() {
        let mut space = space();
        space.commit(vec![put("a", "1")]);
        space.commit(vec![delete("a")]);
        space.commit(vec![put("a", "1")]);
        let row = space.get(b"a").expect("written");
        assert_eq!((row.create_revision, row.version), (Revision(4), 1));
    }

    #[test]
    fn a_scan_keeps_to_its_prefix_and_starts_after_its_key() {
        let mut space = space();
        space.commit(
            ["a", "ba", "bb", "bc", "c"]
                .into_iter()
                .map(|key| put(key, "v"))
                .collect(),
        );
        let keys = |prefix: &str, after: Option<&str>| {
            let rows = space.scan(prefix.into(), after.map(str::as_bytes));
            rows.map(|(key, _)| String::from_utf8_lossy(key).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("b", None), ["ba", "bb", "bc"]);
        assert_eq!(keys("b", Some("bb")), ["bc"]);
        assert_eq!(keys("b", Some("bbb")), ["bc"]);
        assert_eq!(keys("b", Some("a")), ["ba", "bb", "bc"]);
        assert_eq!(keys("b", Some("z")), [""; 0]);
        assert_eq!(keys("", None).len(), 5);
        let owned: Vec<_> = space.cursor(b"b".to_vec()).map(|(key, _)| key).collect();
        assert_eq!(owned, ["ba", "bb", "bc"]);
    }

    #[test]
    fn the_digest_and_the_bytes_follow_every_change() {
        let mut space = space();
        let empty = space.digest();
        for writes in [
            vec![put("a", "1"), put("b", "2")],
            vec![put("a", "longer")],
            vec![delete("b"), delete("a")],
        ] {
            space.commit(writes);
            assert_eq!(space.digest(), space.recomputed_digest());
        }
        assert_eq!((space.digest(), space.bytes()), (empty, 0));
    }
}
