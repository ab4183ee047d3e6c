//! `Maintenance`: what operators ask of a replica.
//!
//! Promises: a hash and a snapshot are made in short steps, between which others get their turn; of each, few are made at
//! once, and more are refused as too many. A snapshot includes everything that was acknowledged before, at whatever replica.
//! Left out on purpose: keeping a snapshot going when the replica stops. It ends with its connection, and etcdctl throws away
//! what it has.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use quorate_api::etcdserverpb::alarm_request::AlarmAction;
use quorate_api::etcdserverpb::maintenance_server;
use quorate_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use quorate_replica::Unavailable;
use quorate_replica::machine::{Image, KvHash, KvNeed};
use quorate_types::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::auth::{Credentials, Denied, Guard};
use crate::convert::{Declined, maintenance as convert, signed, unsigned};
use crate::group::{Group, StateFile};
use crate::limits::{HASHES_MAX, SNAPSHOTS_MAX};
use crate::{deadline, error};

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Maintenance<N> {
    node: N,
    guard: Guard,
    hashes: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

impl<N: Group> Maintenance<N> {
    pub(crate) fn new(node: N, guard: Guard) -> Self {
        Self {
            node,
            guard,
            hashes: Arc::new(Semaphore::new(HASHES_MAX)),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)),
        }
    }

    /// Whether whoever calls may.
    async fn require(&self, metadata: &MetadataMap, need: KvNeed<'_>) -> Result<(), Denied> {
        let (deadline, shown) = (deadline::of(metadata), Credentials::of(metadata));
        self.guard.require(&self.node, &shown, &need, deadline).await
    }

    /// The same for root, in the words that etcd has for it here.
    async fn require_root(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let required = self.require(metadata, KvNeed::Root).await;
        required.map_err(error::denied_bare)
    }

    /// The state that this replica has.
    fn image(&self) -> Result<Image, Status> {
        let image = self.node.read_stale();
        image.map_err(|unavailable| error::unavailable(&unavailable))
    }
}

#[tonic::async_trait]
impl<N: Group> maintenance_server::Maintenance for Maintenance<N> {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Answer<AlarmResponse> {
        let deadline = deadline::of(request.metadata());
        let need = match request.get_ref().action() {
            AlarmAction::Get => KvNeed::Known,
            AlarmAction::Activate | AlarmAction::Deactivate => KvNeed::Root,
        };
        let required = self.require(request.metadata(), need).await;
        required.map_err(error::denied)?;
        let alarms = convert::alarms(request.get_ref()).map_err(error::declined)?;
        // Whoever asks for alarms to learn whether all is well is not told so by a replica that is cut off.
        let image = self.node.read(deadline).await;
        let image = image.map_err(|unavailable| error::unavailable(&unavailable))?;
        let header = Some(self.node.stamp().header(image.kv_revision()));
        Ok(Response::new(AlarmResponse { header, alarms }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let required = self.require(request.metadata(), KvNeed::Known).await;
        required.map_err(error::denied)?;
        let image = self.image()?;
        let header = self.node.stamp().header(image.kv_revision());
        let status = convert::status(header, &image.counts(), self.node.progress());
        Ok(Response::new(status))
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Answer<DefragmentResponse> {
        self.require_root(request.metadata()).await?;
        tracing::info!(
            "asked to defragment: there is nothing to do, the state is in memory and files are written whole"
        );
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Answer<HashResponse> {
        self.require_root(request.metadata()).await?;
        let image = self.image()?;
        let [.., a, b, c, d] = image.content_digest().to_be_bytes();
        Ok(Response::new(HashResponse {
            header: Some(self.node.stamp().header(image.kv_revision())),
            hash: u32::from_be_bytes([a, b, c, d]),
        }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Answer<HashKvResponse> {
        self.require_root(request.metadata()).await?;
        let image = self.image()?;
        let hash = image.kv_hash(unsigned(request.get_ref().revision));
        let hash = hash.map_err(|refusal| error::refused(&refusal))?;
        let _turn = self
            .hashes
            .try_acquire()
            .map_err(|_| error::too_many_requests())?;
        let (compacted, revision) = (hash.compacted(), hash.revision());
        Ok(Response::new(HashKvResponse {
            hash: finished(hash).await,
            header: Some(self.node.stamp().header(image.kv_revision())),
            // As etcd says it while nothing was compacted.
            compact_revision: if compacted.0 == 0 { -1 } else { signed(compacted.0) },
            hash_revision: signed(revision.0),
        }))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        let deadline = deadline::of(request.metadata());
        self.require_root(request.metadata()).await?;
        let turn = Arc::clone(&self.snapshots).try_acquire_owned();
        let turn = turn.map_err(|_| error::too_many_requests())?;
        let file = self.node.state_file(deadline).await;
        let file = file.map_err(|unavailable| match unavailable {
            Unavailable::NotLeader { leader: None, .. } => error::declined(Declined::NoSnapshot),
            other => error::unavailable(&other),
        })?;
        let pieces = stream::unfold(Sending { file, _turn: turn }, |mut sending| async move {
            let piece = sending.next().await?;
            Some((Ok(piece), sending))
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Answer<MoveLeaderResponse> {
        let required = self.require(request.metadata(), KvNeed::Root).await;
        required.map_err(error::denied)?;
        let (deadline, to) = (
            deadline::of(request.metadata()),
            NodeId(request.get_ref().target_id),
        );
        if !self.node.progress().leads {
            return Err(error::declined(Declined::NotLeader));
        }
        let leads = self.node.hand_over(to, deadline).await.map_err(error::transfer)?;
        // When it does not take over at once, others are asked: to be without a leader would be worse.
        if leads != Some(to) {
            return Err(error::declined(Declined::TransferTooLong));
        }
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Answer<DowngradeResponse> {
        let required = self.require(request.metadata(), KvNeed::Root).await;
        required.map_err(error::denied)?;
        let declined = convert::downgrade(request.get_ref()).map_err(error::invalid)?;
        Err(error::declined(declined))
    }
}

/// A hash, step by step.
async fn finished(mut hash: KvHash) -> u32 {
    loop {
        if let Some(whole) = hash.step() {
            return whole;
        }
        yield_now().await;
    }
}

/// One snapshot on its way.
struct Sending {
    file: StateFile,
    _turn: OwnedSemaphorePermit,
}

impl Sending {
    /// The next piece; `None` after the last.
    async fn next(&mut self) -> Option<SnapshotResponse> {
        yield_now().await;
        let blob = self.file.chunks.next()?;
        let sent = u64::try_from(blob.len()).unwrap_or(u64::MAX);
        self.file.bytes = self.file.bytes.saturating_sub(sent);
        Some(SnapshotResponse {
            remaining_bytes: self.file.bytes,
            blob,
            ..SnapshotResponse::default()
        })
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
