//! The replica as its owner holds it: start, the verbs, stop.
//!
//! Promises: [`Replica::start`] returns as soon as the replica answers its peers; becoming part of a group goes on in the
//! background, and every verb says "unavailable" until then. [`Replica::stop`] hands leadership over first, and closes the
//! liveness listener last. A fault stops the replica by itself; its owner hears of it by [`Replica::fault`] and should
//! end the process, so that the peers know at once.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::entropy;
use quorate_machine::{Command, Image, Outcome, RequestId};
use quorate_store::Store;
use quorate_types::{BootId, ClusterId, Index, Member, NodeId, Revision, Term};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{Listeners, ReplicaConfig, Surroundings};
use crate::duties::kv_leases::{Asked, KeeperNews, KvLeaseTime, LeaseQuestion};
use crate::duties::sessions::Sessions;
use crate::ending::Ending;
use crate::failover::transfer::TransferError;
use crate::fault::{Fault, Faults};
use crate::formation::Formed;
use crate::group::Group;
use crate::leadership::{LeaderChange, Leadership};
use crate::liveness::board::Board;
use crate::liveness::listener;
use crate::membership::{MemberChange, MemberError};
use crate::metrics::Metrics;
use crate::peer;
use crate::peer::service::PeerService;
use crate::profile::Timing;
use crate::proposer::Decided;
use crate::start::Start;
use crate::unavailable::Unavailable;
use crate::watch::Watcher;

/// Death notices that wait for the crash task.
const REPORTS_MAX: usize = 64;
/// How long a stopping leader tries to hand over before it stops all the same.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);

/// One running member; cheap to clone.
#[derive(Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: ReplicaConfig,
    pub(crate) timing: Timing,
    pub(crate) formed: Arc<Formed>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) board: Arc<Board>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) faults: Faults,
    pub(crate) started: Instant,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) members: watch::Sender<Vec<Member>>,
    pub(crate) last_change: watch::Sender<Option<LeaderChange>>,
    /// Readiness is off: the replica is about to stop.
    pub(crate) stopping: watch::Sender<bool>,
    /// Tasks that work for clients and for the group.
    pub(crate) work: Ending,
    /// The liveness listener, which outlives everything.
    liveness: Ending,
    stopped: Mutex<bool>,
}

/// A state that may be old, and what is known of its age.
#[derive(Clone)]
pub struct Stale {
    /// The state.
    pub image: Image,
    /// How long ago this replica last heard from the leader; zero on the leader itself, absent when it never did. While
    /// the network is healthy the state is at most this old.
    pub leader_contact: Option<Duration>,
}

impl Replica {
    /// Starts a replica on `store`. `config` must be [`ReplicaConfig::checked`].
    pub async fn start(
        config: ReplicaConfig,
        store: Arc<dyn Store>,
        listeners: Listeners,
        surroundings: Surroundings,
    ) -> Self {
        let facts = store.facts();
        let boot = BootId(entropy::random_u128());
        let formed = Formed::new(&config, facts.incarnation, facts.identity.as_ref(), boot);
        let inner = Arc::new(Inner {
            timing: config.profile.timing().stretched_for(store.stats().flush_p99),
            formed: Arc::clone(&formed),
            board: Board::new(),
            metrics: Arc::new(Metrics::new()),
            faults: Faults::new(),
            started: Instant::now(),
            leadership: watch::Sender::default(),
            members: watch::Sender::default(),
            last_change: watch::Sender::default(),
            stopping: watch::Sender::new(false),
            work: Ending::default(),
            liveness: Ending::default(),
            stopped: Mutex::new(false),
            config,
            store,
        });
        let (identity, identities) = watch::channel(None);
        let liveness = listener::serve(
            listeners.liveness,
            identities,
            Arc::clone(&inner.board),
            inner.liveness.stop(),
        );
        inner.liveness.spawn(liveness);
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let service = PeerService {
            formed,
            board: Arc::clone(&inner.board),
            reports,
        };
        inner
            .work
            .spawn(peer::serve::serve(service, listeners.peer, &inner.work));
        inner.work.spawn(watch_store(
            Arc::clone(&inner.store),
            inner.faults.clone(),
            inner.work.stop(),
        ));
        let start = Start {
            inner: Arc::clone(&inner),
            surroundings,
            boot,
            identity,
            reported,
        };
        let stop = inner.work.stop();
        inner.work.spawn(async move {
            tokio::select! {
                () = start.run() => {}
                () = stop.cancelled() => {}
            }
        });
        Self { inner }
    }

    pub(crate) fn group(&self) -> Result<&Arc<Group>, Unavailable> {
        if self.inner.faults.subscribe().borrow().is_some() {
            return Err(Unavailable::Stopped);
        }
        let not_yet = || Unavailable::not_leader(&self.inner.leadership.borrow());
        self.inner.formed.group().ok_or_else(not_yet)
    }

