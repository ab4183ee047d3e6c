//! Calling other replicas: openraft's network traits over gRPC.
//!
//! Promises: one connection per peer for everything small and urgent, a second one for snapshots, and a third for what is
//! forwarded to a leader, so that neither a large transfer nor a crowd of clients ever delays a heartbeat or a vote; each is
//! dialled at first use and again after each loss. Timeouts are openraft's
//! for single calls; a stream lives until either side ends it or HTTP/2 pings find the peer gone.

#![allow(
    clippy::result_large_err,
    reason = "the errors are openraft's, and its traits take them by value"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, alias::SnapshotOf};
use quorate_host::{Network, channel_endpoint, connect_lazy};
use quorate_store::SnapshotReader;
use quorate_types::limits::PEER_MESSAGE_BYTES_MAX;
use quorate_types::{Member, NodeId};
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::caller::Caller;
use super::wire;
use super::wire::peer_client::PeerClient as WireClient;
use super::{convert, snapshot};
use crate::raft::types::{RpcError, TypeConfig, Vote};

/// A peer that does not accept a connection within this time is unreachable for now.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Pauses between attempts to reach a peer that does not answer; the last one repeats. A liveness link that comes up
/// cuts the pause short.
const BACKOFF_MS: [u64; 5] = [20, 40, 80, 160, 200];

/// The connections to all peers.
pub(crate) struct Peers {
    /// Who we are; `to` is set for each peer.
    me: Caller,
    network: Arc<dyn Network>,
    connected: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
}

/// The connections to one peer.
#[derive(Debug)]
pub(crate) struct Peer {
    member: Member,
    metadata: MetadataMap,
    urgent: WireClient<Channel>,
    bulk: WireClient<Channel>,
    forwarding: WireClient<Channel>,
}

impl Peers {
    pub(crate) fn new(me: Caller, network: Arc<dyn Network>) -> Arc<Self> {
        Arc::new(Self {
            me,
            network,
            connected: Mutex::default(),
        })
    }

    /// The connections to `member`; made anew when its address changed.
    pub(crate) fn get(&self, member: &Member) -> Result<Arc<Peer>, tonic::transport::Error> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = connected.get(&member.node)
            && peer.member.peer_address == member.peer_address
        {
            return Ok(Arc::clone(peer));
        }
        let peer = Arc::new(Peer::new(self.me, member, &self.network)?);
        connected.insert(member.node, Arc::clone(&peer));
        Ok(peer)
    }

    /// Opens the connection for small and urgent calls now instead of at the first of them.
    pub(crate) async fn connect(self: Arc<Self>, member: Member) {
        let Ok(peer) = self.get(&member) else {
            return;
        };
        let question = peer.request(wire::IdentifyRequest {
            name: member.name.to_string(),
        });
        // Only the connection matters; whoever calls next meets what is wrong with it.
        let _ = timeout(CONNECT_TIMEOUT, peer.urgent().identify(question)).await;
    }
}

