//! etcd's leases: which there are, and which keys die with each.
//!
//! Promises: a lease that is granted, ends and is granted again under the same id is told apart from its predecessor
//! ([`KvGrant`]), so that an expiry on its way to the old one cannot hit the new one; the keys of a lease are found without
//! scanning. Left out on purpose: how much time is left, which is soft state of the leader, like that of sessions
//! ([`crate::lease`]). Those have ids that the machine gives out; these have ids that clients choose, hence a table of
//! their own.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use prost::Message;
use quorate_format::v1;
use quorate_types::Revision;

use crate::keyspace::{Change, History, Keyspace, KeyspaceTag, Row};

/// Revision of a table that never had a lease.
const FIRST: Revision = Revision(1);

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLease {
    /// Which.
    pub grant: KvGrant,
    /// Its time to live, seconds.
    pub ttl_s: u64,
}

/// One grant of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KvGrant {
    /// The lease's id; never 0.
    pub lease: i64,
    /// The revision of the leases (not of the keys) that granted it.
    pub granted: Revision,
}

/// All leases at some moment; a clone costs the same whatever the size, and keeps nothing but leases in memory.
#[derive(Debug, Clone)]
pub struct KvLeases {
    rows: Keyspace,
}

/// What became of a lease between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvLeaseNews {
    Granted(KvLease),
    Ended(KvGrant),
}

impl KvLeases {
    /// It moves whenever a lease is granted or ends.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.rows.revision()
    }

    /// A lease by its id.
    #[must_use]
    pub fn get(&self, lease: i64) -> Option<KvLease> {
        let row = self.rows.get(&key(lease))?;
        read(lease, row)
    }

    /// By id.
    pub fn iter(&self) -> impl Iterator<Item = KvLease> + use<'_> {
        let rows = self.rows.scan(Vec::new(), None);
        rows.filter_map(|(key, row)| read(id(key)?, row))
    }

    /// What has happened since `before`. It costs what has changed, not what there is.
    pub fn news<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = KvLeaseNews> + use<'a> {
        self.rows.differences(&before.rows).flat_map(|(key, then, now)| {
            let lease = |row: Option<&Arc<Row>>| read(id(key)?, row?);
            let ended = lease(then).map(|lease| KvLeaseNews::Ended(lease.grant));
            let granted = lease(now).map(KvLeaseNews::Granted);
            ended.into_iter().chain(granted)
        })
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    table: KvLeases,
    /// Lease and key, for every key that has a lease.
    attached: OrdSet<(i64, Bytes)>,
}

impl Leases {
    /// Without leases.
    pub(super) fn new() -> Self {
        Self::from_parts(FIRST, OrdMap::new(), &OrdMap::new())
    }

    /// From the parts of a snapshot; what is attached follows from the keys.
    pub(super) fn from_parts(
        revision: Revision,
        leases: OrdMap<Bytes, Arc<Row>>,
        keys: &OrdMap<Bytes, Arc<Row>>,
    ) -> Self {
        // No history is kept: who follows the leases compares.
        let history = History::restored(revision.next(), []);
        let leased = keys.iter().filter(|(_, row)| row.lease != 0);
        Self {
            table: KvLeases {
                rows: Keyspace::from_parts(KeyspaceTag::Leases, revision, leases, history),
            },
            attached: leased.map(|(key, row)| (row.lease, key.clone())).collect(),
        }
    }

    pub(super) fn table(&self) -> &KvLeases {
        &self.table
    }

    pub(super) fn rows(&self) -> &Keyspace {
        &self.table.rows
    }

    /// Grants a lease; there is none of this id.
    pub(super) fn grant(&mut self, lease: i64, ttl_s: u64) -> KvLease {
        let row = v1::KvLeaseRow { ttl_s }.encode_to_vec();
        self.write(lease, Some(Bytes::from(row)));
        let granted = self.table.rows.revision();
        KvLease {
            grant: KvGrant { lease, granted },
            ttl_s,
        }
    }

