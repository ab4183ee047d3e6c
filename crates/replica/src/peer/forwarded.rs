//! Between the peer protocol and what a follower forwards to the leader, in both directions.
//!
//! Promises: what the leader says reads back as it was said, with two exceptions. An answer that is too large to travel is left
//! out, and the asker finds it in its own state; that the leader *stops* reads as that it does not lead, because the asker
//! does not stop. Nothing here is waited for without bound, whatever the message says.

use std::time::Duration;

use bytes::Bytes;
use quorate_machine::{Outcome, decode_outcome, encode_outcome};
use quorate_types::limits::APPEND_BYTES_MAX;
use quorate_types::{Index, NodeId, Term};
use tonic::Status;

use super::convert::required;
use super::wire;
use crate::leadership::Leader;
use crate::unavailable::Unavailable;

/// Proposals in one call at most.
pub(crate) const PROPOSALS_PER_CALL_MAX: usize = 1_024;
/// A larger answer does not travel. It leaves room for its envelope in one message between replicas.
const ANSWER_BYTES_MAX: usize = APPEND_BYTES_MAX;
/// However long a follower would wait: the leader holds nothing longer than this.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// What a follower asks to be proposed.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) entry: Bytes,
    pub(crate) patience: Duration,
}

/// What became of a proposal at the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposed {
    pub(crate) index: Index,
    /// `None` when the answer is too large to travel.
    pub(crate) outcome: Option<Outcome>,
}

