//! The durable side of one replica: its log, vote, snapshots and the few facts about its data directory.
//!
//! Promises: what was acknowledged survives a crash of the process and of the machine; what is read back was checked
//! against a checksum; a disk that fails or lies is a [`Fault`] that stops the replica, never an answer. Two stores
//! keep the same trait: [`DiskStore`] on files, and [`MemoryStore`] on a simulated disk that loses what was not
//! durable. Left out on purpose: Raft, the state machine and every meaning of the bytes. An entry is a position, a
//! kind and bytes; a membership is bytes; a snapshot is a sequence of byte records.

mod disk;
mod error;
mod facts;
mod identity;
mod intake;
mod memory;
mod snapshot;
mod stats;
mod store;
mod view;

pub use disk::{DirectoryContents, DiskOptions, DiskStore, NewDirectory, OfflineDirectory};
pub use error::{Fault, OpenError, SnapshotError, StoreError};
pub use facts::{Facts, MembershipFact};
pub use identity::Identity;
pub use memory::{MemoryDisk, MemoryLatency, MemoryStore};
pub use snapshot::{
    Encoder as SnapshotEncoder, Snapshot, SnapshotFile, SnapshotId, SnapshotInbox, SnapshotMeta,
    SnapshotReader, SnapshotWriter, Trailer,
};
pub use stats::StoreStats;
pub use store::{Done, Entry, EntryKind, LogState, Store, Vote, limits};
