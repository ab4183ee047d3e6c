//! Becoming part of a group: from an open peers' port to a member with all its tasks.
//!
//! Promises: the identity is on disk before anybody hears of it, and Raft runs before a liveness link or a death notice
//! can ask anything of it. Whatever fails here is a fault, which stops the replica. Left out on purpose: which group,
//! under which node id ([`crate::formation`]).

use std::sync::Arc;
use std::time::Duration;

use quorate_machine::{FEATURE_LEVEL_MAX, Machine};
use quorate_types::BootId;
use tokio::sync::{mpsc, watch};

use crate::config::Surroundings;
use crate::digests::Digests;
use crate::failover::crash::Crash;
use crate::failover::observed::Observed;
use crate::failover::timeline::Timeline;
use crate::fault::Fault;
use crate::formation::Place;
use crate::group::Parts;
use crate::liveness::Identity;
use crate::liveness::links::Links;
use crate::membership::removed::Removed;
use crate::peer::caller::Caller;
use crate::peer::client::{PeerNetwork, Peers};
use crate::published::Published;
use crate::raft::log::RaftLog;
use crate::raft::state::StateMachine;
use crate::raft::types::Raft;
use crate::replica::Inner;

/// Becoming part of a group.
pub(crate) struct Start {
    pub(crate) inner: Arc<Inner>,
    pub(crate) surroundings: Surroundings,
    pub(crate) boot: BootId,
    pub(crate) identity: watch::Sender<Option<Identity>>,
    pub(crate) reported: mpsc::Receiver<crate::failover::crash::DownReport>,
}

impl Start {
    /// Finds the group and becomes part of it; a failure stops the replica.
    pub(crate) async fn run(self) {
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
            self.inner.formed.belongs_to(place.directory.cluster);
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
        let (faults, stop) = (self.inner.faults.clone(), self.inner.work.stop());
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
        let (applied_reign, applied_reigns) = watch::channel(None);
        let peers = Peers::new(
            caller,
            Arc::clone(&self.surroundings.network),
            applied_reigns.clone(),
        );
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
        let group = parts.assemble(&place.directory, inner, &self.surroundings.clock);
        inner.formed.settle(Arc::clone(&group));
        if let Some(members) = place.initial {
            // Refused when the log has members already: somebody was faster, or this is a restart half-way through.
            match raft.initialize(members).await {
                Ok(()) => tracing::info!(cluster = %identity.cluster, "formed a new group"),
                Err(error) => tracing::debug!(%error, "the group exists already"),
            }
        }
        let removed = Removed {
            me,
            cluster: identity.cluster,
            raft: raft.clone(),
            observed: Arc::clone(&observed),
            network: Arc::clone(&self.surroundings.network),
            leadership: inner.leadership.subscribe(),
            faults: inner.faults.clone(),
        };
        inner.work.spawn(removed.run(inner.work.stop()));
        let crash = Crash {
            me,
            raft: raft.clone(),
            store: Arc::clone(&inner.store),
            peers: Arc::clone(&peers),
            observed,
            timeline,
            valid_for: inner.timing.election_max,
        };
        inner.work.spawn(crash.run(self.reported, inner.work.stop()));
        let links = Links {
            me: identity,
            raft,
            network: Arc::clone(&self.surroundings.network),
            board: Arc::clone(&inner.board),
            peers,
            members: inner.members.subscribe(),
        };
        inner.work.spawn(links.run(inner.work.stop()));
        Ok(())
    }
}
