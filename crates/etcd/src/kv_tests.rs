//! Calls on a machine in memory.

use quorate_api::etcdserverpb::ResponseHeader;
use quorate_api::etcdserverpb::kv_server::Kv as _;
use quorate_api::etcdserverpb::response_op::Response as OpResponse;
use quorate_replica::Unavailable;
use quorate_types::Term;
use tonic::Code;

use super::*;
use crate::testing::{
    Memory, bytes, delete, delete_request, get, get_request, is_absent, put, put_request, txn,
};

fn service() -> Kv<Memory> {
    Kv(Memory::new(), Guard::new())
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 7,
        member_id: 2,
        revision,
        raft_term: 3,
    })
}

/// What an error is to a client.
fn told<T: std::fmt::Debug>(answer: Answer<T>) -> (Code, String) {
    let status = answer.expect_err("an error");
    (status.code(), status.message().to_owned())
}

fn error(code: Code, text: &str) -> (Code, String) {
    (code, text.to_owned())
}

async fn wrote(kv: &Kv<Memory>, key: &str, value: &str) -> PutResponse {
    let answer = kv.put(Request::new(put_request(key, value))).await;
    answer.expect("a put").into_inner()
}

async fn read(kv: &Kv<Memory>, request: RangeRequest) -> RangeResponse {
    kv.range(Request::new(request))
        .await
        .expect("a range")
        .into_inner()
}

#[tokio::test]
async fn what_is_put_is_read_and_deleted() {
    let kv = service();
    assert_eq!(read(&kv, get_request("a")).await.header, header(1));
    assert_eq!(wrote(&kv, "a", "1").await.header, header(2));
    let mut request = put_request("a", "2");
    request.prev_kv = true;
    let answer = kv.put(Request::new(request)).await.expect("a put").into_inner();
    assert_eq!(answer.header, header(3));
    assert_eq!(answer.prev_kv.map(|kv| kv.value), Some(bytes("1")));
    wrote(&kv, "b", "1").await;

    let mut request = get_request("a");
    request.range_end = bytes("\0");
    let ranged = read(&kv, request.clone()).await;
    let seen: Vec<_> = ranged
        .kvs
        .iter()
        .map(|kv| {
            (
                &kv.key[..],
                &kv.value[..],
                kv.create_revision,
                kv.mod_revision,
                kv.version,
            )
        })
        .collect();
    assert_eq!(seen, [(&b"a"[..], &b"2"[..], 2, 3, 2), (b"b", b"1", 4, 4, 1)]);
    assert_eq!((ranged.header, ranged.count, ranged.more), (header(4), 2, false));
    request.limit = 1;
    let ranged = read(&kv, request.clone()).await;
    assert_eq!((ranged.kvs.len(), ranged.count, ranged.more), (1, 2, true));
    (request.limit, request.revision) = (0, 2);
    let ranged = read(&kv, request).await;
    assert_eq!(ranged.kvs.len(), 1);
    assert_eq!((&ranged.kvs[0].value[..], ranged.header), (&b"1"[..], header(4)));

    let mut request = delete_request("a", "z");
    request.prev_kv = true;
    let answer = kv.delete_range(Request::new(request)).await;
    let answer = answer.expect("a delete").into_inner();
    assert_eq!(
        (answer.header, answer.deleted, answer.prev_kvs.len()),
        (header(5), 2, 2)
    );
    let answer = kv.delete_range(Request::new(delete_request("a", ""))).await;
    let answer = answer.expect("a delete of nothing").into_inner();
    assert_eq!((answer.header, answer.deleted), (header(5), 0));
}

#[tokio::test]
async fn a_transaction_takes_one_branch_at_one_revision() {
    let kv = service();
    let request = || TxnRequest {
        compare: vec![is_absent("a")],
        success: vec![get("a"), put("a"), txn(&["b"], vec![put("b")], vec![]), get("b")],
        failure: vec![get("a"), delete("a", "c")],
    };
    let first = kv.txn(Request::new(request())).await.expect("a txn").into_inner();
    assert_eq!((first.header, first.succeeded), (header(2), true));
    let revision =
        |header: &Option<ResponseHeader>| header.map(|header| (header.cluster_id, header.revision));
    let revisions: Vec<_> = first
        .responses
        .iter()
        .map(|op| match op.response.as_ref().expect("a response") {
            OpResponse::ResponseRange(range) => ("range", revision(&range.header)),
            OpResponse::ResponsePut(put) => ("put", revision(&put.header)),
            OpResponse::ResponseDeleteRange(delete) => ("delete", revision(&delete.header)),
            OpResponse::ResponseTxn(txn) => ("txn", revision(&txn.header)),
        })
        .collect();
    let want = [
        ("range", Some((0, 1))),
        ("put", Some((0, 2))),
        ("txn", Some((0, 0))),
        ("range", Some((0, 2))),
    ];
    assert_eq!(revisions, want);

    let second = kv.txn(Request::new(request())).await.expect("a txn").into_inner();
    assert_eq!((second.header, second.succeeded), (header(3), false));
    let Some(OpResponse::ResponseDeleteRange(deleted)) = &second.responses[1].response else {
        panic!("{second:?}");
    };
    assert_eq!(deleted.deleted, 2);
}

