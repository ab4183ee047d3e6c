//! Calls on a group in memory: members r1 to r3 vote, r4 learns.

use quorate_api::etcdserverpb::Member;
use quorate_api::etcdserverpb::cluster_server::Cluster as _;
use quorate_replica::{MemberError, Unavailable};
use quorate_types::{NodeId, Term};
use tonic::Code;

use super::*;
use crate::testing::{Memory, roster};

fn service() -> Cluster<Memory> {
    Cluster {
        node: Memory::new(),
        guard: Guard::new(),
        scheme: Scheme::Http,
    }
}

/// What an error is to a client.
fn told<T: std::fmt::Debug>(answer: Answer<T>) -> (Code, String) {
    let status = answer.expect_err("an error");
    (status.code(), status.message().to_owned())
}

fn error(code: Code, text: &str) -> (Code, String) {
    (code, text.to_owned())
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 7,
        member_id: 2,
        revision: 0,
        raft_term: 3,
    })
}

fn members(voters: &[u64], learners: &[u64]) -> Vec<Member> {
    member::listed(&roster(voters, learners), Scheme::Http)
}

async fn list(service: &Cluster<Memory>, linearizable: bool) -> Answer<MemberListResponse> {
    let request = MemberListRequest { linearizable };
    service.member_list(Request::new(request)).await
}

async fn add(service: &Cluster<Memory>, urls: &[&str], is_learner: bool) -> Answer<MemberAddResponse> {
    let request = MemberAddRequest {
        peer_ur_ls: urls.iter().map(|url| (*url).to_owned()).collect(),
        is_learner,
    };
    service.member_add(Request::new(request)).await
}

async fn remove(service: &Cluster<Memory>, id: u64) -> Answer<MemberRemoveResponse> {
    service
        .member_remove(Request::new(MemberRemoveRequest { id }))
        .await
}

async fn promote(service: &Cluster<Memory>, id: u64) -> Answer<MemberPromoteResponse> {
    let request = MemberPromoteRequest { id };
    service.member_promote(Request::new(request)).await
}

async fn update(service: &Cluster<Memory>, id: u64, urls: &[&str]) -> Answer<MemberUpdateResponse> {
    let request = MemberUpdateRequest {
        id,
        peer_ur_ls: urls.iter().map(|url| (*url).to_owned()).collect(),
    };
    service.member_update(Request::new(request)).await
}

#[tokio::test]
async fn members_are_listed_promoted_and_removed() {
    let service = service();
    for linearizable in [true, false] {
        let listed = list(&service, linearizable).await.expect("a list").into_inner();
        let want = MemberListResponse {
            header: header(),
            members: members(&[1, 2, 3], &[4]),
        };
        assert_eq!(listed, want, "{linearizable}");
    }
    let promoted = promote(&service, 4).await.expect("promoted").into_inner();
    let want = MemberPromoteResponse {
        header: header(),
        members: members(&[1, 2, 3, 4], &[]),
    };
    assert_eq!(promoted, want);
    let removed = remove(&service, 1).await.expect("removed").into_inner();
    let want = MemberRemoveResponse {
        header: header(),
        members: members(&[2, 3, 4], &[]),
    };
    assert_eq!(removed, want);
    let listed = list(&service, true).await.expect("a list").into_inner();
    assert_eq!(listed.members, members(&[2, 3, 4], &[]));
}

#[tokio::test]
async fn who_has_joined_is_added() {
    let service = service();
    let confirmed = add(&service, &["http://r4:2380"], true).await.expect("a learner");
    let want = MemberAddResponse {
        header: header(),
        member: Some(members(&[], &[4]).remove(0)),
        members: members(&[1, 2, 3], &[4]),
    };
    assert_eq!(confirmed.into_inner(), want);
    let added = add(&service, &["https://r4:2380"], false).await.expect("a voter");
    let want = MemberAddResponse {
        header: header(),
        member: Some(members(&[4], &[]).remove(0)),
        members: members(&[1, 2, 3, 4], &[]),
    };
    assert_eq!(added.into_inner(), want);
    let again = told(add(&service, &["http://r4:2380"], false).await);
    assert_eq!(
        again,
        error(Code::FailedPrecondition, "etcdserver: Peer URLs already exists")
    );
}

