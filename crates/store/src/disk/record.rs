//! The records of the log as raft-log writes them, with our position, vote and payload in them.
//!
//! A payload carries the checksum of its own length: raft-log takes a record that goes beyond the end of the file for
//! an unfinished write and cuts it off, so a flipped bit in a length must never look like that.
//!
//! ```text
//! position  term u64 | leader u64 | index u64
//! vote      term u64 | candidate u64 | elected u8
//! payload   kind u8 | length u32 | crc u32 of these 5 bytes | bytes
//! ```
//!
//! All numbers are big-endian. History: directory format 1 (2026-11): as above.

use std::io::{self, Read, Write};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use quorate_types::{Index, NodeId, Position, Term};
use raft_log::codeq::{Decode, Encode};

use crate::limits::ENTRY_BYTES_MAX;
use crate::store::{Entry, EntryKind, Vote};

/// One record of the log.
pub(super) type Record = raft_log::RaftLogRecord<LogTypes>;

/// The types that raft-log is used with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogTypes;

impl raft_log::Types for LogTypes {
    type LogId = LogPosition;
    type LogPayload = Payload;
    type Vote = LogVote;
    type Callback = SyncSender<io::Result<()>>;
    type UserData = ();

    fn log_index(position: &LogPosition) -> u64 {
        position.0.index.0
    }

    fn payload_size(payload: &Payload) -> u64 {
        u64::try_from(payload.bytes.len()).unwrap_or(u64::MAX)
    }
}

/// A position, ordered as Raft compares logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogPosition(pub(super) Position);

/// A vote in its total order, so that raft-log's check (it asks for a partial order) refuses none that Raft allows
/// and allows none that Raft refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogVote(pub(super) Vote);

/// What an entry carries. The kind is kept as a number here: what it means is asked after the checksum held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    kind: u8,
    bytes: Bytes,
}

pub(super) fn from_entry(entry: &Entry) -> (LogPosition, Payload) {
    let kind = match entry.kind {
        EntryKind::Blank => 1,
        EntryKind::Command => 2,
        EntryKind::Membership => 3,
    };
    let bytes = entry.payload.clone();
    (LogPosition(entry.position), Payload { kind, bytes })
}

/// The number of a kind that a newer version wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownKind(pub(super) u8);

pub(super) fn to_entry(position: LogPosition, payload: Payload) -> Result<Entry, UnknownKind> {
    let kind = match payload.kind {
        1 => EntryKind::Blank,
        2 => EntryKind::Command,
        3 => EntryKind::Membership,
        other => return Err(UnknownKind(other)),
    };
    Ok(Entry {
        position: position.0,
        kind,
        payload: payload.bytes,
    })
}

impl Encode for LogPosition {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let Position { term, leader, index } = self.0;
        Ok(term.0.encode(&mut out)? + leader.0.encode(&mut out)? + index.0.encode(&mut out)?)
    }
}

impl Decode for LogPosition {
    fn decode<R: Read>(mut input: R) -> io::Result<Self> {
        Ok(Self(Position {
            term: Term(u64::decode(&mut input)?),
            leader: NodeId(u64::decode(&mut input)?),
            index: Index(u64::decode(&mut input)?),
        }))
    }
}

impl Encode for LogVote {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let Vote {
            term,
            node,
            committed,
        } = self.0;
        Ok(term.0.encode(&mut out)? + node.0.encode(&mut out)? + u8::from(committed).encode(&mut out)?)
    }
}

impl Decode for LogVote {
    fn decode<R: Read>(mut input: R) -> io::Result<Self> {
        Ok(Self(Vote {
            term: Term(u64::decode(&mut input)?),
            node: NodeId(u64::decode(&mut input)?),
            committed: match u8::decode(&mut input)? {
                0 => false,
                1 => true,
                _ => return Err(damaged("a vote is neither given nor elected")),
            },
        }))
    }
}