    /// Proposes a command and waits for its outcome, until `deadline`.
    ///
    /// # Errors
    /// [`Unavailable`] says whether the command can have been executed. A refusal is not an error but an outcome.
    pub async fn propose(
        &self,
        command: &Command,
        request: Option<RequestId>,
        deadline: Instant,
    ) -> Result<Decided, Unavailable> {
        self.group()?.proposer.propose(command, request, deadline).await
    }

    /// A state that includes everything acknowledged anywhere before this call.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn read(&self, deadline: Instant) -> Result<Image, Unavailable> {
        let group = self.group()?;
        group.barrier.pass(deadline).await?;
        Ok(group.published.image())
    }

    /// Proposes a command wherever the leader is, and waits until its outcome is known and can be seen at this replica.
    /// Gives the outcome and the command's index in the log. It never acts twice, also when the leader changes meanwhile;
    /// while nobody leads it waits, until `deadline`.
    ///
    /// # Errors
    /// [`Unavailable`] says whether the command can have been executed. It has no request id to repeat it with: after an
    /// unknown outcome, look. A refusal is not an error but an outcome.
    pub async fn propose_anywhere(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<(Outcome, Index), Unavailable> {
        self.group()?.forwarder.propose(&command, deadline).await
    }

    /// A state that includes everything acknowledged anywhere before this call, at any replica; while nobody leads it
    /// waits, until `deadline`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn read_anywhere(&self, deadline: Instant) -> Result<Image, Unavailable> {
        self.group()?.forwarder.read(deadline).await
    }

    /// Renews a lease of etcd's as of now, wherever the leader is; `None` when there is no such lease. While nobody leads it
    /// waits, until `deadline`.
    ///
    /// # Errors
    /// [`Unavailable`]; renewing again is harmless.
    pub async fn renew_kv_lease(
        &self,
        lease: i64,
        deadline: Instant,
    ) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.renew_kv_lease_by(0, lease, deadline).await
    }

    /// As [`Self::renew_kv_lease`], for a client on this connection: a number by chance, of its own for each connection, or 0. It
    /// is what [`Self::keeper_news`] are told by.
    ///
    /// # Errors
    /// [`Unavailable`]; renewing again is harmless.
    pub async fn renew_kv_lease_by(
        &self,
        connection: u64,
        lease: i64,
        deadline: Instant,
    ) -> Result<Option<KvLeaseTime>, Unavailable> {
        let question = LeaseQuestion {
            lease,
            connection,
            asked: Asked::Renew,
        };
        self.group()?.forwarder.lease_time(question, deadline).await
    }

    /// Tells whoever leads what happened on a client's connection. While nobody leads it waits, until `deadline`. A later leader
    /// does not know it: tell again what still matters.
    ///
    /// # Errors
    /// [`Unavailable`]; telling it again is harmless.
    pub async fn keeper_news(&self, news: KeeperNews, deadline: Instant) -> Result<(), Unavailable> {
        let question = news.question();
        self.group()?.forwarder.lease_time(question, deadline).await?;
        Ok(())
    }

    /// Counts leases whose keepers' connections broke all at once at this replica, so that nobody was told.
    pub fn count_spared_leases(&self, leases: usize) {
        self.inner.metrics.orphans().spared(leases);
    }

    /// How long a lease of etcd's has, as the leader knows it; `None` when there is no such lease.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn kv_lease_time(
        &self,
        lease: i64,
        deadline: Instant,
    ) -> Result<Option<KvLeaseTime>, Unavailable> {
        let question = LeaseQuestion {
            lease,
            connection: 0,
            asked: Asked::Time,
        };
        self.group()?.forwarder.lease_time(question, deadline).await
    }

    /// Proves that this replica led at a moment after this call, by an exchange with a majority, and gives the term.
    ///
    /// # Errors
    /// [`Unavailable`]: another leads, or no majority answered before `deadline`.
    pub async fn confirm_leadership(&self, deadline: Instant) -> Result<Term, Unavailable> {
        Ok(self.group()?.barrier.pass(deadline).await?.term)
    }

    /// Whatever state this replica has.
    ///
    /// # Errors
    /// [`Unavailable`] when it has none: it is not part of a group yet, or has stopped.
    pub fn read_stale(&self) -> Result<Stale, Unavailable> {
        let group = self.group()?;
        Ok(Stale {
            image: group.published.image(),
            leader_contact: self.leader_contact(),
        })
    }

    /// Whether etcd's authentication is on in that state, for callers that ask at every call.
    #[must_use]
    pub fn kv_auth_is_on(&self) -> bool {
        self.group().is_ok_and(|group| group.published.kv_auth_is_on())
    }

    /// Changes from revision `from` on.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn watch(&self, from: Revision) -> Result<Watcher, Unavailable> {
        self.group()?.hub.watch(from)
    }

    /// The revision of etcd's keyspace, now and from now on, each announced once a state that has it can be read. Before this
    /// replica is part of a group there is none: then it waits.
    pub async fn kv_revisions(&self) -> watch::Receiver<Revision> {
        let mut waiting = self.waiting();
        loop {
            if let Some(group) = self.inner.formed.group() {
                return group.published.subscribe_kv();
            }
            // The last change comes when there is a group; the sender lives as long as this replica.
            let _ = waiting.changed().await;
        }
    }

    /// The cluster, and this replica's id in it; `None` until it is part of one.
    #[must_use]
    pub fn identity(&self) -> Option<(ClusterId, NodeId)> {
        let identity = &self.inner.formed.group()?.identity;
        Some((identity.cluster, identity.node))
    }

    /// Who leads, now and from now on.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.subscribe()
    }

    /// The members, now and from now on.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.inner.members.subscribe()
    }

    /// The sessions of workers.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn sessions(&self) -> Result<Sessions, Unavailable> {
        Ok(self.group()?.sessions.clone())
    }

    /// Hands leadership over, to `to` or to the most advanced voter, and waits until it leads.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn hand_over(
        &self,
        to: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Leadership, TransferError> {
        let group = self.group().map_err(|_| TransferError::NotLeader)?;
        group.transfers.hand_over(to, deadline).await
    }

    /// Changes voters and members in one joint change, and waits until that is committed.
    ///
    /// # Errors
    /// [`MemberError`]. [`MemberError::NotLeader`] also after this replica has handed leadership over, because it is itself
    /// to be removed: ask the new leader.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        let group = self.group().map_err(|_| MemberError::NotLeader)?;
        group.members.change(change).await
    }

    /// The first fault, when it happens.
    #[must_use]
    pub fn fault(&self) -> watch::Receiver<Option<Arc<Fault>>> {
        self.inner.faults.subscribe()
    }

    /// For whom this replica waits before it can be part of a group; empty once it is.
    #[must_use]
    pub fn waiting(&self) -> watch::Receiver<String> {
        self.inner.formed.waiting()
    }

    /// Waits until the replica is ready to serve, or has stopped by a fault.
    ///
    /// # Errors
    /// The fault.
    pub async fn ready(&self) -> Result<(), Arc<Fault>> {
        let mut fault = self.fault();
        let mut leadership = self.leadership();
        loop {
            if let Some(fault) = fault.borrow().clone() {
                return Err(fault);
            }
            if self.is_ready() {
                return Ok(());
            }
            tokio::select! {
                _ = fault.changed() => {}
                _ = leadership.changed() => {}
                // Catching up is not announced.
                () = tokio::time::sleep(self.inner.timing.heartbeat) => {}
            }
        }
    }

    /// Turns readiness off and, leading, hands leadership over. The replica goes on serving: call [`Self::stop`] when
    /// its clients have left.
    pub async fn prepare_stop(&self) {
        self.inner.stopping.send_replace(true);
        let leads = self.inner.leadership.borrow().is_me;
        if !leads {
            return;
        }
        match self.hand_over(None, Instant::now() + HAND_OVER_TIMEOUT).await {
            // The successor's first entry needs a majority: this replica is one of it, and its own closing would keep the
            // disk busy just then.
            Ok(successor) => {
                if let Some(group) = self.inner.formed.group() {
                    let _ = timeout(self.inner.timing.election_max, group.applied(successor.term)).await;
                }
            }
            Err(TransferError::NobodyElse) => {
                tracing::info!("no other voter can be reached; stopping as the leader")
            }
            Err(error) => tracing::warn!(%error, "stopping as the leader"),
        }
    }

    /// Stops the replica in order; the liveness listener closes last. Calling it again waits for the first call.
    pub async fn stop(&self) {
        let mut stopped = self.inner.stopped.lock().await;
        if *stopped {
            return;
        }
        self.inner.stopping.send_replace(true);
        if let Some(group) = self.inner.formed.group()
            && let Err(error) = group.raft.shutdown().await
        {
            tracing::warn!(%error, "the consensus did not stop in order");
        }
        self.inner.work.end().await;
        self.inner.store.close().await;
        self.inner.liveness.end().await;
        *stopped = true;
    }

    fn leader_contact(&self) -> Option<Duration> {
        let group = self.inner.formed.group()?;
        if self.inner.leadership.borrow().is_me {
            return Some(Duration::ZERO);
        }
        group.observed.leader_contact()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

/// Raises the store's first fault.
async fn watch_store(store: Arc<dyn Store>, faults: Faults, stop: CancellationToken) {
    let mut fault = store.fault();
    tokio::select! {
        fault = fault.wait_for(Option::is_some) => {
            if let Ok(fault) = fault
                && let Some(fault) = &*fault
            {
                faults.raise(Fault::Store(quorate_store::StoreError::Fault(Arc::clone(fault))));
            }
        }
        () = stop.cancelled() => {}
    }
}
