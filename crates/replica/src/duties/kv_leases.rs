//! etcd's leases as their keepers use them, at the leader: renewed, and asked how long they have.
//!
//! Promises: see [`super::lease_keeper`] for renewals. What is said to be absent was absent from a state that is as new as a
//! barrier which began after the question arrived. Left out on purpose: questions at followers, which come here by
//! [`crate::forward`]; grants and revokes, which are writes like any other.

use std::sync::Arc;
use std::time::Duration;

use quorate_types::Term;
use tokio::time::Instant;

use super::lease_keeper::LeaseKeeper;
use crate::barrier::Barrier;
use crate::published::Published;
use crate::unavailable::Unavailable;

/// What is asked about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseQuestion {
    pub(crate) lease: i64,
    /// Renew it; else only say how long it has.
    pub(crate) renew: bool,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseSaid {
    Absent,
    Lives(KvLeaseTime),
    /// Its expiry is proposed: it is absent in a moment, or can be renewed again.
    Expiring,
}

/// How long a lease lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLeaseTime {
    /// When it is renewed, seconds.
    pub ttl_s: u64,
    /// Unless it is renewed.
    pub left: Duration,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(crate) struct KvLeaseClocks {
    pub(crate) barrier: Barrier,
    pub(crate) published: Published,
    pub(crate) leases: Arc<LeaseKeeper>,
}

impl KvLeaseClocks {
    /// Answers questions that arrived before this call, in their order.
    pub(crate) async fn ask(
        &self,
        questions: &[LeaseQuestion],
        deadline: Instant,
    ) -> Result<Vec<LeaseSaid>, Unavailable> {
        let arrived = Instant::now();
        self.barrier.pass(deadline).await?;
        let said = self
            .leases
            .answer(&self.published.image().kv_leases(), questions, arrived);
        // It leads and has not claimed its duties yet, or does not lead any more.
        said.ok_or(Unavailable::NotLeader {
            term: Term(0),
            leader: None,
        })
    }
}
