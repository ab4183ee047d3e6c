//! The one table of errors: etcd's codes and texts, which its clients tell errors apart by.
//!
//! Promises: every error that etcd has a text for has that text and its code; "no leader" and "too many requests" are only
//! said when nothing was executed, "request timed out" leaves it open, as in etcd. Left out on purpose: details and trailers
//! of `quorate/v1`, which etcd's clients do not know.

use http::Response;
use quorate_replica::Unavailable;
use quorate_replica::machine::Refusal;
use tonic::{Code, Status};

use crate::convert::Invalid;

/// What etcd's own texts begin with.
const ETCD: &str = "etcdserver: ";

/// A request that is none.
pub(crate) fn invalid(invalid: Invalid) -> Status {
    let text = match invalid {
        Invalid::KeyMissing => "etcdserver: key is not provided",
        Invalid::ValueProvided => "etcdserver: value is provided",
        Invalid::LeaseProvided => "etcdserver: lease is provided",
        Invalid::SortOption => "etcdserver: invalid sort option",
        Invalid::TooManyOps => "etcdserver: too many operations in txn request",
        Invalid::DuplicateKey => "etcdserver: duplicate key given in txn request",
        // etcd has no words of its own for an operation that is none.
        Invalid::OpMissing => "etcdserver: key not found",
        Invalid::TooLarge => "etcdserver: request is too large",
        Invalid::Compacted => return compacted(),
        Invalid::TtlTooLarge => return Status::out_of_range("etcdserver: too large lease TTL"),
    };
    Status::invalid_argument(text)
}

/// The cluster's answer is no.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::KvCompacted { .. } => compacted(),
        Refusal::KvFutureRevision { .. } => {
            Status::out_of_range("etcdserver: mvcc: required revision is a future revision")
        }
        Refusal::KvKeyNotFound => Status::invalid_argument("etcdserver: key not found"),
        Refusal::KvLeaseNotFound { .. } => Status::not_found("etcdserver: requested lease not found"),
        Refusal::KvLeaseExists { .. } => Status::failed_precondition("etcdserver: lease already exists"),
        // Some member runs a release without etcd's keys.
        Refusal::FeatureLevel { .. } => Status::failed_precondition("etcdserver: not capable"),
        // Under the number of a forwarded write: whether it was executed is not known any more.
        Refusal::ClientUnknown { .. } | Refusal::RequestForgotten { .. } => timed_out(),
        Refusal::ClientAnswersLimit | Refusal::ClientLimit | Refusal::KvLeaseLimit => too_many_requests(),
        // Refusals of the catalog follow from none of etcd's requests. etcd, too, passes on what it does not know.
        other => Status::unknown(other.to_string()),
    }
}

/// There is no answer.
pub(crate) fn unavailable(unavailable: &Unavailable) -> Status {
    match unavailable {
        Unavailable::NotLeader { leader: None, .. } => Status::unavailable("etcdserver: no leader"),
        Unavailable::NotLeader { leader: Some(_), .. } => Status::unavailable("etcdserver: leader changed"),
        Unavailable::OutcomeUnknown | Unavailable::TimedOut => timed_out(),
        Unavailable::Overloaded { .. } => too_many_requests(),
        Unavailable::TooLarge { .. } => invalid(Invalid::TooLarge),
        Unavailable::Stopped => stopped(),
    }
}

/// This replica stops; whatever goes on goes on elsewhere.
pub(crate) fn stopped() -> Status {
    Status::unavailable("etcdserver: server stopped")
}

/// The machine answered something else than what was asked: replicas of different builds.
pub(crate) fn unexpected() -> Status {
    Status::unknown("etcdserver: the cluster's answer is of another kind than the request")
}

/// Gives the words of gRPC in Go, which etcd's clients are used to, to what tonic answers by itself before one of our
/// handlers is called: a request that is too large or that is no message.
pub(crate) fn explained<B: Default>(response: Response<B>) -> Response<B> {
    let status = Status::from_header_map(response.headers());
    match status.as_ref().and_then(unreadable) {
        Some(status) => status.into_http(),
        None => response,
    }
}

fn unreadable(status: &Status) -> Option<Status> {
    let message = status.message();
    if message.starts_with(ETCD) {
        return None;
    }
    match status.code() {
        Code::OutOfRange => Some(Status::resource_exhausted(format!(
            "grpc: received message larger than max: {message}"
        ))),
        Code::Internal => Some(Status::internal(format!(
            "grpc: failed to unmarshal the received message: {message}"
        ))),
        _ => None,
    }
}

fn compacted() -> Status {
    Status::out_of_range("etcdserver: mvcc: required revision has been compacted")
}

fn timed_out() -> Status {
    Status::unavailable("etcdserver: request timed out")
}

fn too_many_requests() -> Status {
    Status::resource_exhausted("etcdserver: too many requests")
}

