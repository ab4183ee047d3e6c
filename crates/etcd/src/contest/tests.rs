//! Locks on a machine in memory.

use quorate_api::v3lockpb::lock_server::Lock as _;
use quorate_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use quorate_replica::Unavailable;
use quorate_replica::machine::Command;
use quorate_types::Term;
use tokio::task::{JoinHandle, yield_now};
use tonic::Code;

use super::*;
use crate::auth::testing::{by, enable};
use crate::lock::Lock;
use crate::testing::{Served, bytes, delete_command};

fn request(lease: i64) -> Request<LockRequest> {
    Request::new(LockRequest {
        name: bytes("l"),
        lease,
    })
}

/// A call that goes on by itself.
fn locking(served: &Served, request: Request<LockRequest>) -> JoinHandle<Result<LockResponse, Status>> {
    let lock = Lock(Arc::clone(&served.contests));
    tokio::spawn(async move { lock.lock(request).await.map(Response::into_inner) })
}

async fn lock(served: &Served, lease: i64) -> Result<LockResponse, Status> {
    locking(served, request(lease)).await.expect("no panic")
}

/// The revision in the head, and the key.
fn held(response: Result<LockResponse, Status>) -> (i64, Bytes) {
    let response = response.expect("the lock");
    (response.header.expect("a head").revision, response.key)
}

fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("an error");
    (status.code(), status.message().to_owned())
}

fn said(code: Code, text: &str) -> (Code, String) {
    (code, text.to_owned())
}

fn broken() -> Unavailable {
    let (term, leader) = (Term(3), None);
    Unavailable::NotLeader { term, leader }
}

#[tokio::test]
async fn who_waits_gets_the_lock_in_the_order_of_asking() {
    let served = Served::with_leases(&[1, 2, 3]);
    assert_eq!(held(lock(&served, 1).await), (2, bytes("l/1")));
    assert_eq!(held(lock(&served, 1).await), (2, bytes("l/1")), "asked again");
    let second = locking(&served, request(2));
    served.until("l/2", true).await;
    let third = locking(&served, request(3));
    served.until("l/3", true).await;
    // Neither another key nor another word of the holder ends the wait.
    served.node.put(&[("l/1", "still"), ("l0", "")]);
    yield_now().await;
    assert!(!second.is_finished() && !third.is_finished());

    let unlock = UnlockRequest { key: bytes("l/1") };
    let unlocked = Lock(Arc::clone(&served.contests))
        .unlock(Request::new(unlock))
        .await;
    let header = unlocked.expect("unlocked").into_inner().header.expect("a head");
    assert_eq!(header.revision, 7);
    assert_eq!(held(second.await.expect("no panic")), (7, bytes("l/2")));
    assert!(!third.is_finished());
    // As when it runs out.
    served.node.wrote([Command::RevokeKvLease { lease: 2 }]);
    assert_eq!(held(third.await.expect("no panic")), (8, bytes("l/3")));
}

#[tokio::test]
async fn one_in_the_middle_goes_and_nobody_gets_ahead() {
    let served = Served::with_leases(&[1, 2, 3]);
    held(lock(&served, 1).await);
    let second = locking(&served, request(2));
    served.until("l/2", true).await;
    let third = locking(&served, request(3));
    served.until("l/3", true).await;
    second.abort();
    served.until("l/2", false).await;
    yield_now().await;
    assert!(!third.is_finished(), "the first one is there");
    served.node.wrote([delete_command("l/1", "")]);
    assert_eq!(held(third.await.expect("no panic")), (6, bytes("l/3")));
    served.tasks.close();
    served.tasks.wait().await;
}

