//! Backups: the whole state in one file, taken while the cluster runs, and a new cluster out of it.
//!
//! A backup is a snapshot file as `quorate-store` frames it (a version, checksums of every block and of the whole) with
//! the records of `quorate-machine` (and their own checksum and the digest of the state), behind one record that names the
//! cluster. So everything that reads a backup checks all of it, without a cluster.
//!
//! Promises: a backup holds everything that was acknowledged before it was asked for, as of one moment; a restored
//! replica holds exactly that, under another cluster's id. Left out on purpose: schedules, copies elsewhere, encryption;
//! a backup is a file.

mod file;
mod plan;
mod restore;
mod save;
mod sealed;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use quorate_machine::RestoreError;
use quorate_store::{OpenError, SnapshotError, StoreError};

pub use file::{BackupContents, inspect};
pub use restore::{Restored, restore};
pub use save::Backup;
pub use sealed::SealedBackup;

pub(crate) use restore::durable;

use crate::config::ConfigError;

/// Why a backup cannot be read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read, is cut or damaged, or is of a newer version.
    #[error("{path} cannot be used as a backup", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: SnapshotError,
    },
    /// Its records are not a state.
    #[error("{path} cannot be used as a backup", path = path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        cause: RestoreError<SnapshotError>,
    },
    /// It is something else.
    #[error("{path} is no backup: {what}", path = path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It was another file a moment ago.
    #[error("{path} changed while it was restored; nothing was restored", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The list of replicas cannot be used.
    #[error(transparent)]
    List(#[from] ConfigError),
    /// The data directory cannot be made.
    #[error(transparent)]
    Directory(#[from] OpenError),
    /// What was restored could not be written.
    #[error("the restored data cannot be written")]
    Store(#[from] StoreError),
}
