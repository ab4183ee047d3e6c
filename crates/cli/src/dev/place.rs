//! The directory of a cluster: a temporary one that goes, or one that stays.
//!
//! Promises: a temporary one is removed when the place is dropped, also at a panic; a given one is used only when it is
//! empty or holds a cluster of the same size, and only by one at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Locked while somebody uses the directory; also the sign that a cluster lives there.
const LOCK: &str = "quorate-dev.lock";
/// Names of the replicas' directories.
const REPLICAS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// It holds other things.
    #[error("{} is not empty and holds no cluster of this command; choose an empty or a new directory", .0.display())]
    Foreign(PathBuf),
    /// Its cluster has another size.
    #[error("{} holds a cluster of {held}; give --replicas {held}, or another directory", .path.display())]
    Size {
        /// The directory.
        path: PathBuf,
        /// How many replicas have their data there.
        held: usize,
    },
    /// Another one uses it.
    #[error("{} is in use by another quorate dev; stop that one or choose another directory", .0.display())]
    Used(PathBuf),
    /// The system refused.
    #[error("the directory {} cannot be used: {cause}", .path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    temporary: Option<TempDir>,
    _lock: Option<File>,
}

impl Place {
    /// A new directory where the system keeps temporary ones.
    pub(super) fn temporary() -> Result<Self, PlaceError> {
        let made = tempfile::Builder::new().prefix("quorate-dev-").tempdir();
        let system = |cause| PlaceError::System {
            path: std::env::temp_dir(),
            cause,
        };
        let temporary = made.map_err(system)?;
        Ok(Self {
            path: temporary.path().to_owned(),
            temporary: Some(temporary),
            _lock: None,
        })
    }

    /// This directory, for so many replicas.
    pub(super) fn given(path: &Path, replicas: usize) -> Result<Self, PlaceError> {
        let system = |cause| PlaceError::System {
            path: path.to_owned(),
            cause,
        };
        std::fs::create_dir_all(path).map_err(system)?;
        let path = path.canonicalize().map_err(system)?;
        let empty = std::fs::read_dir(&path).map_err(system)?.next().is_none();
        let lock = path.join(LOCK);
        if !empty && !lock.exists() {
            return Err(PlaceError::Foreign(path));
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock)
            .map_err(system)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PlaceError::Used(path)),
            Err(TryLockError::Error(cause)) => return Err(system(cause)),
        }
        let held = REPLICAS.iter().filter(|name| path.join(name).is_dir()).count();
        if held != 0 && held != replicas {
            return Err(PlaceError::Size { path, held });
        }
        Ok(Self {
            path,
            temporary: None,
            _lock: Some(lock),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes at the end.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// It stays.
    pub(super) fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.path = temporary.keep();
        }
    }

    /// Removes it when it is temporary.
    pub(super) fn leave(self) -> Result<(), PlaceError> {
        let Some(temporary) = self.temporary else {
            return Ok(());
        };
        temporary.close().map_err(|cause| PlaceError::System {
            path: self.path,
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_place_goes_unless_it_is_kept() {
        let place = Place::temporary().expect("a place");
        let path = place.path().to_owned();
        std::fs::write(path.join("file"), "x").expect("written");
        drop(place);
        assert!(!path.exists());

        let mut kept = Place::temporary().expect("a place");
        kept.keep();
        let path = kept.path().to_owned();
        assert!(!kept.is_temporary());
        kept.leave().expect("nothing to do");
        assert!(path.exists());
        std::fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn a_given_place_is_checked() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("new/cluster");
        let place = Place::given(&path, 3).expect("it is made");
        assert!(matches!(Place::given(&path, 3), Err(PlaceError::Used(_))));
        for name in ["a", "b", "c"] {
            std::fs::create_dir(place.path().join(name)).expect("made");
        }
        drop(place);
        assert!(matches!(
            Place::given(&path, 5),
            Err(PlaceError::Size { held: 3, .. })
        ));
        Place::given(&path, 3).expect("again").leave().expect("it stays");
        assert!(path.exists());

        let foreign = root.path().join("foreign");
        std::fs::create_dir(&foreign).expect("made");
        std::fs::write(foreign.join("thesis.tex"), "").expect("written");
        let error = Place::given(&foreign, 3).expect_err("it is somebody's");
        assert!(error.to_string().contains("is not empty"), "{error}");

        let file = root.path().join("file");
        std::fs::write(&file, "").expect("written");
        let error = Place::given(&file, 3).expect_err("it is a file");
        assert!(matches!(error, PlaceError::System { .. }), "{error}");
    }
}
