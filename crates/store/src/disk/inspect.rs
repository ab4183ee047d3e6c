//! Reads the whole log before raft-log opens it, and refuses what raft-log would cut off or not notice.
//!
//! raft-log takes a last chunk that ends within a record for an unfinished write and cuts it there; a last chunk
//! without a whole first record it deletes. After a crash that is right: nobody was told that the record is durable.
//! But a flipped bit in a type, a length or a flag can look the same, and then an acknowledged record would silently
//! be lost. So an end is believed to be unfinished only when
//!
//! - what is left of the file is zeros, or is zeros from a block's boundary on (a crash can leave a file with its new
//!   length and without its last blocks; ext4 did in our power cuts), or is a record that goes beyond the end and that
//!   no single flipped bit turns into a whole one (a payload's length has its own checksum, see
//!   [`record`](super::record)),
//! - no chunk after it holds a byte, because a chunk's first byte is written after its predecessor was flushed,
//! - and, for the very first chunk, the directory was never opened before, because opening flushes that chunk.
//!
//! Everything else that does not decode, does not continue what is before it, or is missing, is damage: the file, the
//! offset and what to do are named, and nothing is changed. An unfinished end is cut off here, not by raft-log, which
//! does not know all of its shapes.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quorate_types::Position;
use raft_log::codeq::Decode;
use raft_log::{RaftLogAction, WALRecord, chunked_wal};

use super::record::{Record, UnknownKind, to_entry};
use crate::error::OpenError;
use crate::identity::DIRECTORY_FORMAT;
use crate::limits::ENTRY_BYTES_MAX;
use crate::store::LogState;
use crate::view::{LogView, Violation};

/// The longest record but for an entry's payload, rounded up: a checkpoint has 107 bytes.
const HEAD_BYTES_MAX: usize = 128;
/// The checksum that ends a record: 32 zero bits and 32 that are hardly ever zero.
const CHECKSUM_BYTES: u64 = 8;
/// What a disk writes as a whole, at least.
const SECTOR_BYTES: u64 = 512;
const BEGINNING_LOST: &str = "its beginning is missing though this replica has run before";
const RECORD_BYTES_MAX: u64 = (ENTRY_BYTES_MAX + HEAD_BYTES_MAX) as u64;

/// What the log holds.
pub(super) struct Inspected {
    /// Ready to be the view of the running store: its tail has every entry of the last chunk.
    pub(super) view: LogView,
    pub(super) bytes: u64,
    /// An unfinished write, to be cut off before raft-log opens the log.
    pub(super) unfinished: Option<Unfinished>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

struct Chunk {
    path: PathBuf,
    /// Offset of its first byte in the whole log.
    start: u64,
    bytes: u64,
}

impl Chunk {
    fn damaged(&self, offset: u64, what: impl Into<String>) -> OpenError {
        OpenError::LogDamaged {
            path: self.path.clone(),
            offset,
            what: what.into(),
        }
    }
}

/// Reads the log in `directory`. `was_opened` says whether an earlier opening was completed.
pub(super) fn inspect(directory: &Path, was_opened: bool, tail_bytes: usize) -> Result<Inspected, OpenError> {
    let mut chunks = list_chunks(directory)?;
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    if chunks.is_empty() && was_opened {
        return Err(OpenError::LogDamaged {
            path: directory.to_owned(),
            offset: 0,
            what: "all its files are gone".to_owned(),
        });
    }
    // A chunk is made before its predecessor is flushed: empty ones at the end say nothing about what is before them.
    while let Some(empty) = chunks.pop_if(|chunk| chunk.bytes == 0) {
        if chunks.is_empty() && (was_opened || empty.start != 0) {
            return Err(empty.damaged(0, BEGINNING_LOST));
        }
    }
    let Some(first) = chunks.first() else {
        let view = LogView::new(LogState::default(), 0, Vec::new(), tail_bytes);
        return Ok(Inspected {
            view,
            bytes,
            unfinished: None,
        });
    };

    // The open chunk's entries must stay in the tail, whatever its size was set to when it was written.
    let last_chunk = chunks.last().map_or(0, |chunk| chunk.bytes);
    let tail_bytes = tail_bytes.max(usize::try_from(last_chunk).unwrap_or(usize::MAX));
    let mut replay = Replay {
        view: None,
        tail_bytes,
    };
    let mut unfinished = None;
    let mut end = first.start;
    for (number, chunk) in chunks.iter().enumerate() {
        if chunk.start != end {
            let what = format!("a part of the log before it is missing, from byte {end}");
            return Err(chunk.damaged(0, what));
        }
        let (read, stopped) = read_chunk(chunk, &mut replay)?;
        end = chunk.start + read;
        if let Some(error) = stopped {
            if let Some(later) = chunks.get(number + 1) {
                let what = format!("{error}, and {} goes on after it", later.path.display());
                return Err(chunk.damaged(read, what));
            }
            if read == 0 && number == 0 && (was_opened || chunk.start != 0) {
                return Err(chunk.damaged(read, BEGINNING_LOST));
            }
            judge_end(chunk, read, &error)?;
            unfinished = Some(Unfinished {
                path: chunk.path.clone(),
                offset: read,
                bytes: chunk.bytes - read,
            });
            break;
        }
    }

    let view = replay.finish(first)?;
    Ok(Inspected {
        view,
        bytes,
        unfinished,
    })
}

fn list_chunks(directory: &Path) -> Result<Vec<Chunk>, OpenError> {
    let refused = |error| OpenError::io("reading", directory, error);
    let mut chunks = Vec::new();
    for file in fs::read_dir(directory).map_err(refused)? {
        let file = file.map_err(refused)?;
        let name = file.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("r-")) else {
            continue;
        };
        let bytes = file.metadata().map_err(refused)?.len();
        let path = file.path();
        match chunked_wal::Config::parse_chunk_file_name(name) {
            Ok(start) => chunks.push(Chunk { path, start, bytes }),
            // raft-log would pass over it, and with it perhaps over the newest entries.
            Err(error) => {
                return Err(OpenError::LogDamaged {
                    path,
                    offset: 0,
                    what: format!("its name is not that of a chunk: {error}"),
                });
            }
        }
    }
    chunks.sort_by_key(|chunk| chunk.start);
    Ok(chunks)
}

