//! Questions to one state: root, a writer of `a` to `m`, a reader of `k` and of everything from `x` on, and somebody without roles.

use super::*;
use crate::domain::kv::{KvCompare, KvDelete, KvOperand, KvRange, KvRelation};
use crate::keyspace::Written;
use crate::user::auth::{AuthWrite, Head, KvPermission, KvSecret};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Authentication is on since revision 5; `late` came at 8. Lease 1 has the keys b and c, lease 2 has b and z.
fn state() -> User {
    let mut user = User::new();
    let permission = |access, key, range_end| KvPermission {
        access,
        key: bytes(key),
        range_end: bytes(range_end),
    };
    let with = |roles: &[&str], since| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Some(KvUser {
            roles,
            since,
            ..KvUser::default()
        })
    };
    let head = Head {
        is_on: true,
        revision: 8,
        secret: Some(KvSecret(bytes("s"))),
        enabled_at: 5,
    };
    let reads = vec![
        permission(KvAccess::Read, "k", ""),
        permission(KvAccess::Read, "x", "\0"),
    ];
    let writes = vec![permission(KvAccess::Write, "a", "m")];
    let named = |name: &str| name.to_owned();
    user.write_auth([
        AuthWrite::Head(head),
        AuthWrite::User(named("root"), with(&["root"], 2)),
        AuthWrite::User(named("writer"), with(&["writes"], 2)),
        AuthWrite::User(named("reader"), with(&["gone", "reads"], 2)),
        AuthWrite::User(named("both"), with(&["reads", "writes"], 2)),
        AuthWrite::User(named("nobody"), with(&[], 2)),
        AuthWrite::User(named("late"), with(&["root"], 8)),
        AuthWrite::Role(named("writes"), Some(writes)),
        AuthWrite::Role(named("reads"), Some(reads)),
    ]);
    for (lease, key) in [(1, "b0"), (1, "c0"), (2, "b1"), (2, "z1")] {
        if user.lease_table().get(lease).is_none() {
            user.grant(lease, 60);
        }
        let value = bytes("v");
        user.put(bytes(key), Written { value, lease });
        user.close();
    }
    user
}

fn by(user: &str) -> KvCaller {
    KvCaller {
        user: user.to_owned(),
        revision: 5,
    }
}

fn put(key: &str) -> KvPut {
    KvPut {
        key: bytes(key),
        ..KvPut::default()
    }
}

fn get(key: &str, range_end: &str) -> KvOp {
    KvOp::Range(KvRange {
        key: bytes(key),
        range_end: bytes(range_end),
        ..KvRange::default()
    })
}

fn delete(key: &str, range_end: &str, prev_kv: bool) -> KvOp {
    KvOp::Delete(KvDelete {
        key: bytes(key),
        range_end: bytes(range_end),
        prev_kv,
    })
}

fn done(ops: Vec<KvOp>) -> KvTxn {
    KvTxn {
        success: ops,
        ..KvTxn::default()
    }
}

