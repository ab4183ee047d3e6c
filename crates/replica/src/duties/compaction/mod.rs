//! Forgetting versions of etcd's keys that nobody needs any more, by the leader.
//!
//! Promises: what is to be kept is kept ([`rule`]); a compaction is a command like any client's, so all replicas forget the
//! same. Unlike other duties this one is not claimed: every replica remembers how the revision went on, so that a new leader
//! does not begin a day's retention anew. Only who serves as the leader proposes.

mod rule;

use std::future::Future;
use std::time::Duration;

use quorate_machine::{Command, Refusal};
use quorate_types::Revision;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::config::AutoCompaction;
use crate::leadership::Leadership;
use crate::proposer::Proposer;
use crate::published::Published;
use rule::Rule;

/// How long the leader waits for one compaction.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is compacted.
pub(crate) trait Versions: Send + Sync {
    /// The newest revision.
    fn revision(&self) -> Revision;
    /// What is compacted already.
    fn compacted(&self) -> Revision;
    /// This replica serves as the leader.
    fn leads(&self) -> bool;
    /// Compacts; whether it is compacted then, by this or by others.
    fn compact(&self, revision: Revision) -> impl Future<Output = bool> + Send;
}

/// Compacts until `stop`, for as long as this replica leads.
pub(crate) async fn run(setting: AutoCompaction, versions: impl Versions, stop: CancellationToken) {
    let mut rule = Rule::new(setting, versions.revision());
    let mut looks = interval_at(Instant::now() + rule.interval(), rule.interval());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let Some(target) = rule.look(versions.revision(), versions.leads()) else {
            continue;
        };
        if target <= versions.compacted() {
            rule.compacted(target);
            continue;
        }
        tokio::select! {
            is_compacted = versions.compact(target) => if is_compacted {
                rule.compacted(target);
            },
            () = stop.cancelled() => return,
        }
    }
}

/// Those of a replica.
pub(crate) struct OfReplica {
    pub(crate) published: Published,
    pub(crate) proposer: Proposer,
    pub(crate) leadership: watch::Receiver<Leadership>,
}

impl Versions for OfReplica {
    fn revision(&self) -> Revision {
        self.published.image().kv_revision()
    }

    fn compacted(&self) -> Revision {
        self.published.image().kv_compacted()
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().serving
    }

    async fn compact(&self, revision: Revision) -> bool {
        let command = Command::CompactKv { revision: revision.0 };
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        match self.proposer.propose(&command, None, deadline).await {
            Ok(decided) => match decided.outcome {
                Ok(_) => {
                    tracing::info!(%revision, "compacted etcd's keys");
                    true
                }
                Err(Refusal::KvCompacted { .. }) => true,
                Err(refusal) => {
                    tracing::debug!(%refusal, %revision, "etcd's keys were not compacted");
                    false
                }
            },
            // The next look sees.
            Err(error) => {
                tracing::debug!(%error, %revision, "etcd's keys were not compacted");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::time::{Instant, sleep};

    use super::*;

    /// A key that is written once a second.
    struct Written {
        began: Instant,
        compacted: AtomicU64,
        leads: AtomicBool,
        fails: AtomicBool,
        /// Seconds since the beginning, and what was asked for.
        asked: Mutex<Vec<(u64, u64)>>,
    }

    impl Written {
        fn new(leads: bool) -> Arc<Self> {
            Arc::new(Self {
                began: Instant::now(),
                compacted: AtomicU64::new(0),
                leads: leads.into(),
                fails: false.into(),
                asked: Mutex::default(),
            })
        }

        fn asked(&self) -> Vec<(u64, u64)> {
            std::mem::take(&mut self.asked.lock().expect("no panic"))
        }
    }

    impl Versions for Arc<Written> {
        fn revision(&self) -> Revision {
            Revision(1 + self.began.elapsed().as_secs())
        }

        fn compacted(&self) -> Revision {
            Revision(self.compacted.load(Ordering::Relaxed))
        }

        fn leads(&self) -> bool {
            self.leads.load(Ordering::Relaxed)
        }

        async fn compact(&self, revision: Revision) -> bool {
            let asked = (self.began.elapsed().as_secs(), revision.0);
            self.asked.lock().expect("no panic").push(asked);
            let fails = self.fails.load(Ordering::Relaxed);
            if !fails {
                self.compacted.store(revision.0, Ordering::Relaxed);
            }
            !fails
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_leader_compacts_what_is_older_than_the_retention() {
        let (leader, follower) = (Written::new(true), Written::new(false));
        let stop = CancellationToken::new();
        let retention = Duration::from_secs(20);
        let setting = AutoCompaction::Periodic { retention };
        let spawned = [&leader, &follower].map(|written| {
            let (versions, stop) = (Arc::clone(written), stop.clone());
            tokio::spawn(run(setting, versions, stop))
        });
        // Between two looks, which are two seconds apart.
        sleep(Duration::from_secs(61)).await;
        assert_eq!(leader.asked(), [(20, 1), (40, 19), (60, 39)]);
        assert_eq!(follower.asked(), [], "it does not lead");

        // The leader is lost; the other one has remembered, and what was compacted meanwhile is not compacted again.
        leader.leads.store(false, Ordering::Relaxed);
        follower.leads.store(true, Ordering::Relaxed);
        follower.compacted.store(39, Ordering::Relaxed);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(leader.asked(), []);
        assert_eq!(follower.asked(), [(62, 41)]);

        // What fails is asked for again at the next look, with what is the oldest then.
        follower.fails.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(4)).await;
        follower.fails.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(follower.asked(), [(82, 61), (84, 63), (86, 65)]);
        stop.cancel();
        for task in spawned {
            task.await.expect("no panic");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_revisions_are_kept() {
        let leader = Written::new(true);
        let stop = CancellationToken::new();
        let setting = AutoCompaction::Revisions { keep: 400 };
        let task = tokio::spawn(run(setting, Arc::clone(&leader), stop.clone()));
        sleep(Duration::from_secs(901)).await;
        assert_eq!(leader.asked(), [(600, 201), (900, 501)]);
        stop.cancel();
        task.await.expect("no panic");
    }
}
