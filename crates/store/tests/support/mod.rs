//! What the tests of this crate share: both kinds of store behind one handle, and calls that wait.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod device;
pub mod trials;
pub mod workload;

use std::sync::Arc;

use bytes::Bytes;
use quorate_store::{
    DiskOptions, DiskStore, Done, Entry, EntryKind, MemoryDisk, MemoryLatency, MemoryStore, OpenError,
    Snapshot, SnapshotId, SnapshotMeta, Store, StoreError, Vote,
};
use quorate_types::{Index, NodeId, Position, Term};
use tokio::sync::oneshot;

/// A place that keeps a store, real or simulated, across reopening.
pub enum Place {
    Memory(MemoryDisk),
    Disk(tempfile::TempDir, DiskOptions),
}

impl Place {
    pub fn memory() -> Self {
        Self::Memory(MemoryDisk::new())
    }

    pub fn disk() -> Self {
        Self::Disk(tempfile::tempdir().unwrap(), small())
    }

    pub async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }

    pub async fn try_open(&self) -> Result<Arc<dyn Store>, OpenError> {
        Ok(match self {
            Self::Memory(disk) => Arc::new(MemoryStore::open(disk, MemoryLatency::default())?),
            Self::Disk(dir, options) => Arc::new(DiskStore::open(dir.path(), *options).await?),
        })
    }
}

/// Chunks and a tail so small that tests meet rotation and reads from disk.
pub fn small() -> DiskOptions {
    DiskOptions {
        chunk_bytes: 4096,
        tail_bytes: 4096,
    }
}

pub fn at(term: u64, index: u64) -> Position {
    Position {
        term: Term(term),
        leader: NodeId(1),
        index: Index(index),
    }
}

pub fn vote(term: u64, committed: bool) -> Vote {
    Vote {
        term: Term(term),
        node: NodeId(1),
        committed,
    }
}

pub fn entry(term: u64, index: u64) -> Entry {
    entry_of(term, index, 24)
}

/// An entry whose payload is a function of its position.
pub fn entry_of(term: u64, index: u64, bytes: usize) -> Entry {
    let mut payload = format!("{term}/{index} ").into_bytes();
    payload.resize(bytes.max(payload.len()), b'.');
    Entry {
        position: at(term, index),
        kind: match index % 3 {
            0 => EntryKind::Blank,
            1 => EntryKind::Command,
            _ => EntryKind::Membership,
        },
        payload: payload.into(),
    }
}

pub fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

/// A callback and what it will be called with.
pub fn told() -> (Done, oneshot::Receiver<Result<(), StoreError>>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

/// The calls, awaited until durable.
pub async fn append(store: &Arc<dyn Store>, entries: Vec<Entry>) -> Result<(), StoreError> {
    store.room().await;
    let (done, told) = told();
    store.append(entries, done);
    told.await.expect("the callback is called")
}

pub async fn save_vote(store: &Arc<dyn Store>, vote: Vote) -> Result<(), StoreError> {
    let (done, told) = told();
    store.save_vote(vote, done);
    told.await.expect("the callback is called")
}

pub async fn truncate(store: &Arc<dyn Store>, last: Option<Position>) -> Result<(), StoreError> {
    let (done, told) = told();
    store.truncate_after(last, done);
    told.await.expect("the callback is called")
}

pub async fn purge(store: &Arc<dyn Store>, upto: Position) -> Result<(), StoreError> {
    let (done, told) = told();
    store.purge_upto(upto, done);
    told.await.expect("the callback is called")
}

/// Everything that the log holds, read in pieces.
pub async fn read_all(store: &Arc<dyn Store>) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let from = all.last().map_or(0, |entry| entry.position.index.0 + 1);
        let more = store.read(from, u64::MAX, 1000).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

pub fn meta(last: Option<Position>) -> SnapshotMeta {
    SnapshotMeta {
        last,
        membership_position: Some(at(1, 0)),
        membership: Bytes::from_static(b"three members"),
    }
}

/// Records that differ from each other, of growing length.
pub fn records(count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|n| Bytes::from(format!("record {n} {}", "x".repeat(n % 300))))
        .collect()
}

pub async fn write_snapshot(
    store: &Arc<dyn Store>,
    last: Option<Position>,
    records: &[Bytes],
) -> Result<Snapshot, StoreError> {
    let mut writer = store.create_snapshot(meta(last)).await?;
    for batch in records.chunks(100) {
        writer.write(batch.to_vec()).await?;
    }
    writer.finish(Some(42)).await
}

pub async fn read_snapshot(store: &Arc<dyn Store>) -> Option<(Snapshot, Vec<Bytes>)> {
    let mut reader = store.open_snapshot().await.unwrap()?;
    let mut all = Vec::new();
    while let Some(records) = reader.next().await.unwrap() {
        all.extend(records);
    }
    Some((reader.snapshot().clone(), all))
}

/// The raw bytes of the newest snapshot, as they travel.
pub async fn raw_snapshot(store: &Arc<dyn Store>) -> (SnapshotId, Bytes) {
    let mut reader = store.open_snapshot().await.unwrap().unwrap();
    let mut raw = Vec::new();
    loop {
        let chunk = reader.read_range(raw.len() as u64, 10_000).await.unwrap();
        if chunk.is_empty() {
            return (reader.snapshot().id, raw.into());
        }
        raw.extend_from_slice(&chunk);
    }
}
