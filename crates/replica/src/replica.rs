//! The replica as its owner holds it: start, the verbs, stop.
//!
//! Promises: [`Replica::start`] returns as soon as the replica answers its peers; becoming part of a group goes on in the
//! background, and every verb says "unavailable" until then. [`Replica::stop`] hands leadership over first, and closes the
//! liveness listener last. A fault stops the replica by itself; its owner hears of it by [`Replica::fault`] and should
//! end the process, so that the peers know at once.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use quorate_host::{Listener, entropy, incoming};
use quorate_machine::{Command, FEATURE_LEVEL_MAX, Image, Machine, RequestId};
use quorate_store::{Identity as Directory, Store};
use quorate_types::limits::PEER_MESSAGE_BYTES_MAX;
use quorate_types::{BootId, Member, NodeId, Revision, Term};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::barrier::Barrier;
use crate::config::{Listeners, ReplicaConfig, Surroundings};
use crate::digests::{self, Digests};
use crate::duties::Duties;
use crate::duties::lease_keeper::LeaseKeeper;
use crate::duties::sessions::Sessions;
use crate::failover::crash::Crash;
use crate::failover::gray::Gray;
use crate::failover::observed::Observed;
use crate::failover::timeline::Timeline;
use crate::failover::transfer::{TransferError, TransferTask, Transfers};
use crate::fault::{Fault, Faults};
use crate::formation::{Formed, Place};
use crate::leadership::{LeaderChange, Leadership, LeadershipTask};
use crate::liveness::board::Board;
use crate::liveness::links::Links;
use crate::liveness::{Identity, listener};
use crate::metrics::Metrics;
use crate::peer::caller::Caller;
use crate::peer::client::{PeerNetwork, Peers};
use crate::peer::service::PeerService;
use crate::peer::wire::peer_server::PeerServer;
use crate::profile::Timing;
use crate::proposer::{Decided, Proposer};
use crate::published::Published;
use crate::raft::log::RaftLog;
use crate::raft::state::StateMachine;
use crate::raft::types::Raft;
use crate::unavailable::Unavailable;
use crate::watch::{WatchHub, Watcher};

/// Death notices that wait for the crash task.
const REPORTS_MAX: usize = 64;
/// How long a stopping leader tries to hand over before it stops all the same.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stopping replica waits for its tasks.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

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
    work: Ending,
    /// The liveness listener, which outlives everything.
    liveness: Ending,
    stopped: Mutex<bool>,
}

/// What exists once the replica is part of a group.
pub(crate) struct Group {
    pub(crate) identity: Directory,
    pub(crate) raft: Raft,
    pub(crate) observed: Arc<Observed>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) digests: Arc<Digests>,
    pub(crate) published: Published,
    pub(crate) hub: WatchHub,
    pub(crate) proposer: Proposer,
    pub(crate) barrier: Barrier,
    pub(crate) transfers: Transfers,
    pub(crate) sessions: Sessions,
}

impl Group {
    /// The member of the effective membership with this id.
    pub(crate) fn member(&self, node: NodeId) -> Option<Member> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        server.membership_config.membership().get_node(&node).cloned()
    }
}

