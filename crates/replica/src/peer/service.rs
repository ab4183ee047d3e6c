//! Serving other replicas: the receiving end of the peer protocol.
//!
//! Promises: a call reaches Raft only when it is between members of this group as this replica knows it (cluster, node
//! ids, admitted directories), and a vote request only as the gate ([`crate::failover::gate`]) lets it pass.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use openraft::errors::Fatal;
use quorate_store::Store;
use quorate_types::{BootId, Index, NodeId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status, Streaming};

use super::caller::Caller;
use super::wire::peer_server::Peer;
use super::{convert, forwarded, leases, members, snapshot, wire};
use crate::failover::crash::DownReport;
use crate::failover::gate::{self, Judgement};
use crate::failover::{Reign, observed::Observed};
use crate::formation::Formed;
use crate::forward::members::lead_change;
use crate::forward::serve;
use crate::group::Group;
use crate::liveness::board::{Board, OpenConnection};
use crate::membership::MemberError;
use crate::raft::types::{Raft, TypeConfig, Vote};

/// How long a voter waits for its own knowledge when a request asks to bypass the lease: the death notice or the
/// leader's transfer may be a moment behind the candidate's request.
const PATIENCE: Duration = Duration::from_millis(25);

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct PeerService {
    pub(crate) formed: Arc<Formed>,
    pub(crate) board: Arc<Board>,
    /// Death notices for [`crate::failover::crash`]; when it is full, a notice is lost and timeouts do its work.
    pub(crate) reports: mpsc::Sender<DownReport>,
}

/// What a call may use once the replica is part of a group.
pub(crate) struct Inside<'a> {
    pub(crate) raft: &'a Raft,
    pub(crate) observed: &'a Arc<Observed>,
    pub(crate) store: &'a dyn Store,
    pub(crate) caller: Caller,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl PeerService {
    /// Checks who calls whom.
    fn admit<T>(&self, request: &Request<T>) -> Result<Inside<'_>, Status> {
        let group = self
            .formed
            .group()
            .ok_or_else(|| Status::unavailable("this replica is not part of a group yet"))?;
        let caller = Caller::read(request.metadata())?;
        if caller.cluster != group.identity.cluster {
            return Err(Status::failed_precondition(format!(
                "cluster {} calls cluster {}: check the list of peers",
                caller.cluster, group.identity.cluster
            )));
        }
        if caller.to != group.identity.node {
            return Err(Status::failed_precondition(format!(
                "the call is for node {}, this is node {}: check the addresses",
                caller.to, group.identity.node
            )));
        }
        if let Some(member) = group.member(caller.from)
            && member.incarnation != caller.incarnation
        {
            return Err(Status::permission_denied(format!(
                "node {} has another data directory than the group admitted: it must rejoin under a new id",
                caller.from
            )));
        }
        Ok(Inside {
            raft: &group.raft,
            observed: &group.observed,
            store: &*group.store,
            caller,
        })
    }

    /// Checks who calls whom, where only a member may: whoever was removed has no business with this cluster's clients.
    fn admit_member<T>(&self, request: &Request<T>) -> Result<Arc<Group>, Status> {
        let from = self.admit(request)?.caller.from;
        let group = self
            .formed
            .group()
            .ok_or_else(|| Status::unavailable("stopped"))?;
        if group.member(from).is_none() {
            return Err(Status::permission_denied(format!(
                "node {from} is no member of this group"
            )));
        }
        Ok(Arc::clone(group))
    }
}

/// The reign that a vote is for, when it is committed.
pub(crate) fn reign_of(vote: &Vote) -> Option<Reign> {
    vote.committed.then_some(Reign::of(&vote.leader_id))
}

fn stopped(fatal: Fatal<TypeConfig>) -> Status {
    Status::unavailable(format!("this replica has stopped: {fatal}"))
}

/// The vote that this node holds now.
pub(crate) async fn current_vote(raft: &Raft) -> Result<Vote, Fatal<TypeConfig>> {
    raft.with_raft_state(|state| *state.vote_ref()).await
}

/// Whether a request may pass, and with which flag. Waits a moment for knowledge that may be under way.
async fn judge(inside: &Inside<'_>, candidate: NodeId, asks_bypass: bool) -> Result<Judgement, Status> {
    let deadline = Instant::now() + PATIENCE;
    let mut changes = inside.observed.subscribe();
    loop {
        let follows = reign_of(&current_vote(inside.raft).await.map_err(stopped)?);
        let knowledge = inside.observed.knowledge(follows);
        let settled = !asks_bypass || follows.is_none() || gate::knows_better(&knowledge, candidate);
        if settled || timeout_at(deadline, changes.changed()).await.is_err() {
            return Ok(gate::judge(&knowledge, candidate, asks_bypass));
        }
    }
}

