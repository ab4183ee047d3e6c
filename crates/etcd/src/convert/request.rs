//! Requests: checked as etcd checks them, and taken apart.

use prost::Message;
use quorate_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use quorate_replica::machine::{Command, KvDelete, KvOp, KvOrder, KvPut, KvRange, KvTarget, KvTxn};

use super::{Invalid, compare, overlap, unsigned};
use crate::limits::{REQUEST_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPS_MAX};

/// A read. Its size is bounded by that of a message alone, as in etcd: it enters no log.
pub(crate) fn range(request: RangeRequest) -> Result<KvRange, Invalid> {
    key_given(&request.key)?;
    let order = match SortOrder::try_from(request.sort_order) {
        Ok(SortOrder::None) => KvOrder::None,
        Ok(SortOrder::Ascend) => KvOrder::Ascend,
        Ok(SortOrder::Descend) => KvOrder::Descend,
        Err(_) => return Err(Invalid::SortOption),
    };
    let target = match SortTarget::try_from(request.sort_target) {
        Ok(SortTarget::Key) => KvTarget::Key,
        Ok(SortTarget::Version) => KvTarget::Version,
        Ok(SortTarget::Create) => KvTarget::Create,
        Ok(SortTarget::Mod) => KvTarget::Mod,
        Ok(SortTarget::Value) => KvTarget::Value,
        Err(_) => return Err(Invalid::SortOption),
    };
    let (min_mod_revision, max_mod_revision) = bounds(request.min_mod_revision, request.max_mod_revision);
    let (min_create_revision, max_create_revision) =
        bounds(request.min_create_revision, request.max_create_revision);
    Ok(KvRange {
        key: request.key,
        range_end: request.range_end,
        limit: unsigned(request.limit),
        revision: unsigned(request.revision),
        order,
        target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    })
}

/// Bounds on a revision. An upper one below zero is no absent one: nothing is below it.
fn bounds(min: i64, max: i64) -> (u64, u64) {
    match max {
        ..0 => (u64::MAX, 0),
        max => (unsigned(min), unsigned(max)),
    }
}

/// A write of one key.
pub(crate) fn put(request: PutRequest) -> Result<Command, Invalid> {
    check_put(&request)?;
    check_size(&request)?;
    Ok(alone(KvOp::Put(take_put(request))))
}

/// A deletion.
pub(crate) fn delete(request: DeleteRangeRequest) -> Result<Command, Invalid> {
    key_given(&request.key)?;
    check_size(&request)?;
    Ok(alone(KvOp::Delete(take_delete(request))))
}

/// A transaction.
pub(crate) fn txn(request: TxnRequest) -> Result<Command, Invalid> {
    check_txn(&request, TXN_OPS_MAX, TXN_DEPTH_MAX)?;
    overlap::check(&request)?;
    check_size(&request)?;
    Ok(Command::Kv(take_txn(request)?))
}

/// A compaction. Room is freed at once, so there is nothing more to wait for when it shall be physical.
pub(crate) fn compaction(request: CompactionRequest) -> Result<Command, Invalid> {
    match u64::try_from(request.revision) {
        Ok(revision) => Ok(Command::CompactKv { revision }),
        Err(_) => Err(Invalid::Compacted),
    }
}

fn alone(op: KvOp) -> Command {
    Command::Kv(KvTxn {
        compares: Vec::new(),
        success: vec![op],
        failure: Vec::new(),
    })
}

fn key_given(key: &[u8]) -> Result<(), Invalid> {
    match key {
        [] => Err(Invalid::KeyMissing),
        _ => Ok(()),
    }
}

fn check_put(request: &PutRequest) -> Result<(), Invalid> {
    key_given(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Invalid::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Invalid::LeaseProvided);
    }
    Ok(())
}

fn check_range(request: &RangeRequest) -> Result<(), Invalid> {
    key_given(&request.key)?;
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    order.and(target.map(drop)).map_err(|_| Invalid::SortOption)
}

/// `ops_max` operations are left to the transaction and to those in it, and `depth_max` levels.
fn check_txn(request: &TxnRequest, ops_max: usize, depth_max: usize) -> Result<(), Invalid> {
    let lists = [
        request.compare.len(),
        request.success.len(),
        request.failure.len(),
    ];
    let longest = lists.into_iter().max().unwrap_or(0);
    if longest > ops_max || depth_max == 0 {
        return Err(Invalid::TooManyOps);
    }
    for compare in &request.compare {
        key_given(&compare.key)?;
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => key_given(&delete.key)?,
            Some(Request::RequestTxn(nested)) => check_txn(nested, ops_max - longest, depth_max - 1)?,
            None => return Err(Invalid::OpMissing),
        }
    }
    Ok(())
}

fn check_size(request: &impl Message) -> Result<(), Invalid> {
    match request.encoded_len() {
        bytes if bytes > REQUEST_BYTES_MAX => Err(Invalid::TooLarge),
        _ => Ok(()),
    }
}

fn take_put(request: PutRequest) -> KvPut {
    KvPut {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

fn take_delete(request: DeleteRangeRequest) -> KvDelete {
    KvDelete {
        key: request.key,
        range_end: request.range_end,
        prev_kv: request.prev_kv,
    }
}

fn take_txn(request: TxnRequest) -> Result<KvTxn, Invalid> {
    let branch = |ops: Vec<RequestOp>| ops.into_iter().map(take_op).collect::<Result<_, _>>();
    Ok(KvTxn {
        compares: request.compare.into_iter().map(compare::take).collect(),
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

fn take_op(op: RequestOp) -> Result<KvOp, Invalid> {
    Ok(match op.request.ok_or(Invalid::OpMissing)? {
        Request::RequestRange(request) => KvOp::Range(range(request)?),
        Request::RequestPut(request) => KvOp::Put(take_put(request)),
        Request::RequestDeleteRange(request) => KvOp::Delete(take_delete(request)),
        Request::RequestTxn(request) => KvOp::Txn(take_txn(request)?),
    })
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
