//! What can go wrong: a fault that stops the replica, a refusal that does not, a directory that does not open.
//!
//! Every sentence is for an operator: it names the path and says what to do. Causes are carried, not repeated.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_types::{Incarnation, Position};

use crate::identity::Identity;

/// Our own failure: the disk, damage, or a broken invariant. It stops the replica.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Fault {
    sentence: String,
    #[source]
    cause: Option<io::Error>,
}

impl Fault {
    /// A disk that did not do what was asked. `doing` reads after "while", `path` is what it was done to.
    pub(crate) fn disk(doing: &str, path: &Path, cause: io::Error) -> Self {
        let sentence = if is_full(&cause) {
            format!(
                "the disk is full while {doing}: {} has {} bytes free; free space there and start the replica again",
                path.display(),
                free_bytes(path)
            )
        } else {
            format!(
                "the disk failed while {doing} in {}: what it holds is no longer known, so the replica stops; check \
                 the disk and start the replica again",
                path.display()
            )
        };
        Self {
            sentence,
            cause: Some(cause),
        }
    }

    /// Something that was written earlier reads back wrong.
    pub(crate) fn damage(sentence: String, cause: Option<io::Error>) -> Self {
        Self { sentence, cause }
    }

    /// A caller, or this crate, broke a rule on which safety rests.
    pub(crate) fn invariant(what: &str) -> Self {
        Self {
            sentence: format!("a broken invariant stops the replica (a bug, please report it): {what}"),
            cause: None,
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store has stopped; this is the first fault.
    #[error(transparent)]
    Fault(Arc<Fault>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A snapshot could not be written, received or read; the store goes on.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The directory belongs to another replica.
    #[error("the data directory belongs to {existing}, it cannot become that of {wanted}")]
    IdentityTaken {
        /// Whose it is.
        existing: Box<Identity>,
        /// Whose it should have become.
        wanted: Box<Identity>,
    },
    /// The identity names another directory than this one.
    #[error("the identity is for the data directory {named}, this one is {is}")]
    OtherDirectory {
        /// The directory that it names.
        named: Incarnation,
        /// This one.
        is: Incarnation,
    },
    /// A membership is larger than [`MEMBERSHIP_BYTES_MAX`](crate::limits::MEMBERSHIP_BYTES_MAX).
    #[error("a membership of {bytes} bytes is too large, at most {max} are kept", max = crate::limits::MEMBERSHIP_BYTES_MAX)]
    MembershipTooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Why a snapshot was not written, received or read. The store goes on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SnapshotError {
    /// A chunk does not continue what has arrived.
    #[error("a snapshot chunk starts at byte {got}, but byte {expected} comes next")]
    WrongOffset {
        /// Where the transfer continues.
        expected: u64,
        /// Where the chunk starts.
        got: u64,
    },
    /// A chunk goes beyond the announced end.
    #[error("a snapshot chunk ends at byte {end}, beyond the announced {announced}")]
    TooLong {
        /// Where the chunk ends.
        end: u64,
        /// The announced size.
        announced: u64,
    },
    /// The transfer was finished before all bytes had arrived.
    #[error("a snapshot of {announced} bytes was finished after {arrived}")]
    Incomplete {
        /// What arrived.
        arrived: u64,
        /// The announced size.
        announced: u64,
    },
    /// The bytes are not a snapshot, or not the announced one. What arrived is dropped.
    #[error("the snapshot is damaged at byte {offset}: {what}")]
    Damaged {
        /// The first byte of what is wrong.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// It was written by a newer version.
    #[error(
        "the snapshot has format {found}, this version reads up to {supported}; upgrade this replica first"
    )]
    NewerFormat {
        /// Its format.
        found: u16,
        /// The newest format known here.
        supported: u16,
    },
    /// A newer snapshot, or a newer transfer, took its place.
    #[error("the snapshot was superseded by a newer one")]
    Superseded,
    /// A record is larger than [`RECORD_BYTES_MAX`](crate::limits::RECORD_BYTES_MAX).
    #[error("a snapshot record of {bytes} bytes is too large, at most {max} are allowed", max = crate::limits::RECORD_BYTES_MAX)]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A call on this handle failed or was cancelled, so that its state is unknown.
    #[error("an earlier call on this snapshot handle failed or was cancelled; open a new one")]
    Cancelled,
    /// The disk did not take it.
    #[error("writing or reading the snapshot file {path} failed", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<io::Error>,
    },
}

/// Why a data directory does not open. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path, or one inside it, is not a directory.
    #[error("{path} is not a directory; give the replica a directory of its own", path = path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory cannot be written.
    #[error("{path} cannot be written; give the replica's user write access to it, on a disk that is mounted read-write", path = path.display())]
    NotWritable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The disk is full.
    #[error("no space is left at {path} ({free_bytes} bytes free); free some and start again", path = path.display())]
    NoSpace {
        /// The path.
        path: PathBuf,
        /// What is left.
        free_bytes: u64,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by {}; stop it first, or give this replica a directory of its own", holder(*pid), path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, when it left its id.
        pid: Option<u32>,
    },
    /// It was written by a newer version.
    #[error("{path} has format {found}, this version reads up to {supported}; start the newer version again", path = path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known here.
        supported: u64,
    },
    /// The file that names the directory is damaged.
    #[error("{path} is damaged ({what}); move it away to have it written again from facts.sled, or restore it", path = path.display())]
    IdentityDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Two copies of the identity differ.
    #[error("{path} mixes two data directories: IDENTITY says {file}, facts.sled says {facts}; restore the right one, or wipe the directory and let the replica join again", path = path.display())]
    IdentitiesDisagree {
        /// The directory.
        path: PathBuf,
        /// From the text file.
        file: Box<Identity>,
        /// From sled.
        facts: Box<Identity>,
    },
    /// Data without an identity.
    #[error("{path} holds a log but neither IDENTITY nor facts.sled says whose; restore them, or wipe the directory and let the replica join again", path = path.display())]
    IdentityMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The log is damaged, or a part of it is missing.
    #[error("the log is damaged in {path} at byte {offset}: {what}; votes and entries may be lost, so wipe the data directory and let the replica join again, or restore it from a copy", path = path.display())]
    LogDamaged {
        /// The file.
        path: PathBuf,
        /// The first byte that is wrong.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A snapshot that covered what the log does not hold is damaged or missing.
    #[error("{path}: {what}, and the log does not hold all entries up to {needs}, which it covered; restore it, or wipe the data directory and let the replica join again", path = path.display())]
    SnapshotLost {
        /// The snapshot's file, or the directory when none is known.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// Neither the log nor an intact snapshot holds everything up to here.
        needs: Position,
    },
    /// A directory that has to be empty is not.
    #[error("{path} is not empty: it holds {found}; name an empty directory, or one that is not there yet", path = path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// The first name in it.
        found: String,
    },
    /// There is no data of a replica.
    #[error("{path} holds no data of a replica; name the data directory of one", path = path.display())]
    NoData {
        /// The directory.
        path: PathBuf,
    },
    /// A directory was being filled from a backup when that ended.
    #[error("{path} was being restored when that broke off; run the same `quorate snapshot restore` again", path = path.display())]
    HalfRestored {
        /// The directory.
        path: PathBuf,
    },
    /// What is to take the place of a directory is complete, but not all of it is in place.
    #[error("what takes the place of {path} is complete, but could not be moved in yet; mend what is named and start the replica, which goes on", path = path.display())]
    HalfReplaced {
        /// The directory.
        path: PathBuf,
        /// What the system refused.
        #[source]
        cause: Box<OpenError>,
    },
    /// Anything else that the system refused.
    #[error("{doing} {path} failed", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl OpenError {
    /// Sorts an IO error by what the operator can do about it.
    pub(crate) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&cause) {
            let free_bytes = free_bytes(&path);
            return Self::NoSpace {
                path,
                free_bytes,
                cause,
            };
        }
        match cause.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NotADirectory { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, cause }
            }
            _ => Self::Io { doing, path, cause },
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Whether the disk, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Free bytes on the file system of `path`, or of its nearest ancestor that exists; 0 when nobody knows.
pub(crate) fn free_bytes(path: &Path) -> u64 {
    path.ancestors()
        .find_map(|path| rustix::fs::statvfs(path).ok())
        .map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_its_path_and_what_is_left() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let fault = Fault::disk("writing the log", Path::new("/tmp"), full);
        let sentence = fault.to_string();
        assert!(
            sentence.starts_with("the disk is full while writing the log: /tmp has "),
            "{sentence}"
        );
        assert!(std::error::Error::source(&fault).is_some());
    }

    #[test]
    fn open_errors_are_one_line_that_says_what_to_do() {
        let cases = [
            (io::ErrorKind::NotADirectory, "is not a directory; give"),
            (
                io::ErrorKind::PermissionDenied,
                "cannot be written; give the replica's user",
            ),
            (io::ErrorKind::ReadOnlyFilesystem, "cannot be written"),
            (io::ErrorKind::StorageFull, "no space is left at /tmp/x"),
            (io::ErrorKind::Other, "creating /tmp/x failed"),
        ];
        for (kind, want) in cases {
            let line = OpenError::io("creating", Path::new("/tmp/x"), kind.into()).to_string();
            assert!(line.contains(want), "{kind:?}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
