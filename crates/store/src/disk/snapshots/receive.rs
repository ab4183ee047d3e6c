//! Receiving a snapshot: chunks into a partial file that outlives the transfer, checked as a whole at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_host::BoxFuture;

use super::{FLUSH_BYTES, READ_BUFFER_BYTES, failed, install, length};
use crate::disk::files::Files;
use crate::error::{SnapshotError, StoreError};
use crate::snapshot::{
    Frame, FrameReader, ReadError, Snapshot, SnapshotId, SnapshotInbox, check_chunk, check_received,
};

struct Receiving {
    file: File,
    arrived: u64,
    unflushed: u64,
}

/// The handle of a snapshot that arrives.
pub(in crate::disk) struct Inbox {
    files: Files,
    id: SnapshotId,
    path: PathBuf,
    handle: u64,
    arrived: u64,
    receiving: Option<Receiving>,
}

impl Inbox {
    pub(in crate::disk) async fn open(files: Files, id: SnapshotId) -> Result<Self, StoreError> {
        let (path, handle, receiving) = files
            .run(move |owned| {
                let directory = owned.snapshots.directory.clone();
                let path = directory.join(format!("{id}.part"));
                let handle = owned.snapshots.next_handle();
                owned.snapshots.inbox = handle;
                let receiving = resume(&directory, &path).map_err(|error| failed(&path, error))?;
                Ok((path, handle, receiving))
            })
            .await?;
        Ok(Self {
            files,
            id,
            path,
            handle,
            arrived: receiving.arrived,
            receiving: Some(receiving),
        })
    }
}

/// Opens a partial file at the end of its last whole frame: what lies behind may be what a crash made of it.
fn resume(directory: &Path, path: &Path) -> io::Result<Receiving> {
    for file in fs::read_dir(directory)? {
        let other = file?.path();
        if other != path && other.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(other)?;
        }
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let mut arrived = 0;
    if let Ok(mut frames) = FrameReader::new(BufReader::with_capacity(READ_BUFFER_BYTES, &file)) {
        arrived = frames.offset();
        while let Ok(Frame::Records(_)) = frames.next() {
            arrived = frames.offset();
        }
    }
    file.set_len(arrived)?;
    Ok(Receiving {
        file,
        arrived,
        unflushed: 0,
    })
}

impl Receiving {
    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all_at(chunk, self.arrived)?;
        self.arrived += length(chunk);
        self.unflushed += length(chunk);
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl SnapshotInbox for Inbox {
    fn offset(&self) -> u64 {
        self.arrived
    }

    fn write(&mut self, offset: u64, chunk: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            check_chunk(self.id, self.arrived, offset, length(&chunk))?;
            let mut receiving = self.receiving.take().ok_or(SnapshotError::Cancelled)?;
            let (path, handle) = (self.path.clone(), self.handle);
            let received = self.files.run(move |owned| {
                if owned.snapshots.inbox != handle {
                    return Err(SnapshotError::Superseded.into());
                }
                receiving.write(&chunk).map_err(|error| failed(&path, error))?;
                Ok(receiving)
            });
            let receiving = received.await?;
            self.arrived = receiving.arrived;
            self.receiving = Some(receiving);
            Ok(self.arrived)
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let receiving = self.receiving.take().ok_or(SnapshotError::Cancelled)?;
            let (arrived, announced) = (receiving.arrived, self.id.bytes);
            if arrived < announced {
                return Err(SnapshotError::Incomplete { arrived, announced }.into());
            }
            let (files, id, path, handle) = (self.files.clone(), self.id, self.path, self.handle);
            self.files
                .run(move |owned| {
                    if owned.snapshots.inbox != handle {
                        return Err(SnapshotError::Superseded.into());
                    }
                    let checked = receiving.file.sync_all().and_then(|()| File::open(&path));
                    let file = checked.map_err(|error| failed(&path, error))?;
                    match check_received(id, BufReader::with_capacity(READ_BUFFER_BYTES, file)) {
                        Ok(snapshot) => {
                            owned.snapshots.inbox = 0;
                            let installed = install(owned, &files, &path, snapshot);
                            if installed.is_err() {
                                // Of no use any more; otherwise the next transfer removes it.
                                let _ = fs::remove_file(&path);
                            }
                            installed
                        }
                        Err(ReadError::Bad(error)) => {
                            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
                            Err(error.into())
                        }
                        Err(ReadError::Io(error)) => Err(failed(&path, error).into()),
                    }
                })
                .await
        })
    }
}
