//! Elections on a machine in memory.

use futures_util::{FutureExt, StreamExt};
use quorate_api::v3electionpb::election_server::Election as _;
use quorate_replica::machine::Command;
use tokio::task::{JoinHandle, yield_now};
use tonic::Code;

use super::*;
use crate::testing::{Served, bytes, delete_command};

type Observed = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

fn election(served: &Served) -> Election<crate::testing::Memory> {
    Election(Arc::clone(&served.contests))
}

fn campaigning(served: &Served, lease: i64, value: &str) -> JoinHandle<Result<CampaignResponse, Status>> {
    let (election, value) = (election(served), bytes(value));
    let request = CampaignRequest {
        name: bytes("e"),
        lease,
        value,
    };
    tokio::spawn(async move {
        election
            .campaign(Request::new(request))
            .await
            .map(Response::into_inner)
    })
}

/// The revision in the head, and what the leader shows.
async fn elected(campaign: JoinHandle<Result<CampaignResponse, Status>>) -> (i64, LeaderKey) {
    let response = campaign.await.expect("no panic").expect("a leader");
    let header = response.header.expect("a head");
    (header.revision, response.leader.expect("its key"))
}

fn key(lease: i64, rev: i64) -> LeaderKey {
    LeaderKey {
        name: bytes("e"),
        key: bytes(&format!("e/{lease:x}")),
        rev,
        lease,
    }
}

async fn proclaim(served: &Served, leader: &LeaderKey, value: &str) -> Result<i64, Status> {
    let request = ProclaimRequest {
        leader: Some(leader.clone()),
        value: bytes(value),
    };
    let response = election(served).proclaim(Request::new(request)).await?;
    Ok(response.into_inner().header.expect("a head").revision)
}

async fn resign(served: &Served, leader: &LeaderKey) -> i64 {
    let leader = Some(leader.clone());
    let response = election(served)
        .resign(Request::new(ResignRequest { leader }))
        .await;
    response
        .expect("resigned")
        .into_inner()
        .header
        .expect("a head")
        .revision
}

async fn leader(served: &Served) -> Result<(i64, String), Status> {
    let request = LeaderRequest { name: bytes("e") };
    let response = election(served).leader(Request::new(request)).await?;
    Ok(shown(response.into_inner()))
}

async fn observe(served: &Served) -> Observed {
    let request = LeaderRequest { name: bytes("e") };
    let response = election(served).observe(Request::new(request)).await;
    response.expect("a stream").into_inner()
}

async fn next(observed: &mut Observed) -> (i64, String) {
    shown(observed.next().await.expect("news").expect("a leader"))
}

/// The revision in the head, and the key with what stands there.
fn shown(response: LeaderResponse) -> (i64, String) {
    let kv = response.kv.expect("a key");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let revision = response.header.expect("a head").revision;
    (
        revision,
        format!("{}={}@{}", text(&kv.key), text(&kv.value), kv.mod_revision),
    )
}

fn says(revision: i64, what: &str) -> (i64, String) {
    (revision, what.to_owned())
}

fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("an error");
    (status.code(), status.message().to_owned())
}

fn unknown(text: &str) -> (Code, String) {
    (Code::Unknown, text.to_owned())
}

#[tokio::test]
async fn candidates_lead_one_after_the_other() {
    let served = Served::with_leases(&[1, 2]);
    assert_eq!(told(leader(&served).await), unknown("election: no leader"));
    let (revision, first) = elected(campaigning(&served, 1, "a")).await;
    assert_eq!((revision, &first), (2, &key(1, 2)));
    let second = campaigning(&served, 2, "b");
    served.until("e/2", true).await;
    assert_eq!(leader(&served).await.expect("a leader"), says(3, "e/1=a@2"));
    assert_eq!(proclaim(&served, &first, "c").await.expect("the leader"), 4);
    yield_now().await;
    assert!(!second.is_finished(), "what the leader says ends no wait");
    // Standing again with another word is saying it.
    assert_eq!(elected(campaigning(&served, 1, "d")).await, (4, key(1, 2)));
    assert_eq!(leader(&served).await.expect("a leader"), says(5, "e/1=d@5"));

    assert_eq!(resign(&served, &first).await, 6);
    let (revision, second) = elected(second).await;
    assert_eq!(
        (revision, &second),
        (3, &key(2, 3)),
        "the head is of when it stood up"
    );
    assert_eq!(
        told(proclaim(&served, &first, "x").await),
        unknown("election: not leader")
    );
    assert_eq!(
        resign(&served, &first).await,
        6,
        "it leads no longer; nothing is done"
    );
    assert_eq!(leader(&served).await.expect("a leader"), says(6, "e/2=b@3"));
}

