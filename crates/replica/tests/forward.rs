//! Writes and reads at any replica, in whole groups: forwarded, over crashes and changes of the leader, and without one.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use harness::{Group, PATIENCE, database, soon};
use quorate_replica::machine::{AllocateIds, Command, Outcome, Refusal, Reply};
use quorate_replica::{Replica, Unavailable};
use quorate_types::limits::{CLIENT_IDLE_MS, PROPOSALS_IN_FLIGHT_MAX};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Ids that one write takes.
const COUNT: u64 = 3;

fn ids() -> Command {
    Command::AllocateIds(AllocateIds { count: COUNT })
}

fn first(outcome: Outcome) -> u64 {
    match outcome {
        Ok(Reply::IdsAllocated { first, count: COUNT }) => first,
        other => panic!("{other:?}"),
    }
}

async fn allocate(replica: &Replica) -> u64 {
    first(replica.propose_anywhere(ids(), soon()).await.unwrap().0)
}

/// Every write took its own ids, and nothing else took any: none acted twice, and none was executed without an answer.
fn assert_once(mut firsts: Vec<u64>, writes: usize) {
    assert_eq!(firsts.len(), writes, "all are answered");
    firsts.sort_unstable();
    for pair in firsts.windows(2) {
        assert_eq!(pair[1], pair[0] + COUNT, "neither a gap nor a double");
    }
}

/// Writers that write again and again, and count the answers.
struct Writers {
    tasks: JoinSet<Vec<u64>>,
    answered: Arc<AtomicUsize>,
    writes: usize,
}

impl Writers {
    fn start(replicas: &[&Replica], writers: usize, each: usize) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (replica, answered) = (replicas[writer % replicas.len()].clone(), Arc::clone(&answered));
            tasks.spawn(async move {
                let mut firsts = Vec::new();
                for _ in 0..each {
                    firsts.push(allocate(&replica).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                firsts
            });
        }
        Self {
            tasks,
            answered,
            writes: writers * each,
        }
    }

    async fn wait_for(&self, answered: usize) {
        let enough = async {
            while self.answered.load(Ordering::Relaxed) < answered {
                sleep(Duration::from_micros(100)).await;
            }
        };
        timeout(PATIENCE, enough).await.expect("writes go on");
    }

    async fn finish(mut self) -> (Vec<u64>, usize) {
        let mut firsts = Vec::new();
        while let Some(of_one) = self.tasks.join_next().await {
            firsts.extend(of_one.unwrap());
        }
        (firsts, self.writes)
    }
}

/// Crashes all but `left`, which notices it. Its links must be up before: a process that it never met proves nothing by
/// being gone.
async fn crash_all_but(group: &mut Group, left: usize) {
    let linked = async {
        loop {
            let peers = group.replica(left).status().peers;
            if peers.iter().filter(|peer| peer.linked).count() == 2 {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, linked).await.expect("links come up");
    for other in (0..3).filter(|other| *other != left) {
        group.crash(other);
    }
    no_leader_known(group.replica(left)).await;
}

async fn no_leader_known(replica: &Replica) {
    let mut leadership = replica.leadership();
    timeout(PATIENCE, leadership.wait_for(|now| now.leader.is_none()))
        .await
        .expect("it notices")
        .unwrap();
}

#[tokio::test]
async fn every_replica_takes_writes_and_reads() {
    let group = Group::started(3).await;
    group.leader().await;
    for index in 0..3 {
        let name = format!("at{index}");
        let (outcome, position) = group
            .replica(index)
            .propose_anywhere(database(&name), soon())
            .await
            .unwrap();
        assert!(
            matches!(outcome, Ok(Reply::DatabaseCreated { .. })),
            "{outcome:?}"
        );
        let own = group.replica(index).read_stale().unwrap().image;
        assert!(
            own.describe_database(&name).is_ok(),
            "who writes here sees it here"
        );
        assert!(own.position() >= Some(position));
        for other in 0..3 {
            let image = group.replica(other).read_anywhere(soon()).await.unwrap();
            assert!(image.describe_database(&name).is_ok(), "{name} at {other}");
        }
        let again = group
            .replica(index)
            .propose_anywhere(database(&name), soon())
            .await;
        assert!(
            matches!(again.unwrap().0, Err(Refusal::DatabaseExists { .. })),
            "a refusal travels as well"
        );
    }
}

#[tokio::test]
async fn one_replica_alone_forwards_to_nobody() {
    let group = Group::started(1).await;
    let writers = Writers::start(&[group.replica(0)], 20, 5);
    let (firsts, writes) = writers.finish().await;
    assert_once(firsts, writes);
    group.replica(0).read_anywhere(soon()).await.unwrap();
}

#[tokio::test]
async fn writes_in_flight_at_a_follower_survive_the_crash_of_the_leader() {
    let mut group = Group::started(3).await;
    for round in 0..5 {
        let leader = group.leader().await;
        let follower = (leader + 1 + round % 2) % 3;
        let writers = Writers::start(&[group.replica(follower)], 200, 5);
        writers.wait_for(100).await;
        group.crash(leader);
        let answered = writers.answered.load(Ordering::Relaxed);
        assert!(answered < 1_000, "writes were in flight");
        let crashed = Instant::now();
        writers.wait_for(answered + 200).await;
        println!("round {round}: went on within {:?}", crashed.elapsed());
        let (mut firsts, writes) = writers.finish().await;
        // What was executed without an answer would show as a gap before the next one.
        firsts.push(allocate(group.replica(follower)).await);
        assert_once(firsts, writes + 1);
        group.start(leader).await;
        group.replica(leader).ready().await.unwrap();
    }
}

#[tokio::test]
async fn writes_at_every_replica_survive_planned_changes_of_the_leader() {
    let group = Group::started(3).await;
    let replicas: Vec<&Replica> = (0..3).map(|index| group.replica(index)).collect();
    let writers = Writers::start(&replicas, 90, 30);
    for round in 1..=5 {
        writers.wait_for(round * 300).await;
        let leader = group.leader().await;
        // It may have lost the lead between the two lines; the next round hands over again.
        let _ = group.replica(leader).hand_over(None, soon()).await;
    }
    let (firsts, writes) = writers.finish().await;
    assert_once(firsts, writes);
}

#[tokio::test]
async fn reads_at_a_follower_are_never_stale() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    for number in 0..100 {
        let written = group.propose(leader, ids()).await;
        let decided = group.replica(leader).propose(&ids(), None, soon()).await.unwrap();
        assert!(first(written) < first(decided.outcome));
        let reads = followers.map(|follower| group.replica(follower).read_anywhere(soon()));
        for image in join_all(reads).await {
            assert!(image.unwrap().position() >= Some(decided.index), "write {number}");
        }
    }
}

#[tokio::test]
async fn reads_survive_the_crash_of_the_leader_and_are_not_stale_after_it() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    let written = group.replica(leader).propose(&ids(), None, soon()).await.unwrap();
    let reads: Vec<_> = (0..100)
        .map(|_| {
            let replica = group.replica(follower).clone();
            tokio::spawn(async move { replica.read_anywhere(soon()).await })
        })
        .collect();
    group.crash(leader);
    for read in reads {
        let image = read.await.unwrap().unwrap();
        assert!(image.position() >= Some(written.index));
    }
}

