//! Whether a transaction might write a key twice.
//!
//! Promises: the verdict is etcd's for every transaction, with its blind spots: of two nested transactions, only the
//! deletes of the first are held against the puts of the second; a delete of everything from a key on, whose end is one
//! zero byte, is held against nothing; two deletes never conflict. The time is that of sorting the keys once for each
//! level, whatever they are. Left out on purpose: what comes of a key that is written twice all the same; the machine must
//! bear it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{RequestOp, TxnRequest};

use super::Invalid;

/// Each branch for itself: only one of them is done.
pub(super) fn check(request: &TxnRequest) -> Result<(), Invalid> {
    writes(&request.success)?;
    writes(&request.failure)?;
    Ok(())
}

/// What a branch might write.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Deletes<'a>,
}

fn writes(ops: &[RequestOp]) -> Result<Writes<'_>, Invalid> {
    let mut all = Writes::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            all.deletes.add(&delete.key, &delete.range_end);
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            all.include(writes(&nested.success)?, writes(&nested.failure)?)?;
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            let known = all.puts.contains(&put.key[..]);
            all.put(&put.key, known)?;
        }
    }
    Ok(all)
}

impl<'a> Writes<'a> {
    /// Includes a nested transaction, of which one branch is done and not the other.
    fn include(&mut self, success: Self, failure: Self) -> Result<(), Invalid> {
        for &key in &success.puts {
            let known = self.puts.contains(key);
            self.put(key, known)?;
        }
        for &key in &failure.puts {
            let known = self.puts.contains(key) && !success.puts.contains(key);
            self.put(key, known)?;
        }
        self.deletes.join(success.deletes);
        self.deletes.join(failure.deletes);
        Ok(())
    }

    fn put(&mut self, key: &'a [u8], is_put_already: bool) -> Result<(), Invalid> {
        if is_put_already || self.deletes.cover(key) {
            return Err(Invalid::DuplicateKey);
        }
        self.puts.insert(key);
        Ok(())
    }
}

