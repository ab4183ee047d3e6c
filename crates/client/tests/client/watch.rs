//! Watches across the deaths of replicas.

use std::time::Duration;

use quorate_client::{Error, OnCompaction, Watch, WatchItem, v1};
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::replica::address;

fn change(revision: u64) -> v1::WatchResponse {
    let event = v1::Event {
        revision,
        ..Default::default()
    };
    v1::WatchResponse {
        revision,
        events: vec![event],
        ..Default::default()
    }
}

fn from(from_revision: u64) -> v1::WatchRequest {
    v1::WatchRequest {
        from_revision,
        ..Default::default()
    }
}

/// The revisions of the events up to `last`, and "reset" signs as 0.
async fn revisions(watch: &mut Watch, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let next = timeout(Duration::from_secs(60), watch.next())
            .await
            .expect("goes on");
        match next.expect("does not end").expect("no error") {
            WatchItem::Events { events, .. } => seen.extend(events.iter().map(|event| event.revision)),
            WatchItem::Reset => seen.push(0),
            WatchItem::Synced { .. } => {}
            WatchItem::Compacted { floor } => panic!("compacted below {floor}"),
        }
    }
    seen
}

/// Kills the one replica that serves a watch; returns it.
fn kill_the_server(cluster: &Cluster, before: [usize; 3]) -> u64 {
    let node = (1..=3)
        .zip(before)
        .find(|(node, before)| cluster[*node].watches() > *before);
    let (node, _) = node.expect("somebody serves the watch");
    cluster.kill(node);
    node
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_at_another_replica_without_gap_or_repetition() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    cluster.model().history = (1..=5).map(change).collect();
    let mut watch = client.watch(from(2), OnCompaction::End);
    assert_eq!(revisions(&mut watch, 5).await, [2, 3, 4, 5]);

    let first = kill_the_server(&cluster, [0; 3]);
    // The next replica repeats what was delivered already.
    cluster.model().history = vec![change(6), change(5), change(6), change(7)];
    assert_eq!(revisions(&mut watch, 7).await, [6, 7]);

    let before = [1, 2, 3].map(|node| if node == first { usize::MAX } else { 0 });
    kill_the_server(&cluster, before);
    cluster.model().history = (1..=9).map(change).collect();
    assert_eq!(revisions(&mut watch, 9).await, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_outlives_the_whole_cluster() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    cluster.model().history = vec![change(1)];
    let mut watch = client.watch(from(1), OnCompaction::End);
    assert_eq!(revisions(&mut watch, 1).await, [1]);
    for node in 1..=3 {
        cluster.kill(node);
    }
    assert!(
        timeout(Duration::from_secs(100), watch.next()).await.is_err(),
        "it waits"
    );
    cluster.model().history.push(change(2));
    for node in 1..=3 {
        cluster.restart(node).await;
    }
    assert_eq!(revisions(&mut watch, 2).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_falls_silent_is_left() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    sleep(Duration::from_secs(1)).await;
    cluster.model().history = vec![change(1)];
    let mut watch = client.watch(from(1), OnCompaction::End);
    assert_eq!(revisions(&mut watch, 1).await, [1]);
    let silent = (1..=3)
        .find(|node| cluster[*node].watches() > 0)
        .expect("somebody serves it");
    cluster.network.freeze(&address(silent), true);
    cluster.model().history.push(change(2));
    assert_eq!(revisions(&mut watch, 2).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_history_is_gone_ends() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    cluster.model().compacted_below = 40;
    let mut watch = client.watch(from(7), OnCompaction::End);
    let item = watch.next().await.expect("an item").expect("no error");
    assert_eq!(item, WatchItem::Compacted { floor: 40 });
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_history_is_gone_begins_anew_when_asked() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    {
        let mut model = cluster.model();
        model.compacted_below = 40;
        let mut state = change(3);
        (state.revision, state.synced) = (45, true);
        model.history = vec![state, change(46)];
    }
    let mut watch = client.watch(from(7), OnCompaction::Restart);
    assert_eq!(revisions(&mut watch, 46).await, [0, 3, 46]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_breaks_off_is_reset() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let mut part = change(3);
    part.revision = 9;
    cluster.model().history = vec![part.clone()];
    let request = v1::WatchRequest {
        with_state: true,
        ..Default::default()
    };
    let mut watch = client.watch(request, OnCompaction::End);
    assert_eq!(revisions(&mut watch, 3).await, [3]);
    kill_the_server(&cluster, [0; 3]);
    part.synced = true;
    cluster.model().history = vec![part, change(10)];
    assert_eq!(revisions(&mut watch, 10).await, [0, 3, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_ends_its_watches() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let mut watch = client.watch(from(0), OnCompaction::End);
    let watching = tokio::spawn(async move { (watch.next().await, watch.next().await) });
    sleep(Duration::from_secs(1)).await;
    client.close().await;
    let (last, after) = watching.await.expect("no panic");
    assert!(matches!(last, Some(Err(Error::Unavailable { .. }))));
    assert!(after.is_none());
}
