//! A data directory that is put together inside another one and takes the place of what is there as a whole.
//!
//! ```text
//! next.tmp/          being put together; worth nothing
//! next/              complete and durable: at the next opening at the latest its parts are the directory's
//! before-<cluster>/  the parts that were replaced, kept for the operator; named after the cluster that came
//! ```
//!
//! Promises: a crash at any moment leaves either what was there, untouched, or `next`, and moving its parts in goes on
//! where it stopped. It happens within the directory, because a data directory is often a mount that cannot be renamed.
//! A directory that was being restored from a backup never looks empty, so that no replica takes it for a fresh one. Left
//! out on purpose: what is put together; its maker opens it as a store of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_types::ClusterId;

use super::directory::{Directory, Lock, make_directory, replace_file, sync_directory};
use super::{DiskOptions, DiskStore};
use crate::error::OpenError;
use crate::identity::{Identity, IdentityFile};

const UNFINISHED: &str = "next.tmp";
const NEXT: &str = "next";
/// What a data directory consists of. The identity names where the replaced parts go, so it goes last.
const PARTS: [&str; 4] = ["log", "snapshots", "facts.sled", "IDENTITY"];
/// What may stand in an empty directory: what an earlier try left, and what some file systems put there.
const NO_CONTENT: [&str; 3] = ["LOCK", UNFINISHED, "lost+found"];

/// A data directory that is being put together. Dropped before [`finish`](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct NewDirectory {
    root: PathBuf,
    identity: Identity,
    lock: Option<Lock>,
}

impl NewDirectory {
    /// Begins in `root`, which must be empty or not there, for the replica `identity`.
    ///
    /// # Errors
    /// [`OpenError::NotEmpty`], or what the system refused.
    pub fn begin(root: &Path, identity: &Identity) -> Result<Self, OpenError> {
        check_empty(root)?;
        make_directory(root)?;
        let lock = Lock::take(root)?;
        // Somebody may have been faster.
        check_empty(root)?;
        Self::fill(root, lock, identity, 0, |_| Ok(()))
    }

    /// Begins beside what `root` holds, with what `copy` puts there.
    pub(super) fn fill(
        root: &Path,
        lock: Lock,
        identity: &Identity,
        boots: u64,
        copy: impl FnOnce(&Directory) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let new = Self {
            root: root.to_owned(),
            identity: identity.clone(),
            lock: Some(lock),
        };
        let directory = Directory::at(&new.path());
        remove(&directory.root)?;
        for path in [&directory.root, &directory.log, &directory.snapshots] {
            make_directory(path)?;
        }
        copy(&directory)?;
        let file = IdentityFile {
            incarnation: identity.incarnation,
            identity: Some(identity.clone()),
            boots,
        };
        replace_file(&directory.identity, file.encode().as_bytes())
            .map_err(|error| OpenError::io("writing", &directory.identity, error))?;
        Ok(new)
    }

    fn path(&self) -> PathBuf {
        self.root.join(UNFINISHED)
    }

    /// Opens it to be filled. Close the store before [`finish`](Self::finish).
    ///
    /// # Errors
    /// See [`DiskStore::open`].
    pub async fn open(&self) -> Result<DiskStore, OpenError> {
        DiskStore::open(&self.path(), DiskOptions::default()).await
    }

    /// Puts it in place, durably; gives where the replaced parts are kept.
    ///
    /// # Errors
    /// What the system refused; with [`OpenError::HalfReplaced`] the next opening goes on, with another nothing has changed.
    pub fn finish(mut self) -> Result<Option<PathBuf>, OpenError> {
        let (from, next) = (self.path(), self.root.join(NEXT));
        sync_directory(&from)
            .and_then(|()| fs::rename(&from, &next))
            .and_then(|()| sync_directory(&self.root))
            .map_err(|error| OpenError::io("renaming", &from, error))?;
        let replaced = replace(&self.root, &next, self.identity.cluster);
        self.lock = None;
        replaced.map_err(|cause| OpenError::HalfReplaced {
            path: self.root.clone(),
            cause: Box::new(cause),
        })
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        // After a finish there is none; otherwise the next try removes it.
        if self.lock.is_some() {
            let _ = remove(&self.path());
        }
    }
}

/// Called with the lock held, before anything in the directory is looked at.
pub(super) fn settle(directory: &Directory) -> Result<(), OpenError> {
    let (next, unfinished) = (directory.root.join(NEXT), directory.root.join(UNFINISHED));
    if next.exists() {
        match Directory::at(&next).read_identity()? {
            Some(IdentityFile {
                identity: Some(identity),
                ..
            }) => _ = replace(&directory.root, &next, identity.cluster)?,
            // The identity is the last part that moves.
            _ => remove(&next)?,
        }
    }
    if !unfinished.exists() {
        return Ok(());
    }
    if !directory.identity.exists() && !directory.facts.exists() {
        let path = directory.root.clone();
        return Err(OpenError::HalfRestored { path });
    }
    remove(&unfinished)
}

/// Moves the parts of `next` to where they belong, and what is there aside. Does again only what is left to do.
fn replace(root: &Path, next: &Path, cluster: ClusterId) -> Result<Option<PathBuf>, OpenError> {
    let aside = root.join(format!("before-{cluster}"));
    for part in PARTS {
        let (from, to) = (next.join(part), root.join(part));
        move_part(root, &from, &to, &aside).map_err(|error| OpenError::io("replacing", &to, error))?;
    }
    remove(next)?;
    Ok(aside.exists().then_some(aside))
}

