//! Who is asked in the wrong place is told the right one; who asks while nobody leads is held.

use std::time::Duration;

use futures_util::stream;
use quorate_api::v1;
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use crate::cluster::{Cluster, LONG, collection, database, soon, trailer, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_for_every_kind_of_call() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let channel = || cluster.channel(follower);
    let mut root = v1::root_client::RootClient::new(channel());
    let mut ids = v1::ids_client::IdsClient::new(channel());
    let mut clients = v1::clients_client::ClientsClient::new(channel());
    let mut sessions = v1::sessions_client::SessionsClient::new(channel());
    let mut group = v1::cluster_client::ClusterClient::new(channel());
    let mut writes = v1::writes_client::WritesClient::new(channel());

    let write = v1::WriteRequest {
        tag: 1,
        write: Some(v1::write_request::Write::CreateDatabase(database("w"))),
    };
    let worker = v1::Worker {
        kind: v1::WorkerKind::Proxy.into(),
        name: "p".to_owned(),
        address: "p:1".to_owned(),
        ..Default::default()
    };
    let open = v1::OpenSession {
        worker: Some(worker),
        ttl_ms: 10_000,
        session_id: 0,
        epoch: 0,
    };
    let open = v1::AttachRequest {
        kind: Some(v1::attach_request::Kind::Open(open)),
    };
    let mut attached = sessions.attach(stream::iter([open])).await.unwrap().into_inner();

    let registered = clients
        .register(v1::RegisterRequest {
            client_id: vec![7; 16],
        })
        .await;
    let answers: Vec<(&str, Result<(), Status>)> = vec![
        ("a write", root.create_database(database("w")).await.map(drop)),
        (
            "a read",
            root.list_databases(v1::ListDatabasesRequest::default())
                .await
                .map(drop),
        ),
        (
            "ids",
            ids.allocate(v1::AllocateIdsRequest {
                count: 1,
                request: None,
            })
            .await
            .map(drop),
        ),
        ("a registration", registered.map(drop)),
        (
            "sessions",
            sessions
                .list_sessions(v1::ListSessionsRequest::default())
                .await
                .map(drop),
        ),
        (
            "a transfer",
            group
                .transfer_leadership(v1::TransferLeadershipRequest { to: 0 })
                .await
                .map(drop),
        ),
        (
            "a write stream",
            writes.write(stream::iter([write])).await.map(drop),
        ),
        ("a session's stream", soon(attached.message()).await.map(drop)),
    ];
    let address = cluster.listed[leader].client_address.as_str();
    let node = cluster.node(leader).to_string();
    for (call, answer) in answers {
        let status = answer.expect_err(call);
        assert_eq!(status.code(), Code::FailedPrecondition, "{call}: {status:?}");
        assert_eq!(
            trailer(&status, "quorate-outcome"),
            Some("not-executed"),
            "{call}"
        );
        assert_eq!(
            trailer(&status, "quorate-leader-address"),
            Some(address),
            "{call}"
        );
        assert_eq!(
            trailer(&status, "quorate-leader-id"),
            Some(node.as_str()),
            "{call}"
        );
        let term: u64 = trailer(&status, "quorate-leader-term").unwrap().parse().unwrap();
        assert!(term >= 1, "{call}");
    }
    // The leader has none of it.
    let mut root = v1::root_client::RootClient::new(cluster.channel(leader));
    let unknown = root
        .describe_database(v1::DescribeDatabaseRequest { name: "w".to_owned() })
        .await;
    let status = unknown.expect_err("not created");
    assert_eq!(
        (status.code(), trailer(&status, "quorate-reason")),
        (Code::NotFound, Some("DATABASE_NOT_FOUND"))
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_pushes_a_change_of_leader() {
    let cluster = Cluster::start(3).await;
    let mut streams = Vec::new();
    for number in 0..3 {
        let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(number));
        let mut stream = group
            .watch_topology(v1::WatchTopologyRequest {})
            .await
            .unwrap()
            .into_inner();
        let first = soon(stream.message()).await.unwrap().unwrap();
        assert_eq!(first.node_id, cluster.node(number));
        assert_eq!((first.cluster_id.len(), first.members.len()), (16, 3));
        assert!(first.members.iter().all(|member| member.voter));
        streams.push((first.term, stream));
    }
    let old = cluster.leader().await;
    let to = cluster.follower().await;
    let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(old));
    let request = v1::TransferLeadershipRequest { to: cluster.node(to) };
    let answer = soon(group.transfer_leadership(request))
        .await
        .unwrap()
        .into_inner();
    let leader = answer.leader.unwrap();
    assert_eq!(leader.node_id, cluster.node(to));
    // Who lost the answer asks again, the new leader now: what it wants is so, and nothing changes.
    let mut there = v1::cluster_client::ClusterClient::new(cluster.channel(to));
    let again = soon(there.transfer_leadership(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.leader.as_ref(), Some(&leader));
    for (term, mut stream) in streams {
        let told = loop {
            let topology = soon(stream.message()).await.unwrap().unwrap();
            assert!(topology.term >= term, "terms do not go back");
            if let Some(told) = topology.leader.filter(|told| told.term > term) {
                break told;
            }
        };
        assert_eq!(told, leader);
    }
    let stranger = v1::TransferLeadershipRequest { to: 99 };
    let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(cluster.leader().await));
    let status = group
        .transfer_leadership(stranger)
        .await
        .expect_err("no such voter");
    assert_eq!(crate::cluster::malformed_field(&status), "to");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topology_repeats_so_that_silence_means_death() {
    let cluster = Cluster::start(1).await;
    let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(0));
    let mut stream = group
        .watch_topology(v1::WatchTopologyRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    let again = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(first, again, "nothing has changed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_replica_has_nobody_to_hand_over_to() {
    let cluster = Cluster::start(1).await;
    let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(0));
    let answer = group
        .transfer_leadership(v1::TransferLeadershipRequest { to: 0 })
        .await;
    let status = answer.expect_err("nobody else");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(trailer(&status, "quorate-reason"), Some("NO_SUCCESSOR"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_held_while_nobody_leads_and_answered_at_their_deadline() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    let (alone, other) = (others[0], others[1]);
    // The first write to the failing disk is to be ours.
    cluster.settled().await;
    cluster.stop_one(other).await;
    // An orderly stop would hand leadership over, and an isolated leader answers at once.
    cluster.disks[leader].fail_writes(true);
    let mut root = v1::root_client::RootClient::new(cluster.channel(leader));
    let status = root
        .create_database(database("lost"))
        .await
        .expect_err("the disk has failed");
    assert_eq!(
        (status.code(), trailer(&status, "quorate-outcome")),
        (Code::Unavailable, Some("unknown"))
    );
    cluster.stop_one(leader).await;
    until("nobody leads", || async {
        cluster
            .at(alone)
            .replica()
            .leadership()
            .borrow()
            .leader
            .is_none()
            .then_some(())
    })
    .await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(alone));

    // Nothing was executed, and that is said before the caller stops waiting.
    let patience = Duration::from_millis(400);
    let began = Instant::now();
    let mut request = Request::new(database("held"));
    request.set_timeout(patience);
    let status = root.create_database(request).await.expect_err("nobody leads");
    assert!(began.elapsed() >= patience / 2, "it was held");
    let outcome = trailer(&status, "quorate-outcome").expect("it is told");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(["not-executed", "unknown"].contains(&outcome), "{outcome}");
    let mut request = Request::new(v1::ListDatabasesRequest::default());
    request.set_timeout(patience);
    let status = root.list_databases(request).await.expect_err("nobody leads");
    assert_eq!(
        (status.code(), trailer(&status, "quorate-outcome")),
        (Code::Unavailable, Some("not-executed"))
    );

    // A held call goes through as soon as there is a leader again, here or by a redirect.
    let mut held = root.clone();
    let mut request = Request::new(collection("held"));
    request.set_timeout(LONG);
    let held = tokio::spawn(async move { held.create_collection(request).await });
    cluster.start_one(other).await;
    match soon(held).await.unwrap() {
        Ok(created) => assert!(created.into_inner().collection_id > 0),
        Err(status) => {
            let seen: Vec<_> = cluster.running().map(|one| one.replica().status()).collect();
            let address = trailer(&status, "quorate-leader-address");
            let address = address.unwrap_or_else(|| panic!("no redirect: {status:?}; {seen:#?}"));
            assert_eq!(address, cluster.listed[other].client_address);
        }
    }
    cluster.stop().await;
}
