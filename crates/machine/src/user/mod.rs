//! etcd's keys: what there is, and what there was since the last compaction.
//!
//! Promises: a read at a revision gives what a read then would have given, for every revision that is not compacted; a
//! write is seen by the reads behind it in the same transaction; a clone costs the same whatever the size. Revisions are
//! etcd's: an empty keyspace is at 1, each transaction that changes something makes one. Left out on purpose: what a
//! transaction may ask ([`crate::domain::kv`]), and leases' clocks.
//! Every key's lease exists, and a lease's keys go with it.
//!
//! Old versions are kept beside the rows and not in them, so that a key that is written a million times between two
//! compactions costs each write the same.

mod auth;
mod hash;
mod lease;
mod range;
mod tail;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_types::Revision;

use crate::domain::kv::{KvRange, KvRanged};
use crate::keyspace::{Change, ChangeSet, Compacted, History, Keyspace, KeyspaceTag, Row, Written};
use crate::refusal::Refusal;
use lease::Leases;
use tail::Tail;

pub(crate) use auth::{AuthWrite, is_secret};
pub use auth::{
    KV_ROOT, KvAccess, KvAuth, KvCaller, KvNeed, KvPassword, KvPasswordKind, KvPermission, KvSecret, KvUser,
};
pub use lease::{KvGrant, KvLease, KvLeaseNews, KvLeases};

pub use hash::KvHash;

/// Revision of a keyspace that was never written.
const FIRST: Revision = Revision(1);

/// A version of a key: the key, and the revision that made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    key: Bytes,
    revision: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct User {
    rows: Keyspace,
    /// Every version since the last compaction, and the one that stood then; `None` where the key was deleted.
    versions: OrdMap<Version, Option<Arc<Row>>>,
    /// Of the transaction that is going on.
    changes: Vec<Change>,
    leases: Leases,
    /// Shared until it changes, so that a write of a key costs the same whether there are users or not.
    auth: Arc<KvAuth>,
    /// What the history has lost last.
    tail: Tail,
}

impl User {
    /// Without keys.
    pub(crate) fn new() -> Self {
        Self {
            rows: Keyspace::new(KeyspaceTag::User, FIRST, FIRST),
            versions: OrdMap::new(),
            changes: Vec::new(),
            leases: Leases::new(),
            auth: Arc::new(KvAuth::new()),
            tail: Tail::default(),
        }
    }

    /// From the parts of a snapshot. The versions follow from the rows and the history. `None` when a user or a role cannot be
    /// read.
    pub(crate) fn from_parts(
        revision: Revision,
        rows: OrdMap<Bytes, Arc<Row>>,
        history: History,
        (leases_revision, leases): (Revision, OrdMap<Bytes, Arc<Row>>),
        (auth_revision, auth): (Revision, OrdMap<Bytes, Arc<Row>>),
    ) -> Option<Self> {
        let mut versions = OrdMap::new();
        let version = |key: &Bytes, revision: Revision| Version {
            key: key.clone(),
            revision: revision.0,
        };
        for (key, row) in &rows {
            versions.insert(version(key, row.mod_revision), Some(Arc::clone(row)));
        }
        // In their order: a transaction may delete a key and put it again, and the last write stands.
        for set in history.all() {
            for change in &set.changes {
                if let Some(before) = &change.before {
                    let before_it = version(&change.key, before.mod_revision);
                    versions.insert(before_it, Some(Arc::clone(before)));
                }
                versions.insert(version(&change.key, set.revision), change.after.clone());
            }
        }
        Some(Self {
            leases: Leases::from_parts(leases_revision, leases, &rows),
            auth: Arc::new(KvAuth::from_parts(auth_revision, auth)?),
            rows: Keyspace::from_parts(KeyspaceTag::User, revision, rows, history),
            versions,
            changes: Vec::new(),
            tail: Tail::default(),
        })
    }

    /// The present rows, and the history.
    pub(crate) fn rows(&self) -> &Keyspace {
        &self.rows
    }

    /// The revision as the transaction that is going on sees it: the next one once it has changed something.
    pub(crate) fn revision(&self) -> Revision {
        match self.changes.is_empty() {
            true => self.rows.revision(),
            false => self.rows.revision().next(),
        }
    }

