//! The one table of errors: etcd's codes and texts, which its clients tell errors apart by.
//!
//! Promises: every error that etcd has a text for has that text and its code; "no leader" and "too many requests" are only
//! said when nothing was executed, "request timed out" leaves it open, as in etcd. Left out on purpose: details and trailers
//! of `quorate/v1`, which etcd's clients do not know.

use http::Response;
use quorate_replica::machine::{KvAuthRule, Refusal};
use quorate_replica::{MemberError, TransferError, Unavailable};
use tonic::{Code, Status};

use crate::auth::Denied;
use crate::convert::{Declined, Invalid};
use crate::watch::Full;

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
        Invalid::MemberUrls => "etcdserver: given member URLs are invalid",
        Invalid::DowngradeFormat => "etcdserver: wrong downgrade target version format",
        Invalid::DowngradeTarget => "etcdserver: invalid downgrade target version",
    };
    Status::invalid_argument(text)
}

/// A request that does not fit the group as it is, or that nobody carries out here.
pub(crate) fn declined(declined: Declined) -> Status {
    let text = match declined {
        Declined::MemberNotFound => return Status::not_found("etcdserver: member not found"),
        Declined::MemberNotLearner => "etcdserver: can only promote a learner member",
        Declined::PeerUrlTaken => "etcdserver: Peer URLs already exists",
        Declined::NotLeader => "etcdserver: not leader",
        Declined::BadTransferee => "etcdserver: bad leader transferee",
        Declined::NoDowngrade => "etcdserver: no inflight downgrade job",
        Declined::MemberNotJoined => {
            "etcdserver: no replica has joined from there; start it first, with an empty data directory and a list of \
             replicas that names it and a member (quorate serve --join): it joins by itself as a learner, and is then \
             promoted"
        }
        // Not "no leader": etcd's clients would ask for ever, without a word.
        Declined::NoSnapshot => {
            "etcdserver: nobody leads, so a snapshot might lack what was acknowledged; wait for a leader, or see quorate \
             recover when a majority is lost for good"
        }
        Declined::AddressFixed => {
            return Status::unimplemented(
                "etcdserver: the address of a member does not change; start a replica at the new one, promote it when \
                 it has joined, and remove this member",
            );
        }
        Declined::AlarmsNotRaised => {
            return Status::unimplemented("etcdserver: alarms are not raised by clients");
        }
        // etcd, too, passes these on as errors that it does not know.
        Declined::TransferTooLong => {
            return Status::unknown("etcdserver: request timed out, leader transfer took too long");
        }
        Declined::UnknownMethod => return Status::unknown("etcdserver: unknown method"),
    };
    Status::failed_precondition(text)
}

/// The members were not changed.
pub(crate) fn member(error: &MemberError) -> Status {
    let text = match error {
        MemberError::NotMember(_) => return declined(Declined::MemberNotFound),
        MemberError::NotLeader => return no_leader(),
        MemberError::Stopped => return stopped(),
        MemberError::Busy => return too_many_requests(),
        MemberError::OutcomeUnknown => return timed_out(),
        MemberError::Behind { .. } => {
            "etcdserver: can only promote a learner member which is in sync with leader"
        }
        MemberError::QuorumAtRisk { .. } | MemberError::LastVoter => {
            "etcdserver: re-configuration failed due to not enough started members"
        }
        // etcd knows no such bounds.
        MemberError::TooMany { .. } | MemberError::Even { .. } | MemberError::RunsAlready { .. } => {
            return Status::failed_precondition(format!("{ETCD}{error}"));
        }
    };
    Status::failed_precondition(text)
}

/// Leadership was not handed over.
pub(crate) fn transfer(error: TransferError) -> Status {
    match error {
        TransferError::NotLeader => declined(Declined::NotLeader),
        TransferError::NotVoter(_) => declined(Declined::BadTransferee),
        TransferError::NobodyElse | TransferError::TimedOut => declined(Declined::TransferTooLong),
        TransferError::Busy => too_many_requests(),
        TransferError::Stopped => stopped(),
    }
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
        Refusal::KvAuth { rule: of } => rule(*of),
        // Some member runs a release without etcd's keys.
        Refusal::FeatureLevel { .. } => Status::failed_precondition("etcdserver: not capable"),
        // Under the number of a forwarded write: whether it was executed is not known any more.
        Refusal::ClientUnknown { .. } | Refusal::RequestForgotten { .. } => timed_out(),
        Refusal::ClientAnswersLimit | Refusal::ClientLimit | Refusal::KvLeaseLimit => too_many_requests(),
        // Refusals of the catalog follow from none of etcd's requests. etcd, too, passes on what it does not know.
        other => Status::unknown(other.to_string()),
    }
}