pub(crate) fn to_patience(patience: Duration) -> u32 {
    u32::try_from(patience.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn from_patience(patience_ms: u32) -> Duration {
    Duration::from_millis(patience_ms.into()).min(PATIENCE_MAX)
}

pub(crate) fn to_proposals(proposals: Vec<Proposal>) -> wire::ProposeRequest {
    let to_wire = |proposal: Proposal| wire::Proposal {
        entry: proposal.entry,
        patience_ms: to_patience(proposal.patience),
    };
    wire::ProposeRequest {
        proposals: proposals.into_iter().map(to_wire).collect(),
    }
}

pub(crate) fn from_proposals(request: wire::ProposeRequest) -> Result<Vec<Proposal>, Status> {
    if request.proposals.len() > PROPOSALS_PER_CALL_MAX {
        return Err(Status::invalid_argument(format!(
            "a call carries at most {PROPOSALS_PER_CALL_MAX} proposals"
        )));
    }
    let from_wire = |proposal: wire::Proposal| Proposal {
        entry: proposal.entry,
        patience: from_patience(proposal.patience_ms),
    };
    Ok(request.proposals.into_iter().map(from_wire).collect())
}

pub(crate) fn to_proposed(place: usize, said: Result<Proposed, Unavailable>) -> wire::ProposeResponse {
    use wire::propose_response::Result as Wire;
    let result = match said {
        Ok(Proposed { index, outcome }) => {
            let answer = outcome
                .map(|outcome| encode_outcome(&outcome))
                .unwrap_or_default();
            Wire::Decided(wire::Decided {
                index: index.0,
                answer: if answer.len() > ANSWER_BYTES_MAX {
                    Bytes::new()
                } else {
                    answer
                },
            })
        }
        Err(unavailable) => Wire::Unavailable(to_unavailable(&unavailable)),
    };
    wire::ProposeResponse {
        // At most PROPOSALS_PER_CALL_MAX.
        place: u32::try_from(place).unwrap_or(u32::MAX),
        result: Some(result),
    }
}

pub(crate) fn from_proposed(
    response: wire::ProposeResponse,
) -> Result<(usize, Result<Proposed, Unavailable>), Status> {
    use wire::propose_response::Result as Wire;
    let place = usize::try_from(response.place).unwrap_or(usize::MAX);
    let said = match required(response.result, "result")? {
        Wire::Decided(wire::Decided { index, answer }) => {
            let unreadable =
                || Status::invalid_argument("the answer cannot be read: is it of a later release?");
            let outcome = match answer.is_empty() {
                true => None,
                false => Some(decode_outcome(&answer).ok_or_else(unreadable)?),
            };
            Ok(Proposed {
                index: Index(index),
                outcome,
            })
        }
        Wire::Unavailable(unavailable) => Err(from_unavailable(unavailable)?),
    };
    Ok((place, said))
}

pub(crate) fn to_read_index(said: Result<Index, Unavailable>) -> wire::ReadIndexResponse {
    use wire::read_index_response::Result as Wire;
    let result = match said {
        Ok(index) => Wire::Index(index.0),
        Err(unavailable) => Wire::Unavailable(to_unavailable(&unavailable)),
    };
    wire::ReadIndexResponse { result: Some(result) }
}

pub(crate) fn from_read_index(
    response: wire::ReadIndexResponse,
) -> Result<Result<Index, Unavailable>, Status> {
    use wire::read_index_response::Result as Wire;
    Ok(match required(response.result, "result")? {
        Wire::Index(index) => Ok(Index(index)),
        Wire::Unavailable(unavailable) => Err(from_unavailable(unavailable)?),
    })
}

pub(super) fn to_unavailable(unavailable: &Unavailable) -> wire::Unavailable {
    use wire::unavailable::Why;
    let not_leader = |term: Term, leader: Option<&Leader>| {
        Why::NotLeader(wire::NotLeader {
            term: term.0,
            leader: leader.map(|leader| wire::Leader {
                node: leader.node.0,
                client_address: leader.client_address.clone(),
            }),
        })
    };
    let why = match unavailable {
        Unavailable::NotLeader { term, leader } => not_leader(*term, leader.as_ref()),
        Unavailable::OutcomeUnknown => Why::OutcomeUnknown(wire::Blank {}),
        Unavailable::Overloaded { .. } => Why::Overloaded(wire::Blank {}),
        Unavailable::TooLarge { bytes } => Why::TooLarge(*bytes as u64),
        Unavailable::TimedOut => Why::TimedOut(wire::Blank {}),
        // It is the answering replica that stops, not the asking one: to ask another is all that follows.
        Unavailable::Stopped => not_leader(Term(0), None),
    };
    wire::Unavailable { why: Some(why) }
}

pub(super) fn from_unavailable(unavailable: wire::Unavailable) -> Result<Unavailable, Status> {
    use wire::unavailable::Why;
    Ok(match required(unavailable.why, "unavailable.why")? {
        Why::NotLeader(wire::NotLeader { term, leader }) => Unavailable::NotLeader {
            term: Term(term),
            leader: leader.map(|leader| Leader {
                node: NodeId(leader.node),
                client_address: leader.client_address,
            }),
        },
        Why::OutcomeUnknown(_) => Unavailable::OutcomeUnknown,
        Why::Overloaded(_) => Unavailable::Overloaded {
            what: "work in flight at the leader",
        },
        Why::TooLarge(bytes) => Unavailable::TooLarge {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        },
        Why::TimedOut(_) => Unavailable::TimedOut,
    })
}

#[cfg(test)]
mod tests {
    use quorate_machine::{Refusal, Reply};

    use super::*;

    #[test]
    fn what_becomes_of_a_proposal_reads_back() {
        let leader = Leader {
            node: NodeId(3),
            client_address: "c:1".to_owned(),
        };
        let decided = |outcome| {
            Ok(Proposed {
                index: Index(7),
                outcome: Some(outcome),
            })
        };
        let cases = [
            (
                "accepted",
                decided(Ok(Reply::IdsAllocated { first: 1, count: 2 })),
            ),
            ("refused", decided(Err(Refusal::DatabaseLimit))),
            (
                "too large to travel",
                Ok(Proposed {
                    index: Index(0),
                    outcome: None,
                }),
            ),
            (
                "another leads",
                Err(Unavailable::NotLeader {
                    term: Term(5),
                    leader: Some(leader),
                }),
            ),
            (
                "nobody leads",
                Err(Unavailable::NotLeader {
                    term: Term(5),
                    leader: None,
                }),
            ),
            ("unknown", Err(Unavailable::OutcomeUnknown)),
            (
                "overloaded",
                Err(Unavailable::Overloaded {
                    what: "work in flight at the leader",
                }),
            ),
            ("too large", Err(Unavailable::TooLarge { bytes: 9 })),
            ("timed out", Err(Unavailable::TimedOut)),
        ];
        for (place, (name, said)) in cases.into_iter().enumerate() {
            let read = from_proposed(to_proposed(place, said.clone())).expect(name);
            assert_eq!(read, (place, said.clone()), "{name}");
            let index = said.map(|proposed| proposed.index);
            let read = from_read_index(to_read_index(index.clone())).expect(name);
            assert_eq!(read, index, "{name}");
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_left_out() {
        let sizes = [
            ("fits", ANSWER_BYTES_MAX / 2, true),
            ("too large", ANSWER_BYTES_MAX, false),
        ];
        for (case, bytes, travels) in sizes {
            let name = "x".repeat(bytes);
            let said = Ok(Proposed {
                index: Index(1),
                outcome: Some(Err(Refusal::DatabaseNotFound { name })),
            });
            let (_, read) = from_proposed(to_proposed(0, said)).expect("complete");
            let outcome = read.expect("decided").outcome;
            assert_eq!(outcome.is_some(), travels, "{case}");
        }
    }

    #[test]
    fn what_a_stopping_leader_says_does_not_stop_the_asker() {
        let said = from_read_index(to_read_index(Err(Unavailable::Stopped))).expect("complete");
        assert!(
            matches!(said, Err(Unavailable::NotLeader { leader: None, .. })),
            "{said:?}"
        );
    }

    #[test]
    fn patience_is_bounded() {
        let cases = [
            ("none", Duration::ZERO, Duration::ZERO),
            ("some", Duration::from_millis(1_500), Duration::from_millis(1_500)),
            ("below the unit", Duration::from_micros(999), Duration::ZERO),
            ("too much", Duration::from_secs(u64::MAX), PATIENCE_MAX),
        ];
        for (name, patience, want) in cases {
            assert_eq!(from_patience(to_patience(patience)), want, "{name}");
        }
    }

    #[test]
    fn calls_are_bounded_and_complete() {
        let call = |count| wire::ProposeRequest {
            proposals: vec![wire::Proposal::default(); count],
        };
        assert!(from_proposals(call(PROPOSALS_PER_CALL_MAX)).is_ok());
        assert!(from_proposals(call(PROPOSALS_PER_CALL_MAX + 1)).is_err());
        assert!(from_proposed(wire::ProposeResponse::default()).is_err());
        assert!(from_read_index(wire::ReadIndexResponse::default()).is_err());
    }
}