    /// The oldest revision that can be read; 0 while nothing was compacted.
    pub(crate) fn compacted(&self) -> Revision {
        Revision(self.rows.history().floor().0 - 1)
    }

    /// The first revision whose changes can still be had.
    pub(crate) fn history_floor(&self) -> Revision {
        let floor = self.rows.history().floor();
        self.tail.first().map_or(floor, |first| first.min(floor))
    }

    /// Changes from `from` on, those among them that a compaction has forgotten just now.
    pub(crate) fn history(
        &self,
        from: Revision,
    ) -> Result<impl Iterator<Item = Arc<ChangeSet>> + Send + use<>, Compacted> {
        let floor = self.history_floor();
        if from < floor {
            return Err(Compacted { floor });
        }
        let history = self.rows.history();
        let kept = history.since(from.max(history.floor()))?;
        Ok(self.tail.since(from).chain(kept))
    }

    /// Whether a read at `revision` can be answered; 0 stands for the present one.
    pub(crate) fn check_revision(&self, revision: u64) -> Result<(), Refusal> {
        if revision > self.revision().0 {
            return Err(Refusal::KvFutureRevision { revision });
        }
        if revision != 0 && revision < self.compacted().0 {
            let floor = self.compacted().0;
            return Err(Refusal::KvCompacted { floor });
        }
        Ok(())
    }

    /// Answers a range.
    pub(crate) fn range(&self, range: &KvRange) -> Result<KvRanged, Refusal> {
        self.check_revision(range.revision)?;
        Ok(range::answer(self, range))
    }

    /// The hash of the keys as they stood at `revision`; 0 stands for the present one.
    pub(crate) fn hash(&self, revision: u64) -> Result<KvHash, Refusal> {
        self.check_revision(revision)?;
        let revision = match revision {
            0 => self.revision(),
            revision => Revision(revision),
        };
        Ok(KvHash::new(self, revision))
    }

