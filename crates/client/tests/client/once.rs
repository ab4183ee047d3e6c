//! Writes that are executed once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use quorate_client::{Error, Outcome, v1};
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::cluster::{Cluster, database, sequences};
use crate::replica::{Rule, not_leader, refused};

fn lost() -> Status {
    Status::unavailable("the connection broke after it was executed")
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_given_again_under_the_same_number() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    assert_eq!(client.ids().allocate(10).await.expect("allocated"), 1..11);
    cluster[1].script([Rule::ExecuteThenAnswer(lost()), Rule::ExecuteThenAnswer(lost())]);
    assert_eq!(client.ids().allocate(10).await.expect("allocated"), 11..21);
    assert_eq!(client.ids().allocate(10).await.expect("allocated"), 21..31);
    let model = cluster.model();
    let arrived: Vec<u64> = model.arrived.iter().map(|id| id.sequence).collect();
    assert_eq!(arrived, [1, 2, 2, 2, 3]);
    let clients: BTreeSet<_> = model.arrived.iter().map(|id| &id.client_id).collect();
    assert_eq!(clients.len(), 1);
    drop(model);
    assert_eq!(sequences(cluster.model()), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_registration() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let root = client.root();
    let names: Vec<String> = (0..50).map(|n| format!("d{n}")).collect();
    let created = join_all(names.iter().map(|name| root.create_database(database(name)))).await;
    assert!(created.iter().all(Result::is_ok));
    let model = cluster.model();
    let clients: BTreeSet<_> = model.executed.iter().map(|(client, _)| client).collect();
    assert_eq!(clients.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_registering_passes_it_on() {
    let cluster = Cluster::leaderless(3).await;
    let client = cluster.client();
    let first = tokio::spawn({
        let ids = client.with_deadline(Duration::from_millis(100)).ids();
        async move { ids.allocate(1).await }
    });
    let second = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(1).await }
    });
    let error = first.await.expect("no panic").expect_err("nobody leads");
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
    cluster.elect(2, 1);
    assert_eq!(second.await.expect("no panic").expect("allocated"), 1..2);
}

#[tokio::test(start_paused = true)]
async fn never_more_answers_are_asked_for_than_the_cluster_keeps() {
    let cluster = Cluster::three().await;
    cluster.model().answers_max = 8;
    let client = cluster.client();
    // The first is stuck for a while and holds the floor down.
    cluster[1].script([Rule::Hang]);
    let stuck = tokio::spawn({
        let ids = client.with_deadline(Duration::from_secs(2)).ids();
        async move { ids.allocate(1).await }
    });
    while cluster[1].rules_left() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let ids = client.ids();
    let answers = join_all((0..100).map(|_| ids.allocate(1))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(stuck.await.expect("no panic").is_err());
    let model = cluster.model();
    assert!(model.answers_kept < 8, "{} answers were kept", model.answers_kept);
    assert!(model.arrived.iter().all(|id| id.floor <= id.sequence));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_a_caller_that_gave_up_is_not_used_again_and_is_given_up_to_the_cluster() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster[1].script([Rule::ExecuteThenHang]);
    let ids = client.ids();
    assert!(timeout(Duration::from_millis(50), ids.allocate(1)).await.is_err());
    client.ids().allocate(1).await.expect("allocated");
    let model = cluster.model();
    let last = model.arrived.last().expect("arrived");
    assert_eq!((last.sequence, last.floor), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_tells_what_is_known() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    let impatient = client.with_deadline(Duration::from_millis(500)).ids();
    cluster[1].script([Rule::ExecuteThenHang]);
    let error = impatient.allocate(1).await.expect_err("hangs");
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
    assert!(error.to_string().contains("still on its way"), "{error}");

    cluster[1].script((0..20).map(|_| Rule::Answer(not_leader(None))));
    let error = impatient.allocate(1).await.expect_err("refuses");
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
async fn a_forgotten_client_registers_again_when_nothing_can_have_been_executed() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster.model().evict();
    // The first attempt was answered "not executed"; only the second meets the forgetful cluster.
    cluster[1].script([Rule::Answer(not_leader(None))]);
    assert_eq!(client.ids().allocate(1).await.expect("allocated"), 2..3);
    let model = cluster.model();
    let clients: Vec<_> = model.executed.iter().map(|(client, _)| client).collect();
    assert_ne!(clients[0], clients[1]);
    drop(model);
    assert_eq!(sequences(cluster.model()), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_client_gives_up_a_write_that_may_have_been_executed() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster[1].script([
        Rule::ExecuteThenAnswer(lost()),
        Rule::Answer(refused(v1::Reason::ClientUnknown)),
    ]);
    let error = client.ids().allocate(1).await.expect_err("cannot be told");
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
    assert_eq!(cluster.model().executed.len(), 2, "it was not executed again");
    client
        .ids()
        .allocate(1)
        .await
        .expect("the next write is a new client's");
}

#[tokio::test(start_paused = true)]
async fn many_writes_of_a_forgotten_client_register_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster.model().evict();
    let ids = client.ids();
    let answers = join_all((0..30).map(|_| ids.allocate(1))).await;
    assert!(answers.iter().all(Result::is_ok));
    let model = cluster.model();
    let clients: BTreeSet<_> = model.executed.iter().map(|(client, _)| client).collect();
    assert_eq!((clients.len(), model.executed.len()), (2, 31));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_number_is_replaced_only_when_nothing_can_have_been_executed() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    cluster[1].script([Rule::Answer(refused(v1::Reason::RequestForgotten))]);
    client.ids().allocate(1).await.expect("allocated");
    assert_eq!(sequences(cluster.model()), [2], "under the next number");

    let forgotten = Rule::Answer(refused(v1::Reason::RequestForgotten));
    cluster[1].script([Rule::ExecuteThenAnswer(lost()), forgotten]);
    let error = client.ids().allocate(1).await.expect_err("cannot be told");
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

#[tokio::test(start_paused = true)]
async fn a_cluster_that_never_knows_the_client_is_a_protocol_error() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    cluster[1].script((0..50).map(|_| Rule::Answer(refused(v1::Reason::ClientUnknown))));
    let error = client.ids().allocate(1).await.expect_err("absurd");
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert!(cluster[1].rules_left() > 40);
}
