//! The data directory: its layout, its lock, and the few file operations that have to be durable.
//!
//! ```text
//! LOCK         held while a process uses the directory; the process id in it is for people
//! IDENTITY     whose directory it is, its format, the boot counter
//! log/         chunks of raft-log
//! snapshots/   <term>-<leader>-<index>.snap, *.tmp while written, *.part while received
//! facts.sled/  copies of the identity, the manifest of the snapshot, memberships
//! next/        all of the above again, about to take its place; next.tmp/ while it is put together
//! before-*/    what was replaced so
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::staging;
use crate::error::OpenError;
use crate::identity::{DIRECTORY_FORMAT, IdentityFile, IdentityFileError};

/// Paths inside a data directory.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) root: PathBuf,
    pub(super) log: PathBuf,
    pub(super) snapshots: PathBuf,
    pub(super) facts: PathBuf,
    pub(super) identity: PathBuf,
}

/// Keeps other processes out of the directory while it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock goes with the open file")] File);

impl Directory {
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            log: root.join("log"),
            snapshots: root.join("snapshots"),
            facts: root.join("facts.sled"),
            identity: root.join("IDENTITY"),
        }
    }

    /// Makes the directory and what is in it, and locks it. What was to take its place does so first.
    pub(super) fn prepare(root: &Path) -> Result<(Self, Lock), OpenError> {
        let directory = Self::at(root);
        make_directory(root)?;
        let lock = Lock::take(root)?;
        staging::settle(&directory)?;
        make_directory(&directory.log)?;
        make_directory(&directory.snapshots)?;
        Ok((directory, lock))
    }

    /// What `IDENTITY` says; `None` when there is no such file.
    pub(super) fn read_identity(&self) -> Result<Option<IdentityFile>, OpenError> {
        let path = &self.identity;
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("reading", path, error)),
        };
        let path = path.clone();
        match IdentityFile::decode(&bytes) {
            Ok(file) => Ok(Some(file)),
            Err(IdentityFileError::Newer { found }) => Err(OpenError::NewerFormat {
                path,
                found,
                supported: DIRECTORY_FORMAT,
            }),
            Err(IdentityFileError::Damaged(what)) => {
                let what = what.to_owned();
                Err(OpenError::IdentityDamaged { path, what })
            }
        }
    }
}

impl Lock {
    pub(super) fn take(root: &Path) -> Result<Self, OpenError> {
        let path = root.join("LOCK");
        let refused = |error| OpenError::io("locking", root, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(refused)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let mut text = String::new();
                // The holder's id is a courtesy: whatever else stands there is not worth an error.
                let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut text);
                return Err(OpenError::Locked {
                    path: root.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(error) => return Err(refused(error.into())),
        }
        file.set_len(0).map_err(refused)?;
        let pid = format!("{}\n", std::process::id());
        file.write_all_at(pid.as_bytes(), 0).map_err(refused)?;
        Ok(Self(file))
    }
}

pub(super) fn make_directory(path: &Path) -> Result<(), OpenError> {
    let made = fs::create_dir_all(path);
    made.map_err(|error| OpenError::io("creating", path, error))?;
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    match sync_directory(parent) {
        // A parent that may be searched but not read existed before, and so did its entry for us.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(|error| OpenError::io("flushing", parent, error)),
    }
}

/// Makes names in a directory durable: files made, renamed and removed.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Replaces a small file so that either the old or the new content is there, durably the new one on return.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_locked_directory_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let (_, lock) = Directory::prepare(dir.path()).unwrap();
        let refused = Directory::prepare(dir.path()).unwrap_err().to_string();
        let want = format!("is in use by process {}; stop it first", std::process::id());
        assert!(refused.contains(&want), "{refused}");
        drop(lock);
        assert!(Directory::prepare(dir.path()).is_ok());
    }

    #[test]
    fn a_path_that_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"mine").unwrap();
        for path in [file.clone(), file.join("below")] {
            let refused = Directory::prepare(&path).unwrap_err().to_string();
            assert!(
                refused.contains("is not a directory; give the replica"),
                "{refused}"
            );
        }
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn a_replaced_file_has_the_new_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("IDENTITY");
        for content in ["one", "three"] {
            replace_file(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
