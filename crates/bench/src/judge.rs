//! Whether every acknowledged write is there exactly once.
//!
//! Every write of the bench takes an id of the cluster's one counter and is answered with it: half of the writes allocate
//! one, the other half create a partition, whose id it is. Nobody else takes ids meanwhile. So between the id taken before
//! a round and the one taken after it, each id must have been given to exactly one acknowledged write: an id given to two
//! means that a write was lost and its number given again; an id given to nobody means that a write was executed
//! more often than it was acknowledged. In addition, each acknowledged partition must be listed under its id.
//!
//! Of etcd, each key is put once, and etcd counts the puts of a key (its version): the same two questions.
//!
//! Promises: pure. A failed write may or may not have been executed; it excuses one id and its own row.

use std::collections::{BTreeMap, BTreeSet};

/// What a check found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Acknowledged writes that are not there.
    pub(crate) lost: u64,
    /// Executions beyond one for each write.
    pub(crate) doubled: u64,
}

/// An acknowledged write: the id that it was answered with, and the row that it created, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) id: u64,
    pub(crate) row: Option<String>,
}

/// A round of writes and what the cluster says of it.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) acked: Vec<Acked>,
    /// Rows of failed writes; `None` of those that create none.
    pub(crate) failed: Vec<Option<String>>,
    /// An id taken before the first write.
    pub(crate) id_before: u64,
    /// One taken after the last.
    pub(crate) id_after: u64,
    /// Rows by name, with their ids.
    pub(crate) listed: Vec<(String, u64)>,
}

impl Evidence {
    pub(crate) fn judge(&self) -> Tally {
        let listed: BTreeMap<&str, u64> = self.listed.iter().map(|(row, id)| (row.as_str(), *id)).collect();
        let mut given = BTreeSet::new();
        let mut lost = 0;
        for write in &self.acked {
            let inside = self.id_before < write.id && write.id < self.id_after;
            let alone = given.insert(write.id);
            let there = write
                .row
                .as_deref()
                .is_none_or(|row| listed.get(row) == Some(&write.id));
            lost += u64::from(!(inside && alone && there));
        }
        let taken = self.id_after.saturating_sub(self.id_before).saturating_sub(1);
        let explained = given
            .range(self.id_before + 1..self.id_after.max(self.id_before + 1))
            .count()
            + self.failed.len();
        let acked = self.acked.iter().filter_map(|write| write.row.as_deref());
        let failed = self.failed.iter().filter_map(Option::as_deref);
        let expected: BTreeSet<&str> = acked.chain(failed).collect();
        let unexpected = self
            .listed
            .iter()
            .filter(|(row, _)| !expected.contains(row.as_str()))
            .count() as u64;
        let repeated = (self.listed.len() - listed.len()) as u64;
        Tally {
            lost,
            doubled: taken.saturating_sub(explained as u64).max(unexpected + repeated),
        }
    }
}

