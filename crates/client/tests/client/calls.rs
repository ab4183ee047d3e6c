//! What a caller gets: answers, refusals, and errors only when nothing else can be had.

use std::time::Duration;

use futures_util::TryStreamExt;
use quorate_client::{Error, Outcome, v1};
use quorate_types::NodeId;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use crate::cluster::{Cluster, database, leader_lost};
use crate::model::{address, not_leader, overloaded, refused};
use crate::replica::Rule;

/// Less than any pause of the client: what takes no longer has waited for no timer.
const AT_ONCE: Duration = Duration::from_millis(25);

fn has(name: &str) -> v1::HasCollectionRequest {
    v1::HasCollectionRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn stale_reads_go_to_any_replica_or_the_one_that_is_meant() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    cluster.model().collections = vec!["books".to_owned()];
    cluster.kill(1);
    cluster[2].think(1, None);
    cluster[3].think(1, None);
    // Nobody leads, and yet there is an answer, with its age.
    let stale = client
        .stale_root()
        .has_collection(has("books"))
        .await
        .expect("answered");
    assert!(stale.answer.exists);
    assert_eq!(stale.leader_contact, Some(Duration::from_millis(3)));

    let second = client.stale_root().at(NodeId(2));
    second.has_collection(has("books")).await.expect("answered");
    let impatient = client
        .with_deadline(Duration::from_millis(200))
        .stale_root()
        .at(NodeId(1));
    let error = impatient.has_collection(has("books")).await.expect_err("dead");
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::NotExecuted,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn overload_is_waited_out() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    client.ids().allocate(1).await.expect("allocated");
    cluster[1].script([Rule::Answer(overloaded(200)), Rule::Answer(overloaded(200))]);
    let begun = Instant::now();
    client.ids().allocate(1).await.expect("allocated");
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(400) && waited < Duration::from_millis(900),
        "{waited:?}"
    );

    cluster[1].script([Rule::Answer(overloaded(u32::MAX))]);
    let begun = Instant::now();
    let error = client.ids().allocate(1).await.expect_err("too busy");
    assert_eq!(
        begun.elapsed(),
        Duration::from_secs(10),
        "bounded by the deadline"
    );
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::NotExecuted,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("busy"), "{error}");

    // Another leader need not be waited for.
    cluster[1].script([Rule::Answer(overloaded(5_000))]);
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(1).await }
    });
    sleep(Duration::from_millis(100)).await;
    cluster.elect(2, 2);
    let begun = Instant::now();
    call.await.expect("no panic").expect("allocated");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refusals_come_back_at_once_and_typed() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    let error = client
        .root()
        .create_database(database("taken"))
        .await
        .expect_err("refused");
    assert_eq!(error.reason(), Some(v1::Reason::DatabaseExists));
    assert!(matches!(error, Error::Refused { milvus_code: 7, .. }), "{error}");

    cluster[1].script([Rule::Answer(refused(v1::Reason::CollectionNotFound))]);
    let error = client
        .root()
        .has_collection(has("books"))
        .await
        .expect_err("refused");
    assert_eq!(error.reason(), Some(v1::Reason::CollectionNotFound));
    assert_eq!(
        error.to_string(),
        "refused by the script (REASON_COLLECTION_NOT_FOUND)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_does_not_know_the_call_is_a_protocol_error_at_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    let begun = Instant::now();
    let error = client
        .root()
        .list_databases(v1::ListDatabasesRequest::default())
        .await;
    assert!(matches!(error, Err(Error::Protocol { .. })), "{error:?}");
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_not_sent() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let huge = database(&"x".repeat(2_000_000));
    let error = client.root().create_database(huge).await.expect_err("too large");
    assert!(
        matches!(&error, Error::Invalid { field, .. } if field == "request"),
        "{error}"
    );
    assert!(cluster.model().arrived.is_empty());
}

#[tokio::test(start_paused = true)]
async fn transient_failures_of_any_code_do_not_reach_the_caller() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    let failures = [
        Status::unavailable("shutting down"),
        Status::cancelled("gone"),
        Status::internal("a handler panicked"),
        Status::unknown("?"),
        Status::deadline_exceeded("slow"),
        Status::resource_exhausted("a proxy's limit"),
        not_leader(None),
    ];
    for failure in failures {
        let words = failure.to_string();
        cluster[1].script([Rule::Answer(failure)]);
        client
            .root()
            .has_collection(has("books"))
            .await
            .unwrap_or_else(|error| panic!("{words}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_only_the_client_cannot_reach_is_reported_with_what_was_tried() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster.kill(1);
    leader_lost(&client).await;
    let begun = Instant::now();
    let error = client.ids().allocate(1).await.expect_err("no way to the leader");
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    let text = error.to_string();
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::NotExecuted,
                ..
            }
        ),
        "{text}"
    );
    for part in [
        "AllocateIds got no answer within 10s",
        "q2:2379 was asked",
        "not the leader",
        "connection refused",
    ] {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    assert!(
        cluster.network.dials(&address(1)) < 40,
        "{} dials",
        cluster.network.dials(&address(1))
    );
    // It comes back under the same term.
    cluster.restart(1).await;
    client.ids().allocate(1).await.expect("allocated");
}

#[tokio::test(start_paused = true)]
async fn listings_cross_pages_and_a_change_of_leader() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    cluster.model().collections = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    let root = client.root();
    let mut listed = Box::pin(root.list_collections_all("default"));
    let mut names = Vec::new();
    while let Some(collection) = listed.try_next().await.expect("listed") {
        names.push(collection.name);
        if names.len() == 2 {
            cluster.elect(3, 2);
            cluster.kill(1);
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn status_is_asked_of_the_replica_that_is_meant() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    for node in 1..=3 {
        let status = client.cluster().status(NodeId(node)).await.expect("answered");
        assert_eq!(status.name, format!("q{node}"));
    }
    cluster.kill(2);
    let impatient = client.with_deadline(Duration::from_millis(300));
    let error = impatient.cluster().status(NodeId(2)).await.expect_err("dead");
    assert!(error.to_string().contains("q2:2379: Unavailable"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_transfer_whose_answer_is_lost_succeeds_when_another_leads() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    let leader = client
        .cluster()
        .transfer_leadership(Some(NodeId(3)))
        .await
        .expect("transferred");
    assert_eq!(leader.node, NodeId(3));
    cluster.elect(3, 2);

    cluster[3].script([Rule::Hang]);
    let transfer = tokio::spawn({
        let cluster = client.cluster();
        async move { cluster.transfer_leadership(None).await }
    });
    sleep(Duration::from_millis(100)).await;
    cluster.elect(1, 3);
    cluster.kill(3);
    let leader = transfer.await.expect("no panic").expect("transferred");
    assert_eq!((leader.node, leader.term.0), (NodeId(1), 3));
    assert_eq!(cluster[1].rules_left(), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_before_there_is_a_cluster_wait_for_it() {
    let cluster = Cluster::three().await;
    for node in 1..=3 {
        cluster.kill(node);
    }
    let client = cluster.client();
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(1).await }
    });
    sleep(Duration::from_secs(3)).await;
    for node in 1..=3 {
        cluster.restart(node).await;
    }
    let answered = timeout(Duration::from_secs(3), call)
        .await
        .expect("within the back-off");
    answered.expect("no panic").expect("allocated");
}
