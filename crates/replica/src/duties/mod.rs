//! What only the leader does: claimed when it serves, renounced when it no longer does.
//!
//! Promises: no duty runs before the first entry of the leader's term is applied, and all of a term's duties have ended
//! before those of a later term of the same replica begin. A duty acts only through proposals, so one that outlives its
//! leadership by a moment does no harm: its proposals are refused or decided like anybody's.

pub(crate) mod clients;
pub(crate) mod clocks;
pub(crate) mod compaction;
pub(crate) mod features;
pub(crate) mod guard;
pub(crate) mod kv_leases;
pub(crate) mod lease_keeper;
pub(crate) mod orphans;
pub(crate) mod sessions;

use std::sync::Arc;

use quorate_types::{Member, NodeId, Term};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::leadership::Leadership;
use crate::liveness::board::Board;
use crate::proposer::Proposer;
use crate::published::Published;
use crate::watch::WatchHub;
use lease_keeper::LeaseKeeper;

/// What the duties work with.
#[derive(Clone)]
pub(crate) struct Duties {
    pub(crate) me: NodeId,
    pub(crate) proposer: Proposer,
    pub(crate) published: Published,
    pub(crate) hub: WatchHub,
    pub(crate) board: Arc<Board>,
    pub(crate) members: watch::Receiver<Vec<Member>>,
    pub(crate) leases: Arc<LeaseKeeper>,
}

impl Duties {
    /// Claims and renounces until `stop`.
    pub(crate) async fn run(self, mut leadership: watch::Receiver<Leadership>, stop: CancellationToken) {
        loop {
            let term = tokio::select! {
                serving = leadership.wait_for(|leadership| leadership.serving) => match serving {
                    Ok(leadership) => leadership.term,
                    Err(_) => return,
                },
                () = stop.cancelled() => return,
            };
            let (duties, end) = self.claim(term);
            let renounced = |leadership: &Leadership| !leadership.serving || leadership.term != term;
            tokio::select! {
                _ = leadership.wait_for(renounced) => {}
                () = stop.cancelled() => {}
            }
            self.renounce(term, duties, end).await;
        }
    }

    fn claim(&self, term: Term) -> (JoinSet<()>, CancellationToken) {
        tracing::info!(%term, "claiming the leader's duties");
        let end = CancellationToken::new();
        let mut duties = JoinSet::new();
        self.leases.claim(&self.published.image());
        duties.spawn(lease_keeper::run(self.clone(), end.clone()));
        duties.spawn(clients::run(self.clone(), end.clone()));
        duties.spawn(features::run(self.clone(), end.clone()));
        (duties, end)
    }

    async fn renounce(&self, term: Term, mut duties: JoinSet<()>, end: CancellationToken) {
        tracing::info!(%term, "renouncing the leader's duties");
        self.leases.renounce();
        end.cancel();
        while duties.join_next().await.is_some() {}
    }
}
