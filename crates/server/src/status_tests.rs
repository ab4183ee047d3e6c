//! What callers are told, as tables.

use quorate_api::decode_detail;
use quorate_replica::Leader;
use quorate_replica::machine::{
    AliasConflict, CollectionId, FixedPartition, LeaseId, NameKind, NameRule, ParameterRule, SchemaRule,
};
use quorate_types::{ClientId, Epoch, NodeId};
use tonic::body::Body;

use super::*;

fn leader() -> Leader {
    Leader {
        node: NodeId(2),
        client_address: "b:2379".to_owned(),
    }
}

fn led_by(leader: Option<Leader>, is_me: bool) -> Leadership {
    Leadership {
        term: Term(7),
        leader,
        is_me,
        serving: is_me,
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
    assert!(redirect(&led_by(None, false)).is_none());
    assert!(redirect(&led_by(Some(leader()), true)).is_none());
    let status = redirect(&led_by(Some(leader()), false)).expect("a redirect");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let trailers = ["id", "address", "term"].map(|name| trailer(&status, &format!("quorate-leader-{name}")));
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
fn members_that_were_not_changed() {
    let nobody = Leadership::default();
    let refused = |reason| (Code::FailedPrecondition, "not-executed", Some(reason));
    let name = || quorate_types::MemberName::new("c").expect("a good name");
    let cases = [
        (MemberError::NotLeader, (Code::Unavailable, "not-executed", None)),
        (MemberError::Stopped, (Code::Unavailable, "not-executed", None)),
        (MemberError::Busy, (Code::ResourceExhausted, "not-executed", None)),
        (MemberError::OutcomeUnknown, (Code::Unavailable, "unknown", None)),
        (MemberError::NotMember(NodeId(9)), refused("MEMBER_NOT_FOUND")),
        (
            MemberError::Behind {
                node: NodeId(9),
                why: "it is not connected".to_owned(),
            },
            refused("MEMBER_BEHIND"),
        ),
        (MemberError::Even { voters: 4 }, refused("EVEN_VOTERS")),
        (
            MemberError::QuorumAtRisk {
                whose: "future",
                voters: 3,
                reachable: 1,
                needed: 2,
            },
            refused("QUORUM_AT_RISK"),
        ),
        (MemberError::LastVoter, refused("QUORUM_AT_RISK")),
        (
            MemberError::RunsAlready {
                name: name(),
                node: NodeId(3),
            },
            refused("QUORUM_AT_RISK"),
        ),
        (
            MemberError::TooMany { voters: 9, max: 7 },
            refused("MEMBER_LIMIT"),
        ),
    ];
    for (error, (code, outcome, reason)) in cases {
        let status = member(&error, &nobody);
        assert_eq!(
            (
                status.code(),
                trailer(&status, "quorate-outcome"),
                trailer(&status, "quorate-reason")
            ),
            (code, Some(outcome), reason),
            "{error:?}"
        );
    }
    let elsewhere = member(&MemberError::NotLeader, &led_by(Some(leader()), false));
    assert_eq!(trailer(&elsewhere, "quorate-leader-address"), Some("b:2379"));
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
        let response = explained::<Body>(status.clone().into_http());
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