/// A set of keys: single ones, and ranges that neither overlap nor touch.
#[derive(Default)]
struct Deletes<'a> {
    keys: BTreeSet<&'a [u8]>,
    /// The first key to the first one behind it.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deletes<'a> {
    fn add(&mut self, key: &'a [u8], range_end: &'a [u8]) {
        if range_end.is_empty() {
            self.keys.insert(key);
            return;
        }
        // What ends before it begins is empty; so is, to etcd, what ends with a zero byte.
        if range_end <= key {
            return;
        }
        let (mut first, mut end) = (key, range_end);
        if let Some((&before, &before_end)) = self.ranges.range(..=first).next_back()
            && before_end >= first
        {
            (first, end) = (before, end.max(before_end));
        }
        while let Some((&inner, &inner_end)) = self.ranges.range(first..).next()
            && inner <= end
        {
            end = end.max(inner_end);
            self.ranges.remove(inner);
        }
        self.ranges.insert(first, end);
    }

    fn join(&mut self, other: Self) {
        self.keys.extend(other.keys);
        for (first, end) in other.ranges {
            self.add(first, end);
        }
    }

    fn cover(&self, key: &[u8]) -> bool {
        let before = self.ranges.range(..=key).next_back();
        self.keys.contains(key) || before.is_some_and(|(_, &end)| key < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{delete, get, put, txn};

    #[test]
    fn the_verdict_is_etcds() {
        let (ok, twice) = (Ok(()), Err(Invalid::DuplicateKey));
        let nested = |success, failure| txn(&[], success, failure);
        let cases: Vec<(&str, Vec<RequestOp>, Result<(), Invalid>)> = vec![
            ("nothing", vec![], ok),
            ("two keys", vec![put("a"), put("b")], ok),
            ("one key twice", vec![put("a"), put("a")], twice),
            ("put and read", vec![put("a"), get("a"), get("a")], ok),
            ("put and delete", vec![put("a"), delete("a", "")], twice),
            ("delete and put", vec![delete("a", ""), put("a")], twice),
            ("delete beside", vec![delete("a", ""), put("a0")], ok),
            ("in a range", vec![delete("a", "c"), put("b")], twice),
            ("a range's first", vec![delete("a", "c"), put("a")], twice),
            ("a range's end", vec![delete("a", "c"), put("c")], ok),
            ("before a range", vec![delete("b", "c"), put("a")], ok),
            ("an empty range", vec![delete("c", "a"), put("b"), put("c")], ok),
            ("all keys on", vec![delete("a", "\0"), put("b"), put("a")], ok),
            (
                "two deletes",
                vec![delete("a", "c"), delete("b", "d"), delete("a", "")],
                ok,
            ),
            (
                "overlapping ranges",
                vec![delete("a", "c"), delete("f", "h"), delete("b", "g"), put("e")],
                twice,
            ),
            (
                "a range within another",
                vec![delete("a", "z"), delete("b", "c"), put("y")],
                twice,
            ),
            (
                "branches exclude one another",
                vec![nested(vec![put("a")], vec![put("a")])],
                ok,
            ),
            (
                "a nested put and one beside it",
                vec![nested(vec![put("a")], vec![]), put("a")],
                twice,
            ),
            (
                "nested in the other branch",
                vec![put("a"), nested(vec![], vec![put("a")])],
                twice,
            ),
            (
                "two nested puts",
                vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])],
                twice,
            ),
            (
                "a nested put under a delete",
                vec![nested(vec![put("b")], vec![]), delete("a", "c")],
                twice,
            ),
            (
                "a nested delete over a put",
                vec![put("b"), nested(vec![], vec![delete("a", "c")])],
                twice,
            ),
            (
                "a nested delete, then a nested put",
                vec![
                    nested(vec![delete("a", "")], vec![]),
                    nested(vec![put("a")], vec![]),
                ],
                twice,
            ),
            (
                "a nested put, then a nested delete",
                vec![
                    nested(vec![put("a")], vec![]),
                    nested(vec![delete("a", "")], vec![]),
                ],
                ok,
            ),
            (
                "a put in one branch, a delete in the other",
                vec![nested(vec![put("a")], vec![delete("a", "")])],
                ok,
            ),
            (
                "two levels down",
                vec![nested(vec![nested(vec![put("a")], vec![])], vec![]), put("a")],
                twice,
            ),
        ];
        for (name, ops, want) in cases {
            let inside = TxnRequest {
                success: ops.clone(),
                ..TxnRequest::default()
            };
            assert_eq!(check(&inside), want, "{name}, as success");
            let inside = TxnRequest {
                failure: ops.clone(),
                ..TxnRequest::default()
            };
            assert_eq!(check(&inside), want, "{name}, as failure");
            let both = TxnRequest {
                success: vec![put("s"), put("t")],
                failure: vec![put("s"), put("t")],
                ..TxnRequest::default()
            };
            assert_eq!(check(&both), Ok(()), "branches are judged apart");
        }
    }

    #[test]
    fn ranges_are_joined_as_sets() {
        // Every pair of ranges over a small alphabet, against a plain list of the keys.
        let keys: Vec<Vec<u8>> = (b'a'..=b'f').map(|byte| vec![byte]).collect();
        for first in 0..36 {
            for second in 0..36 {
                for third in [2 * 6 + 3, 6 + 4, 4 * 6 + 5] {
                    let mut set = Deletes::default();
                    let spans = [first, second, third].map(|span: usize| (&keys[span / 6], &keys[span % 6]));
                    for (key, end) in spans {
                        set.add(key, end);
                    }
                    for key in &keys {
                        let want = spans.iter().any(|(first, end)| *first <= key && key < *end);
                        assert_eq!(set.cover(key), want, "{spans:?} and {key:?}");
                    }
                }
            }
        }
    }
}
