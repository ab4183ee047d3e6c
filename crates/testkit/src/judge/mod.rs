//! The judge: was anything lost, doubled, invented, or read stale?
//!
//! The cluster's history is totally ordered by revision, so no search is needed (as etcd's own validators do it): each
//! executed write has the revision of its change, each read the revision that its answer shows, and the judge checks
//! that these revisions explain every answer and agree with real time. Promises: every violation is named with its
//! key, value and revisions; a record without violations is linearizable with the given history as witness. Pure.
//!
//! Left out on purpose: where the history comes from. It is itself evidence under test: a watch that swallows a change
//! makes an acknowledged write look lost, which is a violation, too.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Change, Fate, Record, Span};

/// What a cluster must never do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The history goes back.
    #[error("the history goes back from revision {before} to {revision}")]
    HistoryGoesBack {
        /// The later place in the history.
        revision: u64,
        /// The one before it.
        before: u64,
    },
    /// An acknowledged write is not in the history.
    #[error("the acknowledged write of {value} to {key} is lost")]
    Lost {
        /// Where.
        key: String,
        /// What.
        value: String,
    },
    /// A write took effect more than once.
    #[error("the write of {value} to {key} took effect {times} times")]
    Doubled {
        /// Where.
        key: String,
        /// What.
        value: String,
        /// How often.
        times: usize,
    },
    /// A write that was said not to have been executed was.
    #[error(
        "the write of {value} to {key} took effect at revision {revision}; its client was told that it did not"
    )]
    NotSupposed {
        /// Where.
        key: String,
        /// What.
        value: String,
        /// When.
        revision: u64,
    },
    /// A change that nobody asked for.
    #[error("{key} changed to {value} at revision {revision}, which nobody wrote there")]
    Invented {
        /// Where.
        key: String,
        /// What.
        value: String,
        /// When.
        revision: u64,
    },
    /// A write was refused although nothing stands against it: it was probably executed before.
    #[error("the write of {value} to {key} was refused: {why}")]
    Refused {
        /// Where.
        key: String,
        /// What.
        value: String,
        /// The cluster's words.
        why: String,
    },
    /// A write took effect before something that had been answered earlier.
    #[error(
        "the write of {value} to {key} took effect at revision {revision}, although revision {floor} was known to a \
         client before it was called"
    )]
    OutOfOrder {
        /// Where.
        key: String,
        /// What.
        value: String,
        /// When.
        revision: u64,
        /// What was known before.
        floor: u64,
    },
    /// A read shows an older state than one that had been answered earlier.
    #[error(
        "a stale read of {key}: it shows revision {revision}, although revision {floor} was known to a client before \
         it was called"
    )]
    Stale {
        /// Where.
        key: String,
        /// What the answer says it shows.
        revision: u64,
        /// What was known before.
        floor: u64,
    },
    /// A read's value is not what the history has at its revision.
    #[error("a read of {key} at revision {revision} shows {shown:?}; the history has {has:?}")]
    WrongValue {
        /// Where.
        key: String,
        /// Which state.
        revision: u64,
        /// What was answered.
        shown: Option<String>,
        /// What should have been.
        has: Option<String>,
    },
    /// The final state is not where the history ends.
    #[error("at the end {key} has {has:?}; the history ends with {want:?}")]
    EndDiffers {
        /// Where.
        key: String,
        /// The state.
        has: Option<String>,
        /// The history.
        want: Option<String>,
    },
    /// An id was given twice.
    #[error("the ids {first}..{end} overlap with others that were given out")]
    IdTwice {
        /// First of the range.
        first: u64,
        /// One behind its last.
        end: u64,
    },
}

/// Judges `record` by the cluster's `history` and its state at the `end`.
#[must_use]
pub fn judge(record: &Record, history: &[Change], end: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for pair in history.windows(2) {
        if pair[1].revision < pair[0].revision {
            let (revision, before) = (pair[1].revision, pair[0].revision);
            violations.push(Violation::HistoryGoesBack { revision, before });
        }
    }
    let effects = Effects::of(history);
    judge_fates(record, &effects, &mut violations);
    judge_authors(record, history, &mut violations);
    judge_order(record, &effects, &mut violations);
    judge_values(record, &effects, &mut violations);
    judge_end(&effects, end, &mut violations);
    judge_ids(record, &mut violations);
    violations
}

/// The history by key and value.
struct Effects<'a> {
    /// Revisions at which a value came under a key.
    revisions: BTreeMap<&'a str, BTreeMap<&'a str, Vec<u64>>>,
    /// What stood under each key from which revision on.
    values: BTreeMap<&'a str, Vec<(u64, &'a str)>>,
}

impl<'a> Effects<'a> {
    fn of(history: &'a [Change]) -> Self {
        let mut revisions: BTreeMap<_, BTreeMap<_, Vec<u64>>> = BTreeMap::new();
        let mut values: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for change in history {
            let (key, value) = (change.key.as_str(), change.value.as_str());
            revisions
                .entry(key)
                .or_default()
                .entry(value)
                .or_default()
                .push(change.revision);
            values.entry(key).or_default().push((change.revision, value));
        }
        Self { revisions, values }
    }

    fn of_write(&self, key: &str, value: &str) -> &[u64] {
        let revisions = self.revisions.get(key).and_then(|values| values.get(value));
        revisions.map_or(&[], Vec::as_slice)
    }

