//! What exists once the replica is part of a group: Raft, and the verbs' parts on top of it with their tasks.
//!
//! Promises: each task is the replica's own ([`Inner`]'s `work`), and each part hears of leadership, members and the
//! end through the same channels. Left out on purpose: how the group was found ([`crate::start`]).

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use quorate_host::Clock;
use quorate_store::{Identity as Directory, Store};
use quorate_types::{Member, NodeId, Term};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::barrier::Barrier;
use crate::digests::{self, Digests};
use crate::duties::kv_leases::KvLeaseClocks;
use crate::duties::lease_keeper::LeaseKeeper;
use crate::duties::sessions::Sessions;
use crate::duties::{Duties, compaction};
use crate::failover::gray::Gray;
use crate::failover::observed::Observed;
use crate::failover::timeline::Timeline;
use crate::failover::transfer::{TransferTask, Transfers};
use crate::fault::{Fault, Faults};
use crate::forward::members::MemberChanges;
use crate::forward::{self, Forwarder};
use crate::leadership::{Leadership, LeadershipTask};
use crate::membership::task::{Members, MembersTask};
use crate::peer::client::Peers;
use crate::peer::service::reign_of;
use crate::proposer::Proposer;
use crate::published::Published;
use crate::raft::types::Raft;
use crate::replica::Inner;
use crate::watch::WatchHub;

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
    pub(crate) kv_leases: KvLeaseClocks,
    pub(crate) members: Members,
    /// The newest reign whose first entry is applied here.
    pub(crate) applied_reigns: watch::Receiver<Option<crate::failover::Reign>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) forwarder: Forwarder,
    pub(crate) member_changes: MemberChanges,
}

impl Group {
    /// Waits until the first entry of `term`, or of a later one, is applied here.
    pub(crate) async fn applied(&self, term: Term) {
        let mut reigns = self.applied_reigns.clone();
        let reached = |reign: &Option<crate::failover::Reign>| reign.is_some_and(|reign| reign.term >= term);
        // It ends only with the replica.
        let _ = reigns.wait_for(reached).await;
    }

    /// Where its peers reach the leader, as far as this replica knows of another that leads. As in
    /// [`crate::leadership`], one that it has only read of on its own disk does not count, nor one whose process is gone.
    pub(crate) fn leader_peer_address(&self) -> Option<String> {
        let reign = reign_of(&self.raft.server_metrics().borrow_watched().vote)?;
        let leads = self.observed.run_of(reign).is_some() && !self.observed.leader_is_dead(reign);
        if !leads || reign.leader == self.identity.node {
            return None;
        }
        Some(self.member(reign.leader)?.peer_address)
    }

    /// The member of the effective membership with this id.
    pub(crate) fn member(&self, node: NodeId) -> Option<Member> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        server.membership_config.membership().get_node(&node).cloned()
    }
}

/// What the verbs are built on.
pub(crate) struct Parts {
    pub(crate) raft: Raft,
    pub(crate) observed: Arc<Observed>,
    pub(crate) digests: Arc<Digests>,
    pub(crate) published: Published,
    pub(crate) peers: Arc<Peers>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) applied_reigns: watch::Receiver<Option<crate::failover::Reign>>,
    /// This life of the replica forms the group.
    pub(crate) forming: bool,
}

impl Parts {
    /// Builds the verbs' parts on top of Raft and starts their tasks.
    pub(crate) fn assemble(self, directory: &Directory, inner: &Inner, clock: &Arc<dyn Clock>) -> Arc<Group> {
        let Parts {
            raft,
            observed,
            digests,
            published,
            peers,
            timeline,
            applied_reigns,
            forming,
        } = self;
        let (me, work, board) = (directory.node, &inner.work, &inner.board);
        let (leadership, members) = (inner.leadership.subscribe(), inner.members.subscribe());
        let isolated = watch::Sender::new(false);
        let stop = || work.stop();

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
            Arc::clone(clock),
            Arc::clone(&inner.metrics),
        );
        work.spawn(proposer_task.run(stop()));
        let (member_changes, members_task) = MembersTask::new(
            me,
            raft.clone(),
            Arc::clone(board),
            leadership.clone(),
            proposer.clone(),
            transfers.clone(),
        );
        work.spawn(members_task.run(stop()));
        let (barrier, barrier_task) = Barrier::new(
            me,
            raft.clone(),
            leadership.clone(),
            isolated.subscribe(),
            applied_reigns.clone(),
        );
        work.spawn(barrier_task.run(stop()));
        let leases = Arc::new(LeaseKeeper::new(
            inner.config.orphan_grace,
            inner.metrics.orphans(),
        ));
        let kv_leases = KvLeaseClocks {
            barrier: barrier.clone(),
            published: published.clone(),
            leases: Arc::clone(&leases),
        };
        let (forwarder, forward_tasks) = Forwarder::new(forward::Parts {
            me,
            published: published.clone(),
            proposer: proposer.clone(),
            barrier: barrier.clone(),
            kv_leases: kv_leases.clone(),
            peers: Arc::clone(&peers),
            members: members.clone(),
            leadership: leadership.clone(),
            clock: Arc::clone(clock),
            stop: stop(),
        });
        work.spawn(forward_tasks.run());
        let members_forwarded = MemberChanges {
            forwarder: forwarder.clone(),
            local: member_changes.clone(),
            raft: raft.clone(),
            peers: Arc::clone(&peers),
            members: members.clone(),
            leadership: leadership.clone(),
        };
        let leadership_task = LeadershipTask {
            me,
            raft: raft.clone(),
            observed: Arc::clone(&observed),
            isolated: isolated.subscribe(),
            timeline,
            clock: Arc::clone(clock),
            metrics: Arc::clone(&inner.metrics),
            applied_reign: applied_reigns.clone(),
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
        let duties = Duties {
            me,
            proposer: proposer.clone(),
            published: published.clone(),
            hub: hub.clone(),
            board: Arc::clone(board),
            members: members.clone(),
            leases: Arc::clone(&leases),
        };
        work.spawn(duties.run(leadership.clone(), stop()));
        if let Some(setting) = inner.config.compaction {
            let versions = compaction::OfReplica {
                published: published.clone(),
                proposer: proposer.clone(),
                leadership: leadership.clone(),
            };
            work.spawn(compaction::run(setting, versions, stop()));
        }
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
            kv_leases,
            members: member_changes,
            applied_reigns,
            leadership,
            forwarder,
            member_changes: members_forwarded,
        })
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
