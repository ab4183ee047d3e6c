//! Leases: a time to live, and what dies with it.
//!
//! Promises: one table for every kind of lease. Today each lease carries a worker's session; etcd's leases come later and
//! share the table, so that one keeper on the leader watches over all. Left out on purpose: how much time is left.
//! Renewals are soft state of the leader and never enter the log; what enters it is [`expire`], when the leader has
//! decided that the time is up.

use crate::domain::session;
use crate::object_id::LeaseId;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::table::{Rows, Table, TableTag, Value};
use crate::txn::Txn;
use quorate_format::v1;

const LEASES: Table<LeaseId, Lease> = Table::new(TableTag::Lease);

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// Its time to live, milliseconds.
    pub ttl_ms: u64,
}

impl Value<LeaseId> for Lease {
    fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&v1::LeaseRow { ttl_ms: self.ttl_ms })
    }

    fn decode(id: LeaseId, bytes: &[u8]) -> Option<Self> {
        let row: v1::LeaseRow = prost::Message::decode(bytes).ok()?;
        Some(Self {
            id,
            ttl_ms: row.ttl_ms,
        })
    }
}

/// Grants a lease under a new id.
pub(crate) fn grant(txn: &mut Txn<'_>, ttl_ms: u64) -> Lease {
    let lease = Lease {
        id: LeaseId(txn.next_id()),
        ttl_ms,
    };
    LEASES.put(txn, lease.id, &lease);
    lease
}

/// Ends a lease. What it carries is the caller's to remove.
pub(crate) fn revoke(txn: &mut Txn<'_>, id: LeaseId) {
    LEASES.delete(txn, id);
}

/// Ends leases whose time is up at the leader, and what dies with them. Ids that are gone already are skipped: two leaders
/// may propose the same expiry, and a worker may close its session while its expiry is on the way.
pub(crate) fn expire(txn: &mut Txn<'_>, ids: &[LeaseId]) -> Result<Reply, Refusal> {
    let mut count = 0;
    for &id in ids {
        if LEASES.has(txn, id) {
            session::end(txn, id);
            revoke(txn, id);
            count += 1;
        }
    }
    Ok(Reply::LeasesExpired { count })
}

/// A lease by its id.
pub(crate) fn get(rows: &impl Rows, id: LeaseId) -> Option<Lease> {
    LEASES.get(rows, id)
}

/// All leases, by id.
pub(crate) fn all<R: Rows>(rows: &R) -> impl Iterator<Item = Lease> + use<'_, R> {
    LEASES.scan(rows, LEASES.start(), None).map(|(_, lease)| lease)
}

/// A row as the lease that it is.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Lease> {
    LEASES.decode(key, value)
}
