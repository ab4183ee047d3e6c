//! The write stream.

use std::time::Duration;

use futures_util::future::join_all;
use quorate_client::{Error, Outcome, Writes, v1};
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::cluster::{Cluster, database, leader_lost, sequences};
use crate::replica::{Rule, address, hint, not_leader, overloaded, refused};

fn ids(count: u64) -> v1::AllocateIdsRequest {
    v1::AllocateIdsRequest { request: None, count }
}

/// Sends `count` allocations of one id each; returns the ids in the order sent.
async fn allocate(writes: &Writes, count: usize) -> Vec<u64> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(writes.send(ids(1)).await.expect("sent"));
    }
    let answers = join_all(answers).await;
    answers
        .into_iter()
        .map(|answer| answer.expect("answered").first)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn many_writes_are_under_way_and_each_gets_its_own_answer() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    assert_eq!(allocate(&writes, 500).await, (1..=500).collect::<Vec<_>>());
    let database = writes.send(database("books")).await.expect("sent");
    assert_eq!(database.await.expect("created").database_id, 500);
    let arrived = cluster.model().arrived.last().cloned().expect("arrived");
    assert_eq!((arrived.sequence, arrived.floor), (501, 501));
}

#[tokio::test(start_paused = true)]
async fn unanswered_writes_are_sent_again_to_the_new_leader_and_executed_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    allocate(&writes, 1).await;
    // Three are answered, the fourth is executed and never answered, the rest wait behind it.
    let lost = Status::unavailable("");
    cluster[1].script([Rule::ExecuteThenAnswer(lost), Rule::ExecuteThenHang]);
    let allocating = tokio::spawn({
        let writes = writes.clone();
        async move { allocate(&writes, 100).await }
    });
    while cluster[1].rules_left() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    cluster.kill(1);
    sleep(Duration::from_millis(20)).await;
    cluster.elect(3, 2);
    let mut given = allocating.await.expect("no panic");
    given.sort_unstable();
    assert_eq!(given, (2..=101).collect::<Vec<_>>());
    let mut executed = sequences(cluster.model());
    assert_eq!(executed.len(), 101);
    executed.dedup();
    assert_eq!(executed.len(), 101);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_in_the_stream_moves_all_of_it() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    allocate(&writes, 1).await;
    cluster[1].script([Rule::Answer(not_leader(Some(hint(2, 2))))]);
    cluster[2].think(2, Some(2));
    cluster[3].think(2, Some(2));
    assert_eq!(allocate(&writes, 10).await.len(), 10);
    assert_eq!(cluster.model().executed.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn single_writes_of_a_stream_fail_and_are_repeated_by_themselves() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    allocate(&writes, 1).await;
    cluster[1].script([
        Rule::Answer(overloaded(100)),
        Rule::ExecuteThenAnswer(Status::unavailable("?")),
    ]);
    assert_eq!(
        allocate(&writes, 3).await,
        [4, 2, 3],
        "the first came last, the second kept its answer"
    );

    let refused = writes
        .send(database("taken"))
        .await
        .expect("sent")
        .await
        .expect_err("taken");
    assert_eq!(refused.reason(), Some(v1::Reason::DatabaseExists));
    let unknown = v1::DropAliasRequest::default();
    let error = writes
        .send(unknown)
        .await
        .expect("sent")
        .await
        .expect_err("not in the model");
    assert!(
        matches!(error, Error::Unavailable { .. } | Error::Protocol { .. }),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_client_is_replaced_only_for_what_cannot_have_been_executed() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    allocate(&writes, 1).await;
    cluster.model().evict();
    assert_eq!(allocate(&writes, 5).await.len(), 5);
    assert_eq!(cluster.model().executed.len(), 6);

    let unknown = Rule::Answer(refused(v1::Reason::ClientUnknown));
    cluster[1].script([Rule::ExecuteThenAnswer(Status::unavailable("?")), unknown]);
    let error = writes
        .send(ids(1))
        .await
        .expect("sent")
        .await
        .expect_err("cannot be told");
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::Unknown,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(cluster.model().executed.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_for_writes_in_a_stream() {
    let cluster = Cluster::three().await;
    let client = cluster.client().with_deadline(Duration::from_secs(1));
    let writes = client.writes();
    allocate(&writes, 1).await;
    cluster[1].script([Rule::ExecuteThenHang]);
    let stuck = writes.send(ids(1)).await.expect("sent");
    let behind = writes.send(ids(1)).await.expect("sent");
    for answer in [stuck, behind] {
        let error = answer.await.expect_err("stuck");
        assert!(
            matches!(
                error,
                Error::Unavailable {
                    outcome: Outcome::Unknown,
                    ..
                }
            ),
            "{error}"
        );
    }
    // The stream is dead until the leader is; then nobody wants the old ones any more.
    cluster.network.cut(&address(1));
    assert_eq!(allocate(&writes, 1).await, [3]);

    for node in 1..=3 {
        cluster.kill(node);
    }
    leader_lost(&client).await;
    let error = writes
        .send(ids(1))
        .await
        .expect("sent")
        .await
        .expect_err("no cluster");
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
async fn sending_waits_when_too_many_are_unanswered() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    allocate(&writes, 1).await;
    cluster[1].script([Rule::Hang]);
    let mut sent = Vec::new();
    while let Ok(answer) = timeout(Duration::from_millis(500), writes.send(ids(1))).await {
        sent.push(answer.expect("sent"));
    }
    assert_eq!(
        sent.len(),
        1023,
        "one less than the answers that the cluster keeps"
    );
    cluster.network.cut(&address(1));
    let answers = join_all(sent).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cluster.model().executed.len(), 1024);
    assert!(cluster.model().answers_kept <= 1023);
}

#[tokio::test(start_paused = true)]
async fn answers_resolve_after_the_handle_is_dropped() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let writes = client.writes();
    let answer = writes.send(ids(1)).await.expect("sent");
    drop((writes, client));
    assert_eq!(answer.await.expect("answered").first, 1);
}
