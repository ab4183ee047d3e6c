//! A data directory on which no replica runs: what it holds, found and checked as its opening would, and a copy of it
//! under another identity.
//!
//! Promises: the lock is held while this lives, so no replica starts meanwhile; what is there stays as it is. Left out on
//! purpose: what the copy is for.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::DiskOptions;
use super::boot::{Examined, examine};
use super::directory::{Directory, Lock, sync_directory};
use super::staging::NewDirectory;
use crate::error::OpenError;
use crate::facts::MembershipFact;
use crate::identity::Identity;
use crate::snapshot::Snapshot;
use crate::store::LogState;

/// See the module.
#[derive(Debug)]
pub struct OfflineDirectory {
    directory: Directory,
    lock: Lock,
    contents: DirectoryContents,
}

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryContents {
    /// Whose it is; `None` while its replica was not part of any group.
    pub identity: Option<Identity>,
    /// How often it was opened.
    pub boots: u64,
    /// Where its log stands.
    pub log: LogState,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The memberships that [`Facts::memberships`](crate::Facts::memberships) would have.
    pub memberships: Vec<MembershipFact>,
}

impl OfflineDirectory {
    /// Locks the directory and reads all of it. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]: there is no data, a replica runs on it, or it is damaged. Nothing is made where there is nothing.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let at = Directory::at(root);
        let parts = [at.identity, at.facts, root.join("next")];
        if !parts.iter().any(|part| part.exists()) {
            // A directory that may not be read says so.
            return Err(match fs::read_dir(root) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    OpenError::io("reading", root, error)
                }
                _ => OpenError::NoData {
                    path: root.to_owned(),
                },
            });
        }
        let (directory, lock) = Directory::prepare(root)?;
        let Examined {
            known,
            log,
            snapshots,
            memberships,
            ..
        } = examine(&directory, DiskOptions::default())?;
        let known = known.unwrap_or_default();
        let contents = DirectoryContents {
            identity: known.identity,
            boots: known.boots,
            log: log.view.state(),
            snapshot: snapshots.newest.map(|(snapshot, _)| snapshot),
            memberships,
        };
        Ok(Self {
            directory,
            lock,
            contents,
        })
    }

    /// What was found.
    #[must_use]
    pub fn contents(&self) -> &DirectoryContents {
        &self.contents
    }

    /// Copies log and snapshots into a directory of `identity` that is to take this one's place. Blocks.
    ///
    /// # Errors
    /// What the system refused, no space above all; what is there is untouched.
    pub fn renew(self, identity: &Identity) -> Result<NewDirectory, OpenError> {
        let (from, boots) = (self.directory, self.contents.boots);
        NewDirectory::fill(&from.root, self.lock, identity, boots, |to| {
            copy_all(&from.log, &to.log, |_| true, copy)?;
            let is_snapshot = |path: &Path| path.extension().is_some_and(|extension| extension == "snap");
            copy_all(&from.snapshots, &to.snapshots, is_snapshot, |from, to| {
                // A snapshot's file is never written again, so that two names for it are as good as two files.
                fs::hard_link(from, to).or_else(|_| copy(from, to))
            })
        })
    }
}

fn copy_all(
    from: &Path,
    to: &Path,
    wanted: impl Fn(&Path) -> bool,
    copy: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), OpenError> {
    let copied = || -> io::Result<()> {
        for file in fs::read_dir(from)? {
            let file = file?;
            if wanted(&file.path()) {
                copy(&file.path(), &to.join(file.file_name()))?;
            }
        }
        sync_directory(to)
    };
    copied().map_err(|error| OpenError::io("copying", from, error))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}
