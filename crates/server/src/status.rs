//! The one table of errors: what a caller is told when a call gets no answer of its kind.
//!
//! Promises: every status of ours carries an `ErrorDetail` and the trailers of `error.proto`; whether something can have
//! been executed is always told, and told truly. Codes are those of `error.proto`. Left out on purpose: logging. A refusal
//! is an answer, an unavailable replica is the caller's to go round, and a fault is logged by who handles it.

use http::Response;
use quorate_api::v1::error_detail::Kind;
use quorate_api::{status_with_detail, v1};
use quorate_replica::machine::Refusal;
use quorate_replica::{Leadership, TransferError, Unavailable};
use quorate_types::Term;
use quorate_types::limits::REQUEST_BYTES_MAX;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::convert::Malformed;

/// When a caller that met a limit should come again, milliseconds. Limits here are of work in flight, which takes
/// milliseconds to finish.
const RETRY_AFTER_MS: u32 = 20;

/// A request that is none.
pub(crate) fn malformed(malformed: Malformed) -> Status {
    let message = malformed.to_string();
    status_with_detail(
        Code::InvalidArgument,
        message,
        Kind::Malformed(v1::Malformed {
            field: malformed.field,
        }),
    )
}

/// The number of one write was used for another.
pub(crate) fn number_used() -> Status {
    malformed(Malformed::new(
        "request.sequence",
        "was used for another kind of write before; a number is repeated only to retry the very same write",
    ))
}

/// The cluster's answer is no.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let reason = reason(refusal);
    let refused = v1::Refused {
        reason: reason.into(),
        milvus_code: refusal.milvus_code(),
    };
    status_with_detail(code(reason), refusal.to_string(), Kind::Refused(refused))
}

/// There is no answer.
pub(crate) fn unavailable(unavailable: &Unavailable) -> Status {
    let message = unavailable.to_string();
    match unavailable {
        Unavailable::NotLeader { term, leader } => {
            let hint = leader.as_ref().map(|leader| hint(*term, leader));
            not_leader(message, hint)
        }
        Unavailable::OutcomeUnknown => status_with_detail(
            Code::Unavailable,
            message,
            Kind::OutcomeUnknown(v1::OutcomeUnknown {}),
        ),
        Unavailable::Overloaded { .. } => overloaded(message),
        Unavailable::TooLarge { .. } => {
            let field = "request".to_owned();
            status_with_detail(
                Code::InvalidArgument,
                message,
                Kind::Malformed(v1::Malformed { field }),
            )
        }
        // Not executed, and perhaps another replica knows more.
        Unavailable::TimedOut | Unavailable::Stopped => not_leader(message, None),
    }
}

/// Another replica leads; `None` when it is this one, or nobody is known to.
pub(crate) fn redirect(leadership: &Leadership) -> Option<Status> {
    let hint = leader_elsewhere(leadership)?;
    let message = format!(
        "this replica does not lead; node {} does, at {}",
        hint.node_id, hint.address
    );
    Some(not_leader(message, Some(hint)))
}

/// Who leads, this replica or another.
pub(crate) fn leader(leadership: &Leadership) -> Option<v1::LeaderHint> {
    let leader = leadership.leader.as_ref()?;
    Some(hint(leadership.term, leader))
}

/// Who leads, when it is another replica.
pub(crate) fn leader_elsewhere(leadership: &Leadership) -> Option<v1::LeaderHint> {
    leader(leadership).filter(|_| !leadership.is_me)
}

/// This replica is about to stop: whatever the stream was about goes on elsewhere.
pub(crate) fn stopping(leadership: &Leadership) -> Status {
    redirect(leadership).unwrap_or_else(|| unavailable(&Unavailable::Stopped))
}

