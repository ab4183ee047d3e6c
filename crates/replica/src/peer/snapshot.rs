//! Shipping a snapshot to a follower: in chunks, on a connection of its own, from where an earlier transfer stopped.
//!
//! Promises: the receiver's disk says how much of this very snapshot it has, the sender goes on from there; chunks are
//! bounded and the receiver's pace holds the sender back; nothing is installed before the whole file was checked.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use openraft::storage::Snapshot as RaftSnapshot;
use quorate_store::{SnapshotId, SnapshotInbox, SnapshotReader, Store, StoreError};
use tokio::sync::Mutex;
use tonic::{Status, Streaming};

use super::client::Peer;
use super::{convert, wire};
use crate::raft::state;
use crate::raft::types::{Raft, Vote};

/// Bytes of one chunk: large enough to be quick, small enough not to hold up what shares the receiver's memory.
const CHUNK_BYTES: usize = 1024 * 1024;

fn to_id(id: &SnapshotId) -> wire::SnapshotId {
    wire::SnapshotId {
        last: id.last.map(convert::to_position),
        bytes: id.bytes,
        crc: id.crc,
    }
}

fn from_id(id: Option<wire::SnapshotId>) -> Result<SnapshotId, Status> {
    let id = convert::required(id, "id")?;
    Ok(SnapshotId {
        last: id.last.map(convert::from_position),
        bytes: id.bytes,
        crc: id.crc,
    })
}

fn failed(error: StoreError) -> Status {
    let text = crate::fault::chain(&error);
    match error {
        StoreError::Snapshot(_) => Status::aborted(text),
        StoreError::Fault(_)
        | StoreError::Closed
        | StoreError::IdentityTaken { .. }
        | StoreError::MembershipTooLarge { .. } => Status::unavailable(text),
    }
}

/// Sends a snapshot; gives the receiver's vote after it was installed.
pub(crate) async fn send(peer: &Peer, vote: Vote, reader: Box<dyn SnapshotReader>) -> Result<Vote, Status> {
    let id = to_id(&reader.snapshot().id);
    let mut client = peer.bulk();
    let question = peer.request(wire::SnapshotOffsetRequest { id: Some(id) });
    let offset = client.snapshot_offset(question).await?.into_inner().offset;
    tracing::info!(bytes = id.bytes, offset, "shipping a snapshot");

    let start = wire::SnapshotStart {
        vote: Some(convert::to_vote(&vote)),
        id: Some(id),
    };
    let failure = Arc::new(Mutex::new(None));
    let chunks = chunks(reader, start, offset, Arc::clone(&failure));
    let response = client.install_snapshot(peer.request(chunks)).await;
    // Our own disk's failure is the cause when the stream ended early; the receiver only saw the end.
    if let Some(error) = failure.lock().await.take() {
        return Err(failed(error));
    }
    convert::from_vote(response?.into_inner().vote)
}

/// The file from `offset` on, as chunks; the first one carries `start`, and there is one even when nothing is left.
fn chunks(
    reader: Box<dyn SnapshotReader>,
    start: wire::SnapshotStart,
    offset: u64,
    failure: Arc<Mutex<Option<StoreError>>>,
) -> impl stream::Stream<Item = wire::SnapshotChunk> + Send + 'static {
    stream::unfold(
        (reader, Some(start), offset),
        move |(mut reader, start, offset)| {
            let failure = Arc::clone(&failure);
            async move {
                let bytes = match reader.read_range(offset, CHUNK_BYTES).await {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        *failure.lock().await = Some(error);
                        return None;
                    }
                };
                if bytes.is_empty() && start.is_none() {
                    return None;
                }
                let next = offset + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Some((wire::SnapshotChunk { start, offset, bytes }, (reader, None, next)))
            }
        },
    )
}

/// How much of a snapshot this replica has on disk.
pub(crate) async fn offset(store: &dyn Store, id: Option<wire::SnapshotId>) -> Result<u64, Status> {
    Ok(store
        .receive_snapshot(from_id(id)?)
        .await
        .map_err(failed)?
        .offset())
}

/// Receives a snapshot and installs it; gives this replica's vote.
pub(crate) async fn receive(
    raft: &Raft,
    store: &Arc<dyn Store>,
    mut chunks: Streaming<wire::SnapshotChunk>,
) -> Result<Vote, Status> {
    let first = chunks
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("a snapshot without chunks"))?;
    let start = convert::required(first.start, "start")?;
    let vote = convert::from_vote(start.vote)?;
    let id = from_id(start.id)?;
    let mut inbox = store.receive_snapshot(id).await.map_err(failed)?;
    take(&mut *inbox, first.offset, first.bytes).await?;
    while let Some(chunk) = chunks.message().await? {
        take(&mut *inbox, chunk.offset, chunk.bytes).await?;
    }
    inbox.finish().await.map_err(failed)?;

    let opened = store.open_snapshot().await.map_err(failed)?;
    let reader = opened.ok_or_else(|| Status::aborted("the snapshot was superseded while it arrived"))?;
    let meta = state::meta(&reader.snapshot().meta).map_err(|error| Status::aborted(error.to_string()))?;
    tracing::info!(
        records = reader.snapshot().records,
        bytes = id.bytes,
        "installing a snapshot"
    );
    let snapshot = RaftSnapshot {
        meta,
        snapshot: reader,
    };
    let response = raft.install_full_snapshot(vote, snapshot).await;
    Ok(response
        .map_err(|fatal| Status::unavailable(fatal.to_string()))?
        .vote)
}

async fn take(inbox: &mut dyn SnapshotInbox, offset: u64, bytes: Bytes) -> Result<(), Status> {
    if bytes.is_empty() {
        return Ok(());
    }
    inbox.write(offset, bytes).await.map(|_| ()).map_err(failed)
}
