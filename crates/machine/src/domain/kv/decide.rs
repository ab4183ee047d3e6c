//! What transactions do.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    KeyRow, KvCompare, KvDelete, KvOp, KvOperand, KvPut, KvRelation, KvReply, KvResult, KvResultKind, KvTxn,
    KvTxnResult,
};
use crate::keyspace::{Row, Written};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::txn::Txn;
use crate::user::User;

/// Runs a transaction.
pub(crate) fn run(txn: &mut Txn<'_>, command: &KvTxn) -> Result<Reply, Refusal> {
    let user = txn.user();
    let path = choose(user, command);
    check(user, &path)?;
    let result = execute(user, path)?;
    Ok(Reply::Kv(KvReply {
        revision: user.revision(),
        result,
    }))
}

/// Forgets history.
pub(crate) fn compact(txn: &mut Txn<'_>, revision: u64) -> Result<Reply, Refusal> {
    txn.user().compact(revision)?;
    Ok(Reply::KvCompacted { revision })
}

/// The branches that are taken, all judged before the first write.
struct Path<'c> {
    succeeded: bool,
    steps: Vec<Step<'c>>,
}

enum Step<'c> {
    Op(&'c KvOp),
    Txn(Path<'c>),
}

fn choose<'c>(user: &User, txn: &'c KvTxn) -> Path<'c> {
    let succeeded = txn.compares.iter().all(|compare| holds(user, compare));
    let branch = if succeeded { &txn.success } else { &txn.failure };
    let step = |op: &'c KvOp| match op {
        KvOp::Txn(nested) => Step::Txn(choose(user, nested)),
        op => Step::Op(op),
    };
    Path {
        succeeded,
        steps: branch.iter().map(step).collect(),
    }
}

fn holds(user: &User, compare: &KvCompare) -> bool {
    let mut rows = user.present(&compare.key, &compare.range_end).peekable();
    if rows.peek().is_none() {
        return match &compare.operand {
            KvOperand::Value(_) => false,
            operand => meets(None, operand, compare.relation),
        };
    }
    rows.all(|(_, row)| meets(Some(row), &compare.operand, compare.relation))
}

/// Whether a row, or one of zeros, meets the condition.
fn meets(row: Option<&Row>, operand: &KvOperand, relation: KvRelation) -> bool {
    // Revisions and versions never come near the largest signed number.
    let number = |of: fn(&Row) -> u64| row.map_or(0, of).cast_signed();
    let order = match operand {
        KvOperand::Version(than) => number(|row| row.version).cmp(than),
        KvOperand::Create(than) => number(|row| row.create_revision.0).cmp(than),
        KvOperand::Mod(than) => number(|row| row.mod_revision.0).cmp(than),
        KvOperand::Lease(than) => row.map_or(0, |row| row.lease).cmp(than),
        KvOperand::Value(than) => row.map_or(&[][..], |row| &row.value).cmp(than),
    };
    match relation {
        KvRelation::Equal => order == Ordering::Equal,
        KvRelation::NotEqual => order != Ordering::Equal,
        KvRelation::Greater => order == Ordering::Greater,
        KvRelation::Less => order == Ordering::Less,
    }
}

/// Checks everything that is on the path against the state before it.
fn check(user: &User, path: &Path<'_>) -> Result<(), Refusal> {
    for step in &path.steps {
        match step {
            Step::Txn(nested) => check(user, nested)?,
            Step::Op(KvOp::Range(range)) => user.check_revision(range.revision)?,
            Step::Op(KvOp::Put(put)) => check_put(user, put)?,
            Step::Op(KvOp::Delete(_) | KvOp::Txn(_)) => {}
        }
    }
    Ok(())
}

fn check_put(user: &User, put: &KvPut) -> Result<(), Refusal> {
    if put.lease != 0 && user.lease_table().get(put.lease).is_none() {
        return Err(Refusal::KvLeaseNotFound { lease: put.lease });
    }
    if (put.ignore_value || put.ignore_lease) && user.get(&put.key).is_none() {
        return Err(Refusal::KvKeyNotFound);
    }
    Ok(())
}

fn execute(user: &mut User, path: Path<'_>) -> Result<KvTxnResult, Refusal> {
    let mut results = Vec::with_capacity(path.steps.len());
    for step in path.steps {
        let kind = match step {
            Step::Txn(nested) => KvResultKind::Txn(execute(user, nested)?),
            Step::Op(KvOp::Range(range)) => KvResultKind::Range(user.range(range)?),
            Step::Op(KvOp::Put(put)) => execute_put(user, put),
            Step::Op(KvOp::Delete(delete)) => execute_delete(user, delete),
            Step::Op(KvOp::Txn(_)) => continue,
        };
        results.push(KvResult {
            revision: user.revision(),
            kind,
        });
    }
    Ok(KvTxnResult {
        succeeded: path.succeeded,
        results,
    })
}