/// Leadership was not handed over.
pub(crate) fn transfer(error: TransferError, leadership: &Leadership) -> Status {
    let message = error.to_string();
    match error {
        TransferError::NotLeader => redirect(leadership).unwrap_or_else(|| not_leader(message, None)),
        TransferError::NotVoter(_) => {
            let field = "to".to_owned();
            status_with_detail(
                Code::InvalidArgument,
                message,
                Kind::Malformed(v1::Malformed { field }),
            )
        }
        TransferError::NobodyElse => {
            let refused = v1::Refused {
                reason: v1::Reason::NoSuccessor.into(),
                milvus_code: 0,
            };
            status_with_detail(Code::FailedPrecondition, message, Kind::Refused(refused))
        }
        TransferError::TimedOut => status_with_detail(
            Code::Unavailable,
            message,
            Kind::OutcomeUnknown(v1::OutcomeUnknown {}),
        ),
        TransferError::Busy => overloaded(message),
        TransferError::Stopped => not_leader(message, None),
    }
}

/// What went wrong while a stream of requests was read: a message that is none, or a broken stream (`None`).
pub(crate) fn unreadable(status: &Status) -> Option<Status> {
    let why = match status.code() {
        Code::OutOfRange => format!("is larger than {REQUEST_BYTES_MAX} bytes; send less at once"),
        Code::Internal => format!("cannot be read: {}", status.message()),
        _ => return None,
    };
    Some(malformed(Malformed::new("request", why)))
}

/// Gives a detail to what tonic answers by itself before one of our handlers is called: a request that is too large or
/// that is no message. Nothing was executed then.
pub(crate) fn explained(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if headers.contains_key("quorate-outcome") || !headers.contains_key("grpc-status") {
        return response;
    }
    match Status::from_header_map(headers).as_ref().and_then(unreadable) {
        Some(status) => status.into_http(),
        None => response,
    }
}

fn hint(term: Term, leader: &quorate_replica::Leader) -> v1::LeaderHint {
    v1::LeaderHint {
        node_id: leader.node.0,
        address: leader.client_address.clone(),
        term: term.0,
    }
}

fn not_leader(message: String, leader: Option<v1::LeaderHint>) -> Status {
    let code = if leader.is_some() {
        Code::FailedPrecondition
    } else {
        Code::Unavailable
    };
    status_with_detail(code, message, Kind::NotLeader(v1::NotLeader { leader }))
}

fn overloaded(message: String) -> Status {
    let overloaded = v1::Overloaded {
        retry_after_ms: RETRY_AFTER_MS,
    };
    status_with_detail(Code::ResourceExhausted, message, Kind::Overloaded(overloaded))
}

fn reason(refusal: &Refusal) -> v1::Reason {
    use v1::Reason;
    match refusal {
        Refusal::InvalidName { .. } => Reason::InvalidName,
        Refusal::InvalidSchema { .. } => Reason::InvalidSchema,
        Refusal::InvalidParameter { .. } => Reason::InvalidParameter,
        Refusal::DatabaseNotFound { .. } => Reason::DatabaseNotFound,
        Refusal::DatabaseExists { .. } => Reason::DatabaseExists,
        Refusal::DatabaseNotEmpty { .. } => Reason::DatabaseNotEmpty,
        Refusal::DatabaseIsDefault => Reason::DatabaseIsDefault,
        Refusal::DatabaseLimit => Reason::DatabaseLimit,
        Refusal::CollectionNotFound { .. } | Refusal::CollectionIdNotFound { .. } => {
            Reason::CollectionNotFound
        }
        Refusal::CollectionExists { .. } => Reason::CollectionExists,
        Refusal::CollectionLimit => Reason::CollectionLimit,
        Refusal::CollectionAliasConflict { .. } => Reason::CollectionAliasConflict,
        // The limit is on shards times partitions: fewer of either cure it.
        Refusal::PartitionLimit { .. } | Refusal::CapacityLimit => Reason::PartitionLimit,
        Refusal::PartitionFixed { .. } => Reason::PartitionFixed,
        Refusal::AliasNotFound { .. } => Reason::AliasNotFound,
        Refusal::AliasExists { .. } => Reason::AliasExists,
        Refusal::AliasCollectionConflict { .. } => Reason::AliasCollectionConflict,
        Refusal::AliasLimit { .. } => Reason::AliasLimit,
        Refusal::SessionNotFound { .. } => Reason::SessionNotFound,
        Refusal::SessionFenced { .. } => Reason::SessionFenced,
        Refusal::SessionLimit => Reason::SessionLimit,
        Refusal::ClientUnknown { .. } => Reason::ClientUnknown,
        Refusal::RequestForgotten { .. } => Reason::RequestForgotten,
        Refusal::ClientAnswersLimit => Reason::ClientAnswersLimit,
        Refusal::ClientLimit => Reason::ClientLimit,
        Refusal::FeatureLevel { .. } => Reason::FeatureLevel,
    }
}

