//! Writing a snapshot: records into blocks, blocks into a temporary file.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use quorate_host::BoxFuture;

use super::{FLUSH_BYTES, failed, install, length};
use crate::disk::files::Files;
use crate::error::{SnapshotError, StoreError};
use crate::snapshot::{Encoder, Snapshot, SnapshotMeta, SnapshotWriter};

/// A file that is gone when this is, unless it was renamed.
struct Temporary {
    path: PathBuf,
    file: File,
    unflushed: u64,
}

impl Temporary {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let written = self.file.write_all(bytes).and_then(|()| {
            self.unflushed += length(bytes);
            if self.unflushed >= FLUSH_BYTES {
                self.unflushed = 0;
                self.file.sync_data()?;
            }
            Ok(())
        });
        written.map_err(|error| failed(&self.path, error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is none; otherwise the next opening removes it.
        let _ = fs::remove_file(&self.path);
    }
}

struct Writing {
    temporary: Temporary,
    encoder: Encoder,
}

/// The handle of a snapshot that is being written.
pub(in crate::disk) struct Writer {
    files: Files,
    writing: Option<Writing>,
}

impl Writer {
    pub(in crate::disk) async fn create(files: Files, meta: SnapshotMeta) -> Result<Self, StoreError> {
        let writing = files
            .run(move |owned| {
                let number = owned.snapshots.next_handle();
                let path = owned.snapshots.directory.join(format!("{number}.tmp"));
                let file = File::create(&path).map_err(|error| failed(&path, error))?;
                let mut temporary = Temporary {
                    path,
                    file,
                    unflushed: 0,
                };
                let mut header = Vec::new();
                let encoder = Encoder::new(meta, &mut header);
                temporary.write(&header)?;
                Ok(Writing { temporary, encoder })
            })
            .await?;
        Ok(Self {
            files,
            writing: Some(writing),
        })
    }
}

impl SnapshotWriter for Writer {
    fn write(&mut self, records: Vec<Bytes>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.files.check_open()?;
            let mut writing = self.writing.take().ok_or(SnapshotError::Cancelled)?;
            let written = self.files.run(move |_| {
                let mut bytes = Vec::new();
                for record in records {
                    writing.encoder.push(&record, &mut bytes)?;
                }
                writing.temporary.write(&bytes)?;
                Ok(writing)
            });
            self.writing = Some(written.await?);
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>, digest: Option<u64>) -> BoxFuture<'static, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let writing = self.writing.take().ok_or(SnapshotError::Cancelled)?;
            let files = self.files.clone();
            let finished = self.files.run(move |owned| {
                let Writing {
                    mut temporary,
                    encoder,
                } = writing;
                let mut bytes = Vec::new();
                let snapshot = encoder.finish(digest, &mut bytes);
                temporary.write(&bytes)?;
                let synced = temporary.file.sync_all();
                synced.map_err(|error| failed(&temporary.path, error))?;
                install(owned, &files, &temporary.path, snapshot)
            });
            finished.await
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            self.files.discard(writing);
        }
    }
}