fn execute_put(user: &mut User, put: &KvPut) -> KvResultKind {
    let old = user.get(&put.key).cloned();
    let kept = |ignore: bool| old.as_ref().filter(|_| ignore);
    let written = Written {
        value: kept(put.ignore_value).map_or_else(|| put.value.clone(), |row| row.value.clone()),
        lease: kept(put.ignore_lease).map_or(put.lease, |row| row.lease),
    };
    let before = user.put(put.key.clone(), written).filter(|_| put.prev_kv);
    KvResultKind::Put {
        before: before.map(|row| KeyRow {
            key: put.key.clone(),
            row,
        }),
    }
}

fn execute_delete(user: &mut User, delete: &KvDelete) -> KvResultKind {
    let doomed: Vec<(Bytes, Arc<Row>)> = user
        .present(&delete.key, &delete.range_end)
        .map(|(key, row)| (key.clone(), Arc::clone(row)))
        .collect();
    for (key, _) in &doomed {
        user.delete(key.clone());
    }
    let deleted = doomed.len() as u64;
    let before = doomed.into_iter().map(|(key, row)| KeyRow { key, row });
    KvResultKind::Delete {
        deleted,
        before: before.filter(|_| delete.prev_kv).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::domain::kv::{KvRange, KvRanged};
    use crate::fixture::Log;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn put(key: &str, value: &str) -> KvOp {
        KvOp::Put(KvPut {
            key: bytes(key),
            value: bytes(value),
            prev_kv: true,
            ..KvPut::default()
        })
    }

    fn delete(key: &str, range_end: &str) -> KvOp {
        KvOp::Delete(KvDelete {
            key: bytes(key),
            range_end: bytes(range_end),
            prev_kv: true,
        })
    }

    fn get(key: &str) -> KvOp {
        KvOp::Range(KvRange {
            key: bytes(key),
            ..KvRange::default()
        })
    }

    fn when(key: &str, relation: KvRelation, operand: KvOperand) -> KvCompare {
        KvCompare {
            key: bytes(key),
            range_end: Bytes::new(),
            relation,
            operand,
        }
    }

    fn all(ops: Vec<KvOp>) -> KvTxn {
        KvTxn {
            success: ops,
            ..KvTxn::default()
        }
    }

    fn log() -> Log {
        let mut log = Log::new();
        assert!(log.apply(&Command::RaiseFeatureLevel { level: 2 }).is_ok());
        log
    }

    fn row(row: &KeyRow) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let KeyRow { key, row } = row;
        let (create, changed) = (row.create_revision, row.mod_revision);
        format!(
            "{}={} c{create} m{changed} v{}",
            text(key),
            text(&row.value),
            row.version
        )
    }

    fn shown(result: &KvTxnResult) -> String {
        let rows = |rows: &[KeyRow]| rows.iter().map(row).collect::<Vec<_>>().join(", ");
        let one = |result: &KvResult| {
            let kind = match &result.kind {
                KvResultKind::Range(KvRanged { rows: found, .. }) => format!("got {}", rows(found)),
                KvResultKind::Put { before } => format!("put over {}", rows(before.as_slice())),
                KvResultKind::Delete { deleted, before } => format!("deleted {deleted}: {}", rows(before)),
                KvResultKind::Txn(nested) => format!("[{}]", shown(nested)),
            };
            format!("{} {kind}", result.revision)
        };
        let results: Vec<_> = result.results.iter().map(one).collect();
        format!(
            "{} {}",
            if result.succeeded { "yes" } else { "no" },
            results.join("; ")
        )
    }

    fn said(log: &mut Log, txn: KvTxn) -> String {
        match log.apply(&Command::Kv(txn)) {
            Ok(Reply::Kv(reply)) => format!("{}: {}", reply.revision, shown(&reply.result)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn transactions_do_what_etcds_do() {
        let mut log = log();
        let version = |key, n| when(key, KvRelation::Equal, KvOperand::Version(n));
        let steps: Vec<(&str, KvTxn, &str)> = vec![
            (
                "a put makes a revision",
                all(vec![put("a", "1")]),
                "2: yes 2 put over ",
            ),
            (
                "reads make none",
                all(vec![get("a"), get("x")]),
                "2: yes 2 got a=1 c2 m2 v1; 2 got ",
            ),
            (
                "nor does deleting nothing",
                all(vec![delete("x", "")]),
                "2: yes 2 deleted 0: ",
            ),
            (
                "a read sees the writes before it, and not those behind",
                all(vec![get("a"), put("a", "2"), get("a"), put("b", "1"), get("b")]),
                "3: yes 2 got a=1 c2 m2 v1; 3 put over a=1 c2 m2 v1; 3 got a=2 c2 m3 v2; 3 put over ; \
                 3 got b=1 c3 m3 v1",
            ),
            (
                "the other branch",
                KvTxn {
                    compares: vec![version("a", 2), version("b", 7)],
                    success: vec![put("a", "never")],
                    failure: vec![put("c", "1")],
                },
                "4: no 4 put over ",
            ),
            (
                "nested compares see the state before the transaction",
                all(vec![
                    put("d", "1"),
                    KvOp::Txn(KvTxn {
                        compares: vec![version("d", 0)],
                        success: vec![put("e", "1")],
                        failure: vec![],
                    }),
                ]),
                "5: yes 5 put over ; 5 [yes 5 put over ]",
            ),
            (
                "a range is deleted in one revision",
                all(vec![delete("a", "c"), get("a")]),
                "6: yes 6 deleted 2: a=2 c2 m3 v2, b=1 c3 m3 v1; 6 got ",
            ),
            (
                "what was deleted starts over",
                all(vec![put("a", "9"), get("a")]),
                "7: yes 7 put over ; 7 got a=9 c7 m7 v1",
            ),
            (
                "a value that is kept",
                all(vec![
                    KvOp::Put(KvPut {
                        key: bytes("a"),
                        ignore_value: true,
                        ..KvPut::default()
                    }),
                    get("a"),
                ]),
                "8: yes 8 put over ; 8 got a=9 c7 m8 v2",
            ),
        ];
        for (case, txn, want) in steps {
            assert_eq!(said(&mut log, txn), want, "{case}");
            assert!(log.machine.image().audit().is_ok(), "{case}");
        }
    }

    #[test]
    fn a_refusal_writes_nothing() {
        let mut log = log();
        assert_eq!(said(&mut log, all(vec![put("a", "1")])), "2: yes 2 put over ");
        let missing = KvOp::Put(KvPut {
            key: bytes("x"),
            ignore_value: true,
            ..KvPut::default()
        });
        let leased = KvOp::Put(KvPut {
            key: bytes("x"),
            lease: 7,
            ..KvPut::default()
        });
        let future = KvOp::Range(KvRange {
            key: bytes("a"),
            revision: 9,
            ..KvRange::default()
        });
        let cases = [
            (missing, Refusal::KvKeyNotFound),
            (leased, Refusal::KvLeaseNotFound { lease: 7 }),
            (future, Refusal::KvFutureRevision { revision: 9 }),
        ];
        for (op, want) in cases {
            let nested = KvOp::Txn(all(vec![op]));
            let refused = log.apply(&Command::Kv(all(vec![put("b", "1"), nested])));
            assert_eq!(refused, Err(want));
            let image = log.machine.image();
            assert_eq!(image.kv_revision().0, 2);
        }
        // A branch that is not taken is not checked.
        let txn = KvTxn {
            failure: vec![KvOp::Range(KvRange {
                key: bytes("a"),
                revision: 99,
                ..KvRange::default()
            })],
            ..KvTxn::default()
        };
        assert_eq!(said(&mut log, txn), "2: yes ");
    }

    #[test]
    fn compares_hold_as_etcds_do() {
        use KvOperand::{Create, Lease, Mod, Value, Version};
        use KvRelation::{Equal, Greater, Less, NotEqual};
        let mut user = User::new();
        for (key, value) in [("a", "m"), ("b", "m"), ("b", "n")] {
            let written = Written {
                value: bytes(value),
                lease: 0,
            };
            user.put(bytes(key), written);
            user.close();
        }
        let value = |text| Value(bytes(text));
        let cases: Vec<(&str, &str, KvRelation, KvOperand, bool)> = vec![
            ("a", "", Equal, Version(1), true),
            ("b", "", Equal, Version(1), false),
            ("b", "", Greater, Version(1), true),
            ("b", "", Less, Version(3), true),
            ("b", "", NotEqual, Version(2), false),
            ("b", "", Equal, Create(3), true),
            ("b", "", Equal, Mod(4), true),
            ("b", "", Equal, Lease(0), true),
            ("a", "", Equal, value("m"), true),
            ("a", "", Greater, value("l"), true),
            ("a", "", Less, value("ma"), true),
            ("x", "", Equal, Version(0), true),
            ("x", "", Less, Version(0), false),
            ("x", "", Equal, value(""), false),
            ("x", "", NotEqual, value("m"), false),
            ("a", "c", Greater, Version(0), true),
            ("a", "c", Equal, value("m"), false),
            ("x", "z", Equal, Create(0), true),
            ("a", "", Greater, Mod(-1), true),
        ];
        for (key, range_end, relation, operand, want) in cases {
            let compare = KvCompare {
                key: bytes(key),
                range_end: bytes(range_end),
                relation,
                operand,
            };
            assert_eq!(holds(&user, &compare), want, "{compare:?}");
        }
    }

    #[test]
    fn below_its_feature_level_there_is_no_keyspace() {
        let mut log = Log::new();
        let refused = log.apply(&Command::Kv(all(vec![put("a", "1")])));
        assert_eq!(refused, Err(Refusal::FeatureLevel { needs: 2, has: 1 }));
    }
}
