//! Answers, put together from what the machine said.
//!
//! Promises: heads are etcd's: an answer by itself names cluster, member, term and revision; an operation of a transaction
//! names the revision that it saw or made and nothing else; a nested transaction has an empty head. An answer that is not of
//! the request's kind is `None`.

use quorate_api::etcdserverpb::response_op::Response;
use quorate_api::etcdserverpb::{
    CompactionResponse, DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp,
    TxnResponse,
};
use quorate_api::mvccpb::KeyValue;
use quorate_replica::machine::{KeyRow, KvRanged, KvReply, KvResult, KvResultKind, KvTxnResult};

use super::signed;
use crate::node::Stamp;

/// The answer to a read.
pub(crate) fn range(header: ResponseHeader, ranged: KvRanged) -> RangeResponse {
    RangeResponse {
        header: Some(header),
        kvs: ranged.rows.into_iter().map(key_value).collect(),
        more: ranged.more,
        count: signed(ranged.count),
    }
}

/// The answer to a write of one key.
pub(crate) fn put(stamp: &Stamp, reply: KvReply) -> Option<PutResponse> {
    let header = stamp.header(reply.revision);
    match only(reply)? {
        KvResultKind::Put { before } => Some(put_response(header, before)),
        _ => None,
    }
}

/// The answer to a deletion.
pub(crate) fn delete(stamp: &Stamp, reply: KvReply) -> Option<DeleteRangeResponse> {
    let header = stamp.header(reply.revision);
    match only(reply)? {
        KvResultKind::Delete { deleted, before } => Some(delete_response(header, deleted, before)),
        _ => None,
    }
}

/// The answer to a transaction.
pub(crate) fn txn(stamp: &Stamp, reply: KvReply) -> TxnResponse {
    txn_response(stamp.header(reply.revision), reply.result)
}

/// The answer to a compaction.
pub(crate) fn compaction(header: ResponseHeader) -> CompactionResponse {
    CompactionResponse { header: Some(header) }
}

/// The result of a transaction of one operation.
fn only(reply: KvReply) -> Option<KvResultKind> {
    let [result]: [KvResult; 1] = reply.result.results.try_into().ok()?;
    Some(result.kind)
}

fn put_response(header: ResponseHeader, before: Option<KeyRow>) -> PutResponse {
    PutResponse {
        header: Some(header),
        prev_kv: before.map(key_value),
    }
}

fn delete_response(header: ResponseHeader, deleted: u64, before: Vec<KeyRow>) -> DeleteRangeResponse {
    DeleteRangeResponse {
        header: Some(header),
        deleted: signed(deleted),
        prev_kvs: before.into_iter().map(key_value).collect(),
    }
}

fn txn_response(header: ResponseHeader, result: KvTxnResult) -> TxnResponse {
    TxnResponse {
        header: Some(header),
        succeeded: result.succeeded,
        responses: result.results.into_iter().map(op).collect(),
    }
}

fn op(result: KvResult) -> ResponseOp {
    let header = ResponseHeader {
        revision: signed(result.revision.0),
        ..ResponseHeader::default()
    };
    let response = match result.kind {
        KvResultKind::Range(ranged) => Response::ResponseRange(range(header, ranged)),
        KvResultKind::Put { before } => Response::ResponsePut(put_response(header, before)),
        KvResultKind::Delete { deleted, before } => {
            Response::ResponseDeleteRange(delete_response(header, deleted, before))
        }
        KvResultKind::Txn(nested) => Response::ResponseTxn(txn_response(ResponseHeader::default(), nested)),
    };
    ResponseOp {
        response: Some(response),
    }
}

