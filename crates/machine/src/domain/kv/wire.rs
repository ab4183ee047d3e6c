//! Transactions and their answers as entries and remembered answers have them.
//!
//! Promises: what is written reads back the same; what a later release wrote, or nobody could have written, is `None`.

use std::sync::Arc;

use bytes::Bytes;
use quorate_format::v1;
use quorate_format::v1::kv_compare::Operand;
use quorate_format::v1::kv_op::Op;
use quorate_format::v1::kv_result::Result as Kind;
use quorate_types::Revision;

use super::{
    KV_NESTING_MAX, KeyRow, KvCompare, KvDelete, KvOp, KvOperand, KvOrder, KvPut, KvRange, KvRanged,
    KvRelation, KvReply, KvResult, KvResultKind, KvTarget, KvTxn, KvTxnResult,
};
use crate::keyspace::Row;

pub(crate) fn txn_to_wire(txn: KvTxn) -> v1::KvTxn {
    let ops = |ops: Vec<KvOp>| ops.into_iter().map(op_to_wire).collect();
    v1::KvTxn {
        compares: txn.compares.into_iter().map(compare_to_wire).collect(),
        success: ops(txn.success),
        failure: ops(txn.failure),
    }
}

fn op_to_wire(op: KvOp) -> v1::KvOp {
    let op = match op {
        KvOp::Range(range) => Op::Range(v1::KvRange {
            key: range.key,
            range_end: range.range_end,
            limit: range.limit,
            revision: range.revision,
            order: range.order as u32,
            target: range.target as u32,
            keys_only: range.keys_only,
            count_only: range.count_only,
            min_mod_revision: range.min_mod_revision,
            max_mod_revision: range.max_mod_revision,
            min_create_revision: range.min_create_revision,
            max_create_revision: range.max_create_revision,
        }),
        KvOp::Put(put) => Op::Put(v1::KvPut {
            key: put.key,
            value: put.value,
            lease: put.lease,
            prev_kv: put.prev_kv,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }),
        KvOp::Delete(delete) => Op::Delete(v1::KvDelete {
            key: delete.key,
            range_end: delete.range_end,
            prev_kv: delete.prev_kv,
        }),
        KvOp::Txn(txn) => Op::Txn(txn_to_wire(txn)),
    };
    v1::KvOp { op: Some(op) }
}

fn compare_to_wire(compare: KvCompare) -> v1::KvCompare {
    v1::KvCompare {
        key: compare.key,
        range_end: compare.range_end,
        relation: compare.relation as u32,
        operand: Some(match compare.operand {
            KvOperand::Version(than) => Operand::Version(than),
            KvOperand::Create(than) => Operand::Create(than),
            KvOperand::Mod(than) => Operand::Mod(than),
            KvOperand::Value(than) => Operand::Value(than),
            KvOperand::Lease(than) => Operand::Lease(than),
        }),
    }
}

pub(crate) fn txn_from_wire(txn: v1::KvTxn) -> Option<KvTxn> {
    txn_within(txn, KV_NESTING_MAX)
}

fn txn_within(txn: v1::KvTxn, depth: usize) -> Option<KvTxn> {
    let depth = depth.checked_sub(1)?;
    let ops = |ops: Vec<v1::KvOp>| -> Option<Vec<_>> {
        ops.into_iter().map(|op| op_from_wire(op, depth)).collect()
    };
    Some(KvTxn {
        compares: txn
            .compares
            .into_iter()
            .map(compare_from_wire)
            .collect::<Option<_>>()?,
        success: ops(txn.success)?,
        failure: ops(txn.failure)?,
    })
}

fn op_from_wire(op: v1::KvOp, depth: usize) -> Option<KvOp> {
    Some(match op.op? {
        Op::Range(range) => KvOp::Range(KvRange {
            key: range.key,
            range_end: range.range_end,
            limit: range.limit,
            revision: range.revision,
            order: match range.order {
                0 => KvOrder::None,
                1 => KvOrder::Ascend,
                2 => KvOrder::Descend,
                _ => return None,
            },
            target: match range.target {
                0 => KvTarget::Key,
                1 => KvTarget::Version,
                2 => KvTarget::Create,
                3 => KvTarget::Mod,
                4 => KvTarget::Value,
                _ => return None,
            },
            keys_only: range.keys_only,
            count_only: range.count_only,
            min_mod_revision: range.min_mod_revision,
            max_mod_revision: range.max_mod_revision,
            min_create_revision: range.min_create_revision,
            max_create_revision: range.max_create_revision,
        }),
        Op::Put(put) => KvOp::Put(KvPut {
            key: put.key,
            value: put.value,
            lease: put.lease,
            prev_kv: put.prev_kv,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }),
        Op::Delete(delete) => KvOp::Delete(KvDelete {
            key: delete.key,
            range_end: delete.range_end,
            prev_kv: delete.prev_kv,
        }),
        Op::Txn(txn) => KvOp::Txn(txn_within(txn, depth)?),
    })
}

