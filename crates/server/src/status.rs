//! The one table of errors: what a caller is told when a call gets no answer of its kind.
//!
//! Promises: every status of ours carries an `ErrorDetail` and the trailers of `error.proto`; whether something can have
//! been executed is always told, and told truly. Codes are those of `error.proto`. Left out on purpose: logging. A refusal
//! is an answer, an unavailable replica is the caller's to go round, and a fault is logged by who handles it.

use http::Response;
use quorate_api::v1::error_detail::Kind;
use quorate_api::{status_with_detail, v1};
use quorate_replica::machine::Refusal;
use quorate_replica::{Leadership, MemberError, TransferError, Unavailable};
use quorate_types::Term;
use quorate_types::limits::REQUEST_BYTES_MAX;
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

/// The members were not changed.
pub(crate) fn member(error: &MemberError, leadership: &Leadership) -> Status {
    use v1::Reason;
    let message = error.to_string();
    let reason = match error {
        MemberError::NotLeader => {
            return redirect(leadership).unwrap_or_else(|| not_leader(message, None));
        }
        MemberError::Stopped => return not_leader(message, None),
        MemberError::Busy => return overloaded(message),
        MemberError::OutcomeUnknown => return member_outcome_unknown(),
        MemberError::NotMember(_) => Reason::MemberNotFound,
        MemberError::Behind { .. } => Reason::MemberBehind,
        MemberError::Even { .. } => Reason::EvenVoters,
        // The name of one that runs is taken; only a replica that joins meets it.
        MemberError::QuorumAtRisk { .. } | MemberError::LastVoter | MemberError::RunsAlready { .. } => {
            Reason::QuorumAtRisk
        }
        MemberError::TooMany { .. } => Reason::MemberLimit,
    };
    let refused = v1::Refused {
        reason: reason.into(),
        milvus_code: 0,
    };
    status_with_detail(Code::FailedPrecondition, message, Kind::Refused(refused))
}

/// The change may come about later.
pub(crate) fn member_outcome_unknown() -> Status {
    status_with_detail(
        Code::Unavailable,
        MemberError::OutcomeUnknown.to_string(),
        Kind::OutcomeUnknown(v1::OutcomeUnknown {}),
    )
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
pub(crate) fn explained<B: Default>(response: Response<B>) -> Response<B> {
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
        // They follow from none of these calls; who speaks etcd is told in etcd's words.
        Refusal::KvCompacted { .. }
        | Refusal::KvFutureRevision { .. }
        | Refusal::KvKeyNotFound
        | Refusal::KvLeaseNotFound { .. }
        | Refusal::KvLeaseExists { .. }
        | Refusal::KvLeaseLimit
        | Refusal::KvAuth { .. } => Reason::Unspecified,
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
        | Reason::NoSuccessor
        | Reason::MemberNotFound
        | Reason::MemberBehind
        | Reason::EvenVoters
        | Reason::QuorumAtRisk
        | Reason::MemberLimit => Code::FailedPrecondition,
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
