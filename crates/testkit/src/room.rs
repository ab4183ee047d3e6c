//! A small file system that can be full.
//!
//! Promises: it is in memory, of the size asked for, and gone when dropped. Needs root. Left out on purpose: power cuts
//! and failing disks, which the store's own tests bring about.

use std::fs::{File, remove_file};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::error::KitError;

/// See the module.
#[derive(Debug)]
pub struct Room {
    directory: TempDir,
}

impl Room {
    /// A file system of so many MiB.
    ///
    /// # Errors
    /// [`KitError::Command`] when it cannot be mounted.
    pub fn new(mib: u32) -> Result<Self, KitError> {
        let directory =
            TempDir::with_prefix("quorate-room-").map_err(|cause| KitError::file("/tmp", cause))?;
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "quorate-room"])
            .arg(directory.path());
        let output = mount.output();
        let failed = |said: String| KitError::Command {
            command: format!("{mount:?}"),
            said,
        };
        let output = output.map_err(|error| failed(error.to_string()))?;
        match output.status.success() {
            true => Ok(Self { directory }),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all space that is left.
    ///
    /// # Errors
    /// [`KitError::File`] when something else than the lack of space stops it.
    pub fn fill(&self) -> Result<(), KitError> {
        let path = self.filler();
        let mut file = File::create(&path).map_err(|cause| KitError::file(&path, cause))?;
        let block = [0; 4096];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(cause) => return Err(KitError::file(&path, cause)),
            }
        }
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// [`KitError::File`].
    pub fn free(&self) -> Result<(), KitError> {
        let path = self.filler();
        remove_file(&path).map_err(|cause| KitError::file(&path, cause))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // A process that still has files open there keeps it alive until it ends; the name goes at once.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.directory.path())
            .status();
    }
}
