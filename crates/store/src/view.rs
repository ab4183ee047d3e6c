//! The log as its callers see it: positions, vote, and the newest entries, ahead of the disk.
//!
//! Promises: every rule of the log is checked here, in call order, before a write is queued, so that both stores
//! agree on what is legal and the disk is never asked for what it would refuse. An entry stays until it is durable,
//! and beyond that until the tail outgrows its bound. Left out on purpose: IO, queues, callbacks.

use std::collections::VecDeque;

use quorate_types::{Index, Position};

use crate::limits::ENTRY_BYTES_MAX;
use crate::store::{Entry, LogState, Vote};

/// What an entry takes on disk beyond its payload: the record's type, position, payload header and checksum. Counted
/// so that the tail holds at least what the open chunk of the log holds; see `disk::log`.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 45;

/// A write that was found legal and is to be made durable.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Append(Vec<Entry>),
    Vote(Vote),
    Truncate(Option<Position>),
    Purge(Position),
    /// The log begins anew after `at`; of what it held only what ends at `keep` may still be believed.
    Restart {
        at: Position,
        keep: Option<Position>,
    },
}

impl Write {
    /// What it takes in the queue, bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(entries) => entries.iter().map(entry_bytes).sum(),
            _ => ENTRY_OVERHEAD_BYTES,
        }
    }

    pub(crate) fn entries(&self) -> usize {
        match self {
            Self::Append(entries) => entries.len(),
            _ => 0,
        }
    }
}

/// Where the entries of a read are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Here(Vec<Entry>),
    /// Older than the tail: on disk, in this range of indexes.
    OnDisk {
        from: u64,
        to: u64,
    },
}

/// A rule that a caller broke, as a sentence.
pub(crate) type Violation = String;

#[derive(Debug, Clone)]
struct Held {
    entry: Entry,
    sequence: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct LogView {
    state: LogState,
    /// Index of the first entry that the log holds; meaningless while it holds none.
    first: u64,
    tail: VecDeque<Held>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    /// Entries of this write and of earlier ones are durable.
    durable: u64,
}

impl LogView {
    /// A view of what is durable: the state, the first index held, and the newest entries up to `state.last`.
    pub(crate) fn new(state: LogState, first: u64, tail: Vec<Entry>, tail_bytes_max: usize) -> Self {
        let tail_bytes = tail.iter().map(entry_bytes).sum();
        let tail = tail
            .into_iter()
            .map(|entry| Held { entry, sequence: 0 })
            .collect();
        Self {
            state,
            first,
            tail,
            tail_bytes,
            tail_bytes_max,
            durable: 0,
        }
    }

    pub(crate) fn state(&self) -> LogState {
        self.state
    }

    /// Bytes of the entries that are held here.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Entries from `[from, to)`, or where they are.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> Lookup {
        let end = self.state.last.map_or(0, |last| last.index.0.saturating_add(1));
        let (from, to) = (from.max(self.first), to.min(end));
        if from >= to || self.is_empty() {
            return Lookup::Here(Vec::new());
        }
        let tail_first = self.tail.front().map_or(end, |held| held.entry.position.index.0);
        if from < tail_first {
            return Lookup::OnDisk {
                from,
                to: to.min(tail_first),
            };
        }
        let (skip, take) = (offset(tail_first, from), offset(from, to));
        let wanted = self
            .tail
            .iter()
            .skip(skip)
            .take(take)
            .map(|held| held.entry.clone());
        Lookup::Here(take_bytes(wanted, bytes_max))
    }

    pub(crate) fn append(&mut self, entries: Vec<Entry>, sequence: u64) -> Result<Write, Violation> {
        let mut last = self.state.last;
        for entry in &entries {
            let position = entry.position;
            if let Some(last) = last {
                if position.index.0 != last.index.0.saturating_add(1) || position <= last {
                    return Err(format!("entry {position} was appended after {last}"));
                }
            }
            if entry.payload.len() > ENTRY_BYTES_MAX {
                return Err(format!(
                    "entry {position} has a payload of {} bytes",
                    entry.payload.len()
                ));
            }
            last = Some(position);
        }
        if let (true, Some(entry)) = (self.is_empty(), entries.first()) {
            self.first = entry.position.index.0;
        }
        for entry in &entries {
            self.tail_bytes += entry_bytes(entry);
            let entry = entry.clone();
            self.tail.push_back(Held { entry, sequence });
        }
        self.state.last = last;
        self.evict();
        Ok(Write::Append(entries))
    }