#[cfg(test)]
mod tests {
    use quorate_replica::Leader;
    use quorate_types::{NodeId, Term};

    use super::*;

    fn table(cases: &[(Status, Code, &str)]) {
        for (status, code, text) in cases {
            assert_eq!((status.code(), status.message()), (*code, *text));
        }
    }

    #[test]
    fn requests_that_are_none() {
        let cases = [
            (Invalid::KeyMissing, "etcdserver: key is not provided"),
            (Invalid::ValueProvided, "etcdserver: value is provided"),
            (Invalid::LeaseProvided, "etcdserver: lease is provided"),
            (Invalid::SortOption, "etcdserver: invalid sort option"),
            (
                Invalid::TooManyOps,
                "etcdserver: too many operations in txn request",
            ),
            (
                Invalid::DuplicateKey,
                "etcdserver: duplicate key given in txn request",
            ),
            (Invalid::OpMissing, "etcdserver: key not found"),
            (Invalid::TooLarge, "etcdserver: request is too large"),
        ];
        for (what, text) in cases {
            table(&[(invalid(what), Code::InvalidArgument, text)]);
        }
        let text = "etcdserver: mvcc: required revision has been compacted";
        table(&[(invalid(Invalid::Compacted), Code::OutOfRange, text)]);
        let text = "etcdserver: too large lease TTL";
        table(&[(invalid(Invalid::TtlTooLarge), Code::OutOfRange, text)]);
    }

    #[test]
    fn answers_of_no() {
        table(&[
            (
                refused(&Refusal::KvCompacted { floor: 3 }),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                refused(&Refusal::KvFutureRevision { revision: 9 }),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (
                refused(&Refusal::KvKeyNotFound),
                Code::InvalidArgument,
                "etcdserver: key not found",
            ),
            (
                refused(&Refusal::KvLeaseNotFound { lease: 7 }),
                Code::NotFound,
                "etcdserver: requested lease not found",
            ),
            (
                refused(&Refusal::KvLeaseExists { lease: 7 }),
                Code::FailedPrecondition,
                "etcdserver: lease already exists",
            ),
            (
                refused(&Refusal::KvLeaseLimit),
                Code::ResourceExhausted,
                "etcdserver: too many requests",
            ),
            (
                refused(&Refusal::RequestForgotten {
                    sequence: 1,
                    floor: 2,
                }),
                Code::Unavailable,
                "etcdserver: request timed out",
            ),
            (
                refused(&Refusal::ClientLimit),
                Code::ResourceExhausted,
                "etcdserver: too many requests",
            ),
        ]);
        assert_eq!(refused(&Refusal::DatabaseLimit).code(), Code::Unknown);
    }

    #[test]
    fn no_answer() {
        let term = Term(3);
        let leader = Some(Leader {
            node: NodeId(2),
            client_address: "b:2379".to_owned(),
        });
        table(&[
            (
                unavailable(&Unavailable::NotLeader { term, leader: None }),
                Code::Unavailable,
                "etcdserver: no leader",
            ),
            (
                unavailable(&Unavailable::NotLeader { term, leader }),
                Code::Unavailable,
                "etcdserver: leader changed",
            ),
            (
                unavailable(&Unavailable::OutcomeUnknown),
                Code::Unavailable,
                "etcdserver: request timed out",
            ),
            (
                unavailable(&Unavailable::TimedOut),
                Code::Unavailable,
                "etcdserver: request timed out",
            ),
            (
                unavailable(&Unavailable::Overloaded { what: "reads" }),
                Code::ResourceExhausted,
                "etcdserver: too many requests",
            ),
            (
                unavailable(&Unavailable::TooLarge { bytes: 2_000_000 }),
                Code::InvalidArgument,
                "etcdserver: request is too large",
            ),
            (
                unavailable(&Unavailable::Stopped),
                Code::Unavailable,
                "etcdserver: server stopped",
            ),
        ]);
    }

    #[test]
    fn what_tonic_answers_itself_is_told_as_grpc_in_go_tells_it() {
        let cases = [
            (
                Status::out_of_range("found 3000000 bytes"),
                Some((
                    Code::ResourceExhausted,
                    "grpc: received message larger than max: found 3000000 bytes",
                )),
            ),
            (
                Status::internal("wrong wire type"),
                Some((
                    Code::Internal,
                    "grpc: failed to unmarshal the received message: wrong wire type",
                )),
            ),
            (refused(&Refusal::KvCompacted { floor: 1 }), None),
            (Status::unimplemented(""), None),
        ];
        for (status, want) in cases {
            let told = unreadable(&status);
            let told = told.as_ref().map(|status| (status.code(), status.message()));
            assert_eq!(told, want, "{status:?}");
        }
        let answered = explained(Response::new(String::from("an answer")));
        assert_eq!(answered.body(), "an answer");
    }
}