/// A client for the peer service at `address`, over a connection of its own.
pub(crate) fn dial(
    address: &str,
    network: &Arc<dyn Network>,
) -> Result<WireClient<Channel>, tonic::transport::Error> {
    let endpoint = channel_endpoint(address, CONNECT_TIMEOUT)?;
    Ok(WireClient::new(connect_lazy(&endpoint, Arc::clone(network)))
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
}

impl Peer {
    fn new(me: Caller, member: &Member, network: &Arc<dyn Network>) -> Result<Self, tonic::transport::Error> {
        let mut metadata = MetadataMap::new();
        Caller {
            to: member.node,
            ..me
        }
        .write(&mut metadata);
        Ok(Self {
            member: member.clone(),
            metadata,
            urgent: dial(&member.peer_address, network)?,
            bulk: dial(&member.peer_address, network)?,
            forwarding: dial(&member.peer_address, network)?,
        })
    }

    /// A request with this replica's metadata.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }

    /// The connection for small and urgent calls.
    pub(crate) fn urgent(&self) -> WireClient<Channel> {
        self.urgent.clone()
    }

    /// The connection for snapshots.
    pub(crate) fn bulk(&self) -> WireClient<Channel> {
        self.bulk.clone()
    }

    /// The connection for what this replica's clients want of the leader.
    pub(crate) fn forwarding(&self) -> WireClient<Channel> {
        self.forwarding.clone()
    }
}

/// Makes openraft's clients.
#[derive(Clone)]
pub(crate) struct PeerNetwork(pub(crate) Arc<Peers>);

impl RaftNetworkFactory<TypeConfig> for PeerNetwork {
    type Network = RaftClient;

    async fn new_client(&mut self, _target: NodeId, member: &Member) -> RaftClient {
        let peer = self.0.get(member).map_err(|error| {
            // Addresses were checked before the member was admitted, so this is worth a line, once per client.
            tracing::error!(%member, %error, "the peer's address cannot be dialled");
            Status::unavailable(error.to_string())
        });
        RaftClient { peer }
    }
}

/// openraft's client for one peer.
pub(crate) struct RaftClient {
    peer: Result<Arc<Peer>, Status>,
}

impl RaftClient {
    fn peer(&self) -> Result<&Arc<Peer>, RpcError> {
        self.peer.as_ref().map_err(|status| unreachable(status.clone()))
    }
}

/// Every failure of a call counts as "unreachable": openraft then backs off, and retries would be in vain sooner.
fn unreachable(status: Status) -> RpcError {
    RPCError::Unreachable(Unreachable::new(&status))
}

impl NetStreamAppend<TypeConfig> for RaftClient {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // Poll the first request before connecting: openraft sleeps its back-off inside the request stream only, and a
            // failure before the first poll makes it spin on a dead peer (openraft issue 1051).
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as BoxStream<'s, _>);
            };
            let peer = self.peer()?;
            let requests = stream::iter([first]).chain(input).map(convert::to_append);
            let response = peer
                .urgent()
                .append(peer.request(requests))
                .await
                .map_err(unreachable)?;
            let results = response.into_inner().map(|response| {
                response
                    .and_then(convert::from_append_result)
                    .map_err(unreachable)
            });
            Ok(Box::pin(results) as BoxStream<'s, _>)
        })
    }
}

impl NetVote<TypeConfig> for RaftClient {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let peer = self.peer()?;
        let request = peer.request(convert::to_vote_request(&request));
        let response = peer.urgent().vote(request).await.map_err(unreachable)?;
        convert::from_vote_response(response.into_inner()).map_err(unreachable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let peer = self.peer()?;
        let request = peer.request(convert::to_vote_request(&request));
        let response = peer.urgent().pre_vote(request).await.map_err(unreachable)?;
        convert::from_vote_response(response.into_inner()).map_err(unreachable)
    }
}

impl NetTransferLeader<TypeConfig> for RaftClient {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let peer = self.peer()?;
        let call = peer.request(convert::to_transfer(&request));
        let response = peer
            .urgent()
            .transfer_leader(call)
            .await
            .map_err(unreachable)?
            .into_inner();
        if response.refused.is_empty() {
            return Ok(Ok(()));
        }
        tracing::info!(peer = %peer.member, why = response.refused, "the peer did not take over");
        let expected = request.last_log_id().copied();
        Ok(Err(TransferLeaderError::LogNotFlushed {
            expected,
            actual: None,
        }))
    }
}

impl NetSnapshot<TypeConfig> for RaftClient {
    type SnapshotData = Box<dyn SnapshotReader>;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, Box<dyn SnapshotReader>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let peer = self
            .peer
            .as_ref()
            .map_err(|status| StreamingError::Unreachable(Unreachable::new(status)))?;
        let sending = snapshot::send(peer, vote, snapshot.snapshot);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(status) => Err(StreamingError::Unreachable(Unreachable::new(&status))),
            },
        }
    }
}

impl NetBackoff<TypeConfig> for RaftClient {
    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF_MS[BACKOFF_MS.len() - 1];
        let pauses = BACKOFF_MS
            .into_iter()
            .chain(std::iter::repeat(last))
            .map(Duration::from_millis);
        Some(Backoff::new(pauses))
    }
}
