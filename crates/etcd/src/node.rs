//! What the services need of a replica.
//!
//! Promises: a few verbs, so that services are tested on a state in memory; a header's term and ids are of the replica that
//! answers.

use std::future::Future;

use quorate_api::etcdserverpb::ResponseHeader;
use quorate_replica::machine::{Command, Image, Outcome, Reply};
use quorate_replica::{KeeperNews, KvLeaseTime, Leadership, Replica, Unavailable};
use quorate_types::{ClusterId, NodeId, Revision, Term};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use crate::convert::signed;
use crate::error;

/// See the module. Cheap to clone.
pub trait Node: Clone + Send + Sync + 'static {
    /// Proposes a command, wherever the leader is, and waits for what the cluster decides and until it can be read here.
    fn propose(
        &self,
        command: Command,
        deadline: Instant,
    ) -> impl Future<Output = Result<Outcome, Unavailable>> + Send;

    /// A state that includes everything acknowledged anywhere before this call.
    fn read(&self, deadline: Instant) -> impl Future<Output = Result<Image, Unavailable>> + Send;

    /// Whatever state this replica has.
    fn read_stale(&self) -> Result<Image, Unavailable>;

    /// Whether etcd's authentication is on in that state. It is asked at every call, so it takes next to nothing.
    fn auth_is_on(&self) -> bool;

    /// Renews a lease, wherever the leader is; `None` when there is no such lease. The client's connection is a number, or 0.
    fn renew_lease(
        &self,
        connection: u64,
        lease: i64,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<KvLeaseTime>, Unavailable>> + Send;

    /// Tells whoever leads what happened on a connection that keeps leases.
    fn keeper_news(
        &self,
        news: KeeperNews,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Counts leases whose keepers' connections broke in a burst.
    fn count_spared_leases(&self, leases: usize);

    /// How long a lease has, as the leader knows it; `None` when there is no such lease.
    fn lease_time(
        &self,
        lease: i64,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<KvLeaseTime>, Unavailable>> + Send;

    /// The revision of etcd's keys, now and from now on, each announced once a state that has it can be read. It waits until
    /// there is one.
    fn kv_revisions(&self) -> impl Future<Output = watch::Receiver<Revision>> + Send;

    /// Who leads, now and from now on.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// What this replica puts into the head of its answers.
    fn stamp(&self) -> Stamp;
}

/// Proposes, and waits for what the cluster decides.
pub(crate) async fn decide<N: Node>(node: &N, command: Command, deadline: Instant) -> Result<Reply, Status> {
    let decided = node.propose(command, deadline).await;
    decided
        .map_err(|unavailable| error::unavailable(&unavailable))?
        .map_err(|refusal| error::refused(&refusal))
}

/// Who answers, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The cluster.
    pub cluster: ClusterId,
    /// The replica.
    pub node: NodeId,
    /// The highest term that it has seen.
    pub term: Term,
}

impl Stamp {
    /// The head of an answer at `revision`.
    pub(crate) fn header(&self, revision: Revision) -> ResponseHeader {
        // etcd's ids have 64 bits and are never 0, which its clients take for "unknown".
        #[allow(clippy::cast_possible_truncation)]
        let low = self.cluster.0 as u64;
        ResponseHeader {
            cluster_id: low.max(1),
            member_id: self.node.0,
            revision: signed(revision.0),
            raft_term: self.term.0,
        }
    }
}

impl Node for Replica {
    async fn propose(&self, command: Command, deadline: Instant) -> Result<Outcome, Unavailable> {
        let (outcome, _) = self.propose_anywhere(command, deadline).await?;
        Ok(outcome)
    }

    async fn read(&self, deadline: Instant) -> Result<Image, Unavailable> {
        self.read_anywhere(deadline).await
    }

    fn read_stale(&self) -> Result<Image, Unavailable> {
        Ok(Replica::read_stale(self)?.image)
    }

    fn auth_is_on(&self) -> bool {
        self.kv_auth_is_on()
    }

    async fn renew_lease(
        &self,
        connection: u64,
        lease: i64,
        deadline: Instant,
    ) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.renew_kv_lease_by(connection, lease, deadline).await
    }

    async fn keeper_news(&self, news: KeeperNews, deadline: Instant) -> Result<(), Unavailable> {
        Replica::keeper_news(self, news, deadline).await
    }

    fn count_spared_leases(&self, leases: usize) {
        Replica::count_spared_leases(self, leases);
    }

    async fn lease_time(&self, lease: i64, deadline: Instant) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.kv_lease_time(lease, deadline).await
    }

    async fn kv_revisions(&self) -> watch::Receiver<Revision> {
        Replica::kv_revisions(self).await
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Replica::leadership(self)
    }

    fn stamp(&self) -> Stamp {
        let (cluster, node) = self.identity().unwrap_or_default();
        let term = self.leadership().borrow().term;
        Stamp { cluster, node, term }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_who_answers() {
        let cases = [
            (0x0123_4567_89ab_cdef_0fed_cba9_8765_4321, 0x0fed_cba9_8765_4321),
            (u128::MAX, u64::MAX),
            (1 << 64, 1),
            (0, 1),
        ];
        for (cluster, want) in cases {
            let stamp = Stamp {
                cluster: ClusterId(cluster),
                node: NodeId(3),
                term: Term(7),
            };
            let header = ResponseHeader {
                cluster_id: want,
                member_id: 3,
                revision: 5,
                raft_term: 7,
            };
            assert_eq!(stamp.header(Revision(5)), header, "{cluster:x}");
        }
    }
}