/// Somebody may not, or users and roles stay as they are.
pub(crate) fn rule(rule: KvAuthRule) -> Status {
    let (code, text) = match rule {
        KvAuthRule::RootUserNotFound => (Code::FailedPrecondition, "root user does not exist"),
        KvAuthRule::RootRoleNotGranted => (Code::FailedPrecondition, "root user does not have root role"),
        KvAuthRule::UserExists => (Code::FailedPrecondition, "user name already exists"),
        KvAuthRule::UserEmpty => (Code::InvalidArgument, "user name is empty"),
        KvAuthRule::UserNotFound => (Code::FailedPrecondition, "user name not found"),
        KvAuthRule::RoleExists => (Code::FailedPrecondition, "role name already exists"),
        KvAuthRule::RoleEmpty => (Code::InvalidArgument, "role name is empty"),
        KvAuthRule::RoleNotFound => (Code::FailedPrecondition, "role name not found"),
        KvAuthRule::PermissionNotGiven => (Code::InvalidArgument, "permission not given"),
        KvAuthRule::PermissionDenied => (Code::PermissionDenied, "permission denied"),
        KvAuthRule::RoleNotGranted => (Code::FailedPrecondition, "role is not granted to the user"),
        KvAuthRule::PermissionNotGranted => {
            (Code::FailedPrecondition, "permission is not granted to the role")
        }
        KvAuthRule::OldRevision => (Code::InvalidArgument, "revision of auth store is old"),
        KvAuthRule::InvalidManagement => (Code::InvalidArgument, "invalid auth management"),
        // etcd has no such limits.
        KvAuthRule::Limit => return too_many_requests(),
    };
    Status::new(code, format!("{ETCD}{text}"))
}

/// A call is refused for its caller.
pub(crate) fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Token => Status::unauthenticated("etcdserver: invalid auth token"),
        Denied::Rule(of) => rule(of),
    }
}

/// The same, where etcd passes it on as an error that it does not know: in some of its calls for operators.
pub(crate) fn denied_bare(why: Denied) -> Status {
    let text = match why {
        Denied::Token => "auth: invalid auth token",
        Denied::Rule(KvAuthRule::UserEmpty) => "auth: user name is empty",
        Denied::Rule(KvAuthRule::PermissionDenied) => "auth: permission denied",
        Denied::Rule(_) => return denied(why),
    };
    Status::unknown(text)
}

/// A name that there is not, or another password.
pub(crate) fn auth_failed() -> Status {
    Status::invalid_argument("etcdserver: authentication failed, invalid user ID or password")
}

/// A password for a user that has none. etcd passes this on as an error that it does not know.
pub(crate) fn no_password_user() -> Status {
    Status::unknown("auth: authentication failed, password was given for no password user")
}

/// There are no tokens.
pub(crate) fn auth_not_enabled() -> Status {
    Status::failed_precondition("etcdserver: authentication is not enabled")
}

/// There is no answer.
pub(crate) fn unavailable(unavailable: &Unavailable) -> Status {
    match unavailable {
        Unavailable::NotLeader { leader: None, .. } => no_leader(),
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

/// This replica has known of no leader for too long.
pub(crate) fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

/// A limit of this replica is reached; nothing was begun.
pub(crate) fn full(_: Full) -> Status {
    too_many_requests()
}

/// A lock or an election is not won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The contestant's key is gone, most likely with its lease.
    SessionExpired,
    /// Somebody else leads, or nobody.
    NotLeader,
    /// Nobody leads.
    NoLeader,
    /// A request of a leader that does not show that it is one.
    LeaderMissing,
}

/// In etcd, locks and elections are a client of the server within it, whose errors get no code.
pub(crate) fn lost(lost: Lost) -> Status {
    Status::unknown(match lost {
        Lost::SessionExpired => "mutex: session is expired",
        Lost::NotLeader => "election: not leader",
        Lost::NoLeader => "election: no leader",
        Lost::LeaderMissing => "\"leader\" field must be provided",
    })
}

/// What a service was told that is a client of another one here. As in etcd, a fault of the request or of its caller keeps its
/// text and loses its code; what says that nobody answers keeps both, so that clients ask elsewhere.
pub(crate) fn second_hand(status: Status) -> Status {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated => Status::unknown(status.message()),
        _ => status,
    }
}

/// The caller's time is over.
pub(crate) fn too_late() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// Why there is no watch. The stream goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoWatch {
    /// It begins below all revisions.
    Compacted,
    /// It is on no key.
    EmptyRange,
    /// The client has chosen an id that another one has.
    DuplicateId,
    /// The stream has too many.
    TooManyOnStream,
    /// The replica has too many, or they are on too many bytes of keys.
    TooManyHere,
    /// Whoever asks for it may not read these keys.
    Denied(Denied),
}

/// What a client is told instead of its watch. etcd has no limits, so no words for them; who may not is told the code, too.
pub(crate) fn cancel_reason(no_watch: NoWatch) -> &'static str {
    match no_watch {
        NoWatch::Compacted => "etcdserver: mvcc: required revision has been compacted",
        NoWatch::EmptyRange => "mvcc: watcher range is empty",
        NoWatch::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
        NoWatch::TooManyOnStream => "etcdserver: too many watches on the stream",
        NoWatch::TooManyHere => "etcdserver: too many watches at the member",
        NoWatch::Denied(Denied::Token) => {
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        }
        NoWatch::Denied(Denied::Rule(KvAuthRule::OldRevision)) => {
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
        }
        NoWatch::Denied(Denied::Rule(KvAuthRule::UserEmpty)) => {
            "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
        }
        NoWatch::Denied(Denied::Rule(_)) => {
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        }
    }
}

/// A stream's next request cannot be read.
pub(crate) fn unread(status: Status) -> Status {
    unreadable(&status).unwrap_or(status)
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

/// A limit of this replica was met; nothing was executed.
pub(crate) fn too_many_requests() -> Status {
    Status::resource_exhausted("etcdserver: too many requests")
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
