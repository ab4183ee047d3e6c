//! Between the peer protocol and openraft's types, in both directions.
//!
//! Promises: every message that openraft can produce converts and reads back; a message that lacks what Raft needs is
//! refused with the field's name.

use openraft::alias::{EntryPayloadOf, LogIdOf};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest};
use openraft::{EntryPayload, RaftTypeConfig};
use quorate_types::{Incarnation, Index, Member, MemberName, NodeId, Position, Term, check_address};
use tonic::Status;

use super::wire;
use crate::membership::Applicant;
use crate::raft::membership;
use crate::raft::types::{self, CommandBytes, Entry, LogId, TypeConfig, Vote};

/// A field that Raft cannot do without.
pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, Status> {
    field.ok_or_else(|| Status::invalid_argument(format!("the field {name} is missing")))
}

pub(crate) fn to_position(position: Position) -> wire::Position {
    wire::Position {
        term: position.term.0,
        leader: position.leader.0,
        index: position.index.0,
    }
}

pub(crate) fn from_position(position: wire::Position) -> Position {
    Position {
        term: Term(position.term),
        leader: NodeId(position.leader),
        index: Index(position.index),
    }
}

pub(crate) fn to_log_id(log_id: Option<&LogId>) -> Option<wire::Position> {
    log_id.map(|log_id| to_position(types::position(log_id)))
}

pub(crate) fn from_log_id(position: Option<wire::Position>) -> Option<LogId> {
    position.map(|position| types::log_id(from_position(position)))
}

pub(crate) fn to_vote(vote: &Vote) -> wire::Vote {
    wire::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id.0,
        committed: vote.committed,
    }
}

pub(crate) fn from_vote(vote: Option<wire::Vote>) -> Result<Vote, Status> {
    let vote = required(vote, "vote")?;
    Ok(types::vote(Term(vote.term), NodeId(vote.node), vote.committed))
}

pub(crate) fn to_member(member: &Member, voter: bool) -> wire::Member {
    wire::Member {
        node: member.node.0,
        name: member.name.to_string(),
        incarnation: member.incarnation.to_bytes().to_vec().into(),
        peer_address: member.peer_address.clone(),
        liveness_address: member.liveness_address.clone(),
        client_address: member.client_address.clone(),
        voter,
    }
}

/// Who asks to join: a member without a node id, with addresses that can be dialled.
pub(crate) fn from_applicant(applicant: Option<wire::Member>) -> Result<Applicant, Status> {
    let member = from_member(required(applicant, "applicant")?)?;
    for address in [
        &member.peer_address,
        &member.liveness_address,
        &member.client_address,
    ] {
        check_address(address)
            .map_err(|error| Status::invalid_argument(format!("the address {address:?}: {error}")))?;
    }
    Ok(Applicant::new(member))
}

pub(crate) fn from_member(member: wire::Member) -> Result<Member, Status> {
    let malformed = |field: &str| Status::invalid_argument(format!("the member's {field} is malformed"));
    Ok(Member {
        node: NodeId(member.node),
        name: MemberName::new(member.name).map_err(|error| Status::invalid_argument(error.to_string()))?,
        incarnation: Incarnation::from_bytes(&member.incarnation).ok_or_else(|| malformed("incarnation"))?,
        peer_address: member.peer_address,
        liveness_address: member.liveness_address,
        client_address: member.client_address,
    })
}

pub(crate) fn to_append(request: AppendEntriesRequest<TypeConfig>) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: Some(to_vote(&request.vote)),
        prev: to_log_id(request.prev_log_id.as_ref()),
        leader_commit: to_log_id(request.leader_commit.as_ref()),
        entries: request.entries.into_iter().map(to_entry).collect(),
    }
}

pub(crate) fn from_append(request: wire::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    Ok(AppendEntriesRequest {
        vote: from_vote(request.vote)?,
        prev_log_id: from_log_id(request.prev),
        leader_commit: from_log_id(request.leader_commit),
        entries: request
            .entries
            .into_iter()
            .map(from_entry)
            .collect::<Result<_, _>>()?,
    })
}

