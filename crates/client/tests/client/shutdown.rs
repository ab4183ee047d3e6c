//! Nothing is left behind.

use std::time::Duration;

use quorate_client::{Error, OnCompaction, Outcome, SessionState, v1};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::model::overloaded;
use crate::replica::Rule;

/// Connections end when the last task that holds them does; the far end notices a moment later.
async fn no_connections(cluster: &Cluster) -> bool {
    for _ in 0..100 {
        if cluster.network.connections() == 0 {
            return true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    false
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_everything() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    let writes = client.writes();
    drop(
        writes
            .send(v1::AllocateIdsRequest {
                request: None,
                count: 1,
            })
            .await
            .expect("sent"),
    );
    let session = client
        .session(v1::Worker::default(), Duration::from_secs(3))
        .open()
        .await
        .expect("opened");
    let watch = client.watch(v1::WatchRequest::default(), OnCompaction::End);
    drop((client, writes));
    sleep(Duration::from_secs(60)).await;
    assert!(cluster.network.connections() > 0, "the session goes on");
    assert_eq!(*session.state().borrow(), SessionState::Ready);
    drop((session, watch));
    assert!(no_connections(&cluster).await);
}

/// Everything else here runs on one thread; races between threads would not show.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_come_and_go_on_many_threads() {
    let cluster = std::sync::Arc::new(Cluster::three().await);
    let mut coming = tokio::task::JoinSet::new();
    for n in 0..200_u64 {
        let cluster = std::sync::Arc::clone(&cluster);
        coming.spawn(async move {
            let client = cluster.client_of(&[1 + n % 3]);
            let leader = client.ready().await.expect("a leader");
            assert_eq!(leader.term.0, 1);
            let (writes, ids) = (client.writes(), client.ids());
            let written = async {
                let request = v1::AllocateIdsRequest {
                    request: None,
                    count: 1,
                };
                writes
                    .send(request)
                    .await
                    .expect("sent")
                    .await
                    .expect("allocated")
                    .first
            };
            let (one, two) = tokio::join!(ids.allocate(1), written);
            let one = one.expect("allocated").start;
            client.close().await;
            [one, two]
        });
    }
    let mut given: Vec<u64> = coming.join_all().await.into_iter().flatten().collect();
    given.sort_unstable();
    assert_eq!(given, (1..=400).collect::<Vec<_>>());
    assert!(no_connections(&cluster).await);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_calls_under_way_and_joins_all_tasks() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    let other = client.clone();
    cluster[1].script([Rule::ExecuteThenHang]);
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(1).await }
    });
    while cluster[1].rules_left() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let session = client
        .session(v1::Worker::default(), Duration::from_secs(3))
        .open()
        .await;
    let session = session.expect("opened");
    let writes = client.writes();
    // One that is told to come back much later must not keep the client waiting.
    cluster[1].script([Rule::Answer(overloaded(u32::MAX))]);
    let rest = v1::AllocateIdsRequest {
        request: None,
        count: 1,
    };
    let _resting = writes.send(rest).await.expect("sent");
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    client.close().await;
    assert_eq!(
        *session.state().borrow(),
        SessionState::Closed,
        "joined, not only told"
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let error = call.await.expect("no panic").expect_err("closed");
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
    let error = other.ids().allocate(1).await.expect_err("closed");
    assert_eq!(error.to_string(), "the client was closed; nothing was executed");
    assert!(other.ready().await.is_err());
    let sent = writes
        .send(v1::AllocateIdsRequest {
            request: None,
            count: 1,
        })
        .await;
    assert!(matches!(sent, Err(Error::Unavailable { .. })));
    assert!(no_connections(&cluster).await);
}
