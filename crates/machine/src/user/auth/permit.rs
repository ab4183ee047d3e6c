//! What a user may do.
//!
//! Promises: the verdict is that of the state at hand, so the same question is asked where a request comes in, to spare the log
//! what would be refused, and again when its entry is applied, to be right. A transaction is judged as a whole, both branches
//! and all that is nested, before anything of it is looked at. Left out on purpose: whether somebody is who they say.

use super::{KV_ROOT, KvAccess, KvAuth, KvUser, Ranges, ranges};
use crate::domain::kv::{KvOp, KvPut, KvTxn};
use crate::refusal::KvAuthRule as No;
use crate::user::User;
use bytes::Bytes;

/// A user that has proved to be it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvCaller {
    /// Its name.
    pub user: String,
    /// The auth revision at which it did.
    pub revision: u64,
}

/// What somebody has to be, or be allowed, for what they ask.
#[derive(Debug, Clone, Copy)]
pub enum KvNeed<'a> {
    /// Any known user.
    Known,
    /// One with the root role.
    Root,
    /// To read a range.
    Read {
        /// As in [`crate::KvRange`].
        key: &'a Bytes,
        /// As in [`crate::KvRange`].
        range_end: &'a Bytes,
    },
    /// To do all that a transaction might do.
    Txn(&'a KvTxn),
    /// To write every key of a lease.
    WriteLease(i64),
    /// To read every key of a lease.
    ReadLease(i64),
    /// To read every key that has a lease.
    ReadLeases,
    /// To be this user, or root.
    User(&'a str),
    /// To have this role, or root's.
    Role(&'a str),
}

impl KvAuth {
    /// The user behind a caller, unless what it has proved counts no more: it is gone, its password was changed, or
    /// authentication was enabled anew.
    #[must_use]
    pub fn standing(&self, by: &KvCaller) -> Option<&KvUser> {
        let user = self.user(&by.user)?;
        (by.revision >= user.since.max(self.head().enabled_at)).then_some(user)
    }

    /// Whether a user's roles together include a range.
    fn reaches(&self, user: &KvUser, access: KvAccess, key: &Bytes, range_end: &Bytes) -> Result<(), No> {
        let roles = user.roles.iter().filter_map(|role| self.view.roles.get(role));
        let sets = roles.map(|role| -> &Ranges {
            match access {
                KvAccess::Read => &role.read,
                KvAccess::Write | KvAccess::ReadWrite => &role.write,
            }
        });
        permitted(ranges::cover(sets, key, range_end))
    }
}

fn permitted(is_permitted: bool) -> Result<(), No> {
    match is_permitted {
        true => Ok(()),
        false => Err(No::PermissionDenied),
    }
}

static NO_END: Bytes = Bytes::new();

impl User {
    /// Whether `by` may. Everybody may while authentication is off.
    pub(crate) fn permits(&self, by: Option<&KvCaller>, need: &KvNeed<'_>) -> Result<(), No> {
        let auth = self.auth();
        if !auth.is_on() {
            return Ok(());
        }
        let by = by.ok_or(No::UserEmpty)?;
        let user = auth.standing(by).ok_or(No::OldRevision)?;
        if user.has_role(KV_ROOT) {
            return Ok(());
        }
        match *need {
            KvNeed::Known => Ok(()),
            KvNeed::Root => Err(No::PermissionDenied),
            KvNeed::Read { key, range_end } => auth.reaches(user, KvAccess::Read, key, range_end),
            KvNeed::Txn(txn) => self.permits_txn(user, txn),
            KvNeed::WriteLease(lease) => self.permits_lease(user, KvAccess::Write, lease),
            KvNeed::ReadLease(lease) => self.permits_lease(user, KvAccess::Read, lease),
            KvNeed::ReadLeases => {
                let mut keys = self.leased_keys();
                keys.try_for_each(|key| auth.reaches(user, KvAccess::Read, key, &NO_END))
            }
            KvNeed::User(name) => permitted(by.user == name),
            KvNeed::Role(role) => permitted(user.has_role(role)),
        }
    }

    fn permits_txn(&self, user: &KvUser, txn: &KvTxn) -> Result<(), No> {
        let auth = self.auth();
        for compare in &txn.compares {
            auth.reaches(user, KvAccess::Read, &compare.key, &compare.range_end)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                KvOp::Range(range) => auth.reaches(user, KvAccess::Read, &range.key, &range.range_end)?,
                KvOp::Put(put) => self.permits_put(user, put)?,
                KvOp::Delete(delete) => {
                    auth.reaches(user, KvAccess::Write, &delete.key, &delete.range_end)?;
                    if delete.prev_kv {
                        auth.reaches(user, KvAccess::Read, &delete.key, &delete.range_end)?;
                    }
                }
                KvOp::Txn(nested) => self.permits_txn(user, nested)?,
            }
        }
        Ok(())
    }

    /// To put a key under a lease takes what it takes to revoke that lease.
    fn permits_put(&self, user: &KvUser, put: &KvPut) -> Result<(), No> {
        let auth = self.auth();
        auth.reaches(user, KvAccess::Write, &put.key, &NO_END)?;
        if put.lease != 0 {
            self.permits_lease(user, KvAccess::Write, put.lease)?;
        }
        if put.prev_kv {
            auth.reaches(user, KvAccess::Read, &put.key, &NO_END)?;
        }
        Ok(())
    }

    fn permits_lease(&self, user: &KvUser, access: KvAccess, lease: i64) -> Result<(), No> {
        let auth = self.auth();
        self.lease_keys(lease)
            .try_for_each(|key| auth.reaches(user, access, key, &NO_END))
    }
}

#[cfg(test)]
#[path = "permit_tests.rs"]
mod tests;