/// Tasks and the word that ends them.
#[derive(Debug, Default)]
struct Ending {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Ending {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Ends the tasks and waits for them, for a while.
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(JOIN_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not end in time");
        }
    }
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
        let formed = Formed::new(&config, facts.incarnation, boot);
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
            inner.liveness.stop.clone(),
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
            .spawn(serve_peers(service, listeners.peer, inner.work.stop.clone()));
        inner.work.spawn(watch_store(
            Arc::clone(&inner.store),
            inner.faults.clone(),
            inner.work.stop.clone(),
        ));
        let start = Start {
            inner: Arc::clone(&inner),
            surroundings,
            boot,
            identity,
            reported,
        };
        let stop = inner.work.stop.clone();
        inner.work.spawn(async move {
            tokio::select! {
                () = start.run() => {}
                () = stop.cancelled() => {}
            }
        });
        Self { inner }
    }

    fn group(&self) -> Result<&Arc<Group>, Unavailable> {
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

    /// Proves that this replica led at a moment after this call, by an exchange with a majority, and gives the term.
    ///
    /// # Errors
    /// [`Unavailable`]: another leads, or no majority answered before `deadline`.
    pub async fn confirm_leadership(&self, deadline: Instant) -> Result<Term, Unavailable> {
        self.group()?.barrier.pass(deadline).await
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

    /// Changes from revision `from` on.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn watch(&self, from: Revision) -> Result<Watcher, Unavailable> {
        self.group()?.hub.watch(from)
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
            Ok(_) => {}
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

/// Becoming part of a group.
struct Start {
    inner: Arc<Inner>,
    surroundings: Surroundings,
    boot: BootId,
    identity: watch::Sender<Option<Identity>>,
    reported: mpsc::Receiver<crate::failover::crash::DownReport>,
}

impl Start {
    async fn run(self) {
        let faults = self.inner.faults.clone();
        if let Err(fault) = self.form().await {
            faults.raise(fault);
        }
    }

    async fn form(self) -> Result<(), Fault> {
        let store = &self.inner.store;
        let place = self
            .inner
            .formed
            .find_place(&**store, &self.surroundings.network)
            .await?;
        if store.facts().identity.is_none() {
            store
                .save_identity(place.directory.clone())
                .await
                .map_err(Fault::Store)?;
        }
        let identity = Identity {
            cluster: place.directory.cluster,
            node: place.directory.node,
            boot: self.boot,
            feature_level_max: FEATURE_LEVEL_MAX,
        };
        self.identity.send_replace(Some(identity));
        let (formed, network) = (
            Arc::clone(&self.inner.formed),
            Arc::clone(&self.surroundings.network),
        );
        let (faults, stop) = (self.inner.faults.clone(), self.inner.work.stop.clone());
        self.inner.work.spawn(async move {
            tokio::select! {
                Some(fault) = formed.look_around(identity.cluster, &network) => faults.raise(fault),
                () = stop.cancelled() => {}
                else => {}
            }
        });
        self.join(place, identity).await
    }

    async fn join(self, place: Place, identity: Identity) -> Result<(), Fault> {
        let inner = &self.inner;
        let me = place.directory.node;
        let caller = Caller {
            cluster: place.directory.cluster,
            from: me,
            to: me,
            boot: self.boot,
            incarnation: place.directory.incarnation,
        };
        let peers = Peers::new(caller, Arc::clone(&self.surroundings.network));
        // A replica that has never voted has never promised anybody a lease.
        let has_voted = inner.store.log_state().vote.is_some();
        let silence = if has_voted {
            inner.timing.election_max
        } else {
            Duration::ZERO
        };
        let observed = Observed::new(Arc::clone(&inner.board), silence);
        let digests = Arc::new(Digests::default());
        let machine = Machine::genesis();
        let published = Published::new(machine.image());
        let (applied_reign, applied_reigns) = watch::channel(None);
        let state = StateMachine::new(
            machine,
            Arc::clone(&inner.store),
            published.clone(),
            Arc::clone(&digests),
            applied_reign,
            inner.faults.clone(),
        );
        let raft_fault = |why: String| Fault::Raft { why };
        let config = crate::raft::config::config(identity.cluster, inner.timing, inner.config.snapshot)
            .map_err(|error| raft_fault(error.to_string()))?;
        let raft = Raft::new(
            me,
            Arc::new(config),
            PeerNetwork(Arc::clone(&peers)),
            RaftLog::new(Arc::clone(&inner.store)),
            state,
        )
        .await
        .map_err(|fatal| raft_fault(fatal.to_string()))?;

        let timeline = Timeline::new(Arc::clone(&self.surroundings.clock));
        let parts = Parts {
            raft: raft.clone(),
            observed: Arc::clone(&observed),
            digests,
            published,
            peers: Arc::clone(&peers),
            timeline: Arc::clone(&timeline),
            applied_reigns,
            forming: place.initial.is_some(),
        };
        let group = self.assemble(&place.directory, parts);
        inner.formed.settle(Arc::clone(&group));
        if let Some(members) = place.initial {
            // Refused when the log has members already: somebody was faster, or this is a restart half-way through.
            match raft.initialize(members).await {
                Ok(()) => tracing::info!(cluster = %identity.cluster, "formed a new group"),
                Err(error) => tracing::debug!(%error, "the group exists already"),
            }
        }
        let crash = Crash {
            me,
            raft: raft.clone(),
            store: Arc::clone(&inner.store),
            peers,
            observed,
            timeline,
            valid_for: inner.timing.election_max,
        };
        inner
            .work
            .spawn(crash.run(self.reported, inner.work.stop.clone()));
        let links = Links {
            me: identity,
            raft,
            network: Arc::clone(&self.surroundings.network),
            board: Arc::clone(&inner.board),
            members: inner.members.subscribe(),
        };
        inner.work.spawn(links.run(inner.work.stop.clone()));
        Ok(())
    }

    /// Builds the verbs' parts on top of Raft and starts their tasks.
    fn assemble(&self, directory: &Directory, parts: Parts) -> Arc<Group> {
        let Parts {
            raft,
            observed,
            digests,
            published,
            peers,
            timeline,
            applied_reigns,
            forming,
        } = parts;
        let inner = &self.inner;
        let (me, work, board) = (directory.node, &inner.work, &inner.board);
        let (leadership, members) = (inner.leadership.subscribe(), inner.members.subscribe());
        let isolated = watch::Sender::new(false);
        let clock = Arc::clone(&self.surroundings.clock);
        let stop = || work.stop.clone();

        let (transfers, transfer_task) = TransferTask::new(
            me,
            raft.clone(),
            Arc::clone(&observed),
            Arc::clone(board),
            leadership.clone(),
            inner.stopping.subscribe(),
        );
        work.spawn(transfer_task.run(stop()));
        let (proposer, proposer_task) = Proposer::new(
            me,
            raft.clone(),
            leadership.clone(),
            isolated.subscribe(),
            Arc::clone(&clock),
            Arc::clone(&inner.metrics),
        );
        work.spawn(proposer_task.run(stop()));
        let (barrier, barrier_task) =
            Barrier::new(me, raft.clone(), leadership.clone(), isolated.subscribe());
        work.spawn(barrier_task.run(stop()));
        let leadership_task = LeadershipTask {
            me,
            raft: raft.clone(),
            observed: Arc::clone(&observed),
            isolated: isolated.subscribe(),
            timeline,
            clock,
            metrics: Arc::clone(&inner.metrics),
            applied_reign: applied_reigns,
            forming,
            leadership: inner.leadership.clone(),
            members: inner.members.clone(),
            last_change: inner.last_change.clone(),
        };
        work.spawn(leadership_task.run(stop()));
        let gray = Gray {
            raft: raft.clone(),
            store: Arc::clone(&inner.store),
            timing: inner.timing,
            leadership: leadership.clone(),
            transfers: transfers.clone(),
            isolated,
        };
        work.spawn(gray.run(stop()));

        let hub = WatchHub::new(published.clone());
        let leases = Arc::new(LeaseKeeper::new());
        let duties = Duties {
            me,
            proposer: proposer.clone(),
            published: published.clone(),
            hub: hub.clone(),
            board: Arc::clone(board),
            members: members.clone(),
            leases: Arc::clone(&leases),
        };
        work.spawn(duties.run(leadership, stop()));
        let compare = digests::compare(
            me,
            Arc::clone(&digests),
            members,
            peers,
            inner.faults.clone(),
            stop(),
        );
        work.spawn(compare);
        work.spawn(watch_raft(raft.clone(), inner.faults.clone(), stop()));

        let sessions = Sessions {
            proposer: proposer.clone(),
            barrier: barrier.clone(),
            published: published.clone(),
            leases,
            grace: inner.config.session_grace,
        };
        Arc::new(Group {
            identity: directory.clone(),
            raft,
            observed,
            store: Arc::clone(&inner.store),
            digests,
            published,
            hub,
            proposer,
            barrier,
            transfers,
            sessions,
        })
    }
}

/// What the verbs are built on.
struct Parts {
    raft: Raft,
    observed: Arc<Observed>,
    digests: Arc<Digests>,
    published: Published,
    peers: Arc<Peers>,
    timeline: Arc<Timeline>,
    applied_reigns: watch::Receiver<Option<crate::failover::Reign>>,
    /// This life of the replica forms the group.
    forming: bool,
}

/// Serves the peer protocol until `stop`.
async fn serve_peers(service: PeerService, listener: Listener, stop: CancellationToken) {
    let service = PeerServer::new(service)
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(2)))
        .http2_keepalive_timeout(Some(Duration::from_secs(2)))
        .add_service(service);
    // Streams between peers never end by themselves, so the server is dropped rather than drained.
    tokio::select! {
        served = server.serve_with_incoming(incoming(listener)) => {
            if let Err(error) = served {
                tracing::error!(%error, "the peer service has ended");
            }
        }
        () = stop.cancelled() => {}
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

/// Raises openraft's end, unless somebody asked for it.
async fn watch_raft(raft: Raft, faults: Faults, stop: CancellationToken) {
    let mut metrics = raft.metrics();
    loop {
        let running = metrics.borrow_and_update().running_state.clone();
        if let Err(fatal) = running {
            if !stop.is_cancelled() && !matches!(fatal, openraft::errors::Fatal::Stopped) {
                faults.raise(Fault::Raft {
                    why: fatal.to_string(),
                });
            }
            return;
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