#[tokio::test]
async fn what_fits_no_member_is_refused_in_etcds_words() {
    let service = service();
    let bad_urls = || error(Code::InvalidArgument, "etcdserver: given member URLs are invalid");
    for urls in [&[][..], &["r4:2380"], &["http://r4:2380/x"]] {
        assert_eq!(told(add(&service, urls, true).await), bad_urls(), "{urls:?}");
        assert_eq!(told(update(&service, 4, urls).await), bad_urls(), "{urls:?}");
    }
    let many = vec!["http://r4:2380/"; 100_000];
    assert_eq!(told(add(&service, &many, true).await), bad_urls());
    let (code, text) = told(add(&service, &["http://new:2380"], true).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.contains("start it first"), "{text}");

    let not_found = || error(Code::NotFound, "etcdserver: member not found");
    for id in [0, 5, u64::MAX] {
        assert_eq!(told(remove(&service, id).await), not_found(), "{id}");
        assert_eq!(told(promote(&service, id).await), not_found(), "{id}");
        assert_eq!(told(update(&service, id, &[]).await), not_found(), "{id}");
    }
    let voter = error(
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    );
    assert_eq!(told(promote(&service, 1).await), voter);

    let updated = update(&service, 4, &["http://r4:2380"])
        .await
        .expect("nothing to do");
    assert_eq!(updated.into_inner().members, members(&[1, 2, 3], &[4]));
    let taken = error(Code::FailedPrecondition, "etcdserver: Peer URLs already exists");
    assert_eq!(told(update(&service, 4, &["http://r1:2380"]).await), taken);
    let (code, text) = told(update(&service, 4, &["http://new:2380"]).await);
    assert_eq!(code, Code::Unimplemented);
    assert!(text.contains("does not change"), "{text}");
    let listed = list(&service, true).await.expect("a list").into_inner();
    assert_eq!(listed.members, members(&[1, 2, 3], &[4]), "nothing was done");
}

#[tokio::test]
async fn what_the_leader_refuses_is_told_in_etcds_words() {
    let cases = [
        (
            MemberError::Behind {
                node: NodeId(4),
                why: "it is not connected".to_owned(),
            },
            error(
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
        ),
        (
            MemberError::LastVoter,
            error(
                Code::FailedPrecondition,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
        ),
        (
            MemberError::OutcomeUnknown,
            error(Code::Unavailable, "etcdserver: request timed out"),
        ),
    ];
    for (refusal, want) in cases {
        let service = service();
        service.node.refuses(refusal);
        assert_eq!(told(promote(&service, 4).await), want);
        assert_eq!(told(remove(&service, 4).await), want);
        assert_eq!(told(add(&service, &["http://r4:2380"], false).await), want);
    }
}

#[tokio::test]
async fn without_a_leader_only_a_list_as_it_is_known_is_given() {
    let service = service();
    service.node.breaks(Unavailable::NotLeader {
        term: Term(3),
        leader: None,
    });
    let no_leader = error(Code::Unavailable, "etcdserver: no leader");
    assert_eq!(told(list(&service, true).await), no_leader);
    assert_eq!(told(remove(&service, 4).await), no_leader);
    assert_eq!(told(promote(&service, 4).await), no_leader);
    assert_eq!(told(add(&service, &["http://r4:2380"], true).await), no_leader);
    assert_eq!(told(update(&service, 4, &["http://r4:2380"]).await), no_leader);
    let listed = list(&service, false).await.expect("a list").into_inner();
    assert_eq!(listed.members.len(), 4);
}
