//! The handle.
//!
//! Promises: cheap to clone; all clones share connections, the knowledge of the leader and the numbering of writes.
//! Dropping the last one, and the last [`Session`](crate::Session), [`Writes`] and [`Watch`] made from it, ends all
//! tasks. Left out on purpose: the calls themselves, which stand with their services.

use std::sync::Arc;
use std::time::Duration;

use quorate_api::v1;
use quorate_types::{NodeId, Term};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Response;

use crate::builder::Builder;
use crate::call::{Effect, Method, Plan, Target};
use crate::cluster::Cluster;
use crate::core::{Core, Handle};
use crate::error::{Error, Outcome};
use crate::ids::Ids;
use crate::numbered::Unary;
use crate::root::Root;
use crate::session::{OpenSession, Sessions};
use crate::snapshots::Snapshots;
use crate::stale::StaleRoot;
use crate::topology::Leader;
use crate::watch::{OnCompaction, Watch};
use crate::writes::Writes;

/// Longest deadline of a call; a longer one is cut, so that sums of times stay in range.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// See the module.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
    deadline: Duration,
}

impl Client {
    pub(crate) fn new(core: Arc<Core>, deadline: Duration) -> Self {
        Self {
            handle: Arc::new(Handle { core }),
            deadline: deadline.min(DEADLINE_MAX),
        }
    }

    /// A client of the cluster that has a replica at one of `seeds` (`host:port`), with default settings.
    ///
    /// # Errors
    /// See [`Builder::connect`].
    pub fn connect<S: Into<String>>(seeds: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        Self::builder(seeds).connect()
    }

    /// Settings for a client of the cluster that has a replica at one of `seeds` (`host:port`). Names are resolved at
    /// each dial. One reachable seed is enough; the others are found from there.
    pub fn builder<S: Into<String>>(seeds: impl IntoIterator<Item = S>) -> Builder {
        Builder::new(seeds.into_iter().map(Into::into).collect())
    }

    /// The same client for calls that may take this long, one day at most.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            deadline: deadline.min(DEADLINE_MAX),
        }
    }

    /// The leader as it is believed, now and at every change; `None` while nobody is known to lead.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.core().topology.leaders()
    }

    /// The members of the group as last heard; empty until a replica answered.
    #[must_use]
    pub fn members(&self) -> Vec<v1::MemberInfo> {
        self.core().topology.members()
    }

    /// Waits until a leader answers, and returns it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] at the deadline; the message says what each address answered.
    pub async fn ready(&self) -> Result<Leader, Error> {
        let topology = &self.core().topology;
        let mut views = topology.views();
        let found = views.wait_for(|view| view.closed || view.leader.is_some());
        let found = match timeout(self.deadline, found).await {
            Ok(Ok(view)) if !view.closed => view.believed.clone(),
            Ok(_) => return Err(Error::closed(Outcome::NotExecuted)),
            Err(_) => None,
        };
        found.ok_or_else(|| Error::Unavailable {
            outcome: Outcome::NotExecuted,
            why: format!(
                "no leader answered within {:?}; {}",
                self.deadline,
                topology.describe()
            ),
        })
    }

    /// The catalog.
    #[must_use]
    pub fn root(&self) -> Root {
        Root::new(self.clone())
    }

    /// The catalog as some replica knows it, perhaps not the latest.
    #[must_use]
    pub fn stale_root(&self) -> StaleRoot {
        StaleRoot::new(self.clone())
    }

    /// Ids that are never given twice.
    #[must_use]
    pub fn ids(&self) -> Ids {
        Ids::new(self.clone())
    }

    /// The group of replicas itself.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.clone())
    }

    /// Backups of the cluster.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.clone())
    }

    /// The sessions of all workers.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.clone())
    }

    /// A session for `worker`, to be opened. `ttl` is 1 second to 1 day.
    #[must_use]
    pub fn session(&self, worker: v1::Worker, ttl: Duration) -> OpenSession {
        OpenSession::new(self.clone(), worker, ttl)
    }

    /// A stream of writes, for throughput.
    #[must_use]
    pub fn writes(&self) -> Writes {
        Writes::new(self.clone())
    }

    /// Changes as they happen. Nothing is sent until the watch is polled.
    #[must_use]
    pub fn watch(&self, request: v1::WatchRequest, on_compaction: OnCompaction) -> Watch {
        Watch::new(self.clone(), request, on_compaction)
    }

    /// Ends all tasks and joins them, also those of this client's other handles. Calls under way end as unavailable.
    /// Close sessions before, or they end as if the worker had crashed.
    pub async fn close(self) {
        self.core().close().await;
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    pub(crate) fn patience(&self) -> Duration {
        self.deadline
    }

    pub(crate) async fn write<W: Unary>(&self, write: W) -> Result<W::Answer, Error> {
        self.core().write(self.deadline, write).await
    }

    /// A linearizable read, from the leader.
    pub(crate) async fn read<Q, A>(
        &self,
        name: &'static str,
        message: Q,
        method: Method<Q, A>,
    ) -> Result<A, Error>
    where
        Q: prost::Message + Clone,
    {
        let plan = Plan::new(name, Target::Leader, Effect::None, self.deadline);
        let answer: Response<A> = self.core().call(plan, message, method).await?;
        Ok(answer.into_inner())
    }

    /// The node that leads and its term, for comparison.
    pub(crate) fn leading(&self) -> Option<(Term, NodeId)> {
        let leaders = self.core().topology.leaders();
        let leader = leaders.borrow();
        leader.as_ref().map(|leader| (leader.term, leader.node))
    }
}
