//! Start, stop, restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use quorate::{Coordinator, MemberName, MemoryDisk, MemoryLatency, MemoryStore, Network, StartError, Tcp};
use quorate_api::v1;
use quorate_client::Client;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Request;

use crate::cluster::{Cluster, LONG, Reserved, database, soon, trailer, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_outlives_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let network = Arc::new(Reserved::default());
    let listed = network.listed("solo").await;
    let start = || {
        Coordinator::builder()
            .name("solo")
            .replicas([listed.clone()])
            .data_dir(directory.path().join("data"))
            .bind("127.0.0.1")
            .network(Arc::clone(&network) as Arc<dyn Network>)
            .start()
    };
    let first = start().await.unwrap();
    soon(first.ready()).await.unwrap();
    let client = Client::connect([listed.client_address.clone()]).unwrap();
    let created = client.root().create_database(database("kept")).await.unwrap();
    soon(first.shutdown()).await;

    let again = start().await.unwrap();
    soon(again.ready()).await.unwrap();
    let kept = v1::DescribeDatabaseRequest {
        name: "kept".to_owned(),
    };
    let described = client
        .root()
        .describe_database(kept)
        .await
        .unwrap()
        .database
        .unwrap();
    assert_eq!(described.id, created.database_id);
    assert_eq!(again.replica().status().boot_count, 2);
    client.close().await;
    soon(again.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_coordinator_from_starting_is_told_in_one_line() {
    let network = Arc::new(Reserved::default());
    let listed = network.listed("solo").await;
    let builder = || {
        let store = MemoryStore::open(&MemoryDisk::new(), MemoryLatency::default()).unwrap();
        Coordinator::builder()
            .name("solo")
            .replicas([listed.clone()])
            .store(Arc::new(store))
            .bind("127.0.0.1")
    };
    let line = |started: Result<Coordinator, StartError>| {
        started.map(drop).expect_err("it cannot start").to_string()
    };

    // The reserved listeners have the ports, and this builder uses plain TCP.
    let taken = line(builder().start().await);
    let want = format!(
        "the address {} (for liveness links) is in use; stop",
        listed.liveness_address
    );
    assert!(taken.starts_with(&want) && !taken.contains('\n'), "{taken}");
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = builder()
        .network(network.clone())
        .http(http.local_addr().unwrap().to_string());
    let taken = line(taken.start().await);
    assert!(taken.contains("(for HTTP) is in use"), "{taken}");

    // Nothing was left behind: the same ports, now free, can be bound.
    let elsewhere = line(builder().bind("192.0.2.1").start().await);
    assert!(elsewhere.contains("is not one of this machine's"), "{elsewhere}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let not_a_directory = builder().data_dir(file.path()).start().await;
    assert!(
        matches!(&not_a_directory, Err(StartError::Store(_))),
        "{not_a_directory:?}"
    );
    let started = builder().start().await.unwrap();
    soon(started.ready()).await.unwrap();
    soon(started.shutdown()).await;
    for address in [
        &listed.client_address,
        &listed.peer_address,
        &listed.liveness_address,
    ] {
        assert!(Tcp.dial(address).await.is_err(), "{address} is closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_call() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, over) = (client.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    client.ids().allocate(1).await.expect("no write fails");
                    client
                        .root()
                        .list_databases(v1::ListDatabasesRequest::default())
                        .await
                        .expect("no read fails");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for number in 0..3 {
        cluster.stop_one(number).await;
        cluster.start_one(number).await;
        soon(cluster.at(number).ready()).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(soon(caller).await.unwrap() > 0);
    }
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_a_stream_that_ends_with_a_successor() {
    let cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let mut seen = cluster.at(old).leadership();
    let first = soon(seen.next()).await.unwrap();
    assert!(first.is_me && first.serving);
    let new = cluster.transfer().await;
    let address = cluster.listed[new].client_address.clone();
    loop {
        let leadership = soon(seen.next()).await.unwrap();
        if leadership
            .leader
            .is_some_and(|leader| leader.client_address == address)
        {
            assert!(!leadership.is_me && leadership.term > first.term);
            break;
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_call_does_not_keep_a_replica_from_stopping() {
    let mut cluster = Cluster::start(3).await;
    for number in [0, 1] {
        cluster.stop_one(number).await;
    }
    until("nobody leads", || async {
        cluster
            .at(2)
            .replica()
            .leadership()
            .borrow()
            .leader
            .is_none()
            .then_some(())
    })
    .await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(2));
    let mut request = Request::new(database("held"));
    request.set_timeout(LONG);
    let held = tokio::spawn(async move { root.create_database(request).await });
    let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(2));
    let mut topology = group
        .watch_topology(v1::WatchTopologyRequest {})
        .await
        .unwrap()
        .into_inner();
    soon(topology.message()).await.unwrap().unwrap();
    let began = Instant::now();
    cluster.stop_one(2).await;
    assert!(began.elapsed() < LONG / 2, "the drain is bounded");
    let status = soon(held).await.unwrap().expect_err("nobody led");
    assert_ne!(trailer(&status, "quorate-outcome"), Some("refused"));
    loop {
        match soon(topology.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(status) => panic!("a topology stream ends cleanly: {status:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_groups_run_in_one_process() {
    let (one, other) = (Cluster::start(1).await, Cluster::start(1).await);
    let (client, stranger) = (one.client(), other.client());
    client.root().create_database(database("mine")).await.unwrap();
    let mine = v1::DescribeDatabaseRequest {
        name: "mine".to_owned(),
    };
    assert!(stranger.root().describe_database(mine.clone()).await.is_err());
    assert!(client.root().describe_database(mine).await.is_ok());
    assert_ne!(
        one.at(0).replica().status().cluster,
        other.at(0).replica().status().cluster
    );
    client.close().await;
    stranger.close().await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_waits_for_its_group_and_says_for_whom() {
    let network = Arc::new(Reserved::default());
    let listed = [
        network.listed("a").await,
        network.listed("b").await,
        network.listed("c").await,
    ];
    let store = MemoryStore::open(&MemoryDisk::new(), MemoryLatency::default()).unwrap();
    let alone = Coordinator::builder()
        .name("a")
        .replicas(listed.clone())
        .store(Arc::new(store))
        .bind("127.0.0.1")
        .http("127.0.0.1:0")
        .drain_timeout(Duration::from_secs(1))
        .network(network.clone())
        .start()
        .await
        .unwrap();
    assert_eq!(alone.listed().name, MemberName::new("a").unwrap());
    let page = until("it says for whom it waits", || async {
        let page = crate::http::get(alone.http_address().unwrap(), "/readyz").await;
        Some(page).filter(|page| page.body.contains("waiting for b"))
    })
    .await;
    assert_eq!(page.code, 503);
    let mut group =
        v1::cluster_client::ClusterClient::new(crate::cluster::channel(&listed[0].client_address));
    let mut topology = group
        .watch_topology(v1::WatchTopologyRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = soon(topology.message()).await.unwrap().unwrap();
    assert_eq!(
        (first.leader, first.members.len(), first.cluster_id.len()),
        (None, 0, 0)
    );
    let status = group.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.role(), v1::Role::Forming);
    let mut root = v1::root_client::RootClient::new(crate::cluster::channel(&listed[0].client_address));
    let status = root
        .create_database(database("early"))
        .await
        .expect_err("no group yet");
    assert_eq!(trailer(&status, "quorate-outcome"), Some("not-executed"));
    soon(alone.shutdown()).await;
}
