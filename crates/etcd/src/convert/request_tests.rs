//! What requests come to, as tables.

use bytes::Bytes;
use quorate_api::etcdserverpb::Compare;

use super::*;
use crate::testing::{
    bytes, delete, delete_request, get, get_request, is_absent, put, put_request, txn as nested,
};

fn inside(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest {
        compare: Vec::new(),
        success,
        failure,
    }
}

/// Transactions within transactions, `depth` with the outermost one, around one put.
fn deep(depth: usize) -> TxnRequest {
    let mut request = inside(vec![put("k")], Vec::new());
    for _ in 1..depth {
        let op = Request::RequestTxn(request);
        request = inside(vec![RequestOp { request: Some(op) }], Vec::new());
    }
    request
}

fn ops(count: usize) -> Vec<RequestOp> {
    (0..count).map(|number| put(&format!("k{number}"))).collect()
}

#[test]
fn reads_are_checked_as_etcd_checks_them() {
    let asked = |change: fn(&mut RangeRequest)| {
        let mut request = get_request("k");
        change(&mut request);
        range(request).map(drop)
    };
    let cases: Vec<(&str, Result<(), Invalid>, Result<(), Invalid>)> = vec![
        ("a key", asked(|_| ()), Ok(())),
        ("no key", asked(|r| r.key.clear()), Err(Invalid::KeyMissing)),
        (
            "a range without a key",
            asked(|r| (r.key, r.range_end) = (Bytes::new(), bytes("z"))),
            Err(Invalid::KeyMissing),
        ),
        (
            "no key and no order",
            asked(|r| (r.key, r.sort_order) = (Bytes::new(), 9)),
            Err(Invalid::KeyMissing),
        ),
        ("an order", asked(|r| r.sort_order = 2), Ok(())),
        (
            "no such order",
            asked(|r| r.sort_order = 3),
            Err(Invalid::SortOption),
        ),
        (
            "an order below all",
            asked(|r| r.sort_order = -1),
            Err(Invalid::SortOption),
        ),
        (
            "no such target",
            asked(|r| r.sort_target = 5),
            Err(Invalid::SortOption),
        ),
        (
            "a target below all",
            asked(|r| r.sort_target = i32::MIN),
            Err(Invalid::SortOption),
        ),
        (
            "a key that is no text",
            asked(|r| r.key = Bytes::from_static(&[0xff, 0x00])),
            Ok(()),
        ),
    ];
    for (name, got, want) in cases {
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn numbers_below_zero_mean_what_etcd_takes_them_for() {
    let whole = RangeRequest {
        key: bytes("k"),
        range_end: bytes("l"),
        limit: 5,
        revision: 6,
        sort_order: 2,
        sort_target: 4,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 1,
        max_mod_revision: 2,
        min_create_revision: 3,
        max_create_revision: 4,
    };
    let want = KvRange {
        key: bytes("k"),
        range_end: bytes("l"),
        limit: 5,
        revision: 6,
        order: KvOrder::Descend,
        target: KvTarget::Value,
        keys_only: true,
        count_only: true,
        min_mod_revision: 1,
        max_mod_revision: 2,
        min_create_revision: 3,
        max_create_revision: 4,
    };
    assert_eq!(range(whole.clone()), Ok(want.clone()));
    let negative = RangeRequest {
        limit: -1,
        revision: i64::MIN,
        min_mod_revision: -7,
        max_mod_revision: -1,
        min_create_revision: -7,
        max_create_revision: 0,
        ..whole
    };
    let want = KvRange {
        limit: 0,
        revision: 0,
        // Nothing was written at or before a revision below zero.
        min_mod_revision: u64::MAX,
        max_mod_revision: 0,
        min_create_revision: 0,
        max_create_revision: 0,
        ..want
    };
    assert_eq!(range(negative), Ok(want));
}

#[test]
fn writes_are_checked_as_etcd_checks_them() {
    let asked = |change: fn(&mut PutRequest)| {
        let mut request = put_request("k", "v");
        change(&mut request);
        put_command(request)
    };
    let cases: Vec<(&str, Result<(), Invalid>, Result<(), Invalid>)> = vec![
        ("a put", asked(|_| ()), Ok(())),
        ("no key", asked(|p| p.key.clear()), Err(Invalid::KeyMissing)),
        ("no value", asked(|p| p.value.clear()), Ok(())),
        (
            "a value to ignore",
            asked(|p| p.ignore_value = true),
            Err(Invalid::ValueProvided),
        ),
        (
            "a lease to ignore",
            asked(|p| (p.lease, p.ignore_lease) = (-1, true)),
            Err(Invalid::LeaseProvided),
        ),
        (
            "both",
            asked(|p| (p.lease, p.ignore_lease, p.ignore_value) = (1, true, true)),
            Err(Invalid::ValueProvided),
        ),
        (
            "all faults",
            asked(|p| (p.key, p.ignore_lease, p.ignore_value) = (Bytes::new(), true, true)),
            Err(Invalid::KeyMissing),
        ),
        (
            "too large",
            asked(|p| p.value = vec![0; REQUEST_BYTES_MAX].into()),
            Err(Invalid::TooLarge),
        ),
        (
            "too large and no key",
            asked(|p| (p.key, p.value) = (Bytes::new(), vec![0; REQUEST_BYTES_MAX].into())),
            Err(Invalid::KeyMissing),
        ),
        // Of one byte, key and value have two bytes of head each, and a long value four.
        (
            "as large as can be",
            asked(|p| p.value = vec![0; REQUEST_BYTES_MAX - 7].into()),
            Ok(()),
        ),
        (
            "one byte more",
            asked(|p| p.value = vec![0; REQUEST_BYTES_MAX - 6].into()),
            Err(Invalid::TooLarge),
        ),
        ("a delete", delete_command("k", ""), Ok(())),
        (
            "a delete of nothing",
            delete_command("", "z"),
            Err(Invalid::KeyMissing),
        ),
    ];
    for (name, got, want) in cases {
        assert_eq!(got, want, "{name}");
    }
}

fn put_command(request: PutRequest) -> Result<(), Invalid> {
    super::put(request).map(drop)
}

fn delete_command(key: &str, range_end: &str) -> Result<(), Invalid> {
    super::delete(delete_request(key, range_end)).map(drop)
}

#[test]
fn transactions_are_checked_as_etcd_checks_them() {
    let bad_put = || {
        let mut request = put_request("k", "v");
        request.ignore_value = true;
        RequestOp {
            request: Some(Request::RequestPut(request)),
        }
    };
    let bad_get = || {
        let mut request = get_request("k");
        request.sort_order = 7;
        RequestOp {
            request: Some(Request::RequestRange(request)),
        }
    };
    let none = || RequestOp { request: None };
    let compares = |count| TxnRequest {
        compare: vec![is_absent("k"); count],
        ..TxnRequest::default()
    };
    let many = Err(Invalid::TooManyOps);
    let cases: Vec<(&str, TxnRequest, Result<(), Invalid>)> = vec![
        ("nothing", TxnRequest::default(), Ok(())),
        ("128 compares", compares(128), Ok(())),
        ("129 compares", compares(129), many),
        ("128 of each", inside(ops(128), ops(128)), Ok(())),
        ("129 for success", inside(ops(129), vec![]), many),
        ("129 for failure", inside(vec![], ops(129)), many),
        (
            "a compare without a key",
            TxnRequest {
                compare: vec![Compare::default()],
                ..TxnRequest::default()
            },
            Err(Invalid::KeyMissing),
        ),
        (
            "a compare without a key before a bad operation",
            TxnRequest {
                compare: vec![Compare::default()],
                ..inside(vec![none()], vec![])
            },
            Err(Invalid::KeyMissing),
        ),
        (
            "no operation",
            inside(vec![none()], vec![]),
            Err(Invalid::OpMissing),
        ),
        (
            "success is looked at first",
            inside(vec![none()], vec![bad_put()]),
            Err(Invalid::OpMissing),
        ),
        (
            "a bad put",
            inside(vec![bad_put()], vec![]),
            Err(Invalid::ValueProvided),
        ),
        (
            "a bad get",
            inside(vec![], vec![bad_get()]),
            Err(Invalid::SortOption),
        ),
        (
            "a get of nothing",
            inside(vec![get("")], vec![]),
            Err(Invalid::KeyMissing),
        ),
        (
            "a delete of nothing",
            inside(vec![delete("", "z")], vec![]),
            Err(Invalid::KeyMissing),
        ),
        (
            "a bad put within",
            inside(vec![nested(&[], vec![], vec![bad_put()])], vec![]),
            Err(Invalid::ValueProvided),
        ),
        // What the outer one's longest list leaves is the inner one's.
        (
            "127 within one",
            inside(vec![nested(&[], ops(127), vec![])], vec![]),
            Ok(()),
        ),
        (
            "128 within one",
            inside(vec![nested(&[], ops(128), vec![])], vec![]),
            many,
        ),
        (
            "one within 128",
            inside(
                ops(127)
                    .into_iter()
                    .chain([nested(&[], vec![put("z")], vec![])])
                    .collect(),
                vec![],
            ),
            many,
        ),
        (
            "an empty one within 128",
            inside(
                ops(127)
                    .into_iter()
                    .chain([nested(&[], vec![], vec![])])
                    .collect(),
                vec![],
            ),
            Ok(()),
        ),
        (
            "compares count within",
            inside(vec![nested(&["k"; 128], vec![], vec![])], vec![]),
            many,
        ),
        ("as deep as can be", deep(TXN_DEPTH_MAX), Ok(())),
        ("one deeper", deep(TXN_DEPTH_MAX + 1), many),
        ("far deeper than etcd lets in", deep(1_000), many),
        (
            "a key twice",
            inside(vec![put("k"), put("k")], vec![]),
            Err(Invalid::DuplicateKey),
        ),
        (
            "a key in both branches",
            inside(vec![put("k")], vec![put("k")]),
            Ok(()),
        ),
        (
            "a key twice, then none",
            inside(vec![put("k"), put("k"), put("")], vec![]),
            Err(Invalid::KeyMissing),
        ),
    ];
    for (name, request, want) in cases {
        assert_eq!(txn(request).map(drop), want, "{name}");
    }
}

#[test]
fn a_large_transaction_is_refused_for_its_size_last() {
    let large = |key: &str| {
        let mut request = put_request(key, "");
        request.value = vec![0; REQUEST_BYTES_MAX / 2].into();
        RequestOp {
            request: Some(Request::RequestPut(request)),
        }
    };
    let apart = inside(vec![large("a"), large("b")], vec![]);
    assert_eq!(txn(apart).map(drop), Err(Invalid::TooLarge));
    let twice = inside(vec![large("a"), large("a")], vec![]);
    assert_eq!(txn(twice).map(drop), Err(Invalid::DuplicateKey));
}

#[test]
fn as_many_operations_as_the_bytes_can_hold_are_judged_at_once() {
    // A budget of 128 over three levels: 43, 42 and 42 in both branches each.
    let leaves = |at: usize| {
        let ops = |branch: usize| {
            let keys = (0..42).map(move |leaf| format!("{at:x}.{branch}.{leaf:x}"));
            let op = |key: String| {
                if branch == 0 {
                    put(&key)
                } else {
                    delete(&key, &format!("{key}0"))
                }
            };
            keys.map(op).collect()
        };
        nested(&[], ops(0), ops(1))
    };
    let middle = |at: usize| nested(&[], (0..42).map(|op| leaves(at * 42 + op)).collect(), vec![]);
    let request = inside((0..43).map(middle).collect(), vec![]);
    let started = std::time::Instant::now();
    assert_eq!(check_txn(&request, TXN_OPS_MAX, TXN_DEPTH_MAX), Ok(()));
    assert_eq!(overlap::check(&request), Ok(()));
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

#[test]
fn a_command_says_what_the_request_says() {
    let mut request = put_request("k", "");
    (request.lease, request.prev_kv, request.ignore_value) = (-3, true, true);
    let put = KvPut {
        key: bytes("k"),
        value: Bytes::new(),
        lease: -3,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: false,
    };
    assert_eq!(super::put(request), Ok(alone(KvOp::Put(put))));
    let mut request = delete_request("a", "b");
    request.prev_kv = true;
    let delete = KvDelete {
        key: bytes("a"),
        range_end: bytes("b"),
        prev_kv: true,
    };
    assert_eq!(super::delete(request), Ok(alone(KvOp::Delete(delete))));
    let request = TxnRequest {
        compare: vec![is_absent("c")],
        success: vec![get("g")],
        failure: vec![nested(&[], vec![], vec![])],
    };
    let Ok(Command::Kv(taken)) = txn(request) else {
        panic!("a good transaction");
    };
    assert_eq!(taken.compares.len(), 1);
    let get = KvRange {
        key: bytes("g"),
        ..KvRange::default()
    };
    assert_eq!(taken.success, [KvOp::Range(get)]);
    assert_eq!(taken.failure, [KvOp::Txn(KvTxn::default())]);
}

#[test]
fn compactions() {
    let asked = |revision| {
        compaction(CompactionRequest {
            revision,
            physical: true,
        })
    };
    assert_eq!(asked(5), Ok(Command::CompactKv { revision: 5 }));
    assert_eq!(asked(-1), Err(Invalid::Compacted));
}
