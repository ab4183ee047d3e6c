//! Networks that fall apart, and heal. The clients reach every replica all the time: a deposed leader must answer none of
//! their reads and acknowledge none of their writes.

use std::time::{Duration, Instant};

use quorate_client::v1;
use quorate_testkit::netns::Place::Host;
use tonic::Request;

use crate::Test;
use crate::calm::on_calm_group;
use crate::support::{LONG, Running, on_group, plan};

pub(crate) const TESTS: &[Test] = &[
    (
        "a_leader_in_the_minority_is_replaced_and_serves_nobody",
        leader_in_the_minority,
    ),
    ("a_leader_in_the_minority_of_five", leader_in_the_minority_of_five),
    (
        "a_leader_in_the_majority_goes_on_and_is_not_deposed_when_it_heals",
        leader_in_the_majority,
    ),
    ("a_leader_that_cannot_send_is_replaced", leader_cannot_send),
    ("a_leader_that_cannot_receive_is_replaced", leader_cannot_receive),
    ("a_follower_that_cannot_send_deposes_nobody", follower_cannot_send),
    (
        "a_follower_that_cannot_receive_deposes_nobody",
        follower_cannot_receive,
    ),
    ("a_leader_with_one_link_left_goes_on", one_link_left),
    ("partitions_in_a_row", partitions_in_a_row),
];

/// Asks a replica directly, past every client's wisdom: it must neither answer a read nor acknowledge a write.
async fn serves_nobody(group: &Running, host: usize) {
    let patience = Duration::from_secs(2);
    let mut root = v1::root_client::RootClient::new(group.channel(host));
    let mut read = Request::new(v1::ListDatabasesRequest::default());
    read.set_timeout(patience);
    let read = root.list_databases(read).await;
    assert!(read.is_err(), "a deposed leader answered a read: {read:?}");
    let name = "written_at_a_deposed_leader".to_owned();
    let mut write = Request::new(v1::CreateDatabaseRequest {
        name,
        ..Default::default()
    });
    write.set_timeout(patience);
    let write = root.create_database(write).await;
    assert!(write.is_err(), "a deposed leader acknowledged a write: {write:?}");
}

fn leader_in_the_minority() {
    on_group(plan(), async |group| {
        let leader = group.ready(&group.all()).await;
        let rest = group.others(&[leader]);
        let load = group.load().await;
        load.progress(200, LONG).await.unwrap();
        group.network().isolate(leader).unwrap();
        let cut = Instant::now();
        // From the first moment on, not only when it has noticed.
        serves_nobody(group, leader).await;
        let next = group.replaced(leader, &rest).await;
        assert!(rest.contains(&next));
        load.progress(200, LONG).await.unwrap();
        println!("writes go on {:?} after the cut", cut.elapsed());
        serves_nobody(group, leader).await;
        group.network().heal().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
    });
}

fn leader_in_the_minority_of_five() {
    on_group(plan().replicas(5), async |group| {
        let leader = group.ready(&group.all()).await;
        let companion = group.others(&[leader])[0];
        let rest = group.others(&[leader, companion]);
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        for one in [leader, companion] {
            for other in &rest {
                group.network().cut(Host(one), Host(*other)).unwrap();
            }
        }
        let next = group.replaced(leader, &rest).await;
        assert!(rest.contains(&next));
        load.progress(200, LONG).await.unwrap();
        serves_nobody(group, leader).await;
        group.network().heal().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
    });
}

fn leader_in_the_majority() {
    on_calm_group(async |group| {
        let leader = group.ready(&group.all()).await;
        let lonely = group.others(&[leader])[0];
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        let reign = group.reign(leader).await;
        group.network().isolate(lonely).unwrap();
        load.progress(100, LONG).await.unwrap();
        // Long enough for it to have asked for votes many times.
        let unheard = |status: &v1::StatusResponse| status.peers.iter().all(|peer| !peer.linked);
        group
            .until(lonely, "the lonely replica has lost its links", unheard)
            .await;
        load.progress(400, LONG).await.unwrap();
        group.network().heal().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
        for host in group.all() {
            assert_eq!(
                group.reign(host).await,
                reign,
                "nobody was deposed, as {host} sees it"
            );
        }
    });
}

