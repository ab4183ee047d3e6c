//! Transactions on etcd's keyspace.
//!
//! Promises: as etcd: the compares of a transaction, and of those nested in it, are judged on the state before it; everything is
//! checked before anything is written; the operations of the chosen branch run in their order, each seeing the writes of
//! those before it; all writes are one revision. Left out on purpose: what a request may look like at all (how many
//! operations, no key twice), which is checked where requests come in, and reads without writes, which are no command.

mod auth;
mod auth_wire;
mod decide;
mod lease;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use quorate_types::Revision;

use crate::keyspace::Row;

pub(crate) use auth::{admit, change as change_auth};
pub(crate) use auth_wire::{auth_from_wire, auth_to_wire};
pub(crate) use decide::{compact, run};
pub(crate) use lease::{expire, grant, revoke};
pub(crate) use wire::{reply_from_wire, reply_to_wire, txn_from_wire, txn_to_wire};

/// How deep transactions may be nested; deeper ones are refused when they are read back, so whoever takes requests must
/// not let them in.
pub const KV_NESTING_MAX: usize = 32;

/// A transaction: what is done depends on whether all compares hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvTxn {
    /// None holds always.
    pub compares: Vec<KvCompare>,
    /// When they hold.
    pub success: Vec<KvOp>,
    /// When they do not.
    pub failure: Vec<KvOp>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvOp {
    Range(KvRange),
    Put(KvPut),
    Delete(KvDelete),
    Txn(KvTxn),
}

/// A read of a range of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvRange {
    /// The first key.
    pub key: Bytes,
    /// Empty: the key alone. One zero byte: every key from the first one on. Else the first key that is not meant.
    pub range_end: Bytes,
    /// Rows at most; 0 is no limit.
    pub limit: u64,
    /// At which revision; 0 is the present one.
    pub revision: u64,
    /// In which order.
    pub order: KvOrder,
    /// Ordered by what.
    pub target: KvTarget,
    /// Rows without their values.
    pub keys_only: bool,
    /// No rows.
    pub count_only: bool,
    /// Rows that were changed last at or after it.
    pub min_mod_revision: u64,
    /// Rows that were changed last at or before it; 0 is no bound.
    pub max_mod_revision: u64,
    /// Rows that were created at or after it.
    pub min_create_revision: u64,
    /// Rows that were created at or before it; 0 is no bound.
    pub max_create_revision: u64,
}

/// The order of a range's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KvOrder {
    /// By key; ascending when something else is ordered by.
    #[default]
    None = 0,
    /// The smallest first.
    Ascend = 1,
    /// The largest first.
    Descend = 2,
}

/// What a range is ordered by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvTarget {
    #[default]
    Key = 0,
    Version = 1,
    Create = 2,
    Mod = 3,
    Value = 4,
}

/// A write of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvPut {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease that the key dies with; 0 is none.
    pub lease: i64,
    /// The answer has the row that was there.
    pub prev_kv: bool,
    /// The value stays as it is; the key must exist.
    pub ignore_value: bool,
    /// The lease stays as it is; the key must exist.
    pub ignore_lease: bool,
}

/// A deletion of a range of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvDelete {
    /// As in [`KvRange`].
    pub key: Bytes,
    /// As in [`KvRange`].
    pub range_end: Bytes,
    /// The answer has the rows that were there.
    pub prev_kv: bool,
}

/// A condition that every row of a range must meet. A range without rows meets what a row of zeros meets; its value
/// meets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvCompare {
    /// As in [`KvRange`].
    pub key: Bytes,
    /// As in [`KvRange`].
    pub range_end: Bytes,
    /// The row's is this...
    pub relation: KvRelation,
    /// ...to that.
    pub operand: KvOperand,
}

/// How a row compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvRelation {
    Equal = 0,
    Greater = 1,
    Less = 2,
    NotEqual = 3,
}

/// With what a row is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvOperand {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Bytes),
    Lease(i64),
}

/// What a transaction came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvReply {
    /// The keyspace's revision after it.
    pub revision: Revision,
    /// Of the outermost one.
    pub result: KvTxnResult,
}

/// What one of the nested transactions came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvTxnResult {
    /// The compares held.
    pub succeeded: bool,
    /// One for each operation of the branch.
    pub results: Vec<KvResult>,
}

/// What an operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvResult {
    /// The keyspace's revision as the operation saw it, or made it.
    pub revision: Revision,
    /// By its kind.
    pub kind: KvResultKind,
}

/// See [`KvResult`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvResultKind {
    Range(KvRanged),
    /// What was there, if it was asked for.
    Put {
        before: Option<KeyRow>,
    },
    Delete {
        deleted: u64,
        /// What was there, if it was asked for.
        before: Vec<KeyRow>,
    },
    Txn(KvTxnResult),
}

/// The answer to a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvRanged {
    /// In the order that was asked for.
    pub rows: Vec<KeyRow>,
    /// The limit cut some off.
    pub more: bool,
    /// Keys in the range, whatever the limit.
    pub count: u64,
}

/// A row and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct KeyRow {
    pub key: Bytes,
    pub row: Arc<Row>,
}