fn code(reason: v1::Reason) -> Code {
    use v1::Reason;
    match reason {
        Reason::InvalidName | Reason::InvalidSchema | Reason::InvalidParameter => Code::InvalidArgument,
        Reason::DatabaseNotFound
        | Reason::CollectionNotFound
        | Reason::PartitionNotFound
        | Reason::AliasNotFound
        | Reason::SessionNotFound => Code::NotFound,
        Reason::DatabaseExists | Reason::CollectionExists | Reason::PartitionExists | Reason::AliasExists => {
            Code::AlreadyExists
        }
        Reason::DatabaseLimit
        | Reason::CollectionLimit
        | Reason::PartitionLimit
        | Reason::AliasLimit
        | Reason::SessionLimit
        | Reason::ClientAnswersLimit
        | Reason::ClientLimit => Code::ResourceExhausted,
        Reason::SessionFenced | Reason::ClientUnknown | Reason::RequestForgotten => Code::Aborted,
        Reason::Unspecified
        | Reason::DatabaseNotEmpty
        | Reason::DatabaseIsDefault
        | Reason::CollectionAliasConflict
        | Reason::PartitionFixed
        | Reason::AliasCollectionConflict
        | Reason::FeatureLevel
        | Reason::NoSuccessor => Code::FailedPrecondition,
    }
}

#[cfg(test)]
mod tests {
    use quorate_api::decode_detail;
    use quorate_replica::Leader;
    use quorate_replica::machine::{
        AliasConflict, CollectionId, FixedPartition, LeaseId, NameKind, NameRule, ParameterRule, SchemaRule,
    };
    use quorate_types::{ClientId, Epoch, NodeId};

    use super::*;

    fn leader() -> Leader {
        Leader {
            node: NodeId(2),
            client_address: "b:2379".to_owned(),
        }
    }