/// Replays a chunk; gives where it stopped, and why when that is not its end.
fn read_chunk(chunk: &Chunk, replay: &mut Replay) -> Result<(u64, Option<io::Error>), OpenError> {
    let refused = |error| OpenError::io("reading", &chunk.path, error);
    let file = File::open(&chunk.path).map_err(refused)?;
    let mut input = Counted {
        input: BufReader::with_capacity(256 * 1024, file),
        count: 0,
    };
    loop {
        let offset = input.count;
        if offset >= chunk.bytes {
            return Ok((offset, None));
        }
        match Record::decode(&mut input) {
            Ok(record) => replay
                .apply(record, offset == 0)
                .map_err(|problem| problem.at(chunk, offset))?,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                    return Ok((offset, Some(error)));
                }
                _ => return Err(refused(error)),
            },
        }
    }
}

/// Whether what follows `offset` is an unfinished write, as the module says.
fn judge_end(chunk: &Chunk, offset: u64, error: &io::Error) -> Result<(), OpenError> {
    let refused = |error| OpenError::io("reading", &chunk.path, error);
    let file = File::open(&chunk.path).map_err(refused)?;
    let written = chunk.bytes - trailing_zeros(&file, offset, chunk.bytes).map_err(refused)?;
    // A whole record ends with its checksum, so that this many zeros are no part of one.
    let missing = chunk.bytes.saturating_sub(written.next_multiple_of(SECTOR_BYTES));
    if written == offset || missing >= 2 * CHECKSUM_BYTES {
        return Ok(());
    }
    let left = chunk.bytes - offset;
    if error.kind() != io::ErrorKind::UnexpectedEof || left > RECORD_BYTES_MAX {
        return Err(chunk.damaged(offset, format!("a record does not decode ({error})")));
    }
    let mut end = vec![0; usize::try_from(left).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut end, offset).map_err(refused)?;
    if is_one_flip_away(&mut end) {
        let what = "a flipped bit makes its last record look unfinished";
        return Err(chunk.damaged(offset, what));
    }
    Ok(())
}

impl Unfinished {
    /// Cuts it off, durably.
    pub(super) fn cut_off(&self) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(self.offset)?;
        file.sync_all()
    }
}

/// Whether one flipped bit in the head of the first record makes a whole record of it. Bits of a payload need no try:
/// they do not change where the record ends.
fn is_one_flip_away(bytes: &mut [u8]) -> bool {
    (0..bytes.len().min(HEAD_BYTES_MAX) * 8).any(|bit| {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let decodes = Record::decode(&*bytes).is_ok();
        bytes[bit / 8] ^= 1 << (bit % 8);
        decodes
    })
}

