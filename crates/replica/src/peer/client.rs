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
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::caller::Caller;
use super::granted::Granted;
use super::wire;
use super::wire::peer_client::PeerClient as WireClient;
use super::{convert, snapshot};
use crate::failover::Reign;
use crate::raft::types::{LogId, RpcError, TypeConfig, Vote};

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
    /// The newest reign whose first entry this replica has applied.
    applied_reign: watch::Receiver<Option<Reign>>,
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
    /// What the peer said when it granted us a vote at last.
    granted: Mutex<Option<Granted>>,
    applied_reign: watch::Receiver<Option<Reign>>,
}

impl Peers {
    pub(crate) fn new(
        me: Caller,
        network: Arc<dyn Network>,
        applied_reign: watch::Receiver<Option<Reign>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            network,
            applied_reign,
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
        let peer = Arc::new(Peer::new(self, member)?);
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
    fn new(peers: &Peers, member: &Member) -> Result<Self, tonic::transport::Error> {
        let mut metadata = MetadataMap::new();
        Caller {
            to: member.node,
            ..peers.me
        }
        .write(&mut metadata);
        let dial = || dial(&member.peer_address, &peers.network);
        Ok(Self {
            member: member.clone(),
            metadata,
            urgent: dial()?,
            bulk: dial()?,
            forwarding: dial()?,
            granted: Mutex::default(),
            applied_reign: peers.applied_reign.clone(),
        })
    }

    /// Keeps what the peer's answer to a vote request tells about its log.
    fn voted(&self, request: &VoteRequest<TypeConfig>, response: &VoteResponse<TypeConfig>) {
        if let Some(granted) = Granted::of(request, response) {
            *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = Some(granted);
        }
    }

    /// The last entry of `request` when the peer is known to hold all of them. Asked after the request was made, because of
    /// what openraft takes an answer for; see [`super::granted`].
    fn holds(&self, request: &AppendEntriesRequest<TypeConfig>) -> Option<LogId> {
        let granted = (*self.granted.lock().unwrap_or_else(PoisonError::into_inner))?;
        let held = granted.holds(request)?;
        (!granted.is_over(&self.applied_reign)).then_some(held)
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
            if let Some(held) = peer.holds(&first) {
                // openraft opens another stream for whatever is left to send.
                return Ok(stream::iter([Ok(Ok(Some(held)))]).boxed() as BoxStream<'s, _>);
            }
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
        let call = peer.request(convert::to_vote_request(&request));
        let response = peer.urgent().vote(call).await.map_err(unreachable)?;
        let response = convert::from_vote_response(response.into_inner()).map_err(unreachable)?;
        peer.voted(&request, &response);
        Ok(response)
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

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use quorate_host::Tcp;
    use quorate_types::{BootId, ClusterId, Incarnation, MemberName, Term};

    use super::*;
    use crate::raft::types::{self, Entry, LeaderId};

    const OLD: LeaderId = LeaderId {
        term: 6,
        node_id: NodeId(1),
    };

    /// A client of a peer that cannot be reached, and that has voted for node 1 in term 7.
    fn client(applied: watch::Receiver<Option<Reign>>) -> RaftClient {
        // Port 1 is nobody's: whatever crosses the network fails.
        let address = || "127.0.0.1:1".to_owned();
        let me = Caller {
            cluster: ClusterId(1),
            from: NodeId(1),
            to: NodeId(1),
            boot: BootId(1),
            incarnation: Incarnation(1),
        };
        let member = Member {
            node: NodeId(2),
            name: MemberName::new("b").expect("a name"),
            incarnation: Incarnation(2),
            peer_address: address(),
            liveness_address: address(),
            client_address: address(),
        };
        let peers = Peers::new(me, Arc::new(Tcp), applied);
        let peer = peers.get(&member).expect("an address");
        let candidate = types::vote(Term(7), NodeId(1), false);
        let last = Some(LogId::new(OLD, 90));
        let request = VoteRequest::new(candidate, last);
        peer.voted(&request, &VoteResponse::new(candidate, last, true));
        RaftClient { peer: Ok(peer) }
    }

    /// What the client answers to entries that end at `last`: the entry up to which they match.
    async fn answer(client: &mut RaftClient, last: u64) -> Option<u64> {
        let entries = (last - 7..=last).map(|index| Entry {
            log_id: LogId::new(OLD, index),
            payload: EntryPayload::Blank,
        });
        let request = AppendEntriesRequest {
            vote: types::vote(Term(7), NodeId(1), true),
            prev_log_id: Some(LogId::new(OLD, last - 8)),
            entries: entries.collect(),
            leader_commit: None,
        };
        let option = RPCOption::new(Duration::from_secs(1));
        let mut answers = client.stream_append(stream::iter([request]), option).await.ok()?;
        let answer = answers.next().await?.ok()?.ok()?;
        assert!(answers.next().await.is_none(), "one question, one answer");
        answer.map(|matching| matching.index())
    }

    #[tokio::test]
    async fn what_a_voter_holds_is_not_asked_of_it_until_the_reign_serves() {
        let (applied, applied_reign) = watch::channel(None);
        let mut client = client(applied_reign);
        let cases = [(16, Some(16)), (90, Some(90)), (91, None)];
        for (last, want) in cases {
            assert_eq!(answer(&mut client, last).await, want, "{last}");
        }
        applied.send_replace(Some(Reign {
            term: Term(7),
            leader: NodeId(1),
        }));
        assert_eq!(answer(&mut client, 90).await, None, "the reign serves");
    }
}
