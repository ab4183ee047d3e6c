//! Snapshot files: found at opening, installed by rename, and the handles that write, read and receive them.
//!
//! A file has its final name only when it is complete and durable. Whoever reads one keeps it open, so that removing
//! the old file when a newer one is installed takes nothing away. Files are flushed every few megabytes while they are
//! written: a flush of the log then never waits for a large pile of somebody else's dirty pages.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_host::BoxFuture;
use quorate_types::Position;

use super::directory::sync_directory;
use super::facts::encode_snapshot;
use super::files::{Files, Owned};
use crate::error::{SnapshotError, StoreError};
use crate::snapshot::{
    Encoder, Frame, FrameReader, ReadError, Snapshot, SnapshotId, SnapshotInbox, SnapshotMeta,
    SnapshotReader, SnapshotWriter, check_chunk, check_received, damaged, verify,
};

/// Written bytes after which a file is flushed.
const FLUSH_BYTES: u64 = 4 * 1024 * 1024;
/// The most that one raw read gives.
const RANGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The directory of snapshots, as its owner sees it.
pub(super) struct SnapshotFiles {
    directory: PathBuf,
    newest: Option<PathBuf>,
    /// Numbers temporary files and inbox handles.
    handles: u64,
    /// The handle that has the inbox.
    inbox: u64,
}

/// What was found at opening.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) newest: Option<(Snapshot, PathBuf)>,
    pub(super) damaged: Vec<(PathBuf, SnapshotError)>,
    /// Left by a crash.
    stale: Vec<PathBuf>,
}

/// Reads every snapshot in full.
pub(super) fn survey(directory: &Path) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tmp") => survey.stale.push(path),
            Some("snap") => match verify(BufReader::with_capacity(256 * 1024, File::open(&path)?)) {
                Ok(snapshot) => survey.found(snapshot, path),
                Err(ReadError::Bad(error)) => survey.damaged.push((path, error)),
                Err(ReadError::Io(error)) => return Err(error),
            },
            // A partial transfer is looked at when it goes on.
            _ => {}
        }
    }
    Ok(survey)
}

impl Survey {
    fn found(&mut self, snapshot: Snapshot, path: PathBuf) {
        match &self.newest {
            Some((newest, _)) if newest.id.last > snapshot.id.last => self.stale.push(path),
            _ => {
                let older = self.newest.replace((snapshot, path));
                self.stale.extend(older.map(|(_, path)| path));
            }
        }
    }
}

impl SnapshotFiles {
    /// Takes over what the survey found: what a crash left is removed, what is damaged is renamed.
    pub(super) fn take(directory: PathBuf, survey: &Survey) -> io::Result<Self> {
        for path in &survey.stale {
            fs::remove_file(path)?;
        }
        for (path, _) in &survey.damaged {
            fs::rename(path, path.with_extension("damaged"))?;
        }
        if !survey.stale.is_empty() || !survey.damaged.is_empty() {
            sync_directory(&directory)?;
        }
        Ok(Self {
            directory,
            newest: survey.newest.as_ref().map(|(_, path)| path.clone()),
            handles: 0,
            inbox: 0,
        })
    }

    fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }
}

/// Makes a complete and durable file the newest snapshot.
fn install(
    owned: &mut Owned,
    files: &Files,
    from: &Path,
    snapshot: Snapshot,
) -> Result<Snapshot, StoreError> {
    let newest = owned.shared.newest().map(|newest| newest.id.last);
    if newest.is_some_and(|newest| newest > snapshot.id.last) {
        return Err(SnapshotError::Superseded.into());
    }
    let directory = owned.snapshots.directory.clone();
    let to = directory.join(file_name(snapshot.id.last));
    // From here on a failure leaves it open which snapshot is there after a crash, so it is a fault.
    let installed = fs::rename(from, &to)
        .and_then(|()| sync_directory(&directory))
        .and_then(|()| owned.sled.write(encode_snapshot(snapshot.id)));
    installed.map_err(|error| files.fail("installing a snapshot", &directory, error))?;
    let older = owned.snapshots.newest.replace(to.clone());
    owned.shared.set_newest(Some(snapshot.clone()));
    if let Some(older) = older.filter(|older| *older != to)
        && let Err(error) = fs::remove_file(&older)
    {
        // It costs space until the next opening, nothing else.
        tracing::warn!(path = %older.display(), %error, "an old snapshot was not removed");
    }
    Ok(snapshot)
}

fn file_name(last: Option<Position>) -> String {
    last.map_or_else(|| "empty.snap".to_owned(), |last| format!("{last}.snap"))
}

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
pub(super) struct Writer {
    files: Files,
    writing: Option<Writing>,
}

impl Writer {
    pub(super) async fn create(files: Files, meta: SnapshotMeta) -> Result<Self, StoreError> {
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

/// The handle of a snapshot that is being read.
pub(super) struct Reader {
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
    pub(super) async fn open(files: Files) -> Result<Option<Self>, StoreError> {
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
                        None => FrameReader::new(BufReader::with_capacity(256 * 1024, file)),
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

struct Receiving {
    file: File,
    arrived: u64,
    unflushed: u64,
}

/// The handle of a snapshot that arrives.
pub(super) struct Inbox {
    files: Files,
    id: SnapshotId,
    path: PathBuf,
    handle: u64,
    arrived: u64,
    receiving: Option<Receiving>,
}

impl Inbox {
    pub(super) async fn open(files: Files, id: SnapshotId) -> Result<Self, StoreError> {
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
    if let Ok(mut frames) = FrameReader::new(BufReader::with_capacity(256 * 1024, &file)) {
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
                    match check_received(id, BufReader::with_capacity(256 * 1024, file)) {
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

fn failed(path: &Path, error: io::Error) -> SnapshotError {
    SnapshotError::Io {
        path: path.to_owned(),
        cause: Arc::new(error),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
