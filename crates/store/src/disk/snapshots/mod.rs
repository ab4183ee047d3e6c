//! Snapshot files: found at opening, installed by rename. The handles that write, read and receive them have a file
//! each.
//!
//! A file has its final name only when it is complete and durable. Whoever reads one keeps it open, so that removing
//! the old file when a newer one is installed takes nothing away. Files are flushed every few megabytes while they are
//! written: a flush of the log then never waits for a large pile of somebody else's dirty pages.

mod read;
mod receive;
mod write;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_types::{Index, NodeId, Position, Term};

use super::directory::sync_directory;
use super::facts::encode_snapshot;
use super::files::{Files, Owned};
use crate::error::{SnapshotError, StoreError};
use crate::snapshot::{ReadError, Snapshot, verify};

pub(super) use read::Reader;
pub(super) use receive::Inbox;
pub(super) use write::Writer;

/// Written bytes after which a file is flushed.
const FLUSH_BYTES: u64 = 4 * 1024 * 1024;
/// For sequential reads of whole files.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// The directory of snapshots, as its owner sees it.
pub(super) struct SnapshotFiles {
    directory: PathBuf,
    newest: Option<PathBuf>,
    /// Numbers temporary files and inbox handles.
    handles: u64,
    /// The handle that has the inbox.
    inbox: u64,
}

/// What was found at opening.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) newest: Option<(Snapshot, PathBuf)>,
    pub(super) damaged: Vec<(PathBuf, SnapshotError)>,
    /// Left by a crash.
    stale: Vec<PathBuf>,
}

/// Reads every snapshot in full.
pub(super) fn survey(directory: &Path) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tmp") => survey.stale.push(path),
            Some("snap") => match verify(BufReader::with_capacity(READ_BUFFER_BYTES, File::open(&path)?)) {
                Ok(snapshot) => survey.found(snapshot, path),
                Err(ReadError::Bad(error)) => survey.damaged.push((path, error)),
                Err(ReadError::Io(error)) => return Err(error),
            },
            // A partial transfer is looked at when it goes on.
            _ => {}
        }
    }
    Ok(survey)
}

impl Survey {
    /// Whether there was no snapshot at all, not even a damaged one.
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_none() && self.damaged.is_empty()
    }

    fn found(&mut self, snapshot: Snapshot, path: PathBuf) {
        match &self.newest {
            Some((newest, _)) if newest.id.last > snapshot.id.last => self.stale.push(path),
            _ => {
                let older = self.newest.replace((snapshot, path));
                self.stale.extend(older.map(|(_, path)| path));
            }
        }
    }
}

impl SnapshotFiles {
    /// Takes over what the survey found: what a crash left is removed, what is damaged is renamed.
    pub(super) fn take(directory: PathBuf, survey: &Survey) -> io::Result<Self> {
        for path in &survey.stale {
            fs::remove_file(path)?;
        }
        for (path, _) in &survey.damaged {
            fs::rename(path, path.with_extension("damaged"))?;
        }
        if !survey.stale.is_empty() || !survey.damaged.is_empty() {
            sync_directory(&directory)?;
        }
        Ok(Self {
            directory,
            newest: survey.newest.as_ref().map(|(_, path)| path.clone()),
            handles: 0,
            inbox: 0,
        })
    }

    fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }
}

/// Makes a complete and durable file the newest snapshot.
fn install(
    owned: &mut Owned,
    files: &Files,
    from: &Path,
    snapshot: Snapshot,
) -> Result<Snapshot, StoreError> {
    let newest = owned.shared.newest().map(|newest| newest.id.last);
    if newest.is_some_and(|newest| newest > snapshot.id.last) {
        return Err(SnapshotError::Superseded.into());
    }
    let directory = owned.snapshots.directory.clone();
    let to = directory.join(file_name(snapshot.id.last));
    // From here on a failure leaves it open which snapshot is there after a crash, so it is a fault.
    let installed = fs::rename(from, &to)
        .and_then(|()| sync_directory(&directory))
        .and_then(|()| owned.sled.write(encode_snapshot(snapshot.id)));
    installed.map_err(|error| files.fail("installing a snapshot", &directory, error))?;
    let older = owned.snapshots.newest.replace(to.clone());
    owned.shared.set_newest(Some(snapshot.clone()));
    if let Some(older) = older.filter(|older| *older != to)
        && let Err(error) = fs::remove_file(&older)
    {
        // It costs space until the next opening, nothing else.
        tracing::warn!(path = %older.display(), %error, "an old snapshot was not removed");
    }
    Ok(snapshot)
}

fn file_name(last: Option<Position>) -> String {
    last.map_or_else(|| "empty.snap".to_owned(), |last| format!("{last}.snap"))
}

/// The position that a snapshot's file is named after.
pub(super) fn position_of(path: &Path) -> Option<Position> {
    let mut numbers = path.file_stem()?.to_str()?.split('-').map(str::parse);
    let mut number = || numbers.next()?.ok();
    let position = Position {
        term: Term(number()?),
        leader: NodeId(number()?),
        index: Index(number()?),
    };
    (file_name(Some(position)) == path.file_name()?.to_str()?).then_some(position)
}

fn failed(path: &Path, error: io::Error) -> SnapshotError {
    SnapshotError::Io {
        path: path.to_owned(),
        cause: Arc::new(error),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