    /// Ends a lease. Its keys are the caller's to delete.
    pub(super) fn end(&mut self, lease: i64) {
        self.write(lease, None);
    }

    fn write(&mut self, lease: i64, row: Option<Bytes>) {
        let rows = &mut self.table.rows;
        rows.commit(vec![(Bytes::copy_from_slice(&key(lease)), row)]);
        rows.forget(rows.revision().next());
    }

    /// The keys that die with a lease, ascending.
    pub(super) fn keys(&self, lease: i64) -> impl Iterator<Item = &Bytes> + use<'_> {
        self.attached
            .range((lease, Bytes::new())..)
            .take_while(move |(of, _)| *of == lease)
            .map(|(_, key)| key)
    }

    /// All keys that die with some lease.
    pub(super) fn leased_keys(&self) -> impl Iterator<Item = &Bytes> + use<'_> {
        self.attached.iter().map(|(_, key)| key)
    }

    /// Follows a change of a key.
    pub(super) fn follow(&mut self, change: &Change) {
        let lease = |row: &Option<Arc<Row>>| row.as_ref().map_or(0, |row| row.lease);
        let (before, after) = (lease(&change.before), lease(&change.after));
        if before == after {
            return;
        }
        if before != 0 {
            self.attached.remove(&(before, change.key.clone()));
        }
        if after != 0 {
            self.attached.insert((after, change.key.clone()));
        }
    }

    /// Whether what is kept up to date is what follows from the keys, whose leases all exist.
    pub(super) fn fit(&self, keys: &OrdMap<Bytes, Arc<Row>>) -> bool {
        let rows = self.rows();
        let again = Self::from_parts(rows.revision(), OrdMap::new(), keys);
        let exist = self
            .attached
            .iter()
            .all(|(lease, _)| self.table.get(*lease).is_some());
        let readable = self.table.iter().count() == rows.len();
        again.attached == self.attached && exist && readable && rows.digest() == rows.recomputed_digest()
    }
}

/// Ascending as the numbers are.
fn key(lease: i64) -> [u8; 8] {
    (lease.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn id(key: &[u8]) -> Option<i64> {
    let number = u64::from_be_bytes(key.try_into().ok()?);
    Some((number ^ (1 << 63)).cast_signed()).filter(|lease| *lease != 0)
}

fn read(lease: i64, row: &Arc<Row>) -> Option<KvLease> {
    let v1::KvLeaseRow { ttl_s } = Message::decode(&row.value[..]).ok()?;
    Some(KvLease {
        grant: KvGrant {
            lease,
            granted: row.create_revision,
        },
        ttl_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_numbers() {
        let ids = [i64::MIN, -7, -1, 1, 7, i64::MAX];
        let mut leases = Leases::new();
        for lease in ids.into_iter().rev() {
            leases.grant(lease, 5);
        }
        let listed: Vec<_> = leases.table().iter().map(|lease| lease.grant.lease).collect();
        assert_eq!(listed, ids);
        assert_eq!(id(&key(0)), None, "0 is no lease");
        assert_eq!(id(b"short"), None);
    }

    #[test]
    fn news_are_what_has_changed() {
        let mut leases = Leases::new();
        let empty = leases.table().clone();
        let (one, two) = (leases.grant(1, 5), leases.grant(2, 6));
        let both = leases.table().clone();
        leases.end(1);
        let again = leases.grant(1, 5);
        leases.end(2);
        let now = leases.table().clone();
        assert_ne!(one.grant, again.grant);
        let news = |now: &KvLeases, before: &KvLeases| now.news(before).collect::<Vec<_>>();
        use KvLeaseNews::{Ended, Granted};
        assert_eq!(news(&both, &empty), [Granted(one), Granted(two)]);
        assert_eq!(
            news(&now, &both),
            [Ended(one.grant), Granted(again), Ended(two.grant)]
        );
        assert_eq!(news(&now, &now), []);
        assert_eq!((now.get(1), now.get(2)), (Some(again), None));
        assert!(now.revision() > both.revision());
    }
}
