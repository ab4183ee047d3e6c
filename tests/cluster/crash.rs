//! Processes that die or hang under load.

use quorate_client::{SessionState, v1};
use quorate_local::State;
use std::time::Duration;

use crate::support::{LONG, PAUSE, PAUSE_LAN, Running, calm, ended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_leader_loses_nothing_and_fails_no_call() {
    let cluster = Running::start(3).await;
    let load = cluster.load("killed").await;
    load.progress(200, LONG).await.unwrap();
    for _ in 0..3 {
        let leader = cluster.leader().await;
        leader.kill().unwrap();
        ended(leader).await;
        load.progress(150, LONG).await.unwrap();
        assert_ne!(cluster.leader().await.node(), leader.node());
        leader.start().unwrap();
        cluster.ready(LONG).await.unwrap();
        load.progress(50, LONG).await.unwrap();
    }
    cluster.verdict_without_failures(load).await;
}

#[test]
fn kill_9_of_a_follower_is_not_noticed() {
    calm(PAUSE, async || {
        let cluster = Running::start(3).await;
        let load = cluster.load("follower").await;
        load.progress(100, LONG).await.unwrap();
        let before = cluster.ready(LONG).await.unwrap();
        for follower in cluster.followers().await {
            follower.kill().unwrap();
            ended(follower).await;
            load.progress(100, LONG).await.unwrap();
            follower.start().unwrap();
            cluster.ready(LONG).await.unwrap();
        }
        let after = cluster.ready(LONG).await.unwrap();
        assert_eq!(
            (after.node, after.term),
            (before.node, before.term),
            "the leader leads on"
        );
        cluster.verdict_without_failures(load).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_replicas_bear_the_death_of_the_leader_and_another() {
    let cluster = Running::start(5).await;
    let load = cluster.load("five").await;
    load.progress(100, LONG).await.unwrap();
    let leader = cluster.leader().await;
    let other = cluster.followers().await[0];
    leader.kill().unwrap();
    other.kill().unwrap();
    load.progress(150, LONG).await.unwrap();
    for process in [leader, other] {
        ended(process).await;
        process.start().unwrap();
    }
    cluster.ready(LONG).await.unwrap();
    load.progress(50, LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_keeps_what_it_acknowledged() {
    let cluster = Running::start(1).await;
    let load = cluster.load("single").await;
    for _ in 0..3 {
        load.progress(100, LONG).await.unwrap();
        let only = &cluster.processes()[0];
        only.kill().unwrap();
        ended(only).await;
        only.start().unwrap();
        cluster.ready(LONG).await.unwrap();
    }
    cluster.verdict_without_failures(load).await;
}

/// The calls that hang at the paused leader must be carried on elsewhere, and what it says when it wakes must be void.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hangs_is_replaced_and_wakes_up_harmless() {
    let cluster = Running::with(3, |plan| plan.profile("lan")).await;
    let load = cluster.load("paused").await;
    load.progress(100, LONG).await.unwrap();
    for _ in 0..3 {
        let leader = cluster.leader().await;
        leader.pause().unwrap();
        load.progress(150, LONG).await.unwrap();
        assert_ne!(cluster.leader().await.node(), leader.node());
        leader.resume().unwrap();
        cluster.ready(LONG).await.unwrap();
        load.progress(50, LONG).await.unwrap();
    }
    cluster.verdict_without_failures(load).await;
}

#[test]
fn a_follower_that_hangs_is_not_noticed() {
    calm(PAUSE_LAN, async || {
        let cluster = Running::with(3, |plan| plan.profile("lan")).await;
        let load = cluster.load("hanging").await;
        load.progress(100, LONG).await.unwrap();
        let before = cluster.ready(LONG).await.unwrap();
        let follower = cluster.followers().await[0];
        follower.pause().unwrap();
        load.progress(400, LONG).await.unwrap();
        assert_eq!(follower.state(), State::Paused);
        follower.resume().unwrap();
        let after = cluster.ready(LONG).await.unwrap();
        load.progress(50, LONG).await.unwrap();
        assert_eq!(
            (after.node, after.term),
            (before.node, before.term),
            "the leader leads on"
        );
        cluster.verdict_without_failures(load).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_dies_at_once_and_comes_back() {
    let cluster = Running::start(3).await;
    let load = cluster.load("all").await;
    for _ in 0..2 {
        load.progress(150, LONG).await.unwrap();
        for process in cluster.processes() {
            process.kill().unwrap();
        }
        for process in cluster.processes() {
            ended(process).await;
            process.start().unwrap();
        }
        cluster.ready(LONG).await.unwrap();
    }
    load.progress(50, LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_the_leader_that_opened_them() {
    let cluster = Running::start(3).await;
    let client = cluster.client().unwrap();
    let mut sessions = Vec::new();
    for number in 0..20 {
        let mut worker = v1::Worker {
            name: format!("worker{number}"),
            address: format!("10.0.0.9:{}", 9_000 + number),
            ..Default::default()
        };
        worker.set_kind(v1::WorkerKind::QueryNode);
        sessions.push(
            client
                .session(worker, Duration::from_secs(30))
                .open()
                .await
                .unwrap(),
        );
    }
    let known = || async {
        let request = v1::ListSessionsRequest::default();
        let listed = client.sessions().list(request).await.unwrap().sessions;
        let mut known: Vec<_> = listed
            .iter()
            .map(|session| (session.session_id, session.epoch))
            .collect();
        known.sort_unstable();
        known
    };
    let before = known().await;
    let mut opened: Vec<_> = sessions
        .iter()
        .map(|session| (session.id(), session.epoch().0))
        .collect();
    opened.sort_unstable();
    assert_eq!(before, opened);
    for _ in 0..2 {
        let leader = cluster.leader().await;
        leader.kill().unwrap();
        for session in &sessions {
            let mut states = session.state();
            // Most have noticed nothing yet; those that have, get over it.
            let settled = states.wait_for(|state| !matches!(state, SessionState::Jeopardy { .. }));
            assert_eq!(*settled.await.unwrap(), SessionState::Ready);
        }
        ended(leader).await;
        leader.start().unwrap();
        cluster.ready(LONG).await.unwrap();
        assert_eq!(
            known().await,
            before,
            "no session was lost, none got another epoch"
        );
    }
    for session in sessions {
        session.close().await.unwrap();
    }
    assert_eq!(known().await, []);
    client.close().await;
}