#[test]
fn who_may_do_what() {
    let state = state();
    let compares = |key: &str, range_end: &str| KvTxn {
        compares: vec![KvCompare {
            key: bytes(key),
            range_end: bytes(range_end),
            relation: KvRelation::Equal,
            operand: KvOperand::Version(0),
        }],
        ..KvTxn::default()
    };
    let fails = |op| KvTxn {
        failure: vec![op],
        ..KvTxn::default()
    };
    let nested = |txn| done(vec![KvOp::Txn(done(vec![KvOp::Txn(txn)]))]);
    let one = |put| done(vec![KvOp::Put(put)]);
    let leased = |key, lease| one(KvPut { lease, ..put(key) });
    let before = |key| {
        one(KvPut {
            prev_kv: true,
            ..put(key)
        })
    };
    // What is done, and whether writer, reader, both and nobody may.
    let cases = [
        ("nothing", KvTxn::default(), [true, true, true, true]),
        ("put", one(put("k")), [true, false, true, false]),
        ("put beyond", one(put("m")), [false; 4]),
        ("put and see", before("k"), [false, false, true, false]),
        ("put and see what is not seen", before("b"), [false; 4]),
        ("put under a lease", leased("k", 1), [true, false, true, false]),
        ("put under another's lease", leased("k", 2), [false; 4]),
        ("put under no lease", leased("k", 3), [true, false, true, false]),
        ("get", done(vec![get("k", "")]), [false, true, true, false]),
        ("get on", done(vec![get("y", "\0")]), [false, true, true, false]),
        ("get more", done(vec![get("k", "\0")]), [false; 4]),
        (
            "delete",
            done(vec![delete("a", "m", false)]),
            [true, false, true, false],
        ),
        (
            "delete and see",
            done(vec![delete("k", "", true)]),
            [false, false, true, false],
        ),
        (
            "delete and see more",
            done(vec![delete("j", "l", true)]),
            [false; 4],
        ),
        ("delete all", done(vec![delete("a", "\0", false)]), [false; 4]),
        ("compare", compares("x", "y"), [false, true, true, false]),
        ("compare more", compares("w", "y"), [false; 4]),
        (
            "the branch that is not taken",
            fails(KvOp::Put(put("k"))),
            [true, false, true, false],
        ),
        ("nested", nested(one(put("z"))), [false; 4]),
        (
            "nested and allowed",
            nested(one(put("k"))),
            [true, false, true, false],
        ),
        (
            "one of several",
            done(vec![KvOp::Put(put("k")), get("k", "")]),
            [false, false, true, false],
        ),
    ];
    for (name, txn, want) in cases {
        let need = KvNeed::Txn(&txn);
        for (user, want) in ["writer", "reader", "both", "nobody"].into_iter().zip(want) {
            let may = state.permits(Some(&by(user)), &need);
            let want = if want { Ok(()) } else { Err(No::PermissionDenied) };
            assert_eq!(may, want, "{name}: {user}");
        }
        assert_eq!(state.permits(Some(&by("root")), &need), Ok(()), "{name}: root");
        assert_eq!(state.permits(None, &need), Err(No::UserEmpty), "{name}");
        assert_eq!(User::new().permits(None, &need), Ok(()), "{name}: it is off");
    }
}

#[test]
fn who_may_ask_what() {
    let state = state();
    let (k, x, end) = (bytes("k"), bytes("x"), bytes("\0"));
    let (key, range_end) = (&k, &NO_END);
    let one = KvNeed::Read { key, range_end };
    let (key, range_end) = (&x, &end);
    let all = KvNeed::Read { key, range_end };
    // Whether writer, reader, both and nobody may.
    let cases = [
        (KvNeed::Known, [true; 4]),
        (KvNeed::Root, [false; 4]),
        (one, [false, true, true, false]),
        (all, [false, true, true, false]),
        (KvNeed::WriteLease(1), [true, false, true, false]),
        (KvNeed::WriteLease(2), [false; 4]),
        (KvNeed::WriteLease(3), [true; 4]),
        (KvNeed::ReadLease(1), [false; 4]),
        (KvNeed::ReadLease(3), [true; 4]),
        (KvNeed::ReadLeases, [false; 4]),
        (KvNeed::User("reader"), [false, true, false, false]),
        (KvNeed::User("root"), [false; 4]),
        (KvNeed::Role("reads"), [false, true, true, false]),
        (KvNeed::Role("gone"), [false, true, false, false]),
    ];
    for (need, want) in cases {
        for (user, want) in ["writer", "reader", "both", "nobody"].into_iter().zip(want) {
            let may = state.permits(Some(&by(user)), &need).is_ok();
            assert_eq!(may, want, "{need:?}: {user}");
        }
        assert_eq!(state.permits(Some(&by("root")), &need), Ok(()), "{need:?}");
    }
}

#[test]
fn what_was_proved_before_counts_no_more() {
    let state = state();
    let cases = [
        ("root", 4, false),
        ("root", 5, true),
        ("root", 9, true),
        ("late", 7, false),
        ("late", 8, true),
        ("unknown", 9, false),
        ("", 9, false),
    ];
    for (user, revision, want) in cases {
        let user = user.to_owned();
        let caller = KvCaller { user, revision };
        let want = if want { Ok(()) } else { Err(No::OldRevision) };
        assert_eq!(state.permits(Some(&caller), &KvNeed::Known), want, "{caller:?}");
    }
}
