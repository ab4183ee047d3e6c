//! Locks and elections on a machine in memory.

use std::sync::Arc;

use quorate_replica::machine::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Memory;
use crate::auth::Guard;
use crate::contest::Contests;
use crate::kv::Kv;
use crate::lease::Lease;
use crate::lease::policy::LeasePolicy;
use crate::watch::Watch;

/// What both services stand on, and the task that tells them what has changed.
pub(crate) struct Served {
    pub(crate) node: Memory,
    pub(crate) contests: Arc<Contests<Memory>>,
    pub(crate) ending: CancellationToken,
    pub(crate) tasks: TaskTracker,
    work: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Served {
    /// With these leases.
    pub(crate) fn with_leases(leases: &[i64]) -> Self {
        let (node, ending, tasks) = (Memory::new(), CancellationToken::new(), TaskTracker::new());
        node.wrote(leases.iter().map(|lease| lease_grant(*lease)));
        let guard = Guard::new();
        let watch = Arc::new(Watch::new(node.clone(), guard.clone(), ending.clone()));
        let work = tokio::spawn(watch.work());
        let policy = LeasePolicy::default();
        let lease = Lease::new(node.clone(), guard.clone(), ending.clone(), &policy);
        let kv = Kv(node.clone(), guard);
        let contests = Contests::new(kv, Arc::new(lease), watch, ending.clone(), tasks.clone());
        Self {
            contests: Arc::new(contests),
            node,
            ending,
            tasks,
            work,
        }
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        let range = quorate_replica::machine::KvRange {
            key: super::bytes(key),
            ..Default::default()
        };
        self.node.image().kv_range(&range).expect("a read").count == 1
    }

    /// Waits until a key is there, or is not.
    pub(crate) async fn until(&self, key: &str, is_there: bool) {
        let mut revisions = crate::node::Node::kv_revisions(&self.node).await;
        let seen = revisions.wait_for(|_| self.has(key) == is_there).await;
        seen.expect("a machine that is there");
    }
}

/// A lease of a minute.
fn lease_grant(lease: i64) -> Command {
    Command::GrantKvLease { lease, ttl_s: 60 }
}
