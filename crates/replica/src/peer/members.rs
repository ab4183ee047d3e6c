//! Between the peer protocol and changes of members that a follower asks of the leader, in both directions.
//!
//! Promises: what the leader says reads back as it was said, with one exception: that the leader *stops* reads as that it
//! does not lead, because the asker does not stop. A change names at most [`NODES_MAX`] members, so nothing large waits.

use std::collections::BTreeSet;

use quorate_types::{Member, MemberName, NodeId};
use tonic::Status;

use super::convert::{from_member, required, to_member};
use super::wire;
use crate::membership::{FUTURE, MemberChange, MemberError, PRESENT};

/// Node ids in one list at most: more than any group has members.
const NODES_MAX: usize = 64;

pub(crate) fn to_change(change: &MemberChange) -> wire::ChangeMembersRequest {
    let ids = |nodes: &BTreeSet<NodeId>| nodes.iter().map(|node| node.0).collect();
    wire::ChangeMembersRequest {
        promote: ids(&change.promote),
        remove: ids(&change.remove),
        force: change.force,
    }
}

pub(crate) fn from_change(request: wire::ChangeMembersRequest) -> Result<MemberChange, Status> {
    let nodes = |ids: Vec<u64>| match ids.len() > NODES_MAX {
        true => Err(Status::invalid_argument(format!(
            "a change of members names at most {NODES_MAX}"
        ))),
        false => Ok(ids.into_iter().map(NodeId).collect()),
    };
    Ok(MemberChange {
        promote: nodes(request.promote)?,
        remove: nodes(request.remove)?,
        force: request.force,
    })
}

pub(crate) fn to_changed(said: Result<Vec<(Member, bool)>, MemberError>) -> wire::ChangeMembersResponse {
    use wire::change_members_response::Result as Wire;
    let result = match said {
        Ok(members) => Wire::Changed(wire::Members {
            members: members
                .iter()
                .map(|(member, votes)| to_member(member, *votes))
                .collect(),
        }),
        Err(error) => Wire::Refused(to_refused(error)),
    };
    wire::ChangeMembersResponse { result: Some(result) }
}

pub(crate) fn from_changed(
    response: wire::ChangeMembersResponse,
) -> Result<Result<Vec<(Member, bool)>, MemberError>, Status> {
    use wire::change_members_response::Result as Wire;
    Ok(match required(response.result, "result")? {
        Wire::Changed(changed) => {
            let member = |member: wire::Member| {
                let votes = member.voter;
                Ok((from_member(member)?, votes))
            };
            let members: Result<_, Status> = changed.members.into_iter().map(member).collect();
            Ok(members?)
        }
        Wire::Refused(refused) => Err(from_refused(refused)?),
    })
}

fn to_refused(error: MemberError) -> wire::MembersRefused {
    use wire::members_refused::Why;
    let blank = wire::Blank {};
    let why = match error {
        // It is the answering replica that stops, not the asking one: to ask another is all that follows.
        MemberError::NotLeader | MemberError::Stopped => Why::NotLeader(blank),
        MemberError::NotMember(node) => Why::NotMember(node.0),
        MemberError::RunsAlready { name, node } => Why::RunsAlready(wire::RunsAlready {
            name: name.to_string(),
            node: node.0,
        }),
        MemberError::Behind { node, why } => Why::Behind(wire::Behind { node: node.0, why }),
        MemberError::Even { voters } => Why::Even(voters as u64),
        MemberError::QuorumAtRisk {
            whose,
            voters,
            reachable,
            needed,
        } => Why::QuorumAtRisk(wire::QuorumAtRisk {
            future: whose == FUTURE,
            voters: voters as u64,
            reachable: reachable as u64,
            needed: needed as u64,
        }),
        MemberError::LastVoter => Why::LastVoter(blank),
        MemberError::TooMany { voters, max } => Why::TooMany(wire::TooManyVoters {
            voters: voters as u64,
            max: max as u64,
        }),
        MemberError::Busy => Why::Busy(blank),
        MemberError::OutcomeUnknown => Why::OutcomeUnknown(blank),
    };
    wire::MembersRefused { why: Some(why) }
}

