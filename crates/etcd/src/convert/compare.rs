//! Conditions of transactions.
//!
//! Promises: every condition that can be sent holds when etcd says that it holds, the senseless ones among them: an operand
//! that is not the target's counts as zero or empty, an unknown relation holds always, and under an unknown target
//! everything is equal.

use bytes::Bytes;
use quorate_api::etcdserverpb::Compare;
use quorate_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_replica::machine::{KvCompare, KvOperand, KvRelation};

/// A version is never below zero, so these hold always, never, and when there is a row.
const ALWAYS: (KvRelation, KvOperand) = (KvRelation::Greater, KvOperand::Version(-1));
const NEVER: (KvRelation, KvOperand) = (KvRelation::Less, KvOperand::Version(0));
const PRESENT: (KvRelation, KvOperand) = (KvRelation::Greater, KvOperand::Version(0));

/// Takes a condition apart.
pub(super) fn take(compare: Compare) -> KvCompare {
    let target = CompareTarget::try_from(compare.target);
    let relation = CompareResult::try_from(compare.result);
    let (relation, operand) = match (relation, target) {
        (Ok(relation), Ok(target)) => (
            take_relation(relation),
            take_operand(target, compare.target_union),
        ),
        (Ok(CompareResult::Equal), Err(_)) => ALWAYS,
        (Ok(_), Err(_)) => NEVER,
        // No value is none to compare with.
        (Err(_), Ok(CompareTarget::Value)) => PRESENT,
        (Err(_), _) => ALWAYS,
    };
    KvCompare {
        key: compare.key,
        range_end: compare.range_end,
        relation,
        operand,
    }
}

fn take_relation(relation: CompareResult) -> KvRelation {
    match relation {
        CompareResult::Equal => KvRelation::Equal,
        CompareResult::Greater => KvRelation::Greater,
        CompareResult::Less => KvRelation::Less,
        CompareResult::NotEqual => KvRelation::NotEqual,
    }
}

fn take_operand(target: CompareTarget, given: Option<TargetUnion>) -> KvOperand {
    match (target, given) {
        (CompareTarget::Version, Some(TargetUnion::Version(version))) => KvOperand::Version(version),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(revision))) => KvOperand::Create(revision),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(revision))) => KvOperand::Mod(revision),
        (CompareTarget::Value, Some(TargetUnion::Value(value))) => KvOperand::Value(value),
        (CompareTarget::Lease, Some(TargetUnion::Lease(lease))) => KvOperand::Lease(lease),
        (CompareTarget::Version, _) => KvOperand::Version(0),
        (CompareTarget::Create, _) => KvOperand::Create(0),
        (CompareTarget::Mod, _) => KvOperand::Mod(0),
        (CompareTarget::Value, _) => KvOperand::Value(Bytes::new()),
        (CompareTarget::Lease, _) => KvOperand::Lease(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_mean_what_etcd_takes_them_for() {
        use KvOperand as Operand;
        use KvRelation::{Equal, Greater, Less, NotEqual};
        let value = || Bytes::from_static(b"v");
        let cases = [
            // Milvus leaves out both enums and gives a version of 0.
            (0, 0, Some(TargetUnion::Version(0)), (Equal, Operand::Version(0))),
            (
                1,
                1,
                Some(TargetUnion::CreateRevision(5)),
                (Greater, Operand::Create(5)),
            ),
            (2, 2, Some(TargetUnion::ModRevision(6)), (Less, Operand::Mod(6))),
            (
                3,
                3,
                Some(TargetUnion::Value(value())),
                (NotEqual, Operand::Value(value())),
            ),
            (0, 4, Some(TargetUnion::Lease(-7)), (Equal, Operand::Lease(-7))),
            // An operand of another target.
            (0, 0, None, (Equal, Operand::Version(0))),
            (0, 1, Some(TargetUnion::Version(9)), (Equal, Operand::Create(0))),
            (0, 2, Some(TargetUnion::Lease(9)), (Equal, Operand::Mod(0))),
            (
                1,
                3,
                Some(TargetUnion::Version(9)),
                (Greater, Operand::Value(Bytes::new())),
            ),
            (
                0,
                4,
                Some(TargetUnion::Value(value())),
                (Equal, Operand::Lease(0)),
            ),
            // Targets and relations that there are not.
            (0, 5, Some(TargetUnion::Version(9)), ALWAYS),
            (1, 5, None, NEVER),
            (2, -1, None, NEVER),
            (3, i32::MAX, None, NEVER),
            (4, 0, Some(TargetUnion::Version(9)), ALWAYS),
            (-1, 3, Some(TargetUnion::Value(value())), PRESENT),
            (4, 5, None, ALWAYS),
        ];
        for (result, target, target_union, want) in cases {
            let taken = take(Compare {
                result,
                target,
                key: Bytes::from_static(b"k"),
                range_end: Bytes::from_static(b"l"),
                target_union: target_union.clone(),
            });
            assert_eq!((&taken.key[..], &taken.range_end[..]), (&b"k"[..], &b"l"[..]));
            let case = (result, target, target_union);
            assert_eq!((taken.relation, taken.operand), want, "{case:?}");
        }
    }
}
