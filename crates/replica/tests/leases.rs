//! etcd's leases in whole groups: they run out, not too early, at every replica and over crashes of the leader.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use harness::{Group, PATIENCE, soon};
use quorate_replica::Replica;
use quorate_replica::machine::{Command, KvOp, KvPut, KvRange, KvTxn, Refusal, Reply};
use tokio::time::{Instant, sleep, timeout};

const TTL_S: u64 = 1;
const TTL: Duration = Duration::from_secs(TTL_S);

/// Grants a lease, once the group has risen to the feature level that has leases.
async fn grant(replica: &Replica, lease: i64) {
    let granted = async {
        loop {
            let command = Command::GrantKvLease { lease, ttl_s: TTL_S };
            match replica.propose_anywhere(command, soon()).await.unwrap().0 {
                Ok(Reply::KvLeaseGranted { .. }) => return,
                Err(Refusal::FeatureLevel { .. }) => sleep(Duration::from_millis(5)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(PATIENCE, granted).await.expect("the level rises");
}

async fn put(replica: &Replica, key: &'static str, lease: i64) -> bool {
    let put = KvPut {
        key: Bytes::from_static(key.as_bytes()),
        lease,
        ..KvPut::default()
    };
    let command = Command::Kv(KvTxn {
        success: vec![KvOp::Put(put)],
        ..KvTxn::default()
    });
    match replica.propose_anywhere(command, soon()).await.unwrap().0 {
        Ok(_) => true,
        Err(Refusal::KvLeaseNotFound { .. }) => false,
        other => panic!("{other:?}"),
    }
}

async fn exists(replica: &Replica, key: &'static str) -> bool {
    let range = KvRange {
        key: Bytes::from_static(key.as_bytes()),
        ..KvRange::default()
    };
    let image = replica.read_anywhere(soon()).await.unwrap();
    image.kv_range(&range).unwrap().count == 1
}

async fn gone(replica: &Replica, key: &'static str) {
    let gone = async {
        while exists(replica, key).await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("it runs out");
}

#[tokio::test]
async fn a_lease_that_nobody_keeps_runs_out_with_its_keys_and_not_before_its_time() {
    let group = Group::started(3).await;
    group.leader().await;
    for index in 0..3 {
        let (replica, lease) = (group.replica(index), 7 + i64::try_from(index).unwrap());
        let begun = Instant::now();
        grant(replica, lease).await;
        put(replica, "a", lease).await;
        gone(replica, "a").await;
        assert!(begun.elapsed() >= TTL, "{:?}", begun.elapsed());
        assert_eq!(replica.renew_kv_lease(lease, soon()).await.unwrap(), None);
        assert_eq!(replica.kv_lease_time(lease, soon()).await.unwrap(), None);
    }
}

/// Renews at `replica` until the lease has been renewed `renewals` times; if it ever runs out, its time was up.
async fn keep(replica: &Replica, lease: i64, renewals: usize, since: &mut Instant) -> bool {
    for _ in 0..renewals {
        let begun = Instant::now();
        match replica.renew_kv_lease(lease, soon()).await.unwrap() {
            Some(time) => {
                assert_eq!(time.ttl_s, TTL_S);
                assert!(time.left <= TTL);
                *since = begun;
            }
            None => {
                assert!(
                    since.elapsed() >= TTL,
                    "it ended {:?} after a renewal",
                    since.elapsed()
                );
                return false;
            }
        }
        sleep(TTL / 20).await;
    }
    true
}

#[tokio::test]
async fn a_lease_that_is_kept_lives_at_every_replica_and_over_crashes_of_the_leader() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let others: Vec<_> = (0..3).filter(|index| *index != leader).collect();
    let begun = Instant::now();
    grant(group.replica(others[0]), 7).await;
    put(group.replica(others[0]), "a", 7).await;
    let mut since = begun;
    // The machine may stand still for longer than the lease lives: then it may end, and the story is over.
    for index in [others[0], leader, others[1]] {
        if !keep(group.replica(index), 7, 10, &mut since).await {
            return;
        }
    }
    group.crash(leader);
    for index in others {
        if !keep(group.replica(index), 7, 10, &mut since).await {
            return;
        }
    }
    assert!(begun.elapsed() > 2 * TTL, "it would have run out");
    group.start(leader).await;
    let ready = timeout(PATIENCE, group.replica(leader).ready()).await;
    ready.expect("ready in time").unwrap();
    if keep(group.replica(leader), 7, 10, &mut since).await {
        let lives = exists(group.replica(leader), "a").await;
        assert!(lives || since.elapsed() >= TTL);
    }
}

#[tokio::test]
async fn a_new_leader_starts_every_lease_anew_and_lets_it_run_out() {
    let mut group = Group::started(3).await;
    let leader = group.leader().await;
    let other = (leader + 1) % 3;
    grant(group.replica(leader), 7).await;
    put(group.replica(leader), "a", 7).await;
    group.crash(leader);
    let crashed = Instant::now();
    gone(group.replica(other), "a").await;
    // The clock began no sooner than the new leader led.
    assert!(crashed.elapsed() >= TTL);
}

#[tokio::test]
async fn a_lease_that_is_revoked_and_granted_again_has_its_full_time() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let replica = group.replica((leader + 1) % 3);
    grant(replica, 7).await;
    sleep(TTL / 2).await;
    let revoke = Command::RevokeKvLease { lease: 7 };
    // It may have run out, if the machine stood still.
    let _ = replica.propose_anywhere(revoke, soon()).await.unwrap();
    let begun = Instant::now();
    grant(replica, 7).await;
    put(replica, "a", 7).await;
    gone(replica, "a").await;
    assert!(begun.elapsed() >= TTL);
}

#[tokio::test]
async fn questions_about_leases_are_answered_together_each_with_its_own() {
    let group = Group::started(3).await;
    let leader = group.leader().await;
    let replica = group.replica((leader + 1) % 3);
    grant(replica, 1).await;
    let begun = Instant::now();
    let ask = |lease| async move { (lease, replica.renew_kv_lease(lease, soon()).await.unwrap()) };
    let said = futures_util::future::join_all((0..500).map(|number| ask(number % 3))).await;
    for (lease, time) in said {
        match lease {
            1 => assert!(time.is_some() || begun.elapsed() >= TTL),
            _ => assert_eq!(time, None, "lease {lease}"),
        }
    }
}