fn from_refused(refused: wire::MembersRefused) -> Result<MemberError, Status> {
    use wire::members_refused::Why;
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(match required(refused.why, "refused.why")? {
        Why::NotLeader(_) => MemberError::NotLeader,
        Why::NotMember(node) => MemberError::NotMember(NodeId(node)),
        Why::RunsAlready(runs) => MemberError::RunsAlready {
            name: MemberName::new(runs.name).map_err(|error| Status::invalid_argument(error.to_string()))?,
            node: NodeId(runs.node),
        },
        Why::Behind(wire::Behind { node, why }) => MemberError::Behind {
            node: NodeId(node),
            why,
        },
        Why::Even(voters) => MemberError::Even {
            voters: count(voters),
        },
        Why::QuorumAtRisk(risk) => MemberError::QuorumAtRisk {
            whose: if risk.future { FUTURE } else { PRESENT },
            voters: count(risk.voters),
            reachable: count(risk.reachable),
            needed: count(risk.needed),
        },
        Why::LastVoter(_) => MemberError::LastVoter,
        Why::TooMany(many) => MemberError::TooMany {
            voters: count(many.voters),
            max: count(many.max),
        },
        Why::Busy(_) => MemberError::Busy,
        Why::OutcomeUnknown(_) => MemberError::OutcomeUnknown,
    })
}

#[cfg(test)]
mod tests {
    use quorate_types::Incarnation;

    use super::*;

    fn member(node: u64) -> Member {
        Member {
            node: NodeId(node),
            name: MemberName::new(format!("r{node}")).expect("a good name"),
            incarnation: Incarnation(u128::from(node) << 70),
            peer_address: format!("10.0.0.{node}:2380"),
            liveness_address: format!("10.0.0.{node}:2382"),
            client_address: format!("10.0.0.{node}:2379"),
        }
    }

    #[test]
    fn what_is_said_to_a_change_reads_back() {
        let risk = |whose| MemberError::QuorumAtRisk {
            whose,
            voters: 5,
            reachable: 2,
            needed: 3,
        };
        let cases = [
            Ok(Vec::new()),
            Ok(vec![(member(1), true), (member(7), false)]),
            Err(MemberError::NotLeader),
            Err(MemberError::NotMember(NodeId(u64::MAX))),
            Err(MemberError::RunsAlready {
                name: MemberName::new("a").expect("a good name"),
                node: NodeId(3),
            }),
            Err(MemberError::Behind {
                node: NodeId(4),
                why: "it lacks 7 entries".to_owned(),
            }),
            Err(MemberError::Even { voters: 4 }),
            Err(risk(PRESENT)),
            Err(risk(FUTURE)),
            Err(MemberError::LastVoter),
            Err(MemberError::TooMany { voters: 8, max: 7 }),
            Err(MemberError::Busy),
            Err(MemberError::OutcomeUnknown),
        ];
        for said in cases {
            let read = from_changed(to_changed(said.clone())).expect("complete");
            assert_eq!(read, said);
        }
        let stopping = from_changed(to_changed(Err(MemberError::Stopped))).expect("complete");
        assert_eq!(
            stopping,
            Err(MemberError::NotLeader),
            "it is not the asker that stops"
        );
    }

    #[test]
    fn a_change_reads_back_and_is_bounded() {
        let nodes = |nodes: std::ops::Range<u64>| nodes.map(NodeId).collect();
        let change = |promote, remove| MemberChange {
            promote: nodes(promote),
            remove: nodes(remove),
            force: true,
        };
        for good in [change(0..0, 0..0), change(4..6, 1..2), change(0..64, 0..64)] {
            assert_eq!(from_change(to_change(&good)).expect("a change"), good);
        }
        for bad in [change(0..65, 0..0), change(0..0, 0..65)] {
            assert!(from_change(to_change(&bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_lacks_its_parts_is_refused() {
        use wire::change_members_response::Result as Wire;
        let refused = |why| wire::ChangeMembersResponse {
            result: Some(Wire::Refused(wire::MembersRefused { why })),
        };
        let nameless = wire::Members {
            members: vec![wire::Member::default()],
        };
        let cases = [
            wire::ChangeMembersResponse { result: None },
            refused(None),
            refused(Some(wire::members_refused::Why::RunsAlready(
                wire::RunsAlready::default(),
            ))),
            wire::ChangeMembersResponse {
                result: Some(Wire::Changed(nameless)),
            },
        ];
        for response in cases {
            assert!(from_changed(response.clone()).is_err(), "{response:?}");
        }
    }
}
