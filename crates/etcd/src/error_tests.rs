//! Every refusal, fault and end in etcd's words, as tables.

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
        (Invalid::MemberUrls, "etcdserver: given member URLs are invalid"),
        (
            Invalid::DowngradeFormat,
            "etcdserver: wrong downgrade target version format",
        ),
        (
            Invalid::DowngradeTarget,
            "etcdserver: invalid downgrade target version",
        ),
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
fn what_locks_and_elections_say() {
    let unknown = Code::Unknown;
    table(&[
        (lost(Lost::SessionExpired), unknown, "mutex: session is expired"),
        (lost(Lost::NotLeader), unknown, "election: not leader"),
        (lost(Lost::NoLeader), unknown, "election: no leader"),
        (
            lost(Lost::LeaderMissing),
            unknown,
            "\"leader\" field must be provided",
        ),
        (
            second_hand(refused(&Refusal::KvLeaseNotFound { lease: 7 })),
            unknown,
            "etcdserver: requested lease not found",
        ),
        (
            second_hand(invalid(Invalid::KeyMissing)),
            unknown,
            "etcdserver: key is not provided",
        ),
        (
            second_hand(rule(KvAuthRule::PermissionDenied)),
            unknown,
            "etcdserver: permission denied",
        ),
        (
            second_hand(denied(Denied::Token)),
            unknown,
            "etcdserver: invalid auth token",
        ),
        (
            second_hand(no_leader()),
            Code::Unavailable,
            "etcdserver: no leader",
        ),
        (
            second_hand(too_many_requests()),
            Code::ResourceExhausted,
            "etcdserver: too many requests",
        ),
    ]);
}

#[test]
fn what_is_declined() {
    let precondition = Code::FailedPrecondition;
    let cases = [
        (
            Declined::MemberNotFound,
            Code::NotFound,
            "etcdserver: member not found",
        ),
        (
            Declined::MemberNotLearner,
            precondition,
            "etcdserver: can only promote a learner member",
        ),
        (
            Declined::PeerUrlTaken,
            precondition,
            "etcdserver: Peer URLs already exists",
        ),
        (Declined::NotLeader, precondition, "etcdserver: not leader"),
        (
            Declined::BadTransferee,
            precondition,
            "etcdserver: bad leader transferee",
        ),
        (
            Declined::NoDowngrade,
            precondition,
            "etcdserver: no inflight downgrade job",
        ),
        (
            Declined::TransferTooLong,
            Code::Unknown,
            "etcdserver: request timed out, leader transfer took too long",
        ),
        (
            Declined::UnknownMethod,
            Code::Unknown,
            "etcdserver: unknown method",
        ),
        (
            Declined::AlarmsNotRaised,
            Code::Unimplemented,
            "etcdserver: alarms are not raised by clients",
        ),
    ];
    for (what, code, text) in cases {
        table(&[(declined(what), code, text)]);
    }
    // What etcd has no words for says what to do, in one line.
    for (what, code, hint) in [
        (Declined::MemberNotJoined, precondition, "quorate serve --join"),
        (Declined::NoSnapshot, precondition, "quorate recover"),
        (Declined::AddressFixed, Code::Unimplemented, "remove this member"),
    ] {
        let status = declined(what);
        assert_eq!(status.code(), code, "{what:?}");
        let line = status.message();
        assert!(
            line.starts_with(ETCD) && line.contains(hint) && !line.contains("  "),
            "{line}"
        );
    }
}

#[test]
fn changes_of_members_and_leaders() {
    let precondition = Code::FailedPrecondition;
    let node = NodeId(4);
    let behind = MemberError::Behind {
        node,
        why: "it lacks 9 entries".to_owned(),
    };
    let at_risk = MemberError::QuorumAtRisk {
        whose: "future",
        voters: 2,
        reachable: 1,
        needed: 2,
    };
    let not_enough = "etcdserver: re-configuration failed due to not enough started members";
    let too_long = "etcdserver: request timed out, leader transfer took too long";
    table(&[
        (
            member(&MemberError::NotMember(node)),
            Code::NotFound,
            "etcdserver: member not found",
        ),
        (
            member(&MemberError::NotLeader),
            Code::Unavailable,
            "etcdserver: no leader",
        ),
        (
            member(&MemberError::Stopped),
            Code::Unavailable,
            "etcdserver: server stopped",
        ),
        (
            member(&MemberError::Busy),
            Code::ResourceExhausted,
            "etcdserver: too many requests",
        ),
        (
            member(&MemberError::OutcomeUnknown),
            Code::Unavailable,
            "etcdserver: request timed out",
        ),
        (
            member(&behind),
            precondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        (member(&at_risk), precondition, not_enough),
        (member(&MemberError::LastVoter), precondition, not_enough),
        (
            member(&MemberError::TooMany { voters: 8, max: 7 }),
            precondition,
            "etcdserver: there would be 8 voters; 7 are the most, because each write waits for a majority of them",
        ),
        (
            transfer(TransferError::NotLeader),
            precondition,
            "etcdserver: not leader",
        ),
        (
            transfer(TransferError::NotVoter(node)),
            precondition,
            "etcdserver: bad leader transferee",
        ),
        (transfer(TransferError::NobodyElse), Code::Unknown, too_long),
        (transfer(TransferError::TimedOut), Code::Unknown, too_long),
        (
            transfer(TransferError::Busy),
            Code::ResourceExhausted,
            "etcdserver: too many requests",
        ),
        (
            transfer(TransferError::Stopped),
            Code::Unavailable,
            "etcdserver: server stopped",
        ),
    ]);
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