    fn value_at(&self, key: &str, revision: u64) -> Option<&'a str> {
        let values = self.values.get(key)?;
        let behind = values.partition_point(|(since, _)| *since <= revision);
        behind.checked_sub(1).map(|last| values[last].1)
    }
}

fn judge_fates(record: &Record, effects: &Effects<'_>, violations: &mut Vec<Violation>) {
    for write in &record.writes {
        let (key, value) = (write.key.clone(), write.value.clone());
        let revisions = effects.of_write(&key, &value);
        if revisions.len() > 1 {
            let (key, value, times) = (key.clone(), value.clone(), revisions.len());
            violations.push(Violation::Doubled { key, value, times });
        }
        match (&write.fate, revisions.first()) {
            (Fate::Acknowledged, None) => violations.push(Violation::Lost { key, value }),
            (Fate::NotExecuted(_), Some(&revision)) => {
                violations.push(Violation::NotSupposed { key, value, revision });
            }
            (Fate::Refused(why), _) => {
                let why = why.clone();
                violations.push(Violation::Refused { key, value, why });
            }
            (Fate::Acknowledged | Fate::Unknown(_), _) | (Fate::NotExecuted(_), None) => {}
        }
    }
}

fn judge_authors(record: &Record, history: &[Change], violations: &mut Vec<Violation>) {
    let written = record
        .writes
        .iter()
        .map(|write| (write.key.as_str(), write.value.as_str()));
    let written: BTreeSet<_> = written.collect();
    for change in history {
        if !written.contains(&(change.key.as_str(), change.value.as_str())) {
            violations.push(Violation::Invented {
                key: change.key.clone(),
                value: change.value.clone(),
                revision: change.revision,
            });
        }
    }
}

/// One call with the revision at which it took place.
struct Point<'a> {
    span: Span,
    revision: u64,
    key: &'a str,
    /// What was written; a read has none.
    value: Option<&'a str>,
    /// Its client knew the outcome when the call returned.
    answered: bool,
}

fn points<'a>(record: &'a Record, effects: &Effects<'_>) -> Vec<Point<'a>> {
    let writes = record.writes.iter().filter_map(|write| {
        let revision = *effects.of_write(&write.key, &write.value).first()?;
        let answered = write.fate == Fate::Acknowledged;
        let (key, value) = (write.key.as_str(), Some(write.value.as_str()));
        Some(Point {
            span: write.span,
            revision,
            key,
            value,
            answered,
        })
    });
    let reads = record.reads.iter().map(|read| Point {
        span: read.span,
        revision: read.revision,
        key: &read.key,
        value: None,
        answered: true,
    });
    writes.chain(reads).collect()
}

/// What is known before a call is made must not be newer than what the call sees or does.
fn judge_order(record: &Record, effects: &Effects<'_>, violations: &mut Vec<Violation>) {
    let points = points(record, effects);
    let mut by_call: Vec<&Point<'_>> = points.iter().collect();
    by_call.sort_unstable_by_key(|point| point.span.called_ns);
    let mut by_return: Vec<&Point<'_>> = points.iter().filter(|point| point.answered).collect();
    by_return.sort_unstable_by_key(|point| point.span.returned_ns);
    let mut returned = by_return.into_iter().peekable();
    let mut floor = 0;
    for point in by_call {
        while let Some(earlier) = returned.next_if(|earlier| earlier.span.returned_ns < point.span.called_ns)
        {
            floor = floor.max(earlier.revision);
        }
        let (key, revision) = (point.key.to_owned(), point.revision);
        match point.value {
            Some(value) if revision <= floor => {
                let value = value.to_owned();
                violations.push(Violation::OutOfOrder {
                    key,
                    value,
                    revision,
                    floor,
                });
            }
            None if revision < floor => violations.push(Violation::Stale { key, revision, floor }),
            Some(_) | None => {}
        }
    }
}

fn judge_values(record: &Record, effects: &Effects<'_>, violations: &mut Vec<Violation>) {
    for read in &record.reads {
        let has = effects.value_at(&read.key, read.revision);
        if has != read.value.as_deref() {
            violations.push(Violation::WrongValue {
                key: read.key.clone(),
                revision: read.revision,
                shown: read.value.clone(),
                has: has.map(str::to_owned),
            });
        }
    }
}

fn judge_end(effects: &Effects<'_>, end: &BTreeMap<String, String>, violations: &mut Vec<Violation>) {
    let mut keys: BTreeSet<&str> = end.keys().map(String::as_str).collect();
    keys.extend(effects.values.keys());
    for key in keys {
        let has = end.get(key).map(String::as_str);
        let want = effects.value_at(key, u64::MAX);
        if has != want {
            violations.push(Violation::EndDiffers {
                key: key.to_owned(),
                has: has.map(str::to_owned),
                want: want.map(str::to_owned),
            });
        }
    }
}

fn judge_ids(record: &Record, violations: &mut Vec<Violation>) {
    let mut ranges = record.ids.clone();
    ranges.sort_unstable_by_key(|ids| ids.start);
    for pair in ranges.windows(2) {
        if pair[1].start < pair[0].end {
            let (first, end) = (pair[1].start, pair[1].end);
            violations.push(Violation::IdTwice { first, end });
        }
    }
}
