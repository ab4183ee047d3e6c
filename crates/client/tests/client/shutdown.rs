//! Nothing is left behind.

use std::time::Duration;

use quorate_client::{Error, OnCompaction, Outcome, v1};
use tokio::time::sleep;

use crate::cluster::Cluster;
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
    assert_eq!(*session.state().borrow(), quorate_client::SessionState::Ready);
    drop((session, watch));
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
    let writes = client.writes();
    sleep(Duration::from_millis(100)).await;
    client.close().await;
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
    assert_eq!(
        *session.expect("opened").state().borrow(),
        quorate_client::SessionState::Closed
    );
    assert!(no_connections(&cluster).await);
}