#[tokio::test]
async fn without_a_leader_they_wait_for_one_or_for_the_deadline() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let (left, other) = ((leader + 1) % 3, (leader + 2) % 3);
    crash_all_but(&mut group, left).await;
    let replica = group.replica(left).clone();

    let brief = || Instant::now() + Duration::from_millis(200);
    let not_leader = |error: &Unavailable| matches!(error, Unavailable::NotLeader { leader: None, .. });
    let error = replica.propose_anywhere(ids(), brief()).await.unwrap_err();
    assert!(not_leader(&error), "{error:?}");
    let error = replica.read_anywhere(brief()).await.map(|_| ()).unwrap_err();
    assert!(not_leader(&error), "{error:?}");

    let (writes, reads) = (replica.clone(), replica.clone());
    let write = tokio::spawn(async move { allocate(&writes).await });
    let read = tokio::spawn(async move { reads.read_anywhere(soon()).await.map(|_| ()) });
    sleep(Duration::from_millis(50)).await;
    assert!(!write.is_finished() && !read.is_finished(), "they wait");
    group.start(other).await;
    write.await.unwrap();
    read.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_crowd_writes_needs_several_clients_and_is_refused_by_none() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let follower = group.replica((leader + 1) % 3);
    let writers = Writers::start(&[follower], 3_000, 2);
    let (firsts, writes) = writers.finish().await;
    assert_once(firsts, writes);
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let left = (leader + 1) % 3;
    crash_all_but(&mut group, left).await;
    let replica = group.replica(left);
    let deadline = Instant::now() + Duration::from_secs(2);
    let writes = (0..PROPOSALS_IN_FLIGHT_MAX + 10).map(|_| replica.propose_anywhere(ids(), deadline));
    let outcomes = join_all(writes).await;
    let refused = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(Unavailable::Overloaded { .. })));
    assert_eq!(refused.count(), 10);
    let waited = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(Unavailable::NotLeader { .. })));
    assert_eq!(waited.count(), PROPOSALS_IN_FLIGHT_MAX);
}

#[tokio::test]
async fn a_replica_that_was_forgotten_as_a_client_registers_again() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let follower = group.replica((leader + 1) % 3);
    let before = allocate(follower).await;
    group.ahead_ms.store(2 * CLIENT_IDLE_MS, Ordering::Relaxed);
    let moved = group.replica(leader).propose(&ids(), None, soon()).await.unwrap();
    assert_eq!(first(moved.outcome), before + COUNT);
    let idle = group
        .replica(leader)
        .read(soon())
        .await
        .unwrap()
        .clients_to_evict();
    // The leader's own duty may be faster.
    group
        .propose(leader, Command::EvictClients { clients: idle })
        .await
        .unwrap();
    assert_eq!(
        group.replica(leader).read(soon()).await.unwrap().counts().clients,
        0
    );
    assert_eq!(allocate(follower).await, before + 2 * COUNT);
    let image = follower.read_anywhere(soon()).await.unwrap();
    assert_eq!(image.counts().clients, 1, "registered again");
}
