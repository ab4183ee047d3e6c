//! The service on a machine in memory, in which no lease runs out.

use futures_util::{StreamExt, stream};
use quorate_api::etcdserverpb::kv_server::Kv as _;
use quorate_api::etcdserverpb::lease_server::Lease as _;
use quorate_replica::Unavailable;
use quorate_types::Term;
use tonic::Code;

use super::*;
use crate::auth::testing::{by, enable};
use crate::kv::Kv;
use crate::testing::{Memory, get_request, put_request};

fn service() -> Lease<Memory> {
    with(&LeasePolicy::default())
}

fn with(policy: &LeasePolicy) -> Lease<Memory> {
    Lease::new(Memory::new(), Guard::new(), CancellationToken::new(), policy)
}

fn keeper(lease: &Lease<Memory>) -> Keeper<Memory> {
    Keeper {
        node: lease.node.clone(),
        guard: Guard::new(),
        shown: Credentials::default(),
    }
}

async fn grant(lease: &Lease<Memory>, id: i64) -> Answer<LeaseGrantResponse> {
    let request = LeaseGrantRequest { id, ttl: 60 };
    lease.lease_grant(Request::new(request)).await
}

async fn revoke(lease: &Lease<Memory>, id: i64) -> Answer<LeaseRevokeResponse> {
    lease.lease_revoke(Request::new(LeaseRevokeRequest { id })).await
}

async fn time(lease: &Lease<Memory>, id: i64) -> LeaseTimeToLiveResponse {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let answer = lease.lease_time_to_live(Request::new(request)).await;
    answer.expect("a time").into_inner()
}

async fn put(kv: &Kv<Memory>, key: &str, lease: i64) {
    let mut request = put_request(key, "v");
    request.lease = lease;
    kv.put(Request::new(request)).await.expect("a put");
}

fn told<T>(answer: Answer<T>) -> (Code, String) {
    let status = answer.map(|_| ()).expect_err("an error");
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn keys_go_with_their_lease() {
    let lease = service();
    let kv = Kv(lease.node.clone(), Guard::new());
    let granted = grant(&lease, 7).await.expect("a grant").into_inner();
    assert_eq!((granted.id, granted.ttl), (7, 60));
    put(&kv, "b", 7).await;
    put(&kv, "a", 7).await;
    let lives = time(&lease, 7).await;
    assert_eq!((lives.ttl, lives.granted_ttl), (59, 60));
    assert_eq!(lives.keys, ["a", "b"]);
    let header = revoke(&lease, 7).await.expect("a revoke").into_inner().header;
    assert_eq!(header.map(|header| header.revision), Some(4));
    let read = kv.range(Request::new(get_request("a"))).await.expect("a read");
    assert_eq!(read.into_inner().count, 0);
    let gone = time(&lease, 7).await;
    assert_eq!((gone.id, gone.ttl, gone.granted_ttl), (7, -1, 0));
    assert!(gone.keys.is_empty());
}

#[tokio::test]
async fn a_cap_on_times_to_live_is_stated_and_kept_to() {
    let lease = with(&LeasePolicy {
        ttl_max_s: Some(10),
        ..LeasePolicy::default()
    });
    for (asked, want) in [(60, 10), (10, 10), (9, 9), (0, 2)] {
        let request = LeaseGrantRequest { id: 0, ttl: asked };
        let granted = lease.lease_grant(Request::new(request)).await;
        let granted = granted.expect("a grant").into_inner();
        assert_eq!(granted.ttl, want, "{asked}");
        let lives = time(&lease, granted.id).await;
        assert_eq!(lives.granted_ttl, want, "{asked}");
    }
}

#[tokio::test]
async fn faults_are_told_in_etcds_words() {
    let lease = service();
    grant(&lease, 7).await.expect("a grant");
    let said = |code, text: &str| (code, text.to_owned());
    assert_eq!(
        told(grant(&lease, 7).await),
        said(Code::FailedPrecondition, "etcdserver: lease already exists")
    );
    assert_eq!(
        told(revoke(&lease, 8).await),
        said(Code::NotFound, "etcdserver: requested lease not found")
    );
    let long = LeaseGrantRequest { id: 0, ttl: i64::MAX };
    assert_eq!(
        told(lease.lease_grant(Request::new(long)).await),
        said(Code::OutOfRange, "etcdserver: too large lease TTL")
    );
}

#[tokio::test]
async fn leases_are_listed_with_those_whose_ids_are_ours() {
    let lease = service();
    grant(&lease, 7).await.expect("a grant");
    let ours = grant(&lease, 0).await.expect("a grant").into_inner().id;
    assert!(ours > 0);
    let answer = lease.lease_leases(Request::new(LeaseLeasesRequest {})).await;
    let listed = answer.expect("a list").into_inner().leases;
    let mut want = vec![7, ours];
    want.sort_unstable();
    assert_eq!(listed.iter().map(|status| status.id).collect::<Vec<_>>(), want);
}

fn asked(ids: &[i64]) -> impl stream::Stream<Item = Result<LeaseKeepAliveRequest, Status>> + Send + 'static {
    let requests = ids.iter().map(|id| Ok(LeaseKeepAliveRequest { id: *id }));
    stream::iter(requests.collect::<Vec<_>>())
}