impl PeerService {
    /// "No", without touching Raft.
    async fn refuse(inside: &Inside<'_>) -> Result<wire::VoteResponse, Status> {
        let vote = current_vote(inside.raft).await.map_err(stopped)?;
        let last = inside.store.log_state().last.map(convert::to_position);
        Ok(wire::VoteResponse {
            vote: Some(convert::to_vote(&vote)),
            last,
            granted: false,
        })
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type AppendStream = Answers<wire::AppendResponse>;
    type ProposeStream = Answers<wire::ProposeResponse>;

    async fn identify(
        &self,
        request: Request<wire::IdentifyRequest>,
    ) -> Result<Response<wire::IdentifyResponse>, Status> {
        let asked = request.into_inner().name;
        let own = self.formed.name();
        if asked != own.as_str() {
            return Err(Status::failed_precondition(format!(
                "this is {own}, not {asked:?}: check the addresses"
            )));
        }
        Ok(Response::new(self.formed.identify()))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let wire::JoinRequest {
            cluster_id,
            applicant,
        } = request.into_inner();
        let applicant = convert::from_applicant(applicant)?;
        let group = self
            .formed
            .group()
            .ok_or_else(|| Status::unavailable("this replica is not part of a group yet"))?;
        if cluster_id != group.identity.cluster.to_bytes()[..] {
            return Err(Status::failed_precondition(format!(
                "this replica belongs to cluster {}: check the list of peers",
                group.identity.cluster
            )));
        }
        use wire::join_response::Result as Joined;
        let result = match group.members.admit(applicant).await {
            Ok(node) => Joined::Node(node.0),
            Err(MemberError::NotLeader) => Joined::Leader(group.leader_peer_address().unwrap_or_default()),
            Err(refused) => Joined::Refused(refused.to_string()),
        };
        Ok(Response::new(wire::JoinResponse { result: Some(result) }))
    }

    async fn append(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let Inside {
            raft,
            observed,
            caller,
            ..
        } = self.admit(&request)?;
        let open = self.board.open(caller.boot);
        let requests = appends(request.into_inner(), Arc::clone(observed), caller.boot, open);
        let answers = raft.stream_append(requests).map(|answer| match answer {
            Ok(result) => Ok(convert::to_append_result(result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteResponse>, Status> {
        let inside = self.admit(&request)?;
        let mut request = convert::from_vote_request(request.into_inner())?;
        let candidate = request.vote.leader_id.node_id;
        match judge(&inside, candidate, request.leadership_transfer).await? {
            Judgement::Refuse => Ok(Response::new(Self::refuse(&inside).await?)),
            Judgement::Pass { bypass_lease } => {
                request.leadership_transfer = bypass_lease;
                let response = inside
                    .raft
                    .vote(request)
                    .await
                    .map_err(|error| Status::unavailable(error.to_string()))?;
                Ok(Response::new(convert::to_vote_response(&response)))
            }
        }
    }

    async fn pre_vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteResponse>, Status> {
        let inside = self.admit(&request)?;
        let request = convert::from_vote_request(request.into_inner())?;
        match judge(&inside, request.vote.leader_id.node_id, false).await? {
            Judgement::Refuse => Ok(Response::new(Self::refuse(&inside).await?)),
            Judgement::Pass { .. } => {
                let response = inside
                    .raft
                    .pre_vote(request)
                    .await
                    .map_err(|error| Status::unavailable(error.to_string()))?;
                Ok(Response::new(convert::to_vote_response(&response)))
            }
        }
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderResponse>, Status> {
        let inside = self.admit(&request)?;
        let request = convert::from_transfer(request.into_inner())?;
        // Only the leader itself can give its lease away.
        if let Some(reign) = reign_of(request.from_leader())
            && reign.leader == inside.caller.from
        {
            inside.observed.transfer_seen(reign, *request.to_node_id());
        }
        let refused = match inside
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)?
        {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        Ok(Response::new(wire::TransferLeaderResponse { refused }))
    }

    async fn report_down(
        &self,
        request: Request<wire::DownReport>,
    ) -> Result<Response<wire::DownReportResponse>, Status> {
        let from = self.admit(&request)?.caller.from;
        let report = request.into_inner();
        let reign = reign_of(&convert::from_vote(report.vote)?)
            .ok_or_else(|| Status::invalid_argument("the vote of a dead leader is a committed one"))?;
        let boot =
            BootId::from_bytes(&report.boot).ok_or_else(|| Status::invalid_argument("boot has 16 bytes"))?;
        let last = report.last.map(convert::from_position);
        if self
            .reports
            .try_send(DownReport {
                from,
                reign,
                boot,
                last,
            })
            .is_err()
        {
            tracing::warn!(%from, %reign, "too many death notices at once; one was dropped, timeouts remain");
        }
        Ok(Response::new(wire::DownReportResponse {}))
    }

    async fn snapshot_offset(
        &self,
        request: Request<wire::SnapshotOffsetRequest>,
    ) -> Result<Response<wire::SnapshotOffsetResponse>, Status> {
        self.admit(&request)?;
        let group = self
            .formed
            .group()
            .ok_or_else(|| Status::unavailable("stopped"))?;
        let offset = snapshot::offset(&*group.store, request.into_inner().id).await?;
        Ok(Response::new(wire::SnapshotOffsetResponse { offset }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotChunk>>,
    ) -> Result<Response<wire::InstallSnapshotResponse>, Status> {
        let Inside { raft, caller, .. } = self.admit(&request)?;
        let group = self
            .formed
            .group()
            .ok_or_else(|| Status::unavailable("stopped"))?;
        let _open = self.board.open(caller.boot);
        let vote = snapshot::receive(raft, &group.store, request.into_inner()).await?;
        Ok(Response::new(wire::InstallSnapshotResponse {
            vote: Some(convert::to_vote(&vote)),
        }))
    }

    async fn digest(
        &self,
        request: Request<wire::DigestRequest>,
    ) -> Result<Response<wire::DigestResponse>, Status> {
        self.admit(&request)?;
        let group = self
            .formed
            .group()
            .ok_or_else(|| Status::unavailable("stopped"))?;
        let digest = group.digests.at(Index(request.into_inner().index));
        let digest = digest
            .map(|digest| digest.to_be_bytes().to_vec().into())
            .unwrap_or_default();
        Ok(Response::new(wire::DigestResponse { digest }))
    }

    async fn propose(
        &self,
        request: Request<wire::ProposeRequest>,
    ) -> Result<Response<Self::ProposeStream>, Status> {
        let group = self.admit_member(&request)?;
        let proposals = forwarded::from_proposals(request.into_inner())?;
        let answers =
            serve::propose(group, proposals).map(|(place, said)| Ok(forwarded::to_proposed(place, said)));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn read_index(
        &self,
        request: Request<wire::ReadIndexRequest>,
    ) -> Result<Response<wire::ReadIndexResponse>, Status> {
        let group = self.admit_member(&request)?;
        let patience = forwarded::from_patience(request.into_inner().patience_ms);
        let index = serve::read_index(group, patience).await;
        Ok(Response::new(forwarded::to_read_index(index)))
    }

    async fn ask_leases(
        &self,
        request: Request<wire::AskLeasesRequest>,
    ) -> Result<Response<wire::AskLeasesResponse>, Status> {
        let group = self.admit_member(&request)?;
        let patience = forwarded::from_patience(request.get_ref().patience_ms);
        let questions = leases::from_questions(request.into_inner())?;
        let said = serve::ask_leases(group, &questions, patience).await;
        Ok(Response::new(leases::to_said(said)))
    }

    async fn change_members(
        &self,
        request: Request<wire::ChangeMembersRequest>,
    ) -> Result<Response<wire::ChangeMembersResponse>, Status> {
        let group = self.admit_member(&request)?;
        let change = members::from_change(request.into_inner())?;
        let changed = lead_change(&group.members, &group.raft, change).await;
        Ok(Response::new(members::to_changed(changed)))
    }
}

/// The requests of one append stream, as openraft takes them. A malformed one ends the stream: the sender starts anew.
fn appends(
    requests: Streaming<wire::AppendRequest>,
    observed: Arc<Observed>,
    boot: BootId,
    open: OpenConnection,
) -> impl Stream<Item = openraft::raft::AppendEntriesRequest<TypeConfig>> + Send + 'static {
    // The guard lives as long as the stream: see `Board::open`.
    futures_util::stream::unfold(
        (requests, observed, open),
        move |(mut requests, observed, open)| async move {
            let request = match requests.message().await {
                Ok(Some(request)) => request,
                Ok(None) => return None,
                Err(status) => {
                    tracing::debug!(%status, "an append stream ended");
                    return None;
                }
            };
            match convert::from_append(request) {
                Ok(request) => {
                    if let Some(reign) = reign_of(&request.vote) {
                        observed.leader_runs(reign, boot);
                    }
                    Some((request, (requests, observed, open)))
                }
                Err(status) => {
                    tracing::warn!(%status, "a peer sent an append that cannot be read");
                    None
                }
            }
        },
    )
}