/// The same for etcd: acknowledged keys against each key's version, which counts its puts.
pub(crate) fn judge_versions<'a>(
    acked: impl Iterator<Item = &'a [u8]>,
    versions: &BTreeMap<Vec<u8>, i64>,
) -> Tally {
    let lost = acked.filter(|key| !versions.contains_key(*key)).count() as u64;
    let doubled = versions
        .values()
        .map(|version| u64::try_from(version - 1).unwrap_or(0))
        .sum();
    Tally { lost, doubled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        struct Case<'a> {
            name: &'a str,
            /// Id and row of acknowledged writes.
            acked: &'a [(u64, &'a str)],
            /// Rows of failed ones.
            failed: &'a [&'a str],
            listed: &'a [(&'a str, u64)],
            want: (u64, u64),
        }
        // The ids 10 and 14 were taken before and after, so that 11, 12 and 13 are to be explained.
        let cases = [
            Case {
                name: "all there once",
                acked: &[(11, "a"), (12, ""), (13, "c")],
                failed: &[],
                listed: &[("a", 11), ("c", 13)],
                want: (0, 0),
            },
            Case {
                name: "in any order",
                acked: &[(13, "c"), (12, ""), (11, "a")],
                failed: &[],
                listed: &[("c", 13), ("a", 11)],
                want: (0, 0),
            },
            Case {
                name: "an id nobody was told of",
                acked: &[(11, ""), (13, "")],
                failed: &[],
                listed: &[],
                want: (0, 1),
            },
            Case {
                name: "a failed write excuses it",
                acked: &[(11, ""), (13, "")],
                failed: &[""],
                listed: &[],
                want: (0, 0),
            },
            Case {
                name: "a failed write that was executed",
                acked: &[(11, ""), (13, "")],
                failed: &["b"],
                listed: &[("b", 12)],
                want: (0, 0),
            },
            Case {
                name: "an id given to two",
                acked: &[(11, ""), (12, ""), (12, ""), (13, "")],
                failed: &[],
                listed: &[],
                want: (1, 0),
            },
            Case {
                name: "one lost and another doubled",
                acked: &[(11, ""), (11, ""), (13, "")],
                failed: &[],
                listed: &[],
                want: (1, 1),
            },
            Case {
                name: "a row that is gone",
                acked: &[(11, "a"), (12, ""), (13, "c")],
                failed: &[],
                listed: &[("a", 11)],
                want: (1, 0),
            },
            Case {
                name: "a row under another id",
                acked: &[(11, "a"), (12, ""), (13, "")],
                failed: &[],
                listed: &[("a", 12)],
                want: (1, 0),
            },
            Case {
                name: "a row that nobody wrote",
                acked: &[(11, ""), (12, ""), (13, "")],
                failed: &[],
                listed: &[("x", 13)],
                want: (0, 1),
            },
            Case {
                name: "a counter that went back",
                acked: &[(11, ""), (12, ""), (13, ""), (14, "")],
                failed: &[],
                listed: &[],
                want: (1, 0),
            },
        ];
        let row = |row: &str| (!row.is_empty()).then(|| row.to_owned());
        for case in cases {
            let evidence = Evidence {
                acked: case
                    .acked
                    .iter()
                    .map(|(id, name)| Acked {
                        id: *id,
                        row: row(name),
                    })
                    .collect(),
                failed: case.failed.iter().map(|name| row(name)).collect(),
                id_before: 10,
                id_after: 14,
                listed: case
                    .listed
                    .iter()
                    .map(|(row, id)| ((*row).to_owned(), *id))
                    .collect(),
            };
            let (lost, doubled) = case.want;
            assert_eq!(evidence.judge(), Tally { lost, doubled }, "{}", case.name);
        }
    }

    #[test]
    fn nothing_written_is_nothing_lost() {
        let evidence = Evidence {
            id_before: 10,
            id_after: 11,
            ..Evidence::default()
        };
        assert_eq!(evidence.judge(), Tally::default());
    }

    #[test]
    fn versions_of_keys() {
        type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, i64)], (u64, u64));
        let cases: &[Case] = &[
            ("all there once", &["a", "b"], &[("a", 1), ("b", 1)], (0, 0)),
            ("lost", &["a", "b"], &[("b", 1)], (1, 0)),
            ("doubled twice", &["a"], &[("a", 3)], (0, 2)),
            (
                "an unacknowledged one may be there",
                &["a"],
                &[("a", 1), ("b", 1)],
                (0, 0),
            ),
        ];
        for (name, acked, versions, (lost, doubled)) in cases {
            let versions = versions
                .iter()
                .map(|(key, version)| (key.as_bytes().to_vec(), *version))
                .collect();
            let got = judge_versions(acked.iter().map(|key| key.as_bytes()), &versions);
            assert_eq!(
                got,
                Tally {
                    lost: *lost,
                    doubled: *doubled
                },
                "{name}"
            );
        }
    }
}