/// Cuts one direction of the leader's links; it must be replaced, and heal.
fn leader_one_way(cut: impl Fn(&Running, usize, usize) + Sync) {
    on_group(plan(), async |group| {
        let leader = group.ready(&group.all()).await;
        let rest = group.others(&[leader]);
        let load = group.load().await;
        load.progress(200, LONG).await.unwrap();
        let since = Instant::now();
        for other in &rest {
            cut(group, leader, *other);
        }
        let next = group.replaced(leader, &rest).await;
        assert!(rest.contains(&next));
        load.progress(200, LONG).await.unwrap();
        println!("writes go on {:?} after the cut", since.elapsed());
        group.network().heal().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
    });
}

fn leader_cannot_send() {
    leader_one_way(|group, leader, other| group.network().cut_one_way(Host(leader), Host(other)).unwrap());
}

fn leader_cannot_receive() {
    leader_one_way(|group, leader, other| group.network().cut_one_way(Host(other), Host(leader)).unwrap());
}

/// Cuts one direction of a follower's links; nobody may be deposed, not even when it heals.
fn follower_one_way(cut: impl Fn(&Running, usize, usize) + Sync) {
    on_calm_group(async |group| {
        let leader = group.ready(&group.all()).await;
        let follower = group.others(&[leader])[0];
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        let reign = group.reign(leader).await;
        for other in group.others(&[follower]) {
            cut(group, follower, other);
        }
        let unheard = |status: &v1::StatusResponse| status.peers.iter().all(|peer| !peer.linked);
        group
            .until(follower, "the follower has lost its links", unheard)
            .await;
        load.progress(400, LONG).await.unwrap();
        assert_eq!(group.reign(leader).await, reign, "nobody was deposed");
        group.network().heal().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
        for host in group.all() {
            assert_eq!(
                group.reign(host).await,
                reign,
                "nobody was deposed, as {host} sees it"
            );
        }
    });
}

fn follower_cannot_send() {
    follower_one_way(|group, follower, other| {
        group.network().cut_one_way(Host(follower), Host(other)).unwrap();
    });
}

fn follower_cannot_receive() {
    follower_one_way(|group, follower, other| {
        group.network().cut_one_way(Host(other), Host(follower)).unwrap();
    });
}

/// The leader and one follower lose sight of each other; the third sees both. The leader still has a majority.
fn one_link_left() {
    on_calm_group(async |group| {
        let leader = group.ready(&group.all()).await;
        let rest = group.others(&[leader]);
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        let reign = group.reign(leader).await;
        group.network().cut(Host(leader), Host(rest[0])).unwrap();
        let node = group.node(leader).0;
        let unlinked = |status: &v1::StatusResponse| {
            status
                .peers
                .iter()
                .any(|peer| peer.node_id == node && !peer.linked)
        };
        group
            .until(rest[0], "the follower has lost its link to the leader", unlinked)
            .await;
        load.progress(400, LONG).await.unwrap();
        assert_eq!(
            group.reign(leader).await,
            reign,
            "the follower that hears nothing deposes nobody"
        );
        group.network().heal().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
    });
}

/// One leader after the other is cut off, and comes back while its successor is cut off.
fn partitions_in_a_row() {
    on_group(plan(), async |group| {
        let load = group.load().await;
        for _ in 0..4 {
            let leader = group.ready(&group.all()).await;
            group.network().isolate(leader).unwrap();
            group.replaced(leader, &group.others(&[leader])).await;
            load.progress(100, LONG).await.unwrap();
            group.network().heal().unwrap();
        }
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
    });
}