#[tokio::test]
async fn a_client_that_goes_while_its_key_is_written_leaves_none() {
    let served = Served::with_leases(&[1]);
    let gone = CancellationToken::new();
    gone.cancel();
    for (lease, leases) in [(1, 1), (0, 1)] {
        let entry = Entry {
            name: bytes("l"),
            lease,
            says: None,
        };
        let contest = served.contests.contest(&MetadataMap::new(), entry, &gone).await;
        assert_eq!(told(contest).0, Code::Cancelled);
        assert!(!served.has("l/1"));
        assert_eq!(
            served.node.image().kv_leases().iter().count(),
            leases,
            "its own lease stays"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_and_leaves_no_key() {
    let served = Served::with_leases(&[1, 2]);
    held(lock(&served, 1).await);
    let mut patient = request(2);
    patient.set_timeout(Duration::from_secs(60));
    let began = tokio::time::Instant::now();
    let waited = locking(&served, patient).await.expect("no panic");
    assert_eq!(
        told(waited),
        said(Code::DeadlineExceeded, "context deadline exceeded")
    );
    assert_eq!(began.elapsed().as_secs(), 60);
    assert!(served.has("l/1") && !served.has("l/2"));
}

#[tokio::test]
async fn who_loses_its_key_is_told_at_once() {
    let served = Served::with_leases(&[1, 2, 3]);
    held(lock(&served, 1).await);
    let expired = || said(Code::Unknown, "mutex: session is expired");
    let deleted = locking(&served, request(2));
    served.until("l/2", true).await;
    served.node.wrote([delete_command("l/2", "")]);
    assert_eq!(told(deleted.await.expect("no panic")), expired());
    let revoked = locking(&served, request(3));
    served.until("l/3", true).await;
    served.node.wrote([Command::RevokeKvLease { lease: 3 }]);
    assert_eq!(told(revoked.await.expect("no panic")), expired());
    assert!(served.has("l/1"));
}

#[tokio::test]
async fn whoever_has_no_lease_gets_one() {
    let served = Served::with_leases(&[]);
    let (_, key) = held(lock(&served, 0).await);
    let leases = served.node.image().kv_leases();
    let granted = leases.iter().next().expect("a lease");
    assert_eq!(granted.ttl_s, 60);
    assert_eq!(key, format!("l/{:x}", granted.grant.lease));
    // The second one's goes with its place.
    let second = locking(&served, request(0));
    let mut revisions = served.node.kv_revisions().await;
    revisions
        .wait_for(|revision| revision.0 == 3)
        .await
        .expect("a place");
    second.abort();
    revisions
        .wait_for(|revision| revision.0 == 4)
        .await
        .expect("no place");
    assert_eq!(served.node.image().kv_leases().iter().count(), 1);
}

#[tokio::test]
async fn a_change_of_leader_ends_no_wait() {
    let served = Served::with_leases(&[1, 2]);
    held(lock(&served, 1).await);
    let second = locking(&served, request(2));
    served.until("l/2", true).await;
    served.node.breaks(broken());
    served.node.leads(false);
    yield_now().await;
    assert!(!second.is_finished());
    served.node.works();
    served.node.leads(true);
    served.node.wrote([delete_command("l/1", "")]);
    assert_eq!(held(second.await.expect("no panic")), (4, bytes("l/2")));
}

#[tokio::test]
async fn a_server_that_stops_sends_those_who_wait_elsewhere() {
    let served = Served::with_leases(&[1, 2]);
    held(lock(&served, 1).await);
    let second = locking(&served, request(2));
    served.until("l/2", true).await;
    served.ending.cancel();
    let stopped = said(Code::Unavailable, "etcdserver: server stopped");
    assert_eq!(told(second.await.expect("no panic")), stopped);
    assert!(served.has("l/1") && !served.has("l/2"));
}

#[tokio::test]
async fn a_lock_is_for_who_may_do_with_its_keys_what_it_takes() {
    let served = Served::with_leases(&[1, 2]);
    enable(&served.node);
    let asked = |user: &str, name: &str, lease| {
        let name = bytes(name);
        locking(&served, by(user, LockRequest { name, lease }))
    };
    let denied = || said(Code::Unknown, "etcdserver: permission denied");
    let nobody = || said(Code::Unknown, "etcdserver: user name is empty");
    let cases = [
        ("", "b", 1, nobody()),
        ("", "b", 0, nobody()),
        ("one", "d", 1, denied()),
        ("one", "z", 0, denied()),
    ];
    for (user, name, lease, want) in cases {
        let answer = asked(user, name, lease).await.expect("no panic");
        assert_eq!(told(answer), want, "{user} {name} {lease}");
    }
    let image = served.node.image();
    assert_eq!(image.kv_revision().0, 1, "nothing was written");
    assert_eq!(image.kv_leases().iter().count(), 2, "and no lease is left");

    held(asked("root", "b", 1).await.expect("no panic"));
    let second = asked("one", "b", 2);
    served.until("b/2", true).await;
    let service = Lock(Arc::clone(&served.contests));
    let let_go = |user: &str, key: &str| service.unlock(by(user, UnlockRequest { key: bytes(key) }));
    assert_eq!(told(let_go("", "b/1").await), nobody());
    assert_eq!(told(let_go("one", "d/1").await), denied());
    assert!(let_go("root", "b/1").await.is_ok());
    assert_eq!(held(second.await.expect("no panic")).1, bytes("b/2"));
}

#[tokio::test]
async fn faults_are_told_in_etcds_words() {
    let served = Served::with_leases(&[1]);
    let no_lease = said(Code::Unknown, "etcdserver: requested lease not found");
    assert_eq!(told(lock(&served, 404).await), no_lease);
    let service = Lock(Arc::clone(&served.contests));
    let unlocked = service.unlock(Request::new(UnlockRequest::default())).await;
    let no_key = said(Code::Unknown, "etcdserver: key is not provided");
    assert_eq!(told(unlocked), no_key);
    served.node.breaks(broken());
    let no_leader = said(Code::Unavailable, "etcdserver: no leader");
    assert_eq!(told(lock(&served, 1).await), no_leader);
    served.node.works();
    let seats = u32::try_from(CONTESTANTS_MAX).expect("not so many");
    let taken = Arc::clone(&served.contests.seats).try_acquire_many_owned(seats);
    let too_many = said(Code::ResourceExhausted, "etcdserver: too many requests");
    assert_eq!(told(lock(&served, 1).await), too_many);
    drop(taken);
    held(lock(&served, 1).await);
}
