//! What an operator does on purpose: no call fails.

use quorate_local::State;

use crate::support::{LONG, Running, ended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_of_the_leader_fails_no_call() {
    let cluster = Running::start(3).await;
    let load = cluster.load("term").await;
    load.progress(150, LONG).await.unwrap();
    let leader = cluster.leader().await;
    leader.terminate().unwrap();
    ended(leader).await;
    assert_eq!(
        leader.state(),
        State::Exited("exit status: 0".to_owned()),
        "{}",
        leader.log_tail()
    );
    load.progress(150, LONG).await.unwrap();
    leader.start().unwrap();
    cluster.ready(LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_call() {
    let cluster = Running::start(3).await;
    let load = cluster.load("rolling").await;
    load.progress(100, LONG).await.unwrap();
    for process in cluster.processes() {
        process.terminate().unwrap();
        ended(process).await;
        assert_eq!(
            process.state(),
            State::Exited("exit status: 0".to_owned()),
            "{}",
            process.log_tail()
        );
        process.start().unwrap();
        cluster.ready(LONG).await.unwrap();
        load.progress(50, LONG).await.unwrap();
    }
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_where_it_is_sent_and_fails_no_call() {
    let cluster = Running::start(3).await;
    let load = cluster.load("transfer").await;
    load.progress(100, LONG).await.unwrap();
    let client = cluster.client().unwrap();
    for _ in 0..2 {
        for process in cluster.processes() {
            let leader = client
                .cluster()
                .transfer_leadership(Some(process.node()))
                .await
                .unwrap();
            assert_eq!(leader.node, process.node());
            load.progress(50, LONG).await.unwrap();
        }
    }
    let before = cluster.ready(LONG).await.unwrap();
    let leader = client.cluster().transfer_leadership(None).await.unwrap();
    assert_ne!(leader.node, before.node, "the leader chose another");
    let error = client
        .cluster()
        .transfer_leadership(Some(quorate_types::NodeId(77)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("77"), "{error}");
    client.close().await;
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_catches_up_by_a_snapshot() {
    let cluster = Running::with(3, |plan| {
        plan.argument("--snapshot-every")
            .argument("100")
            .argument("--snapshot-keep")
            .argument("10")
    })
    .await;
    let load = cluster.load("snapshot").await;
    load.progress(100, LONG).await.unwrap();
    let client = cluster.client().unwrap();
    let away = cluster.followers().await[0];
    let last = client.cluster().status(away.node()).await.unwrap().last_log_index;
    let leader = cluster.leader().await.node();
    away.kill().unwrap();
    ended(away).await;
    loop {
        load.progress(200, LONG).await.unwrap();
        // Beyond what it could still have been sent when it died.
        if client.cluster().status(leader).await.unwrap().purged_index > last + 200 {
            break;
        }
    }
    away.start().unwrap();
    cluster.ready(LONG).await.unwrap();
    load.progress(50, LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
    let status = client.cluster().status(away.node()).await.unwrap();
    assert!(status.snapshot_index > last, "{status:?}");
    client.close().await;
}
