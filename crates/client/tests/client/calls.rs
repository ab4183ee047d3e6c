//! Finding the leader and getting an answer.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use quorate_client::{Error, Outcome, v1};
use quorate_types::NodeId;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use crate::cluster::{Cluster, database, leader_lost};
use crate::replica::{Rule, address, hint, not_leader, overloaded, refused};

/// Less than any pause of the client: what takes no longer has waited for no timer.
const AT_ONCE: Duration = Duration::from_millis(25);

fn has(name: &str) -> v1::HasCollectionRequest {
    v1::HasCollectionRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn any_one_seed_leads_to_the_leader_and_all_members() {
    let cluster = Cluster::three().await;
    for seed in 1..=3 {
        let client = cluster.client_of(&[seed]);
        let leader = client.ready().await.expect("a leader");
        assert_eq!(
            (leader.node, leader.term.0, leader.address),
            (NodeId(1), 1, address(1))
        );
        assert_eq!(client.members().len(), 3);
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_is_pushed_and_requests_go_there_without_a_redirect() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    let mut leader = client.leader();
    cluster.elect(2, 2);
    leader
        .wait_for(|l| l.as_ref().is_some_and(|l| l.node == NodeId(2)))
        .await
        .expect("pushed");
    let begun = Instant::now();
    client.ids().allocate(1).await.expect("allocated");
    assert!(begun.elapsed() < AT_ONCE);
    assert_eq!(
        cluster.model().arrived.len(),
        2,
        "no attempt went to the old leader"
    );
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_at_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    // Only the old and the new leader know yet; nothing has been pushed for the redirect's term.
    cluster[1].script([Rule::Answer(not_leader(Some(hint(3, 2))))]);
    cluster[3].think(2, Some(3));
    let begun = Instant::now();
    client.ids().allocate(1).await.expect("allocated");
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_survive_the_leaders_death_and_are_executed_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    // Half of them were executed and not answered, half not even that.
    cluster[1].script((0..20).map(|n| {
        if n % 2 == 0 {
            Rule::ExecuteThenHang
        } else {
            Rule::Hang
        }
    }));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let ids = client.ids();
            tokio::spawn(async move { ids.allocate(1).await })
        })
        .collect();
    while cluster[1].rules_left() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    cluster.kill(1);
    cluster[2].think(1, None);
    cluster[3].think(1, None);
    let begun = Instant::now();
    sleep(Duration::from_millis(10)).await;
    cluster.elect(2, 2);
    let mut given: Vec<u64> = Vec::new();
    for answer in join_all(calls).await {
        given.push(answer.expect("no panic").expect("allocated").start);
    }
    assert!(
        begun.elapsed() < Duration::from_millis(10) + AT_ONCE,
        "{:?}",
        begun.elapsed()
    );
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 20, "no id is given twice");
    assert_eq!(cluster.model().executed.len(), 21, "no write is executed twice");
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_disagree_the_higher_term_is_followed() {
    let cluster = Cluster::leaderless(3).await;
    cluster[1].think(4, Some(1));
    cluster[2].think(5, Some(3));
    cluster[3].think(5, Some(3));
    // The old leader has the lower term, and would hang whoever believes it.
    cluster[1].script([Rule::Hang, Rule::Hang]);
    let client = cluster.client();
    let mut leader = client.leader();
    leader
        .wait_for(|l| l.as_ref().is_some_and(|l| l.term.0 == 5))
        .await
        .expect("known");
    client.ids().allocate(1).await.expect("allocated");
    assert_eq!(leader.borrow().as_ref().map(|l| l.node), Some(NodeId(3)));
    assert_eq!(cluster[1].rules_left(), 2, "the old leader was not asked");
}

#[tokio::test(start_paused = true)]
async fn an_old_leader_that_still_answers_its_stream_is_not_believed_again() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    cluster[2].think(2, Some(2));
    cluster[3].think(2, Some(2));
    let mut leader = client.leader();
    leader
        .wait_for(|l| l.as_ref().is_some_and(|l| l.term.0 == 2))
        .await
        .expect("known");
    // Cut off from its group, it goes on saying that it leads in term 1, every five seconds.
    sleep(Duration::from_secs(30)).await;
    assert_eq!(leader.borrow().as_ref().map(|l| l.node), Some(NodeId(2)));
    client.ids().allocate(1).await.expect("allocated");
}

#[tokio::test(start_paused = true)]
async fn a_request_during_an_election_is_held_by_a_replica_and_then_answered() {
    let cluster = Cluster::leaderless(3).await;
    let client = cluster.client();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.root().has_collection(has("books")).await }
    });
    sleep(Duration::from_millis(400)).await;
    assert!(!call.is_finished());
    let begun = Instant::now();
    cluster.elect(3, 7);
    assert!(!call.await.expect("no panic").expect("answered").exists);
    assert!(
        begun.elapsed() < Duration::from_millis(50),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_left_when_another_is_elected() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster[1].script([Rule::ExecuteThenHang]);
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(5).await }
    });
    sleep(Duration::from_millis(500)).await;
    cluster.elect(2, 2);
    let begun = Instant::now();
    let ids = call.await.expect("no panic").expect("allocated");
    assert_eq!(ids, 2..7, "the recorded answer");
    assert!(
        begun.elapsed() < Duration::from_millis(50),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(cluster.model().executed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_noticed_and_left() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    // The host is gone: no connection breaks, nothing is answered.
    cluster.network.freeze(&address(1), true);
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(1).await }
    });
    sleep(Duration::from_secs(1)).await;
    cluster[2].think(2, Some(2));
    cluster[3].think(2, Some(2));
    call.await.expect("no panic").expect("allocated");
    // HTTP/2 pings find the dead connection; then it is only dialled now and then.
    sleep(Duration::from_secs(10)).await;
    let leader = client.leader().borrow().clone();
    assert_eq!(leader.map(|l| l.node), Some(NodeId(2)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_to_a_living_leader_costs_no_pause() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    for _ in 0..3 {
        cluster.network.cut(&address(1));
        let begun = Instant::now();
        client.ids().allocate(1).await.expect("allocated");
        assert!(
            begun.elapsed() < Duration::from_millis(40),
            "{:?}",
            begun.elapsed()
        );
        sleep(Duration::from_secs(2)).await;
    }
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
async fn replicas_that_point_at_each_other_are_not_asked_in_a_loop() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    // The leader denies and names itself, again and again.
    cluster[1].script((0..1000).map(|_| Rule::Answer(not_leader(Some(hint(1, 1))))));
    let error = client.ids().allocate(1).await.expect_err("nobody takes it");
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
    let asked = 1000 - cluster[1].rules_left();
    assert!(asked < 60, "{asked} times in ten seconds");
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