fn move_part(root: &Path, from: &Path, to: &Path, aside: &Path) -> io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if let (true, Some(name)) = (to.exists(), to.file_name()) {
        fs::create_dir_all(aside)?;
        fs::rename(to, aside.join(name))?;
        sync_directory(aside)?;
        sync_directory(root)?;
    }
    fs::rename(from, to)?;
    sync_directory(root)
}

/// Removes a directory and what is in it, if there is one.
fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::io("removing", path, error)),
        _ => Ok(()),
    }
}

fn check_empty(root: &Path) -> Result<(), OpenError> {
    let refused = |error| OpenError::io("reading", root, error);
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    for entry in entries {
        let name = entry.map_err(refused)?.file_name();
        if !NO_CONTENT.iter().any(|none| name == *none) {
            return Err(OpenError::NotEmpty {
                path: root.to_owned(),
                found: format!("{name:?}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quorate_types::{Incarnation, MemberName, NodeId};

    use super::*;

    fn identity(cluster: u128) -> Identity {
        Identity {
            cluster: ClusterId(cluster),
            node: NodeId(1),
            incarnation: Incarnation(cluster + 1),
            name: MemberName::new("a").unwrap(),
        }
    }

    fn part(directory: &Path, name: &str, says: &str) {
        fs::create_dir_all(directory.join(name)).unwrap();
        fs::write(directory.join(name).join("says"), says).unwrap();
    }

    fn says(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name).join("says")).unwrap_or_default()
    }

    /// A directory with old parts, and a complete `next`.
    fn with_next(root: &Path) {
        for name in &PARTS[..3] {
            part(root, name, "old");
            part(&root.join(NEXT), name, "new");
        }
        let file = |identity: Identity| IdentityFile {
            incarnation: identity.incarnation,
            identity: Some(identity),
            boots: 1,
        };
        fs::write(root.join("IDENTITY"), file(identity(1)).encode()).unwrap();
        fs::write(root.join(NEXT).join("IDENTITY"), file(identity(2)).encode()).unwrap();
    }

    /// Every state that a crash between two renames leaves.
    #[test]
    fn moving_in_goes_on_wherever_it_stopped() {
        let moves = PARTS.len() * 2;
        for done in 0..=moves {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            with_next(root);
            let aside = root.join(format!("before-{}", ClusterId(2)));
            for step in 0..done {
                let part = PARTS[step / 2];
                fs::create_dir_all(&aside).unwrap();
                match step % 2 {
                    0 => fs::rename(root.join(part), aside.join(part)).unwrap(),
                    _ => fs::rename(root.join(NEXT).join(part), root.join(part)).unwrap(),
                }
            }
            let directory = Directory::at(root);
            for _ in 0..2 {
                settle(&directory).unwrap();
                for name in &PARTS[..3] {
                    assert_eq!(
                        (says(root, name), says(&aside, name)),
                        ("new".into(), "old".into()),
                        "{done}"
                    );
                }
                let read = |at: &Path| Directory::at(at).read_identity().unwrap().unwrap().identity;
                assert_eq!(read(root), Some(identity(2)), "{done}");
                assert_eq!(read(&aside), Some(identity(1)), "{done}");
                assert!(!root.join(NEXT).exists(), "{done}");
            }
        }
    }

    #[test]
    fn what_was_not_finished_is_worth_nothing_and_never_looks_like_a_fresh_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        fs::create_dir_all(root.join(UNFINISHED)).unwrap();
        let refused = Directory::prepare(&root).unwrap_err().to_string();
        assert!(refused.contains("restored when that broke off"), "{refused}");
        let new = NewDirectory::begin(&root, &identity(1)).unwrap();
        assert!(NewDirectory::begin(&root, &identity(1)).is_err(), "it is locked");
        drop(new);
        assert!(!root.join(UNFINISHED).exists(), "dropped");
        fs::create_dir(root.join(UNFINISHED)).unwrap();
        with_next(&root);
        settle(&Directory::at(&root)).unwrap();
        assert!(!root.join(UNFINISHED).exists(), "there is an identity again");
    }

    #[test]
    fn only_an_empty_directory_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        for (name, is_empty) in [
            ("LOCK", true),
            ("lost+found", true),
            ("IDENTITY", false),
            (".hidden", false),
            ("log", false),
            ("next", false),
        ] {
            let root = dir.path().join(format!("with-{name}"));
            fs::create_dir(&root).unwrap();
            fs::write(root.join(name), b"").unwrap();
            let begun = NewDirectory::begin(&root, &identity(1)).map(drop);
            match begun {
                Ok(()) => assert!(is_empty, "{name}"),
                Err(error) => {
                    assert!(!is_empty, "{name}: {error}");
                    assert!(error.to_string().contains("is not empty: it holds"), "{error}");
                    assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "{name}: untouched");
                }
            }
        }
        let file = dir.path().join("file");
        fs::write(&file, b"mine").unwrap();
        let refused = NewDirectory::begin(&file, &identity(1)).unwrap_err();
        assert!(matches!(refused, OpenError::NotADirectory { .. }), "{refused}");
    }
}