#[tokio::test]
async fn a_candidate_without_a_key_does_not_lead() {
    let served = Served::with_leases(&[1, 2]);
    elected(campaigning(&served, 1, "a")).await;
    let second = campaigning(&served, 2, "b");
    served.until("e/2", true).await;
    served.node.wrote([Command::RevokeKvLease { lease: 2 }]);
    let lost = second.await.expect("no panic").map(drop);
    assert_eq!(told(lost), unknown("mutex: session is expired"));
}

#[tokio::test]
async fn requests_without_a_leader_are_refused() {
    let served = Served::with_leases(&[1]);
    let missing = unknown("\"leader\" field must be provided");
    let proclaimed = election(&served)
        .proclaim(Request::new(ProclaimRequest::default()))
        .await;
    assert_eq!(told(proclaimed), missing);
    let resigned = election(&served)
        .resign(Request::new(ResignRequest::default()))
        .await;
    assert_eq!(told(resigned), missing);
    let no_key = LeaderKey::default();
    let empty = unknown("etcdserver: key is not provided");
    assert_eq!(told(proclaim(&served, &no_key, "x").await), empty);
}

#[tokio::test]
async fn observers_see_what_leaders_say() {
    let served = Served::with_leases(&[1, 2]);
    let mut early = observe(&served).await;
    assert!(early.next().now_or_never().is_none(), "nobody leads");
    served.node.put(&[("e", "none"), ("e0", "none")]);
    let (_, first) = elected(campaigning(&served, 1, "a")).await;
    assert_eq!(next(&mut early).await, says(4, "e/1=a@4"));
    let mut late = observe(&served).await;
    assert_eq!(next(&mut late).await, says(4, "e/1=a@4"));

    let second = campaigning(&served, 2, "b");
    served.until("e/2", true).await;
    proclaim(&served, &first, "c").await.expect("the leader");
    proclaim(&served, &first, "d").await.expect("the leader");
    for observed in [&mut early, &mut late] {
        // Both may come in one answer, whose head says how far that is.
        assert_eq!(next(observed).await.1, "e/1=c@6");
        assert_eq!(next(observed).await, says(7, "e/1=d@7"));
        assert!(observed.next().now_or_never().is_none());
    }
    resign(&served, &first).await;
    elected(second).await;
    for observed in [&mut early, &mut late] {
        assert_eq!(next(observed).await, says(8, "e/2=b@5"));
    }
    // Nobody leads for a while, and somebody who comes and goes is not waited for.
    served.node.wrote([delete_command("e/2", "")]);
    assert!(early.next().now_or_never().is_none());
    let (_, first) = elected(campaigning(&served, 1, "f")).await;
    assert_eq!(next(&mut early).await, says(10, "e/1=f@10"));
    resign(&served, &first).await;
    elected(campaigning(&served, 2, "g")).await;
    assert_eq!(next(&mut early).await, says(12, "e/2=g@12"));
    assert_eq!(
        next(&mut late).await,
        says(12, "e/2=g@12"),
        "it was not there for the one before"
    );
}

#[tokio::test]
async fn observers_end_with_the_server() {
    let served = Served::with_leases(&[1]);
    elected(campaigning(&served, 1, "a")).await;
    let mut observed = observe(&served).await;
    next(&mut observed).await;
    served.ending.cancel();
    let last = observed.next().await.expect("a last word");
    assert_eq!(
        told(last),
        (Code::Unavailable, "etcdserver: server stopped".to_owned())
    );
    assert!(observed.next().await.is_none());
}
