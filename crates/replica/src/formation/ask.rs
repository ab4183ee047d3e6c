//! Asking other replicas who they are, and asking to join them.
//!
//! Promises: an answer is read whole or not at all, and whoever does not answer in time is told apart from who says no.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::Network;
use quorate_types::{ClusterId, Incarnation, Member, MemberName, NodeId};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::membership::Applicant;
use crate::peer::{client, convert, wire};

/// A peer that does not answer in time is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// An admission is a write to the log, and a change before it may have to end first.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// What a peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) members: Vec<Member>,
    pub(crate) listed: Vec<String>,
    /// Where the members stand in the log; 0 for the first ones.
    pub(crate) members_index: u64,
    /// They are committed.
    pub(crate) members_settled: bool,
}

/// Asks the replica `name` at `address` who it is.
pub(crate) async fn ask(
    name: &MemberName,
    address: &str,
    network: &Arc<dyn Network>,
) -> Result<Answer, String> {
    let mut client = client::dial(address, network).map_err(|error| error.to_string())?;
    let question = Request::new(wire::IdentifyRequest {
        name: name.to_string(),
    });
    let answer = answered(address, timeout(ANSWER_TIMEOUT, client.identify(question)).await)?;
    let malformed = || "its answer cannot be read".to_owned();
    let members = answer
        .members
        .into_iter()
        .map(convert::from_member)
        .collect::<Result<_, _>>();
    Ok(Answer {
        incarnation: Incarnation::from_bytes(&answer.incarnation).ok_or_else(malformed)?,
        cluster: match answer.cluster_id.is_empty() {
            true => None,
            false => Some(ClusterId::from_bytes(&answer.cluster_id).ok_or_else(malformed)?),
        },
        members: members.map_err(|_| malformed())?,
        listed: answer.listed,
        members_index: answer.members_index,
        members_settled: answer.members_settled,
    })
}

/// What came of asking to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Joining {
    /// A learner now, under this id.
    Joined(NodeId),
    /// The leader is at this peer address; empty when the asked replica knows none.
    Leader(String),
}

/// Asks the replica at `address` to let `applicant` join `cluster`.
pub(crate) async fn join(
    cluster: ClusterId,
    applicant: &Applicant,
    address: &str,
    network: &Arc<dyn Network>,
) -> Result<Joining, String> {
    let mut client = client::dial(address, network).map_err(|error| error.to_string())?;
    let question = Request::new(wire::JoinRequest {
        cluster_id: cluster.to_bytes().to_vec().into(),
        applicant: Some(convert::to_member(&applicant.member(NodeId(0)), false)),
    });
    let answer = answered(address, timeout(JOIN_TIMEOUT, client.join(question)).await)?;
    match answer.result {
        Some(wire::join_response::Result::Node(node)) => Ok(Joining::Joined(NodeId(node))),
        Some(wire::join_response::Result::Leader(address)) => Ok(Joining::Leader(address)),
        Some(wire::join_response::Result::Refused(why)) => Err(why),
        None => Err("its answer cannot be read".to_owned()),
    }
}

/// The answer, or why there is none.
fn answered<T, E>(address: &str, answer: Result<Result<Response<T>, Status>, E>) -> Result<T, String> {
    match answer {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
            Err(status.message().to_owned())
        }
        Ok(Err(_)) => Err(format!("no answer from {address}")),
        Err(_) => Err(format!("no answer from {address} in time")),
    }
}