    fn trailer<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
        status.metadata().get(name)?.to_str().ok()
    }

    #[test]
    fn every_refusal_has_its_reason_its_code_and_milvuss_code() {
        let n = || "n".to_owned();
        let (session, epoch) = (LeaseId(1), Epoch(2));
        let cases: Vec<(Refusal, v1::Reason, Code)> = vec![
            (
                Refusal::InvalidName {
                    kind: NameKind::Alias,
                    name: n(),
                    rule: NameRule::Empty,
                },
                v1::Reason::InvalidName,
                Code::InvalidArgument,
            ),
            (
                Refusal::InvalidSchema {
                    field: n(),
                    rule: SchemaRule::NoVector,
                },
                v1::Reason::InvalidSchema,
                Code::InvalidArgument,
            ),
            (
                Refusal::InvalidParameter {
                    parameter: n(),
                    rule: ParameterRule::TooMany { max: 1 },
                },
                v1::Reason::InvalidParameter,
                Code::InvalidArgument,
            ),
            (
                Refusal::DatabaseNotFound { name: n() },
                v1::Reason::DatabaseNotFound,
                Code::NotFound,
            ),
            (
                Refusal::DatabaseExists { name: n() },
                v1::Reason::DatabaseExists,
                Code::AlreadyExists,
            ),
            (
                Refusal::DatabaseNotEmpty { name: n() },
                v1::Reason::DatabaseNotEmpty,
                Code::FailedPrecondition,
            ),
            (
                Refusal::DatabaseIsDefault,
                v1::Reason::DatabaseIsDefault,
                Code::FailedPrecondition,
            ),
            (
                Refusal::DatabaseLimit,
                v1::Reason::DatabaseLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::CollectionNotFound {
                    database: n(),
                    name: n(),
                },
                v1::Reason::CollectionNotFound,
                Code::NotFound,
            ),
            (
                Refusal::CollectionIdNotFound { id: CollectionId(1) },
                v1::Reason::CollectionNotFound,
                Code::NotFound,
            ),
            (
                Refusal::CollectionExists {
                    database: n(),
                    name: n(),
                },
                v1::Reason::CollectionExists,
                Code::AlreadyExists,
            ),
            (
                Refusal::CollectionLimit,
                v1::Reason::CollectionLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::CollectionAliasConflict {
                    database: n(),
                    name: n(),
                    why: AliasConflict::IsAlias,
                },
                v1::Reason::CollectionAliasConflict,
                Code::FailedPrecondition,
            ),
            (
                Refusal::PartitionLimit { collection: n() },
                v1::Reason::PartitionLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::CapacityLimit,
                v1::Reason::PartitionLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::PartitionFixed {
                    collection: n(),
                    name: n(),
                    why: FixedPartition::Default,
                },
                v1::Reason::PartitionFixed,
                Code::FailedPrecondition,
            ),
            (
                Refusal::AliasNotFound {
                    database: n(),
                    name: n(),
                },
                v1::Reason::AliasNotFound,
                Code::NotFound,
            ),
            (
                Refusal::AliasExists {
                    database: n(),
                    name: n(),
                    collection: n(),
                },
                v1::Reason::AliasExists,
                Code::AlreadyExists,
            ),
            (
                Refusal::AliasCollectionConflict {
                    database: n(),
                    name: n(),
                },
                v1::Reason::AliasCollectionConflict,
                Code::FailedPrecondition,
            ),
            (
                Refusal::AliasLimit { collection: n() },
                v1::Reason::AliasLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::SessionNotFound { session, epoch },
                v1::Reason::SessionNotFound,
                Code::NotFound,
            ),
            (
                Refusal::SessionFenced { session, epoch },
                v1::Reason::SessionFenced,
                Code::Aborted,
            ),
            (
                Refusal::SessionLimit,
                v1::Reason::SessionLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::ClientUnknown { client: ClientId(1) },
                v1::Reason::ClientUnknown,
                Code::Aborted,
            ),
            (
                Refusal::RequestForgotten {
                    sequence: 1,
                    floor: 2,
                },
                v1::Reason::RequestForgotten,
                Code::Aborted,
            ),
            (
                Refusal::ClientAnswersLimit,
                v1::Reason::ClientAnswersLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::ClientLimit,
                v1::Reason::ClientLimit,
                Code::ResourceExhausted,
            ),
            (
                Refusal::FeatureLevel { needs: 2, has: 1 },
                v1::Reason::FeatureLevel,
                Code::FailedPrecondition,
            ),
        ];
        for (refusal, reason, code) in cases {
            let status = refused(&refusal);
            assert_eq!(
                (status.code(), status.message()),
                (code, refusal.to_string().as_str())
            );
            let milvus_code = refusal.milvus_code();
            let want = Kind::Refused(v1::Refused {
                reason: reason.into(),
                milvus_code,
            });
            assert_eq!(decode_detail(&status).expect("readable"), Some(want));
            let short = reason.as_str_name().strip_prefix("REASON_");
            assert_eq!(trailer(&status, "quorate-reason"), short);
            assert_eq!(trailer(&status, "quorate-outcome"), Some("not-executed"));
        }
    }

    #[test]
    fn what_is_unavailable_says_whether_it_can_have_been_executed_and_where_to_go() {
        let here = Unavailable::NotLeader {
            term: Term(7),
            leader: None,
        };
        let elsewhere = Unavailable::NotLeader {
            term: Term(7),
            leader: Some(leader()),
        };
        let cases = [
            (
                elsewhere,
                Code::FailedPrecondition,
                "not-executed",
                Some("b:2379"),
            ),
            (here, Code::Unavailable, "not-executed", None),
            (Unavailable::OutcomeUnknown, Code::Unavailable, "unknown", None),
            (
                Unavailable::Overloaded { what: "reads" },
                Code::ResourceExhausted,
                "not-executed",
                None,
            ),
            (
                Unavailable::TooLarge { bytes: 9 },
                Code::InvalidArgument,
                "not-executed",
                None,
            ),
            (Unavailable::TimedOut, Code::Unavailable, "not-executed", None),
            (Unavailable::Stopped, Code::Unavailable, "not-executed", None),
        ];
        for (case, code, outcome, address) in cases {
            let status = unavailable(&case);
            assert_eq!(status.code(), code, "{case:?}");
            assert_eq!(trailer(&status, "quorate-outcome"), Some(outcome), "{case:?}");
            assert_eq!(trailer(&status, "quorate-leader-address"), address, "{case:?}");
            assert!(decode_detail(&status).expect("readable").is_some(), "{case:?}");
        }
    }

    #[test]
    fn only_a_leader_elsewhere_redirects() {
        let led_by = |leader: Option<Leader>, is_me| Leadership {
            term: Term(7),
            leader,
            is_me,
            serving: is_me,
        };
        assert!(redirect(&led_by(None, false)).is_none());
        assert!(redirect(&led_by(Some(leader()), true)).is_none());
        let status = redirect(&led_by(Some(leader()), false)).expect("a redirect");
        assert_eq!(status.code(), Code::FailedPrecondition);
        let trailers =
            ["id", "address", "term"].map(|name| trailer(&status, &format!("quorate-leader-{name}")));
        assert_eq!(trailers, [Some("2"), Some("b:2379"), Some("7")]);
        assert_eq!(stopping(&led_by(None, false)).code(), Code::Unavailable);
    }

    #[test]
    fn transfers_that_did_not_happen() {
        let nobody = Leadership::default();
        let cases = [
            (TransferError::NotLeader, Code::Unavailable, "not-executed"),
            (
                TransferError::NotVoter(NodeId(9)),
                Code::InvalidArgument,
                "not-executed",
            ),
            (
                TransferError::NobodyElse,
                Code::FailedPrecondition,
                "not-executed",
            ),
            (TransferError::TimedOut, Code::Unavailable, "unknown"),
            (TransferError::Busy, Code::ResourceExhausted, "not-executed"),
            (TransferError::Stopped, Code::Unavailable, "not-executed"),
        ];
        for (error, code, outcome) in cases {
            let status = transfer(error, &nobody);
            assert_eq!(
                (status.code(), trailer(&status, "quorate-outcome")),
                (code, Some(outcome)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn what_tonic_says_by_itself_gets_a_detail_and_the_rest_is_left_alone() {
        let cases = [
            (Status::out_of_range("too large"), Code::InvalidArgument, true),
            (Status::internal("failed to decode"), Code::InvalidArgument, true),
            (Status::unimplemented("no such call"), Code::Unimplemented, false),
            (refused(&Refusal::SessionLimit), Code::ResourceExhausted, true),
            (Status::not_found("no such service"), Code::NotFound, false),
        ];
        for (status, code, has_detail) in cases {
            let response = explained(status.clone().into_http());
            let got = Status::from_header_map(response.headers()).expect("a status");
            assert_eq!(got.code(), code, "{status:?}");
            assert_eq!(
                decode_detail(&got).expect("readable").is_some(),
                has_detail,
                "{status:?}"
            );
        }
        let fine = explained(Response::new(Body::empty()));
        assert!(!fine.headers().contains_key("grpc-status"));
    }
}
