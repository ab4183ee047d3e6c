//! Snapshots on the simulated disk: the same bytes as in a file, kept in memory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_host::BoxFuture;

use super::Machine;
use super::disk::{DiskState, PATH};
use crate::error::{SnapshotError, StoreError};
use crate::snapshot::{
    Encoder, Frame, FrameReader, ReadError, Snapshot, SnapshotId, SnapshotInbox, SnapshotMeta,
    SnapshotReader, SnapshotWriter, check_chunk, check_received,
};

pub(super) fn writer(machine: Machine, meta: SnapshotMeta) -> Box<dyn SnapshotWriter> {
    let mut bytes = Vec::new();
    let encoder = Encoder::new(meta, &mut bytes);
    Box::new(Writer {
        machine,
        encoder,
        bytes,
    })
}

pub(super) fn reader(machine: Machine, snapshot: Snapshot, bytes: Bytes) -> Box<dyn SnapshotReader> {
    Box::new(Reader {
        machine,
        snapshot,
        frames: FrameReader::new(io::Cursor::new(bytes.clone())),
        bytes,
    })
}

struct Writer {
    machine: Machine,
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl SnapshotWriter for Writer {
    fn write(&mut self, records: Vec<Bytes>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            for record in records {
                self.encoder.push(&record, &mut self.bytes)?;
            }
            let size = self.bytes.len();
            self.machine.flush(|state| state.check_room(size)).await
        })
    }

    fn finish(self: Box<Self>, digest: Option<u64>) -> BoxFuture<'static, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let Self {
                machine,
                encoder,
                mut bytes,
            } = *self;
            let snapshot = encoder.finish(digest, &mut bytes);
            machine.flush(|state| state.install(snapshot, bytes.into())).await
        })
    }
}

struct Reader {
    machine: Machine,
    snapshot: Snapshot,
    frames: Result<FrameReader<io::Cursor<Bytes>>, ReadError>,
    bytes: Bytes,
}

impl SnapshotReader for Reader {
    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Bytes>>, StoreError>> {
        Box::pin(async move {
            self.machine.intake.check_open()?;
            let frames = self.frames.as_mut().expect("the simulated disk damages nothing");
            match frames.next().expect("the simulated disk damages nothing") {
                Frame::Records(records) => Ok(Some(records)),
                Frame::End(_) => {
                    // The next call reads the end again.
                    self.frames = FrameReader::new(io::Cursor::new(self.bytes.clone()));
                    Ok(None)
                }
            }
        })
    }

    fn read_range(&mut self, offset: u64, bytes_max: usize) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        Box::pin(async move {
            self.machine.intake.check_open()?;
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(self.bytes.len());
            let to = from.saturating_add(bytes_max).min(self.bytes.len());
            Ok(self.bytes.slice(from..to))
        })
    }
}

/// The one inbox of a store: what has arrived outlives the handle, but not a crash.
#[derive(Clone, Default)]
pub(super) struct Inboxes {
    current: Arc<Mutex<Arrived>>,
}

#[derive(Default)]
struct Arrived {
    id: Option<SnapshotId>,
    bytes: Vec<u8>,
    /// Raised with each handle: an older one is superseded.
    handle: u64,
}

impl Inboxes {
    pub(super) fn open(&self, machine: Machine, id: SnapshotId) -> Box<dyn SnapshotInbox> {
        let mut current = self.lock();
        if current.id != Some(id) {
            current.id = Some(id);
            current.bytes = Vec::new();
        }
        current.handle += 1;
        Box::new(Inbox {
            machine,
            inboxes: self.clone(),
            id,
            handle: current.handle,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Inbox {
    machine: Machine,
    inboxes: Inboxes,
    id: SnapshotId,
    handle: u64,
}

impl Inbox {
    fn lock(&self) -> Result<MutexGuard<'_, Arrived>, SnapshotError> {
        let current = self.inboxes.lock();
        match current.handle == self.handle {
            true => Ok(current),
            false => Err(SnapshotError::Superseded),
        }
    }
}

impl SnapshotInbox for Inbox {
    fn offset(&self) -> u64 {
        self.lock().map_or(0, |arrived| len(&arrived.bytes))
    }

    fn write(&mut self, offset: u64, chunk: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let size = chunk.len();
            self.machine.flush(|state| state.check_room(size)).await?;
            let mut arrived = self.lock()?;
            check_chunk(self.id, len(&arrived.bytes), offset, len(&chunk))?;
            arrived.bytes.extend_from_slice(&chunk);
            Ok(len(&arrived.bytes))
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Snapshot, StoreError>> {
        Box::pin(async move {
            let bytes = {
                let mut arrived = self.lock()?;
                let (arrived_bytes, announced) = (len(&arrived.bytes), self.id.bytes);
                if arrived_bytes < announced {
                    return Err(SnapshotError::Incomplete {
                        arrived: arrived_bytes,
                        announced,
                    }
                    .into());
                }
                arrived.id = None;
                Bytes::from(std::mem::take(&mut arrived.bytes))
            };
            let snapshot = match check_received(self.id, bytes.as_ref()) {
                Ok(snapshot) => snapshot,
                Err(ReadError::Bad(bad)) => return Err(bad.into()),
                Err(ReadError::Io(_)) => unreachable!("memory reads"),
            };
            self.machine.flush(|state| state.install(snapshot, bytes)).await
        })
    }
}

impl DiskState {
    fn check_room(&self, bytes: usize) -> Result<(), StoreError> {
        match self.refusal(bytes) {
            None => Ok(()),
            Some(cause) => Err(SnapshotError::Io {
                path: PATH.into(),
                cause: Arc::new(cause),
            }
            .into()),
        }
    }

    fn install(&mut self, snapshot: Snapshot, bytes: Bytes) -> Result<Snapshot, StoreError> {
        self.check_room(bytes.len())?;
        let newest = self.durable.snapshot.as_ref().map(|(newest, _)| newest.id.last);
        if newest.is_some_and(|newest| newest > snapshot.id.last) {
            return Err(SnapshotError::Superseded.into());
        }
        self.durable.snapshot = Some((snapshot.clone(), bytes));
        Ok(snapshot)
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