#[tokio::test]
async fn reads_alone_make_no_revision() {
    let kv = service();
    let request = TxnRequest {
        success: vec![get("a")],
        ..TxnRequest::default()
    };
    let answer = kv.txn(Request::new(request)).await.expect("a txn").into_inner();
    assert_eq!((answer.header, answer.responses.len()), (header(1), 1));
}

#[tokio::test]
async fn compactions_forget_and_say_so() {
    let kv = service();
    for value in ["1", "2", "3"] {
        wrote(&kv, "a", value).await;
    }
    let compact = async |revision| {
        let request = CompactionRequest {
            revision,
            physical: false,
        };
        kv.compact(Request::new(request)).await
    };
    let compacted = || {
        error(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        )
    };
    let future = || {
        error(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        )
    };
    assert_eq!(told(compact(5).await), future());
    let answer = compact(3).await.expect("a compaction").into_inner();
    assert_eq!(answer.header, header(4));
    assert_eq!(told(compact(3).await), compacted());
    assert_eq!(told(compact(-1).await), compacted());
    let at = |revision| {
        let mut request = get_request("a");
        request.revision = revision;
        Request::new(request)
    };
    assert_eq!(told(kv.range(at(2)).await), compacted());
    assert_eq!(told(kv.range(at(5)).await), future());
    assert!(kv.range(at(3)).await.is_ok());
}

#[tokio::test]
async fn faults_of_requests_are_told_in_etcds_words() {
    let kv = service();
    let bad = |text| error(Code::InvalidArgument, text);
    let key = || bad("etcdserver: key is not provided");
    assert_eq!(told(kv.range(Request::new(get_request(""))).await), key());
    assert_eq!(told(kv.put(Request::new(put_request("", "v"))).await), key());
    assert_eq!(
        told(kv.delete_range(Request::new(delete_request("", ""))).await),
        key()
    );
    let twice = TxnRequest {
        success: vec![put("a"), put("a")],
        ..TxnRequest::default()
    };
    let duplicate = bad("etcdserver: duplicate key given in txn request");
    assert_eq!(told(kv.txn(Request::new(twice)).await), duplicate);
    let mut request = put_request("absent", "");
    request.ignore_value = true;
    let absent = bad("etcdserver: key not found");
    assert_eq!(told(kv.put(Request::new(request)).await), absent);
    let mut request = put_request("a", "v");
    request.lease = 5;
    let lease = error(Code::NotFound, "etcdserver: requested lease not found");
    assert_eq!(told(kv.put(Request::new(request)).await), lease);
    assert_eq!(
        read(&kv, get_request("a")).await.header,
        header(1),
        "nothing was done"
    );
}

#[tokio::test]
async fn without_a_leader_only_serializable_reads_are_answered() {
    let kv = service();
    wrote(&kv, "a", "1").await;
    kv.0.breaks(Unavailable::NotLeader {
        term: Term(3),
        leader: None,
    });
    let no_leader = error(Code::Unavailable, "etcdserver: no leader");
    assert_eq!(told(kv.put(Request::new(put_request("a", "2"))).await), no_leader);
    assert_eq!(told(kv.range(Request::new(get_request("a"))).await), no_leader);
    let mut request = get_request("a");
    request.serializable = true;
    assert_eq!(read(&kv, request).await.count, 1);
}

#[tokio::test]
async fn a_cluster_with_members_of_an_earlier_release_is_not_capable() {
    let kv = Kv(Memory::of_the_first_level(), Guard::new());
    let refused = told(kv.put(Request::new(put_request("a", "1"))).await);
    assert_eq!(
        refused,
        error(Code::FailedPrecondition, "etcdserver: not capable")
    );
}