    /// The present row under a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Row>> {
        self.rows.get(key)
    }

    /// The present rows of a range, ascending.
    pub(crate) fn present<'a>(
        &'a self,
        key: &'a [u8],
        range_end: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Arc<Row>)> + use<'a> {
        bounds(key, range_end)
            .into_iter()
            .flat_map(|bounds| self.rows.between(bounds))
    }

    /// The rows of a range as they stood at `revision`, ascending.
    fn past<'a>(
        &'a self,
        key: &'a [u8],
        range_end: &'a [u8],
        revision: Revision,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Arc<Row>)> + use<'a> {
        let (from, to) = bounds(key, range_end).unwrap_or((Bound::Excluded(key), Bound::Excluded(key)));
        let at = |key: &[u8], revision| Version {
            key: Bytes::copy_from_slice(key),
            revision,
        };
        let mut next = match from {
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(at(key, 0)),
            Bound::Unbounded => Bound::Unbounded,
        };
        std::iter::from_fn(move || {
            loop {
                let (first, _) = self.versions.range((next.clone(), Bound::Unbounded)).next()?;
                let within = match to {
                    Bound::Included(last) => first.key[..] <= *last,
                    Bound::Excluded(end) => first.key[..] < *end,
                    Bound::Unbounded => true,
                };
                if !within {
                    return None;
                }
                next = Bound::Excluded(at(&first.key, u64::MAX));
                let until = at(&first.key, revision.0);
                let stood = self.versions.range(at(&first.key, 0)..=until).next_back();
                if let Some((version, Some(row))) = stood {
                    return Some((&version.key, row));
                }
            }
        })
    }

    /// Puts a row, and gives what stood there.
    pub(crate) fn put(&mut self, key: Bytes, written: Written) -> Option<Arc<Row>> {
        self.write(key, Some(written))
    }

    /// Deletes a row, and gives it.
    pub(crate) fn delete(&mut self, key: Bytes) -> Option<Arc<Row>> {
        self.write(key, None)
    }

    fn write(&mut self, key: Bytes, written: Option<Written>) -> Option<Arc<Row>> {
        let revision = self.rows.revision().next();
        let change = self.rows.write(key, written)?;
        let version = Version {
            key: change.key.clone(),
            revision: revision.0,
        };
        self.versions.insert(version, change.after.clone());
        let before = change.before.clone();
        self.leases.follow(&change);
        self.changes.push(change);
        before
    }

    /// Whether no transaction is going on that has changed something.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.changes.is_empty()
    }

    /// Ends the transaction that is going on. `None` when it changed nothing.
    pub(crate) fn close(&mut self) -> Option<Arc<ChangeSet>> {
        let changes = std::mem::take(&mut self.changes);
        self.rows.close(changes)
    }

    /// The leases, as rows.
    pub(crate) fn leases(&self) -> &Keyspace {
        self.leases.rows()
    }

    /// The leases.
    pub(crate) fn lease_table(&self) -> &KvLeases {
        self.leases.table()
    }

    /// The keys that die with a lease, ascending.
    pub(crate) fn lease_keys(&self, lease: i64) -> impl Iterator<Item = &Bytes> + use<'_> {
        self.leases.keys(lease)
    }

    /// Grants a lease; there is none of this id. That is no change of the keyspace.
    pub(crate) fn grant(&mut self, lease: i64, ttl_s: u64) -> KvLease {
        self.leases.grant(lease, ttl_s)
    }

    /// Ends a lease and deletes its keys.
    pub(crate) fn end_lease(&mut self, lease: i64) {
        let doomed: Vec<Bytes> = self.leases.keys(lease).cloned().collect();
        for key in doomed {
            self.delete(key);
        }
        self.leases.end(lease);
    }

    /// All keys that have a lease.
    fn leased_keys(&self) -> impl Iterator<Item = &Bytes> + use<'_> {
        self.leases.leased_keys()
    }

    /// Users and roles, as rows.
    pub(crate) fn auth_rows(&self) -> &Keyspace {
        self.auth.rows()
    }

    /// Users and roles.
    pub(crate) fn auth(&self) -> &KvAuth {
        &self.auth
    }

    /// Changes users and roles. That is no change of the keyspace.
    pub(crate) fn write_auth(&mut self, writes: impl IntoIterator<Item = AuthWrite>) {
        Arc::make_mut(&mut self.auth).write(writes.into_iter());
    }

    /// Whether users and roles are what their rows say, from scratch.
    pub(crate) fn auth_fits(&self) -> bool {
        self.auth.fits()
    }

    /// Whether leases and keys fit together, from scratch.
    pub(crate) fn leases_fit(&self) -> bool {
        self.leases.fit(self.rows.rows())
    }

    /// Forgets what was overwritten or deleted up to `revision`, which becomes the oldest that can be read.
    pub(crate) fn compact(&mut self, revision: u64) -> Result<(), Refusal> {
        if revision <= self.compacted().0 {
            let floor = self.compacted().0;
            return Err(Refusal::KvCompacted { floor });
        }
        if revision > self.rows.revision().0 {
            return Err(Refusal::KvFutureRevision { revision });
        }
        let dropped = self.rows.forget(Revision(revision).next());
        for set in &dropped {
            for change in &set.changes {
                let version = |revision: Revision| Version {
                    key: change.key.clone(),
                    revision: revision.0,
                };
                // What the same transaction wrote before is no version of its own: the last write stands in its place.
                if let Some(before) = &change.before
                    && before.mod_revision < set.revision
                {
                    self.versions.remove(&version(before.mod_revision));
                }
                // A deletion hides nothing any more, unless the key was put again behind it.
                if let Some(None) = self.versions.get(&version(set.revision)) {
                    self.versions.remove(&version(set.revision));
                }
            }
        }
        self.tail.take(&dropped);
        Ok(())
    }

    /// Versions that are kept, for tests and for who wants to know the memory.
    #[cfg(test)]
    fn versions(&self) -> usize {
        self.versions.len()
    }
}

/// What a range covers: see [`KvRange::range_end`]. `None` is an empty range.
pub(crate) fn bounds<'a>(key: &'a [u8], range_end: &'a [u8]) -> Option<(Bound<&'a [u8]>, Bound<&'a [u8]>)> {
    match range_end {
        [] => Some((Bound::Included(key), Bound::Included(key))),
        [0] => Some((Bound::Included(key), Bound::Unbounded)),
        end if key < end => Some((Bound::Included(key), Bound::Excluded(end))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