impl Encode for Payload {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let length = u32::try_from(self.bytes.len()).map_err(io::Error::other)?;
        let [a, b, c, d] = length.to_be_bytes();
        let head = [self.kind, a, b, c, d];
        out.write_all(&head)?;
        out.write_all(&crc32fast::hash(&head).to_be_bytes())?;
        out.write_all(&self.bytes)?;
        Ok(9 + self.bytes.len())
    }
}

impl Decode for Payload {
    fn decode<R: Read>(mut input: R) -> io::Result<Self> {
        let (mut head, mut crc) = ([0; 5], [0; 4]);
        input.read_exact(&mut head)?;
        input.read_exact(&mut crc)?;
        if crc != crc32fast::hash(&head).to_be_bytes() {
            return Err(damaged("the checksum of a payload's length does not match"));
        }
        let [kind, a, b, c, d] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > ENTRY_BYTES_MAX {
            return Err(damaged("a payload is longer than its limit"));
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(Self {
            kind,
            bytes: bytes.into(),
        })
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use raft_log::RaftLogAction;

    use super::*;
    use crate::view::ENTRY_OVERHEAD_BYTES;
    use crate::view::sample::{at, entry};

    fn hex(record: &Record) -> String {
        let mut bytes = Vec::new();
        assert_eq!(record.encode(&mut bytes).unwrap(), bytes.len());
        assert_eq!(Record::decode(bytes.as_slice()).unwrap(), *record);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_are_pinned() {
        let (position, payload) = from_entry(&entry(3, 7));
        let vote = LogVote(Vote {
            term: Term(2),
            node: NodeId(5),
            committed: true,
        });
        // Computed apart from this code, with Python's struct and zlib.
        let cases = [
            (
                "an entry",
                RaftLogAction::Append(position, payload),
                "000000010000000000000003000000000000000100000000000000070200000009c53e1c\
                 d9656e74727920332f3700000000ef931141",
            ),
            (
                "a vote",
                RaftLogAction::SaveVote(vote),
                "000000000000000000000002000000000000000501000000004f81d165",
            ),
            (
                "a commit",
                RaftLogAction::Commit(LogPosition(at(3, 7))),
                "0000000200000000000000030000000000000001000000000000000700000000ca938bd0",
            ),
            (
                "a truncation",
                RaftLogAction::TruncateAfter(None),
                "000000030000000000ed0fa4de",
            ),
            (
                "a purge",
                RaftLogAction::PurgeUpto(LogPosition(at(3, 7))),
                "0000000400000000000000030000000000000001000000000000000700000000a148e776",
            ),
        ];
        for (name, action, want) in cases {
            assert_eq!(hex(&Record::Action(action)), want, "{name}");
        }
    }

    #[test]
    fn an_entry_takes_its_payload_and_the_overhead_that_the_tail_counts() {
        let (position, payload) = from_entry(&entry(3, 7));
        let mut bytes = Vec::new();
        Record::Action(RaftLogAction::Append(position, payload))
            .encode(&mut bytes)
            .unwrap();
        assert_eq!(bytes.len(), entry(3, 7).payload.len() + ENTRY_OVERHEAD_BYTES);
    }

    #[test]
    fn no_flipped_bit_in_a_length_makes_a_payload_look_cut_off() {
        let (_, payload) = from_entry(&entry(3, 7));
        let mut bytes = Vec::new();
        payload.encode(&mut bytes).unwrap();
        for bit in 0..9 * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Payload::decode(flipped.as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "bit {bit}");
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_memory_is_taken() {
        let head = [2, 0xff, 0xff, 0xff, 0xff];
        let bytes = [&head[..], &crc32fast::hash(&head).to_be_bytes()].concat();
        let error = Payload::decode(bytes.as_slice()).unwrap_err();
        assert!(error.to_string().contains("longer than its limit"), "{error}");
    }

    #[test]
    fn a_kind_of_a_newer_version_is_told_apart() {
        let payload = Payload {
            kind: 9,
            bytes: Bytes::new(),
        };
        assert_eq!(to_entry(LogPosition(at(1, 1)), payload), Err(UnknownKind(9)));
    }
}
