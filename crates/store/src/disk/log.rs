//! The log on disk: raft-log, driven by one thread that groups what waits into one flush.
//!
//! Promises: writes reach the disk in the order of the queue; a batch is told "durable" after one fdatasync of all of
//! it; any error ends the thread, and nothing is tried again. raft-log writes and flushes on a thread of its own; with
//! a wait of zero it never batches by itself, so the grouping here needs no timer.
//!
//! Reads come here only for entries that the tail no longer holds. Those stand in closed chunks: the tail holds at
//! least as many bytes as a chunk, hence all entries of the open one. That matters, because raft-log can serve an
//! entry of the open chunk from its cache alone, and may have dropped it from there when its position is below that
//! of a truncated entry (a later leader's older entries). So the cache of raft-log is set to nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use quorate_types::Position;
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Config, RaftLog, chunked_wal};
use tokio::time::Instant;

use super::record::{LogPosition, LogTypes, LogVote, UnknownKind, from_entry, to_entry};
use crate::error::{Fault, OpenError};
use crate::intake::{Batch, Intake, Job, Work};
use crate::store::Entry;
use crate::view::Write;

/// See the module.
pub(super) struct DiskLog {
    log: RaftLog<LogTypes>,
    path: PathBuf,
}

impl DiskLog {
    /// Opens a log that was found sound, and makes sure that its first chunk is durable.
    pub(super) fn open(path: &Path, chunk_bytes: usize) -> Result<Self, OpenError> {
        let config = Config {
            wal: chunked_wal::Config {
                dir: path.to_string_lossy().into_owned(),
                // The buffer of a sequential read when opening; the default takes 64 MiB for each chunk.
                read_buffer_size: Some(256 * 1024),
                chunk_max_records: None,
                chunk_max_size: Some(chunk_bytes),
                // Whatever is unfinished was cut off before.
                truncate_incomplete_record: Some(false),
                flush_batch_wait: Some(Duration::ZERO),
                flush_batch_max_items: None,
                flush_queue_max_bytes: None,
            },
            log_cache_max_items: Some(0),
            log_cache_capacity: Some(0),
        };
        let refused = |error| OpenError::io("opening the log in", path, error);
        let mut log = Self {
            log: RaftLog::open(Arc::new(config)).map_err(refused)?,
            path: path.to_owned(),
        };
        log.sync().map_err(refused)?;
        Ok(log)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.log.on_disk_size()
    }

    /// Serves the intake until it is closed or something fails.
    pub(super) fn run(mut self, intake: &Intake) {
        loop {
            match intake.work_blocking() {
                Work::Stop => return,
                Work::Close(committed) => {
                    if let Err(fault) = self.flush(committed) {
                        intake.fail(fault);
                    }
                    // Joins raft-log's thread before the closing is told.
                    drop(self);
                    return intake.closed();
                }
                Work::Batch(mut batch) => {
                    let began = Instant::now();
                    match self.execute(&mut batch) {
                        Ok(()) => intake.settle(batch, began.elapsed(), self.bytes()),
                        Err(fault) => return intake.fail_batch(batch, fault),
                    }
                }
            }
        }
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        for job in &mut batch.jobs {
            match job {
                Job::Write(request) => {
                    if let Some(write) = &request.write {
                        self.apply(write)?;
                    }
                }
                Job::Read(request) => {
                    let entries = self.read(request.from, request.to, request.bytes_max)?;
                    if let Some(answer) = request.answer.take() {
                        // A reader that went away needs no answer.
                        let _ = answer.send(Ok(entries));
                    }
                }
            }
        }
        match batch.writes() {
            true => self.flush(batch.committed),
            false => Ok(()),
        }
    }

    fn apply(&mut self, write: &Write) -> Result<(), Fault> {
        let written = match write {
            Write::Append(entries) => self.log.append(entries.iter().map(from_entry)),
            Write::Vote(vote) => self.log.save_vote(LogVote(*vote)),
            Write::Truncate { keep, is_seen } => {
                self.check_held(keep.filter(|_| !is_seen))?;
                self.log.truncate(next_index(*keep))
            }
            Write::Purge { upto, is_seen } => {
                self.check_held(Some(*upto).filter(|_| !is_seen))?;
                self.log.purge(LogPosition(*upto))
            }
            Write::Restart { at, keep } => {
                // raft-log keeps the greater of its last position and the purged one. A tail of a later term that was
                // never committed would stay its "last", at an index that no append continues.
                let last = self.log.log_state().last().map(|last| last.0);
                let cut = match last > Some(*at) {
                    true => self.log.truncate(next_index(*keep)).map(drop),
                    false => Ok(()),
                };
                cut.and_then(|()| self.log.purge(LogPosition(*at)))
            }
        };
        written.map(drop).map_err(|error| self.failed(error))
    }

    /// Makes everything durable that was applied, and how far it is committed.
    fn flush(&mut self, committed: Option<Position>) -> Result<(), Fault> {
        if let Some(committed) = committed.map(LogPosition) {
            let written = self.log.commit(committed);
            written.map_err(|error| self.failed(error))?;
        }
        self.sync().map_err(|error| self.failed(error))
    }

    fn sync(&mut self) -> io::Result<()> {
        let (sender, receiver) = sync_channel(1);
        let flushed = self
            .log
            .flush(true, Some(sender))
            .and_then(|()| match receiver.recv() {
                Ok(result) => result,
                Err(_) => Err(io::Error::other("raft-log's thread ended")),
            });
        flushed.map_err(|error| self.first_error(error))
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, Fault> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        // An empty range is none that a map takes.
        for read in self.log.read(from, to.max(from)) {
            let (position, payload) = read.map_err(|error| self.unreadable(from, Some(error)))?;
            let entry = to_entry(position, payload).map_err(|UnknownKind(_)| self.unreadable(from, None))?;
            bytes = bytes.saturating_add(entry.payload.len());
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// An entry that the log holds at this index has this very position. Not asked for what the tail has seen, which
    /// may stand in the open chunk.
    fn check_held(&self, position: Option<Position>) -> Result<(), Fault> {
        let Some(position) = position else {
            return Ok(());
        };
        let index = position.index.0;
        match self.read(index, index.saturating_add(1), 0)?.first() {
            Some(entry) if entry.position != position => {
                let what = format!("the log holds {}, not {position}", entry.position);
                Err(Fault::invariant(&what))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, error: io::Error) -> Fault {
        Fault::disk("writing the log", &self.path, self.first_error(error))
    }

    /// What ended raft-log's thread, when that is why it takes nothing any more.
    fn first_error(&self, error: io::Error) -> io::Error {
        self.log.wait_worker_idle().err().unwrap_or(error)
    }

    fn unreadable(&self, index: u64, cause: Option<io::Error>) -> Fault {
        let sentence = format!(
            "the log in {} does not read back near index {index}: the disk is damaged; wipe the data directory and \
             let the replica join again, or restore it from a copy",
            self.path.display()
        );
        Fault::damage(sentence, cause)
    }
}

fn next_index(position: Option<Position>) -> u64 {
    position.map_or(0, |position| position.index.0.saturating_add(1))
}
