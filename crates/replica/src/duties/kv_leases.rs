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

/// What is asked about a lease, or told; how long it has is the answer to either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseQuestion {
    pub(crate) lease: i64,
    /// The client's connection that renews it, or that the news is of; 0 when it is not known.
    pub(crate) connection: u64,
    pub(crate) asked: Asked,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// How long it has.
    Time,
    /// To renew it.
    Renew,
    /// Nothing: it was renewed by this connection at that moment.
    Kept { at: Instant },
    /// Nothing: the connection that kept it broke. Where its client is; 0 when it is not known.
    Broke { at: Instant, host: u64 },
    /// Nothing, and of no lease: a client on this host opened a keepalive stream and said nothing on it.
    Back { at: Instant, host: u64 },
}

/// What a replica knows of the keepers of etcd's leases, for whoever leads. See [`crate::Replica::keeper_news`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperNews {
    /// The client's connection: a number by chance, of its own for each connection; never 0.
    pub connection: u64,
    /// Where its client is, as a number; 0 when it is not known.
    pub host: u64,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub what: KeeperNewsKind,
}

/// What happened on a connection of a client that keeps leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeeperNewsKind {
    /// It renewed this lease. Told again, because the leader is a new one.
    Kept(i64),
    /// It broke, and this lease was kept by it: the leader revokes the lease unless there is a sign of life within its grace.
    Broke(i64),
    /// A keepalive stream was opened on it and nothing was said: its client may keep whatever lease a connection from the same
    /// host kept before.
    Back,
}

impl KeeperNews {
    pub(crate) fn question(self) -> LeaseQuestion {
        let Self {
            connection,
            host,
            at,
            what,
        } = self;
        let (lease, asked) = match what {
            KeeperNewsKind::Kept(lease) => (lease, Asked::Kept { at }),
            KeeperNewsKind::Broke(lease) => (lease, Asked::Broke { at, host }),
            KeeperNewsKind::Back => (0, Asked::Back { at, host }),
        };
        LeaseQuestion {
            lease,
            connection,
            asked,
        }
    }
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
