//! Reading a snapshot: as checked records, or as raw bytes for another replica.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_host::BoxFuture;

use super::READ_BUFFER_BYTES;
use crate::disk::files::Files;
use crate::error::{SnapshotError, StoreError};
use crate::snapshot::{Frame, FrameReader, ReadError, Snapshot, SnapshotReader, damaged};

/// The most that one raw read gives.
const RANGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The handle of a snapshot that is being read.
pub(in crate::disk) struct Reader {
    files: Files,
    snapshot: Snapshot,
    path: PathBuf,
    file: Arc<File>,
    place: ReadingPlace,
}

/// Where a reader of records is.
enum ReadingPlace {
    Start,
    Frames(FrameReader<BufReader<Arc<File>>>),
    End,
    /// A call failed or was cancelled. Never taken for the end.
    Lost,
}

impl Reader {
    /// `None` when there is no snapshot.
    pub(in crate::disk) async fn open(files: Files) -> Result<Option<Self>, StoreError> {
        let for_job = files.clone();
        let opened = files
            .run(move |owned| {
                let (Some(snapshot), Some(path)) = (owned.shared.newest(), owned.snapshots.newest.clone())
                else {
                    return Ok(None);
                };
                let file =
                    File::open(&path).map_err(|error| for_job.fail("opening a snapshot", &path, error))?;
                Ok(Some((snapshot, path, Arc::new(file))))
            })
            .await?;
        Ok(opened.map(|(snapshot, path, file)| Self {
            files,
            snapshot,
            path,
            file,
            place: ReadingPlace::Start,
        }))
    }

    fn damaged(files: &Files, path: &Path, error: &SnapshotError) -> StoreError {
        let sentence = format!(
            "{}: {error}; restore it, or wipe the data directory and let the replica join again",
            path.display()
        );
        files.fail_damaged(sentence, None)
    }
}

impl SnapshotReader for Reader {
    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Bytes>>, StoreError>> {
        Box::pin(async move {
            let frames = match std::mem::replace(&mut self.place, ReadingPlace::Lost) {
                ReadingPlace::Start => None,
                ReadingPlace::Frames(frames) => Some(frames),
                ReadingPlace::End => {
                    self.place = ReadingPlace::End;
                    return Ok(None);
                }
                ReadingPlace::Lost => return Err(SnapshotError::Cancelled.into()),
            };
            let (file, path, files) = (Arc::clone(&self.file), self.path.clone(), self.files.clone());
            let (frames, frame) = self
                .files
                .run(move |_| {
                    let read = match frames {
                        Some(frames) => Ok(frames),
                        None => FrameReader::new(BufReader::with_capacity(READ_BUFFER_BYTES, file)),
                    };
                    let read = read.and_then(|mut frames| {
                        let frame = frames.next()?;
                        Ok((frames, frame))
                    });
                    read.map_err(|error| match error {
                        ReadError::Bad(error) => Self::damaged(&files, &path, &error),
                        ReadError::Io(error) => files.fail("reading a snapshot", &path, error),
                    })
                })
                .await?;
            match frame {
                Frame::Records(records) => {
                    self.place = ReadingPlace::Frames(frames);
                    Ok(Some(records))
                }
                Frame::End(end) if end == self.snapshot => {
                    self.place = ReadingPlace::End;
                    Ok(None)
                }
                Frame::End(_) => {
                    let error = damaged(0, "it is not the one that was opened");
                    Err(Self::damaged(&self.files, &self.path, &error))
                }
            }
        })
    }

    fn read_range(&mut self, offset: u64, bytes_max: usize) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        Box::pin(async move {
            let (file, path, files) = (Arc::clone(&self.file), self.path.clone(), self.files.clone());
            let left = self.snapshot.id.bytes.saturating_sub(offset);
            let bytes_max = bytes_max
                .min(RANGE_BYTES_MAX)
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            self.files
                .run(move |_| {
                    let mut bytes = vec![0; bytes_max];
                    file.read_exact_at(&mut bytes, offset)
                        .map_err(|error| files.fail("reading a snapshot", &path, error))?;
                    Ok(bytes.into())
                })
                .await
        })
    }
}