fn to_entry(entry: Entry) -> wire::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => wire::entry::Payload::Blank(wire::Blank {}),
        EntryPayload::Normal(CommandBytes(bytes)) => wire::entry::Payload::Command(bytes),
        EntryPayload::Membership(membership) => {
            wire::entry::Payload::Membership(membership::encode(&membership))
        }
    };
    wire::Entry {
        position: to_log_id(Some(&entry.log_id)),
        payload: Some(payload),
    }
}

fn from_entry(entry: wire::Entry) -> Result<Entry, Status> {
    let position = required(entry.position, "entries.position")?;
    let payload: EntryPayloadOf<TypeConfig> = match required(entry.payload, "entries.payload")? {
        wire::entry::Payload::Blank(wire::Blank {}) => EntryPayload::Blank,
        wire::entry::Payload::Command(bytes) => EntryPayload::Normal(CommandBytes(bytes)),
        wire::entry::Payload::Membership(bytes) => {
            let decoded = membership::decode(&bytes);
            EntryPayload::Membership(decoded.map_err(|error| Status::invalid_argument(error.to_string()))?)
        }
    };
    Ok(Entry {
        log_id: types::log_id(from_position(position)),
        payload,
    })
}

pub(crate) fn to_append_result(result: StreamAppendResult<TypeConfig>) -> wire::AppendResponse {
    use wire::append_response::Result as Wire;
    let result = match result {
        Ok(last) => Wire::Matched(wire::Matched {
            last: to_log_id(last.as_ref()),
        }),
        Err(StreamAppendError::Conflict(at)) => Wire::Conflict(to_position(types::position(&at))),
        Err(StreamAppendError::HigherVote(vote)) => Wire::HigherVote(to_vote(&vote)),
    };
    wire::AppendResponse { result: Some(result) }
}

pub(crate) fn from_append_result(
    response: wire::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, Status> {
    use wire::append_response::Result as Wire;
    Ok(match required(response.result, "result")? {
        Wire::Matched(matched) => Ok(from_log_id(matched.last)),
        Wire::Conflict(at) => Err(StreamAppendError::Conflict(types::log_id(from_position(at)))),
        Wire::HigherVote(vote) => Err(StreamAppendError::HigherVote(from_vote(Some(vote))?)),
    })
}

pub(crate) fn to_vote_request(request: &openraft::raft::VoteRequest<TypeConfig>) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: Some(to_vote(&request.vote)),
        last: to_log_id(request.last_log_id.as_ref()),
        bypass_lease: request.leadership_transfer,
    }
}

pub(crate) fn from_vote_request(
    request: wire::VoteRequest,
) -> Result<openraft::raft::VoteRequest<TypeConfig>, Status> {
    let mut converted = openraft::raft::VoteRequest::new(from_vote(request.vote)?, from_log_id(request.last));
    converted.leadership_transfer = request.bypass_lease;
    Ok(converted)
}

pub(crate) fn to_vote_response(response: &openraft::raft::VoteResponse<TypeConfig>) -> wire::VoteResponse {
    wire::VoteResponse {
        vote: Some(to_vote(&response.vote)),
        last: to_log_id(response.last_log_id.as_ref()),
        granted: response.vote_granted,
    }
}

pub(crate) fn from_vote_response(
    response: wire::VoteResponse,
) -> Result<openraft::raft::VoteResponse<TypeConfig>, Status> {
    let vote = from_vote(response.vote)?;
    Ok(openraft::raft::VoteResponse::new(
        vote,
        from_log_id(response.last),
        response.granted,
    ))
}

pub(crate) fn to_transfer(request: &TransferLeaderRequest<TypeConfig>) -> wire::TransferLeaderRequest {
    wire::TransferLeaderRequest {
        from: Some(to_vote(request.from_leader())),
        to: request.to_node_id().0,
        last: to_log_id(request.last_log_id()),
    }
}

pub(crate) fn from_transfer(
    request: wire::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Status> {
    let last: Option<LogIdOf<TypeConfig>> = from_log_id(request.last);
    Ok(TransferLeaderRequest::new(
        from_vote(request.from)?,
        NodeId(request.to),
        last,
    ))
}

// The node id of the type config is ours; a change of it would change the wire.
const _: fn(<TypeConfig as RaftTypeConfig>::NodeId) -> NodeId = |node| node;