/// A key as a message.
pub(crate) fn key_value(of: KeyRow) -> KeyValue {
    KeyValue {
        key: of.key,
        create_revision: signed(of.row.create_revision.0),
        mod_revision: signed(of.row.mod_revision.0),
        version: signed(of.row.version),
        // Shared with the state, not copied.
        value: of.row.value.clone(),
        lease: of.row.lease,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use quorate_replica::machine::Row;
    use quorate_types::{ClusterId, NodeId, Revision, Term};

    use super::*;

    const STAMP: Stamp = Stamp {
        cluster: ClusterId(9),
        node: NodeId(2),
        term: Term(4),
    };

    fn row(key: &'static str, lease: i64) -> KeyRow {
        KeyRow {
            key: Bytes::from(key),
            row: Arc::new(Row {
                value: Bytes::from_static(b"v"),
                create_revision: Revision(3),
                mod_revision: Revision(5),
                version: 2,
                lease,
            }),
        }
    }

    fn reply(revision: u64, results: Vec<(u64, KvResultKind)>) -> KvReply {
        KvReply {
            revision: Revision(revision),
            result: outcome(true, results),
        }
    }

    fn outcome(succeeded: bool, results: Vec<(u64, KvResultKind)>) -> KvTxnResult {
        let result = |(revision, kind)| KvResult {
            revision: Revision(revision),
            kind,
        };
        KvTxnResult {
            succeeded,
            results: results.into_iter().map(result).collect(),
        }
    }

    #[test]
    fn rows_keep_every_number() {
        let ranged = KvRanged {
            rows: vec![row("a", -3)],
            more: true,
            count: 7,
        };
        let answer = range(STAMP.header(Revision(8)), ranged);
        let kv = KeyValue {
            key: Bytes::from_static(b"a"),
            create_revision: 3,
            mod_revision: 5,
            version: 2,
            value: Bytes::from_static(b"v"),
            lease: -3,
        };
        assert_eq!((answer.kvs, answer.more, answer.count), (vec![kv], true, 7));
        assert_eq!(answer.header.map(|header| header.revision), Some(8));
    }

    #[test]
    fn an_answer_of_another_kind_is_none() {
        let put_kind = || KvResultKind::Put { before: None };
        let delete_kind = || KvResultKind::Delete {
            deleted: 0,
            before: Vec::new(),
        };
        assert!(put(&STAMP, reply(2, vec![(2, put_kind())])).is_some());
        assert!(put(&STAMP, reply(2, vec![(2, delete_kind())])).is_none());
        assert!(put(&STAMP, reply(2, vec![])).is_none());
        assert!(put(&STAMP, reply(2, vec![(2, put_kind()), (2, put_kind())])).is_none());
        assert!(delete(&STAMP, reply(2, vec![(2, delete_kind())])).is_some());
        assert!(delete(&STAMP, reply(2, vec![(2, put_kind())])).is_none());
    }

    #[test]
    fn heads_within_a_transaction_name_a_revision_alone() {
        let nested = outcome(
            false,
            vec![(
                6,
                KvResultKind::Delete {
                    deleted: 1,
                    before: vec![row("b", 0)],
                },
            )],
        );
        let results = vec![
            (5, KvResultKind::Range(KvRanged::default())),
            (6, KvResultKind::Put { before: None }),
            (6, KvResultKind::Txn(nested)),
        ];
        let answer = txn(&STAMP, reply(6, results));
        assert_eq!(answer.header, Some(STAMP.header(Revision(6))));
        assert!(answer.succeeded);
        let at = |revision| {
            Some(ResponseHeader {
                revision,
                ..ResponseHeader::default()
            })
        };
        let ops: Vec<_> = answer
            .responses
            .into_iter()
            .filter_map(|op| op.response)
            .collect();
        let [
            Response::ResponseRange(range),
            Response::ResponsePut(put),
            Response::ResponseTxn(nested),
        ] = &ops[..]
        else {
            panic!("{ops:?}");
        };
        assert_eq!((&range.header, &put.header), (&at(5), &at(6)));
        assert_eq!((&nested.header, nested.succeeded), (&at(0), false));
        let Some(Response::ResponseDeleteRange(delete)) = &nested.responses[0].response else {
            panic!("{nested:?}");
        };
        assert_eq!(
            (&delete.header, delete.deleted, delete.prev_kvs.len()),
            (&at(6), 1, 1)
        );
    }
}