    pub(crate) fn save_vote(&mut self, vote: Vote) -> Result<Write, Violation> {
        if let Some(saved) = self.state.vote.filter(|saved| *saved > vote) {
            return Err(format!("vote {vote:?} was saved after {saved:?}"));
        }
        self.state.vote = Some(vote);
        Ok(Write::Vote(vote))
    }

    /// Whether the position is news: above the saved one, and within the log.
    pub(crate) fn save_committed(&mut self, committed: Option<Position>) -> bool {
        let is_news = committed > self.state.committed && committed <= self.state.last;
        if is_news {
            self.state.committed = committed;
        }
        is_news
    }

    /// `None` when there is nothing to remove.
    pub(crate) fn truncate_after(&mut self, keep: Option<Position>) -> Result<Option<Write>, Violation> {
        let LogState {
            committed,
            purged,
            last,
            ..
        } = self.state;
        let index = |position: Option<Position>| position.map(|p| p.index);
        if index(keep) >= index(last) {
            let is_other = index(keep) == index(last) && keep != last;
            return match is_other {
                true => Err(format!("the log ends at {last:?}, not at {keep:?}")),
                false => Ok(None),
            };
        }
        if keep < committed || index(keep) < index(committed) {
            return Err(format!(
                "truncation after {keep:?} would remove {committed:?}, which is committed"
            ));
        }
        if keep < purged || index(keep) < index(purged) {
            return Err(format!(
                "truncation after {keep:?}, but the log is purged up to {purged:?}"
            ));
        }
        if let Some(keep) = keep {
            self.check_held(keep)?;
        }
        let next = keep.map_or(0, |p| p.index.0.saturating_add(1));
        while self
            .tail
            .back()
            .is_some_and(|held| held.entry.position.index.0 >= next)
        {
            self.tail_bytes -= self.tail.pop_back().map_or(0, |held| entry_bytes(&held.entry));
        }
        self.state.last = keep;
        Ok(Some(Write::Truncate(keep)))
    }

    /// `None` when there is nothing to remove.
    pub(crate) fn purge_upto(&mut self, upto: Position) -> Result<Option<Write>, Violation> {
        let LogState {
            committed,
            purged,
            last,
            ..
        } = self.state;
        if purged.is_some_and(|purged| upto.index <= purged.index) {
            return Ok(None);
        }
        let write = if last.is_none_or(|last| upto.index > last.index) {
            // A snapshot was installed. What the log holds may contradict it beyond the committed part, even with a
            // later term, so it must not be kept as the log's "last".
            if committed > Some(upto) {
                return Err(format!("purge up to {upto}, but {committed:?} is committed"));
            }
            let keep = committed.max(purged);
            Write::Restart { at: upto, keep }
        } else {
            self.check_held(upto)?;
            Write::Purge(upto)
        };
        while self
            .tail
            .front()
            .is_some_and(|held| held.entry.position.index <= upto.index)
        {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |held| entry_bytes(&held.entry));
        }
        self.first = self.first.max(upto.index.0.saturating_add(1));
        self.state.purged = Some(upto);
        if matches!(write, Write::Restart { .. }) {
            self.state.last = Some(upto);
        }
        Ok(Some(write))
    }

    /// The writes up to this one are durable.
    pub(crate) fn durable(&mut self, sequence: u64) {
        self.durable = self.durable.max(sequence);
        self.evict();
    }

    fn is_empty(&self) -> bool {
        self.state.last.is_none_or(|last| self.state.purged == Some(last))
    }

    /// An entry that the tail holds has this very position. One that it does not hold is checked where it is read.
    fn check_held(&self, position: Position) -> Result<(), Violation> {
        let Some(first) = self.tail.front().map(|held| held.entry.position.index) else {
            return Ok(());
        };
        if position.index < first {
            return Ok(());
        }
        let held = self.tail.get(offset(first.0, position.index.0));
        match held.map(|held| held.entry.position) {
            Some(held) if held != position => Err(format!("the log holds {held}, not {position}")),
            _ => Ok(()),
        }
    }

    fn evict(&mut self) {
        while self.tail_bytes > self.tail_bytes_max {
            let durable = self.durable;
            let Some(held) = self.tail.pop_front_if(|held| held.sequence <= durable) else {
                return;
            };
            self.tail_bytes -= entry_bytes(&held.entry);
        }
    }
}

