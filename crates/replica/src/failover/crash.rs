//! The crash election: from the evidence of a death to a candidate, in one exchange between the witnesses.
//!
//! Promises: see [`crate::failover`]. This file is the part with effects; who may act and who runs is decided in
//! [`super::witness`]. A crash election is openraft's own leadership transfer, started by ourselves on behalf of a dead
//! leader: `handle_transfer_leader` with the vote that this node holds lets go of its lease and, for the chosen one,
//! starts an ordinary election. A call with a vote that is no longer current does nothing, so a late decision is
//! harmless.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::TransferLeaderRequest;
use quorate_store::Store;
use quorate_types::{BootId, Member, NodeId, Position};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Reign;
use super::observed::Observed;
use super::timeline::{Step, Timeline};
use super::witness::{Decision, Report, Witnesses};
use crate::peer::client::Peers;
use crate::peer::service::{current_vote, reign_of};
use crate::peer::{convert, wire};
use crate::raft::types::{self, Raft};

/// The chosen witness has this long to take over; then the next one tries, and so on down the ranking.
const BACKUP_AFTER: Duration = Duration::from_millis(60);
/// A notice that does not arrive is sent again after this pause, until it has expired.
const NOTICE_PAUSE: Duration = Duration::from_millis(5);

/// A death notice from another replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DownReport {
    pub(crate) from: NodeId,
    pub(crate) reign: Reign,
    /// The run that died.
    pub(crate) boot: BootId,
    pub(crate) last: Option<Position>,
}

/// What the task works with.
pub(crate) struct Crash {
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) timeline: Arc<Timeline>,
    /// One election timeout: how long a notice counts.
    pub(crate) valid_for: Duration,
}

impl Crash {
    /// Watches for the leader's death until `stop`.
    pub(crate) async fn run(self, mut reports: mpsc::Receiver<DownReport>, stop: CancellationToken) {
        let started = Instant::now();
        let mut witnesses = Witnesses::new(self.me, self.valid_for);
        let mut changes = self.observed.subscribe();
        let mut notices = JoinSet::new();
        loop {
            tokio::select! {
                () = changes.changed() => {}
                Some(notice) = reports.recv() => {
                    tracing::debug!(from = %notice.from, reign = %notice.reign, "a witness reports the leader's death");
                    let DownReport { from, reign, last, boot } = notice;
                    // A notice about another run than the one that leads here would speak of a different death.
                    if self.observed.run_of(reign).is_none_or(|run| run == boot) {
                        witnesses.report(started.elapsed(), Report { from, reign, last });
                    }
                }
                Some(_) = notices.join_next() => continue,
                () = stop.cancelled() => break,
            }
            // A stopped Raft has nothing to elect any more; whoever stopped it also stops this task.
            let Ok(vote) = current_vote(&self.raft).await else {
                break;
            };
            let Some(reign) = reign_of(&vote).filter(|reign| reign.leader != self.me) else {
                continue;
            };
            self.witness(reign, started.elapsed(), &mut witnesses, &mut notices);
            let (voter_sets, _) = self.voters();
            if let Some(decision) = witnesses.decide(started.elapsed(), reign, &voter_sets) {
                self.act(decision, &mut notices).await;
            }
        }
        notices.shutdown().await;
    }

    /// Reports or withdraws what our own link says about `reign`.
    fn witness(&self, reign: Reign, now: Duration, witnesses: &mut Witnesses, notices: &mut JoinSet<()>) {
        let Some(boot) = self
            .observed
            .run_of(reign)
            .filter(|_| self.observed.leader_is_dead(reign))
        else {
            witnesses.withdraw_ours();
            return;
        };
        if witnesses.have_reported(now, reign) {
            return;
        }
        self.timeline.mark(Step::Detected);
        // While no majority witnesses it, the notice is renewed each time it expires; that is not worth a line each.
        if self.observed.died() == Some(reign) {
            tracing::debug!(%reign, "telling the other voters of the death again");
        } else {
            tracing::info!(%reign, "the leader's process is gone; telling the other voters");
        }
        self.observed.note_death(reign);
        let last = self.store.log_state().last;
        witnesses.report(
            now,
            Report {
                from: self.me,
                reign,
                last,
            },
        );
        let notice = wire::DownReport {
            from: self.me.0,
            vote: Some(convert::to_vote(&types::vote(reign.term, reign.leader, true))),
            boot: boot.to_bytes().to_vec().into(),
            last: last.map(convert::to_position),
        };
        let (_, members) = self.voters();
        for member in members
            .into_iter()
            .filter(|member| member.node != self.me && member.node != reign.leader)
        {
            notices.spawn(notify(
                Arc::clone(&self.peers),
                member,
                notice.clone(),
                self.valid_for,
            ));
        }
    }

    /// Elects ourselves, or makes room for the one who should be.
    async fn act(&self, decision: Decision, notices: &mut JoinSet<()>) {
        let Decision { reign, best, rank } = decision;
        self.timeline.mark(Step::Witnessed);
        tracing::info!(%reign, %best, rank, "a majority has witnessed the leader's death");
        if rank == 0 {
            self.timeline.mark(Step::Candidate);
        }
        transfer(&self.raft, reign, best).await;
        if rank > 0 {
            let (raft, me, timeline) = (self.raft.clone(), self.me, Arc::clone(&self.timeline));
            notices.spawn(async move {
                sleep(BACKUP_AFTER * u32::try_from(rank).unwrap_or(u32::MAX)).await;
                let vote = current_vote(&raft).await;
                if vote.is_ok_and(|vote| reign_of(&vote) == Some(reign)) {
                    tracing::info!(%reign, "nobody took over; standing for election");
                    timeline.mark(Step::Candidate);
                    transfer(&raft, reign, me).await;
                }
            });
        }
    }

    /// The voter sets of the effective membership, and the voters themselves.
    fn voters(&self) -> (Vec<BTreeSet<NodeId>>, Vec<Member>) {
        let membership = crate::raft::membership::effective(&self.raft);
        let sets = membership.get_joint_config().clone();
        let is_voter = |node: &NodeId| sets.iter().any(|set| set.contains(node));
        let members = membership
            .nodes()
            .filter(|(node, _)| is_voter(node))
            .map(|(_, member)| member.clone());
        let members = members.collect();
        (sets, members)
    }
}

/// openraft's transfer, on behalf of a dead leader.
async fn transfer(raft: &Raft, reign: Reign, to: NodeId) {
    let from = types::vote(reign.term, reign.leader, true);
    match raft
        .handle_transfer_leader(TransferLeaderRequest::new(from, to, None))
        .await
    {
        Ok(Ok(())) => {}
        // The vote has changed meanwhile: somebody else was faster.
        Ok(Err(why)) => tracing::debug!(%reign, %why, "the crash election is moot"),
        Err(fatal) => tracing::debug!(%fatal, "the replica stops during a crash election"),
    }
}

/// Delivers a notice, or gives up when it has expired.
async fn notify(peers: Arc<Peers>, member: Member, notice: wire::DownReport, valid_for: Duration) {
    let Ok(peer) = peers.get(&member) else { return };
    let deliver = async {
        while let Err(status) = peer.urgent().report_down(peer.request(notice.clone())).await {
            tracing::debug!(%member, %status, "a death notice did not arrive");
            sleep(NOTICE_PAUSE).await;
        }
    };
    if timeout(valid_for, deliver).await.is_err() {
        tracing::warn!(%member, "could not tell this voter of the leader's death");
    }
}
