//! Whole groups in one process: forming, proposing, reading, watching, crashing.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Group, PATIENCE, database, soon};
use quorate_replica::machine::{AllocateIds, Command, Refusal, Reply, RequestId, Worker, WorkerKind};
use quorate_replica::{SnapshotEvery, Unavailable};
use quorate_types::ClientId;
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn one_replica_alone_forms_and_serves() {
    let group = Group::started(1).await;
    assert!(matches!(
        group.propose(0, database("books")).await,
        Ok(Reply::DatabaseCreated { .. })
    ));
    let image = group.replica(0).read(soon()).await.unwrap();
    assert_eq!(image.describe_database("books").unwrap().name, "books");
}

#[tokio::test]
async fn three_replicas_form_in_any_order_and_agree() {
    let mut group = Group::new(3);
    for index in [2, 0, 1] {
        group.start(index).await;
    }
    let leader = group.leader().await;
    group.propose(leader, database("books")).await.unwrap();
    let want = group.replica(leader).read(soon()).await.unwrap();
    for index in 0..3 {
        let same = async {
            loop {
                if let Ok(stale) = group.replica(index).read_stale()
                    && stale.image.position() >= want.position()
                {
                    return stale.image.describe_database("books").is_ok();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(PATIENCE, same).await.unwrap(), "replica {index}");
    }
}

#[tokio::test]
async fn a_follower_redirects_to_the_leader() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    let knows = group
        .replica(follower)
        .leadership()
        .wait_for(|l| l.leader.is_some())
        .await
        .map(|l| l.clone());
    assert_eq!(
        knows.unwrap().leader.unwrap().client_address,
        group.listed[leader].client_address
    );
    let error = group
        .replica(follower)
        .propose(&database("x"), None, soon())
        .await
        .unwrap_err();
    let Unavailable::NotLeader {
        leader: Some(hint), ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(hint.client_address, group.listed[leader].client_address);
    let error = group
        .replica(follower)
        .read(soon())
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(error, Unavailable::NotLeader { leader: Some(_), .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_crashed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut group = Group::started(3).await;
    for round in 0..5 {
        let leader = group.leader().await;
        let name = format!("d{round}");
        group.propose(leader, database(&name)).await.unwrap();
        group.crash(leader);
        let crashed = Instant::now();
        let next = group.leader().await;
        println!("round {round}: took over after {:?}", crashed.elapsed());
        assert_ne!(next, leader);
        let image = group.replica(next).read(soon()).await.unwrap();
        assert!(image.describe_database(&name).is_ok(), "round {round}");
        let change = group.replica(next).status().last_change.unwrap();
        println!("{change:?}");
        group.start(leader).await;
        group.replica(leader).ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_repeated_request_is_executed_once_over_a_crash() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let client = ClientId(7);
    group
        .propose(leader, Command::RegisterClient { client })
        .await
        .unwrap();
    let request = RequestId {
        client,
        sequence: 1,
        floor: 1,
    };
    let command = Command::AllocateIds(AllocateIds { count: 10 });
    let first = group
        .replica(leader)
        .propose(&command, Some(request), soon())
        .await
        .unwrap()
        .outcome;
    group.crash(leader);
    let next = group.leader().await;
    let second = group
        .replica(next)
        .propose(&command, Some(request), soon())
        .await
        .unwrap()
        .outcome;
    assert_eq!(first, second);
    assert!(matches!(first, Ok(Reply::IdsAllocated { count: 10, .. })));
}

#[tokio::test]
async fn proposals_wait_through_an_election() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    group.crash(leader);
    // Both survivors are asked at once: the one that will lead holds the proposal, the other one names it, or still
    // names the dead one when it has not noticed yet.
    let ask = |index: usize| {
        let replica = group.replica(index).clone();
        tokio::spawn(async move {
            replica
                .propose(&database(&format!("held{index}")), None, soon())
                .await
        })
    };
    let asked: Vec<_> = group.nodes.keys().map(|index| (*index, ask(*index))).collect();
    let mut decided = 0;
    for (index, outcome) in asked {
        match outcome.await.unwrap() {
            Ok(_) => decided += 1,
            Err(Unavailable::NotLeader {
                leader: Some(hint), ..
            }) => {
                assert_ne!(hint.client_address, group.listed[index].client_address);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let next = group.leader().await;
    let image = group.replica(next).read(soon()).await.unwrap();
    let held = group
        .nodes
        .keys()
        .filter(|index| image.describe_database(&format!("held{index}")).is_ok());
    assert_eq!(
        held.count(),
        decided,
        "what was answered was done, and nothing else"
    );
}

#[tokio::test]
async fn leadership_is_handed_over_on_request() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let new = group.replica(leader).hand_over(None, soon()).await.unwrap();
    assert_ne!(
        new.leader.unwrap().client_address,
        group.listed[leader].client_address
    );
    let next = group.leader().await;
    group.propose(next, database("after")).await.unwrap();
}

#[tokio::test]
async fn a_follower_that_fell_behind_the_log_catches_up_by_snapshot() {
    let mut group = Group::new(3);
    group.snapshot = SnapshotEvery {
        entries: 200,
        keep: 10,
    };
    for index in 0..3 {
        group.start(index).await;
    }
    let leader = group.leader().await;
    let lagging = (leader + 1) % 3;
    group.crash(lagging);
    for id in 0..1_000 {
        let command = Command::AllocateIds(AllocateIds { count: 1 + id % 3 });
        group.propose(leader, command).await.unwrap();
    }
    group.start(lagging).await;
    let want = group.replica(leader).read(soon()).await.unwrap();
    let caught_up = async {
        loop {
            if let Ok(stale) = group.replica(lagging).read_stale()
                && stale.image.position() >= want.position()
            {
                return stale.image;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let image = timeout(PATIENCE, caught_up).await.expect("it catches up");
    if image.position() == want.position() {
        assert_eq!(image.digest(), want.digest());
    }
    assert!(
        group.replica(lagging).status().purged.is_some(),
        "the log was purged, so a snapshot did it"
    );
}

#[tokio::test]
async fn watchers_see_every_change_once_also_on_a_follower() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    let from = group
        .replica(leader)
        .read(soon())
        .await
        .unwrap()
        .revision()
        .next();
    let mut watchers = [
        group.replica(leader).watch(from).unwrap(),
        group.replica(follower).watch(from).unwrap(),
    ];
    for number in 0..50 {
        group
            .propose(leader, database(&format!("w{number}")))
            .await
            .unwrap();
    }
    for watcher in &mut watchers {
        for number in 0..50 {
            let change_set = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
            assert_eq!(change_set.revision.0, from.0 + number);
        }
    }
}

#[tokio::test]
async fn sessions_live_on_over_a_crash_and_die_without_their_worker() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let worker = Worker {
        kind: WorkerKind::QueryNode,
        name: "q1".to_owned(),
        address: "10.0.0.1:1".to_owned(),
        zone: String::new(),
        resource_group: String::new(),
        capacity: BTreeMap::new(),
    };
    let sessions = group.replica(leader).sessions().unwrap();
    let grant = sessions
        .open(worker.clone(), 1_000, soon())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        sessions
            .renew(grant.session, grant.epoch, soon())
            .await
            .unwrap()
            .unwrap(),
        grant
    );

    group.crash(leader);
    let next = group.leader().await;
    let sessions = group.replica(next).sessions().unwrap();
    let renewed = sessions.renew(grant.session, grant.epoch, soon()).await.unwrap();
    assert_eq!(
        renewed.unwrap(),
        grant,
        "the session is the same at the next leader"
    );

    let second = sessions.open(worker, 1_000, soon()).await.unwrap().unwrap();
    assert!(second.epoch > grant.epoch);
    let fenced = sessions
        .renew(grant.session, grant.epoch, soon())
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(fenced, Refusal::SessionFenced { .. }), "{fenced:?}");

    sessions.suspect(second.session);
    let gone = async {
        while group
            .replica(next)
            .read(soon())
            .await
            .unwrap()
            .session(second.session)
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone)
        .await
        .expect("a suspect that is not renewed dies");
}