/// How many zeros `[from, to)` ends with.
fn trailing_zeros(file: &File, from: u64, to: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut end = to;
    while end > from {
        let part = usize::try_from(end - from).map_or(buffer.len(), |left| left.min(buffer.len()));
        let bytes = &mut buffer[..part];
        let start = end - u64::try_from(part).unwrap_or(0);
        file.read_exact_at(bytes, start)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(to - start - u64::try_from(last + 1).unwrap_or(0));
        }
        end = start;
    }
    Ok(to - from)
}

struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// What a record that decodes can still be.
enum Problem {
    Damage(String),
    Newer(u8),
}

impl Problem {
    fn at(self, chunk: &Chunk, offset: u64) -> OpenError {
        match self {
            Self::Damage(what) => chunk.damaged(offset, what),
            Self::Newer(kind) => OpenError::NewerFormat {
                path: chunk.path.clone(),
                // Kinds are added with a format; which one is not known here.
                found: DIRECTORY_FORMAT.max(u64::from(kind)),
                supported: DIRECTORY_FORMAT,
            },
        }
    }
}

impl From<Violation> for Problem {
    fn from(violation: Violation) -> Self {
        Self::Damage(violation)
    }
}

/// Follows the records by the rules of the log.
struct Replay {
    /// `None` before the first record. The view is the same one that checks the writes of a running store.
    view: Option<(LogView, Option<Position>)>,
    tail_bytes: usize,
}

impl Replay {
    fn apply(&mut self, record: Record, is_first: bool) -> Result<(), Problem> {
        let action = match record {
            WALRecord::Checkpoint(checkpoint) => {
                let state = LogState {
                    vote: checkpoint.vote().map(|vote| vote.0),
                    committed: checkpoint.committed().map(|position| position.0),
                    purged: checkpoint.purged().map(|position| position.0),
                    last: checkpoint.last().map(|position| position.0),
                };
                return self.checkpoint(state, is_first);
            }
            WALRecord::Action(action) => action,
        };
        let Some((view, _)) = self.view.as_mut().filter(|_| !is_first) else {
            return Err(Problem::Damage("it does not begin with a checkpoint".to_owned()));
        };
        match action {
            RaftLogAction::SaveVote(vote) => drop(view.save_vote(vote.0)?),
            RaftLogAction::Append(position, payload) => {
                let entry = to_entry(position, payload).map_err(|UnknownKind(kind)| Problem::Newer(kind))?;
                view.append(vec![entry], 0)?;
            }
            RaftLogAction::Commit(position) => {
                let committed = Some(position.0);
                if !view.save_committed(committed) && view.state().committed != committed {
                    let what = format!("it commits {}, which the log does not hold", position.0);
                    return Err(Problem::Damage(what));
                }
            }
            RaftLogAction::TruncateAfter(keep) => {
                drop(view.truncate_after(keep.map(|position| position.0))?);
            }
            RaftLogAction::PurgeUpto(upto) => drop(view.purge_upto(upto.0)?),
        }
        Ok(())
    }

    fn checkpoint(&mut self, state: LogState, is_first: bool) -> Result<(), Problem> {
        if !is_first {
            return Err(Problem::Damage("a checkpoint stands within a chunk".to_owned()));
        }
        match &self.view {
            // Entries up to `state.last` stood in chunks that were removed.
            None => {
                let first = state.last.map_or(0, |last| last.index.0.saturating_add(1));
                let view = LogView::new(state, first, Vec::new(), self.tail_bytes);
                self.view = Some((view, state.last));
                Ok(())
            }
            Some((view, _)) if view.state() == state => Ok(()),
            Some((view, _)) => Err(Problem::Damage(format!(
                "its checkpoint {state:?} contradicts the chunks before it, {:?}",
                view.state()
            ))),
        }
    }

    /// The view of everything; chunks that were removed must all have been purged.
    fn finish(self, first: &Chunk) -> Result<LogView, OpenError> {
        let Some((view, removed)) = self.view else {
            let view = LogView::new(LogState::default(), 0, Vec::new(), self.tail_bytes);
            return Ok(view);
        };
        if removed > view.state().purged {
            let what = "the chunks before it are gone, but their entries were not purged";
            return Err(first.damaged(0, what));
        }
        let next = view.state().purged.map(|purged| purged.index.0.saturating_add(1));
        if next.is_some_and(|next| next != view.first()) {
            let what = format!("entries are missing between {next:?} and {}", view.first());
            return Err(first.damaged(0, what));
        }
        Ok(view)
    }
}

#[cfg(test)]
mod tests;
