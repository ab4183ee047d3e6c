//! Snapshots: what is in one, how it is named, and the handles through which it is written, read and received.

mod file;
mod format;
mod trailer;

use std::fmt;
use std::io::Read;

use bytes::Bytes;
use quorate_host::BoxFuture;
use quorate_types::Position;

use crate::error::{SnapshotError, StoreError};

pub use file::SnapshotFile;
pub use format::Encoder;
pub(crate) use format::{Frame, FrameReader, ReadError, damaged, decode_position, encode_position, verify};
pub use trailer::Trailer;

/// What a snapshot says about itself, in its checksummed header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry it covers; `None` for the state before any entry.
    pub last: Option<Position>,
    /// The entry that brought the membership.
    pub membership_position: Option<Position>,
    /// The membership that is in force at `last`; opaque to the store.
    pub membership: Bytes,
}

/// Names the bytes of one snapshot file: two snapshots at the same position need not be equal byte for byte, and a
/// transfer must not continue one with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotId {
    /// The last entry it covers.
    pub last: Option<Position>,
    /// Its size.
    pub bytes: u64,
    /// The CRC-32 of the whole file before its last four bytes.
    pub crc: u32,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) => write!(f, "{last}-{}-{:08x}", self.bytes, self.crc),
            None => write!(f, "empty-{}-{:08x}", self.bytes, self.crc),
        }
    }
}

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Names it.
    pub id: SnapshotId,
    /// Its header.
    pub meta: SnapshotMeta,
    /// How many records it holds.
    pub records: u64,
    /// The digest of the state, when its writer gave one.
    pub digest: Option<u64>,
}

/// Writes one snapshot. Dropped before `finish`, it leaves nothing behind.
pub trait SnapshotWriter: Send {
    /// Adds records in order; resolves when they have reached the file, so that the caller cannot run ahead of the
    /// disk.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`]; the snapshot is then lost, the store goes on.
    fn write(&mut self, records: Vec<Bytes>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the snapshot: durable and the newest one when this resolves.
    ///
    /// # Errors
    /// [`SnapshotError::Superseded`](crate::SnapshotError::Superseded) when a newer one was installed meanwhile.
    fn finish(self: Box<Self>, digest: Option<u64>) -> BoxFuture<'static, Result<Snapshot, StoreError>>;
}

/// Reads one snapshot, as records or as raw bytes. It stays readable when a newer snapshot takes its place.
pub trait SnapshotReader: Send {
    /// The snapshot.
    fn snapshot(&self) -> &Snapshot;

    /// The next records, oldest first; `None` after the last one, when everything has been checked.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when the file is damaged.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Bytes>>, StoreError>>;

    /// The raw bytes at `offset`, at most `bytes_max`; empty at the end. Unchecked: the receiver checks.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when the file cannot be read.
    fn read_range(&mut self, offset: u64, bytes_max: usize) -> BoxFuture<'_, Result<Bytes, StoreError>>;
}

/// Receives one snapshot. Dropped before `finish`, it keeps what arrived, for the next try with the same id.
pub trait SnapshotInbox: Send {
    /// Where the next chunk has to start.
    fn offset(&self) -> u64;

    /// Takes a chunk; gives the offset where the next one has to start.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`]: [`WrongOffset`](crate::SnapshotError::WrongOffset) leaves the inbox usable.
    fn write(&mut self, offset: u64, chunk: Bytes) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Checks the whole and installs it: durable and the newest one when this resolves.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`](crate::SnapshotError::Damaged) when it is not what its id says; what arrived is
    /// dropped then. [`SnapshotError::Superseded`](crate::SnapshotError::Superseded) when the store has a newer one.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Snapshot, StoreError>>;
}

/// Whether a chunk of so many bytes at `offset` continues what has arrived.
pub(crate) fn check_chunk(
    id: SnapshotId,
    arrived: u64,
    offset: u64,
    bytes: u64,
) -> Result<(), SnapshotError> {
    if offset != arrived {
        return Err(SnapshotError::WrongOffset {
            expected: arrived,
            got: offset,
        });
    }
    let end = offset.saturating_add(bytes);
    if end > id.bytes {
        return Err(SnapshotError::TooLong {
            end,
            announced: id.bytes,
        });
    }
    Ok(())
}

/// Checks everything that has arrived against its id.
pub(crate) fn check_received(id: SnapshotId, input: impl Read) -> Result<Snapshot, ReadError> {
    let snapshot = verify(input)?;
    match snapshot.id == id {
        true => Ok(snapshot),
        false => Err(damaged(0, "it is a whole snapshot, but not the announced one").into()),
    }
}
