//! The pods of a StatefulSet, with the environment that deploy/ gives them and names that are resolved: started in any
//! order, wiped, moved to other addresses, killed all at once. Each time it is one and the same cluster, nothing is lost, and
//! nobody has to do anything by hand.

use std::net::Ipv4Addr;
use std::time::Duration;

use quorate_client::v1;
use quorate_testkit::agree::agree;
use quorate_testkit::load::{Load, Shape};
use quorate_testkit::netns::{CLIENT_PORT, Group, Plan};
use quorate_types::NodeId;
use tokio::time::{sleep, timeout};
use tonic::Request;
use tonic::transport::Endpoint;

use crate::Test;
use crate::support::{LONG, plan};

pub(crate) const TESTS: &[Test] = &[
    ("a_stateful_set_whose_third_pod_comes_late", third_pod_comes_late),
    (
        "a_stateful_set_whose_pods_are_wiped_moved_and_killed",
        wiped_moved_and_killed,
    ),
];

const DOMAIN: &str = "quorate-peers.default.svc";

fn pods() -> Plan {
    plan().stateful_set(DOMAIN)
}

/// The address of a pod that has moved.
fn elsewhere(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + u8::try_from(host).unwrap())
}

/// What a replica says of itself; `None` while it says nothing.
async fn status(group: &Group, host: usize) -> Option<v1::StatusResponse> {
    let channel = Endpoint::from_shared(format!("http://{}", group.seed(host)))
        .unwrap()
        .connect_lazy();
    let mut request = Request::new(v1::StatusRequest {});
    request.set_timeout(Duration::from_secs(1));
    let answer = v1::cluster_client::ClusterClient::new(channel)
        .status(request)
        .await;
    Some(answer.ok()?.into_inner())
}

/// Waits until all three are voters of one cluster with one leader, and gives the cluster's id and the leader's host.
async fn one_cluster(group: &Group) -> (Vec<u8>, usize) {
    let mut last = Vec::new();
    let whole = async {
        loop {
            last.clear();
            for host in 0..3 {
                last.push(status(group, host).await.and_then(|status| status.topology));
            }
            let topologies: Vec<&v1::Topology> = last.iter().flatten().collect();
            let agreed = topologies.len() == 3
                && topologies
                    .iter()
                    .all(|one| one.leader.is_some() && one.leader == topologies[0].leader)
                && topologies
                    .iter()
                    .all(|one| one.cluster_id == topologies[0].cluster_id)
                && topologies
                    .iter()
                    .all(|one| one.members.len() == 3 && one.members.iter().all(|member| member.voter));
            if agreed {
                let leader = topologies[0].leader.as_ref().unwrap().node_id;
                let host = topologies.iter().position(|one| one.node_id == leader).unwrap();
                return (topologies[0].cluster_id.clone(), host);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(LONG, whole).await;
    waited.unwrap_or_else(|_| panic!("never one cluster of three voters; last: {last:#?}"))
}

async fn load(group: &Group) -> Load {
    let moved = (0..3).map(|host| format!("{}:{CLIENT_PORT}", elsewhere(host)));
    let seeds: Vec<String> = group.seeds().into_iter().chain(moved).collect();
    let shape = Shape {
        deadline: LONG,
        ..Shape::default()
    };
    Load::start(&seeds, shape).await.unwrap()
}

/// Nothing was lost, doubled or stale, no call failed, and all replicas agree.
async fn verdict(group: &Group, load: Load) {
    let recorded = load.finish(LONG).await.unwrap();
    let violations = recorded.violations();
    assert!(
        violations.is_empty(),
        "{:#?}",
        &violations[..violations.len().min(5)]
    );
    assert_eq!(recorded.record.failed(), Vec::<String>::new());
    assert!(
        recorded.record.acknowledged() > 100,
        "so little was done that nothing was tested"
    );
    println!(
        "{} writes acknowledged, no call failed",
        recorded.record.acknowledged()
    );
    let client = quorate_client::Client::connect(group.seeds()).unwrap();
    client.ready().await.unwrap();
    let nodes: Vec<NodeId> = client
        .members()
        .iter()
        .map(|member| NodeId(member.node_id))
        .collect();
    agree(&client, &nodes, LONG).await.unwrap();
    client.close().await;
}

fn on_pods(test: impl AsyncFnOnce(&Group) + Send) {
    let mut group = Group::new(pods()).unwrap();
    let run = std::panic::AssertUnwindSafe(|| group.network().inside(async || test(&group).await).unwrap());
    if let Err(panic) = std::panic::catch_unwind(run) {
        group.keep_files();
        eprintln!("logs and data are kept in {}", group.directory().display());
        std::panic::resume_unwind(panic);
    }
}

fn third_pod_comes_late() {
    on_pods(async |group| {
        let [first, second, third] = group.processes() else {
            unreachable!("three pods")
        };
        first.start().unwrap();
        second.start().unwrap();
        // They know of one another, and do not form a cluster of two.
        timeout(LONG, async {
            while !(first.log().contains("waiting for quorate-2")
                && second.log().contains("waiting for quorate-2"))
            {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("they say for whom they wait");
        for host in 0..2 {
            let status = status(group, host).await.expect("it answers");
            assert_eq!(status.role(), v1::Role::Forming);
        }
        third.start().unwrap();
        let (formed, _) = one_cluster(group).await;
        let load = load(group).await;
        load.progress(300, LONG).await.unwrap();
        assert_eq!(one_cluster(group).await.0, formed);
        verdict(group, load).await;
    });
}

fn wiped_moved_and_killed() {
    on_pods(async |group| {
        group.start().unwrap();
        let (formed, leader) = one_cluster(group).await;
        let load = load(group).await;
        load.progress(100, LONG).await.unwrap();
        let still_one = async || {
            let (cluster, leader) = one_cluster(group).await;
            assert_eq!(cluster, formed, "another cluster was formed");
            load.progress(50, LONG).await.unwrap();
            leader
        };

        // A follower loses its volume.
        let wiped = (leader + 1) % 3;
        group.processes()[wiped].kill().unwrap();
        let data = group.directory().join(format!("quorate-{wiped}")).join("data");
        std::fs::remove_dir_all(data).unwrap();
        load.progress(50, LONG).await.unwrap();
        group.processes()[wiped].start().unwrap();
        let leader = still_one().await;

        // A follower comes back at another address.
        let moved = (leader + 1) % 3;
        group.processes()[moved].kill().unwrap();
        group.move_to(moved, elsewhere(moved)).unwrap();
        group.processes()[moved].start().unwrap();
        let leader = still_one().await;

        // A follower moves, and before it is back the leader dies.
        let away = (leader + 1..leader + 3)
            .map(|host| host % 3)
            .find(|host| *host != moved)
            .unwrap();
        group.processes()[away].kill().unwrap();
        group.move_to(away, elsewhere(away)).unwrap();
        group.processes()[leader].kill().unwrap();
        group.processes()[away].start().unwrap();
        load.progress(50, LONG).await.unwrap();
        group.processes()[leader].start().unwrap();
        still_one().await;

        // All die at once, and come back at once.
        for process in group.processes() {
            process.kill().unwrap();
        }
        for process in group.processes() {
            process.start().unwrap();
        }
        still_one().await;
        verdict(group, load).await;
    });
}
