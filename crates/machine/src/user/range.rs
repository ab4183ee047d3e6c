//! The answer to a range: which rows, in which order, how many.
//!
//! Promises: what etcd gives: the count is that of all keys in the range, whatever the limit and the bounds on revisions;
//! rows come by key unless something else was asked for; a limit cuts after ordering. Without an order and bounds, only as
//! many rows are collected as are given, and one more. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use super::User;
use crate::domain::kv::{KeyRow, KvOrder, KvRange, KvRanged, KvTarget};
use crate::keyspace::Row;

/// Answers a range at a revision that can be read.
pub(super) fn answer(user: &User, range: &KvRange) -> KvRanged {
    let present = user.revision().0;
    if range.revision == 0 || range.revision == present {
        pick(range, user.present(&range.key, &range.range_end))
    } else {
        let revision = quorate_types::Revision(range.revision);
        pick(range, user.past(&range.key, &range.range_end, revision))
    }
}

fn pick<'a>(range: &KvRange, rows: impl Iterator<Item = (&'a Bytes, &'a Arc<Row>)>) -> KvRanged {
    let mut ranged = KvRanged::default();
    let limit = match range.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let is_bounded = range.min_mod_revision != 0
        || range.max_mod_revision != 0
        || range.min_create_revision != 0
        || range.max_create_revision != 0;
    // etcd fetches one row more than the limit unless an order or bounds are asked for; so what is only ordered by, without
    // a direction, orders the first rows by key.
    let fetched_max = match range.order {
        KvOrder::None if !is_bounded => limit.saturating_add(1),
        _ => usize::MAX,
    };
    for (key, row) in rows {
        ranged.count += 1;
        if range.count_only || ranged.rows.len() == fetched_max || !is_wanted(range, row) {
            continue;
        }
        ranged.rows.push(KeyRow {
            key: key.clone(),
            row: Arc::clone(row),
        });
    }
    if range.order != KvOrder::None || range.target != KvTarget::Key {
        let descending = range.order == KvOrder::Descend;
        ranged.rows.sort_by(|one, other| {
            let order = compare(range.target, one, other);
            if descending { order.reverse() } else { order }
        });
    }
    ranged.more = ranged.rows.len() > limit;
    ranged.rows.truncate(limit);
    if range.keys_only {
        for row in &mut ranged.rows {
            row.row = Arc::new(Row {
                value: Bytes::new(),
                ..(*row.row).clone()
            });
        }
    }
    ranged
}

fn is_wanted(range: &KvRange, row: &Row) -> bool {
    let within = |revision: u64, min: u64, max: u64| revision >= min && (max == 0 || revision <= max);
    within(row.mod_revision.0, range.min_mod_revision, range.max_mod_revision)
        && within(
            row.create_revision.0,
            range.min_create_revision,
            range.max_create_revision,
        )
}

fn compare(target: KvTarget, one: &KeyRow, other: &KeyRow) -> Ordering {
    let by = |number: fn(&Row) -> u64| number(&one.row).cmp(&number(&other.row));
    match target {
        KvTarget::Key => one.key.cmp(&other.key),
        KvTarget::Version => by(|row| row.version),
        KvTarget::Create => by(|row| row.create_revision.0),
        KvTarget::Mod => by(|row| row.mod_revision.0),
        KvTarget::Value => one.row.value.cmp(&other.row.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Written;

    /// Revisions 2 to 6: a=3, b=1, c=2, then b=9 and a=0.
    fn user() -> User {
        let mut user = User::new();
        for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("b", "9"), ("a", "0")] {
            let written = Written {
                value: Bytes::from(value),
                lease: 0,
            };
            user.put(Bytes::from(key), written);
            user.close();
        }
        user
    }

    #[test]
    fn rows_are_chosen_ordered_and_cut_as_etcd_does() {
        let all = || KvRange {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..KvRange::default()
        };
        let by = |order, target| KvRange {
            order,
            target,
            ..all()
        };
        let cases: Vec<(&str, KvRange, &str)> = vec![
            ("all", all(), "a b c of 3"),
            ("a limit", KvRange { limit: 2, ..all() }, "a b of 3, more"),
            (
                "a limit that is not reached",
                KvRange { limit: 3, ..all() },
                "a b c of 3",
            ),
            (
                "none but the count",
                KvRange {
                    count_only: true,
                    limit: 1,
                    ..all()
                },
                " of 3",
            ),
            ("descending", by(KvOrder::Descend, KvTarget::Key), "c b a of 3"),
            ("by creation", by(KvOrder::None, KvTarget::Create), "a b c of 3"),
            (
                "by modification",
                by(KvOrder::Ascend, KvTarget::Mod),
                "c b a of 3",
            ),
            ("by value", by(KvOrder::Ascend, KvTarget::Value), "a c b of 3"),
            ("by version", by(KvOrder::Ascend, KvTarget::Version), "c a b of 3"),
            (
                "the newest",
                KvRange {
                    limit: 1,
                    ..by(KvOrder::Descend, KvTarget::Mod)
                },
                "a of 3, more",
            ),
            (
                "not older than",
                KvRange {
                    min_mod_revision: 5,
                    ..all()
                },
                "a b of 3",
            ),
            (
                "not newer than",
                KvRange {
                    max_mod_revision: 5,
                    ..all()
                },
                "b c of 3",
            ),
            (
                "created before",
                KvRange {
                    max_create_revision: 3,
                    ..all()
                },
                "a b of 3",
            ),
            (
                "a limit behind a bound",
                KvRange {
                    min_create_revision: 3,
                    limit: 1,
                    ..all()
                },
                "b of 3, more",
            ),
            (
                "by modification without a direction: of the first by key",
                KvRange {
                    limit: 1,
                    ..by(KvOrder::None, KvTarget::Mod)
                },
                "b of 3, more",
            ),
            ("in the past", KvRange { revision: 3, ..all() }, "a b of 2"),
            (
                "in the past, a limit",
                KvRange {
                    revision: 4,
                    limit: 1,
                    ..all()
                },
                "a of 3, more",
            ),
        ];
        let user = user();
        for (case, range, want) in cases {
            let ranged = user.range(&range).expect("a revision that is kept");
            let keys: Vec<_> = ranged
                .rows
                .iter()
                .map(|row| String::from_utf8_lossy(&row.key).into_owned())
                .collect();
            let more = if ranged.more { ", more" } else { "" };
            assert_eq!(
                format!("{} of {}{more}", keys.join(" "), ranged.count),
                want,
                "{case}"
            );
        }
    }

    #[test]
    fn keys_only_leaves_the_rest_of_the_row() {
        let range = KvRange {
            key: Bytes::from_static(b"b"),
            keys_only: true,
            ..KvRange::default()
        };
        let ranged = user().range(&range).expect("kept");
        let row = &ranged.rows[0].row;
        assert_eq!((row.value.len(), row.version, row.mod_revision.0), (0, 2, 5));
    }
}