fn compare_from_wire(compare: v1::KvCompare) -> Option<KvCompare> {
    Some(KvCompare {
        key: compare.key,
        range_end: compare.range_end,
        relation: match compare.relation {
            0 => KvRelation::Equal,
            1 => KvRelation::Greater,
            2 => KvRelation::Less,
            3 => KvRelation::NotEqual,
            _ => return None,
        },
        operand: match compare.operand? {
            Operand::Version(than) => KvOperand::Version(than),
            Operand::Create(than) => KvOperand::Create(than),
            Operand::Mod(than) => KvOperand::Mod(than),
            Operand::Value(than) => KvOperand::Value(than),
            Operand::Lease(than) => KvOperand::Lease(than),
        },
    })
}

pub(crate) fn reply_to_wire(reply: KvReply) -> v1::KvReply {
    v1::KvReply {
        revision: reply.revision.0,
        result: Some(result_to_wire(reply.result)),
    }
}

fn result_to_wire(result: KvTxnResult) -> v1::KvTxnResult {
    let one = |KvResult { revision, kind }| v1::KvResult {
        revision: revision.0,
        result: Some(match kind {
            KvResultKind::Range(ranged) => Kind::Range(v1::KvRanged {
                rows: ranged.rows.into_iter().map(row_to_wire).collect(),
                more: ranged.more,
                count: ranged.count,
            }),
            KvResultKind::Put { before } => Kind::Put(v1::KvBefore {
                count: u64::from(before.is_some()),
                rows: before.into_iter().map(row_to_wire).collect(),
            }),
            KvResultKind::Delete { deleted, before } => Kind::Delete(v1::KvBefore {
                count: deleted,
                rows: before.into_iter().map(row_to_wire).collect(),
            }),
            KvResultKind::Txn(nested) => Kind::Txn(result_to_wire(nested)),
        }),
    };
    v1::KvTxnResult {
        succeeded: result.succeeded,
        results: result.results.into_iter().map(one).collect(),
    }
}

fn row_to_wire(KeyRow { key, row }: KeyRow) -> v1::StoredRow {
    v1::StoredRow {
        key,
        row: Some(v1::Row::from(&*row)),
    }
}

pub(crate) fn reply_from_wire(reply: v1::KvReply) -> Option<KvReply> {
    Some(KvReply {
        revision: Revision(reply.revision),
        result: result_from_wire(reply.result?)?,
    })
}

fn result_from_wire(result: v1::KvTxnResult) -> Option<KvTxnResult> {
    let rows = |rows: Vec<v1::StoredRow>| rows.into_iter().map(row_from_wire).collect::<Option<Vec<_>>>();
    let one = |result: v1::KvResult| {
        let kind = match result.result? {
            Kind::Range(ranged) => KvResultKind::Range(KvRanged {
                rows: rows(ranged.rows)?,
                more: ranged.more,
                count: ranged.count,
            }),
            Kind::Put(put) => KvResultKind::Put {
                before: rows(put.rows)?.pop(),
            },
            Kind::Delete(delete) => KvResultKind::Delete {
                deleted: delete.count,
                before: rows(delete.rows)?,
            },
            Kind::Txn(nested) => KvResultKind::Txn(result_from_wire(nested)?),
        };
        Some(KvResult {
            revision: Revision(result.revision),
            kind,
        })
    };
    Some(KvTxnResult {
        succeeded: result.succeeded,
        results: result.results.into_iter().map(one).collect::<Option<_>>()?,
    })
}

fn row_from_wire(stored: v1::StoredRow) -> Option<KeyRow> {
    let key: Bytes = stored.key;
    Some(KeyRow {
        key,
        row: Arc::new(Row::from(stored.row?)),
    })
}