#[tokio::test]
async fn keepalives_are_answered_in_their_order_and_unknown_leases_have_no_time() {
    let lease = service();
    grant(&lease, 7).await.expect("a grant");
    let answers = keep_alive::answers(keeper(&lease), asked(&[7, 8, 7]), lease.ending.clone(), None);
    let answers: Vec<_> = answers.map(|answer| answer.expect("an answer")).collect().await;
    let said: Vec<_> = answers.iter().map(|answer| (answer.id, answer.ttl)).collect();
    assert_eq!(said, [(7, 60), (8, 0), (7, 60)]);
    assert!(answers.iter().all(|answer| answer.header.is_some()));
}

#[tokio::test]
async fn a_stream_ends_with_its_first_error_and_when_the_server_stops() {
    let lease = service();
    grant(&lease, 7).await.expect("a grant");
    let (term, leader) = (Term(3), None);
    lease.node.breaks(Unavailable::NotLeader { term, leader });
    let answers = keep_alive::answers(keeper(&lease), asked(&[7, 7]), lease.ending.clone(), None);
    let answers: Vec<_> = answers.collect().await;
    assert_eq!(answers.len(), 1);
    let status = answers[0].as_ref().expect_err("no leader");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "etcdserver: no leader")
    );

    let lease = service();
    let silent = stream::pending::<Result<LeaseKeepAliveRequest, Status>>();
    let answers = keep_alive::answers(keeper(&lease), silent, lease.ending.clone(), None);
    lease.ending.cancel();
    let answers: Vec<_> = answers.collect().await;
    let status = answers[0].as_ref().expect_err("stopped");
    assert_eq!(status.message(), "etcdserver: server stopped");
}

#[tokio::test]
async fn leases_are_for_who_may_write_their_keys() {
    let lease = service();
    let kv = Kv(lease.node.clone(), Guard::new());
    enable(&lease.node);
    let said = |code, text: &str| (code, format!("etcdserver: {text}"));
    let denied = || said(Code::PermissionDenied, "permission denied");
    let grant = |user, id| lease.lease_grant(by(user, LeaseGrantRequest { id, ttl: 60 }));
    assert!(grant("one", 7).await.is_ok());
    assert!(grant("one", 8).await.is_ok());
    assert_eq!(
        told(grant("", 9).await),
        said(Code::InvalidArgument, "user name is empty")
    );
    let under = |key: &str, lease| {
        let mut request = put_request(key, "1");
        request.lease = lease;
        request
    };
    assert!(kv.put(by("one", under("b", 7))).await.is_ok());
    assert!(kv.put(by("root", under("z", 8))).await.is_ok());
    assert_eq!(told(kv.put(by("one", under("b", 8))).await), denied());
    let time = |user, id, keys| lease.lease_time_to_live(by(user, LeaseTimeToLiveRequest { id, keys }));
    assert!(time("one", 7, true).await.is_ok());
    assert!(time("one", 8, false).await.is_ok());
    assert_eq!(told(time("one", 8, true).await), denied());
    assert!(time("", 8, false).await.is_err());
    let list = |user| lease.lease_leases(by(user, LeaseLeasesRequest {}));
    assert_eq!(told(list("one").await), denied());
    assert!(list("root").await.is_ok());
    for (user, id, want) in [
        ("one", 7, true),
        ("one", 8, false),
        ("one", 404, true),
        ("", 7, false),
    ] {
        let keeper = Keeper {
            shown: Credentials::of(by(user, ()).metadata()),
            ..keeper(&lease)
        };
        let requests = stream::iter([Ok(LeaseKeepAliveRequest { id })]);
        let mut answers = keep_alive::answers(keeper, requests, lease.ending.clone(), None);
        let kept = answers.next().await.expect("an answer");
        assert_eq!(kept.is_ok(), want, "{user} {id}");
    }
    let revoke = |user, id| lease.lease_revoke(by(user, LeaseRevokeRequest { id }));
    assert_eq!(told(revoke("one", 8).await), denied());
    assert!(revoke("one", 7).await.is_ok());
    assert!(revoke("root", 8).await.is_ok());
}
