//! Processes that die or hang under load.

use crate::support::{LONG, Running};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_leader_loses_nothing_and_fails_no_call() {
    let cluster = Running::start(3).await;
    let load = cluster.load("killed").await;
    load.progress(200, LONG).await.unwrap();
    for _ in 0..3 {
        let leader = cluster.leader().await;
        leader.kill().unwrap();
        leader.exited().await;
        load.progress(150, LONG).await.unwrap();
        assert_ne!(cluster.leader().await.node(), leader.node());
        leader.start().unwrap();
        cluster.ready(LONG).await.unwrap();
        load.progress(50, LONG).await.unwrap();
    }
    cluster.verdict_without_failures(load).await;
}