/// The first of `entries` whose payloads together stay within `bytes_max`, but at least one.
pub(crate) fn take_bytes(entries: impl Iterator<Item = Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut taken = Vec::new();
    let mut bytes = 0_usize;
    for entry in entries {
        bytes = bytes.saturating_add(entry.payload.len());
        if bytes > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    taken
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.payload.len() + ENTRY_OVERHEAD_BYTES
}

/// `to - from` as a count of entries.
fn offset(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// Shorthand for tests all over this crate.
#[cfg(test)]
pub(crate) mod sample {
    use bytes::Bytes;
    use quorate_types::{NodeId, Term};

    use super::*;
    use crate::store::EntryKind;

    pub(crate) fn at(term: u64, index: u64) -> Position {
        Position {
            term: Term(term),
            leader: NodeId(1),
            index: Index(index),
        }
    }

    pub(crate) fn entry(term: u64, index: u64) -> Entry {
        Entry {
            position: at(term, index),
            kind: EntryKind::Command,
            payload: Bytes::from(format!("entry {term}/{index}")),
        }
    }

    pub(crate) fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
        indexes.map(|index| entry(term, index)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::sample::{at, entries, entry};
    use super::*;

    enum Step {
        Append(Vec<Entry>),
        Commit(Position),
        Truncate(Option<Position>),
        Purge(Position),
        Vote(u64),
    }
    use Step::{Append, Commit, Purge, Truncate};

    fn run(steps: Vec<Step>) -> Result<LogView, Violation> {
        let mut view = LogView::new(LogState::default(), 0, Vec::new(), usize::MAX);
        for step in steps {
            match step {
                Append(entries) => drop(view.append(entries, 1)?),
                Commit(position) => drop(view.save_committed(Some(position))),
                Truncate(keep) => drop(view.truncate_after(keep)?),
                Purge(upto) => drop(view.purge_upto(upto)?),
                Step::Vote(term) => {
                    let term = quorate_types::Term(term);
                    drop(view.save_vote(Vote {
                        term,
                        ..Vote::default()
                    })?);
                }
            }
        }
        Ok(view)
    }

    #[test]
    fn what_is_legal() {
        type Want = (Option<Position>, Option<Position>, Vec<u64>);
        let cases: Vec<(&str, Vec<Step>, Want)> = vec![
            ("nothing", vec![], (None, None, vec![])),
            (
                "an empty log takes any first index",
                vec![Append(entries(1, 5..7))],
                (None, Some(at(1, 6)), vec![5, 6]),
            ),
            (
                "a truncated tail is written again in a higher term",
                vec![
                    Append(entries(1, 0..4)),
                    Truncate(Some(at(1, 1))),
                    Append(entries(2, 2..3)),
                ],
                (None, Some(at(2, 2)), vec![0, 1, 2]),
            ),
            (
                "truncation beyond the end does nothing",
                vec![Append(entries(1, 0..2)), Truncate(Some(at(1, 9)))],
                (None, Some(at(1, 1)), vec![0, 1]),
            ),
            (
                "a purge takes the front",
                vec![Append(entries(1, 0..4)), Purge(at(1, 1)), Purge(at(1, 0))],
                (Some(at(1, 1)), Some(at(1, 3)), vec![2, 3]),
            ),
            (
                "a purge of everything, then more",
                vec![
                    Append(entries(1, 0..2)),
                    Purge(at(1, 1)),
                    Append(entries(1, 2..3)),
                ],
                (Some(at(1, 1)), Some(at(1, 2)), vec![2]),
            ),
            (
                "a snapshot of a lower term replaces an uncommitted tail of a higher one",
                vec![
                    Append(entries(5, 0..3)),
                    Purge(at(3, 10)),
                    Append(entries(6, 11..12)),
                ],
                (Some(at(3, 10)), Some(at(6, 11)), vec![11]),
            ),
            (
                "a purge in front of a log that starts later",
                vec![Append(entries(1, 2..4)), Purge(at(1, 1))],
                (Some(at(1, 1)), Some(at(1, 3)), vec![2, 3]),
            ),
        ];
        for (name, steps, want) in cases {
            let view = run(steps).unwrap_or_else(|violation| panic!("{name}: {violation}"));
            let Lookup::Here(held) = view.read(0, u64::MAX, usize::MAX) else {
                panic!("{name}: nothing is on disk");
            };
            let held = held.iter().map(|e| e.position.index.0).collect();
            assert_eq!((view.state().purged, view.state().last, held), want, "{name}");
        }
    }

    #[test]
    fn what_is_not() {
        let cases: Vec<(&str, Vec<Step>)> = vec![
            ("a hole", vec![Append(entries(1, 0..2)), Append(entries(1, 3..4))]),
            ("a hole within", vec![Append(vec![entry(1, 0), entry(1, 2)])]),
            (
                "a term that goes back",
                vec![Append(entries(2, 0..2)), Append(entries(1, 2..3))],
            ),
            (
                "a hole after a purge",
                vec![
                    Append(entries(1, 0..2)),
                    Purge(at(1, 5)),
                    Append(entries(1, 2..3)),
                ],
            ),
            (
                "truncation of what is committed",
                vec![
                    Append(entries(1, 0..3)),
                    Commit(at(1, 1)),
                    Truncate(Some(at(1, 0))),
                ],
            ),
            (
                "truncation of everything when something is committed",
                vec![Append(entries(1, 0..3)), Commit(at(1, 0)), Truncate(None)],
            ),
            (
                "truncation of what is purged",
                vec![
                    Append(entries(1, 0..3)),
                    Purge(at(1, 1)),
                    Truncate(Some(at(1, 0))),
                ],
            ),
            (
                "truncation at another entry",
                vec![Append(entries(1, 0..3)), Truncate(Some(at(2, 1)))],
            ),
            (
                "truncation at another last entry",
                vec![Append(entries(1, 0..3)), Truncate(Some(at(2, 2)))],
            ),
            (
                "a purge up to another entry",
                vec![Append(entries(1, 0..3)), Purge(at(2, 1))],
            ),
            (
                "a snapshot below what is committed",
                vec![Append(entries(5, 0..3)), Commit(at(5, 2)), Purge(at(3, 10))],
            ),
            ("a vote that goes back", vec![Step::Vote(2), Step::Vote(1)]),
        ];
        for (name, steps) in cases {
            assert!(run(steps).is_err(), "{name}");
        }
    }

    #[test]
    fn a_commit_position_moves_forward_within_the_log_and_nowhere_else() {
        let mut view = run(vec![Append(entries(1, 0..3))]).unwrap();
        let cases = [
            (None, false),
            (Some(at(1, 5)), false),
            (Some(at(1, 1)), true),
            (Some(at(1, 1)), false),
            (Some(at(1, 0)), false),
            (Some(at(1, 2)), true),
        ];
        for (committed, want) in cases {
            assert_eq!(view.save_committed(committed), want, "{committed:?}");
        }
        assert_eq!(view.state().committed, Some(at(1, 2)));
    }

    #[test]
    fn the_tail_keeps_what_is_not_durable_and_sheds_the_rest() {
        let one = entry_bytes(&entry(1, 0));
        let mut view = LogView::new(LogState::default(), 0, Vec::new(), 2 * one);
        view.append(entries(1, 0..4), 1).unwrap();
        view.append(entries(1, 4..6), 2).unwrap();
        assert_eq!(view.tail.len(), 6, "nothing is durable yet");
        view.durable(1);
        assert_eq!(view.tail.len(), 2);
        assert_eq!(
            view.read(1, 6, usize::MAX),
            Lookup::OnDisk { from: 1, to: 4 },
            "the older part first"
        );
        assert_eq!(view.read(4, 9, usize::MAX), Lookup::Here(entries(1, 4..6)));
        assert_eq!(view.tail_bytes, 2 * one);
    }

    #[test]
    fn a_read_stops_at_its_bytes_but_gives_one() {
        let view = run(vec![Append(entries(1, 0..4))]).unwrap();
        let bytes = entry(1, 0).payload.len();
        for (bytes_max, want) in [(0, 1), (bytes, 1), (2 * bytes, 2), (usize::MAX, 4)] {
            assert_eq!(
                view.read(0, 4, bytes_max),
                Lookup::Here(entries(1, 0..want)),
                "{bytes_max}"
            );
        }
        assert_eq!(view.read(3, 3, usize::MAX), Lookup::Here(vec![]));
        assert_eq!(view.read(4, 9, usize::MAX), Lookup::Here(vec![]));
    }
}
