//! Gray failures: a leader that lives and cannot work notices by itself.
//!
//! Promises: a leader whose oldest unfinished log flush is older than a limit hands over to a follower whose disk
//! works: heartbeats would go on for ever otherwise, because they need no disk. A leader that no majority has answered for
//! two lease times is *isolated*: it stops to present itself as the leader, and what waits for it is told to try elsewhere;
//! it keeps nobody from electing another, because it stops its heartbeats as well (openraft's check-quorum). Left out on
//! purpose: judging followers; one with a stalled disk acknowledges nothing and simply does not count.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, ServerState};
use quorate_store::Store;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::transfer::Transfers;
use crate::leadership::Leadership;
use crate::profile::Timing;
use crate::raft::types::Raft;

/// How long a hand-over may take before the next look tries again.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// A flush that takes longer than this many election timeouts is a stall. The election timeout itself assumes flushes ten
/// times quicker than it, so this is a hundred times slower than assumed, and still well before a client gives up.
const STALL_TIMEOUTS: u32 = 4;

/// What the task works with.
pub(crate) struct Gray {
    pub(crate) raft: Raft,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) timing: Timing,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) transfers: Transfers,
    pub(crate) isolated: watch::Sender<bool>,
}

impl Gray {
    /// Looks until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut leading_since = None;
        let mut looks = interval(self.timing.heartbeat);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stop.cancelled() => return,
            }
            self.look_at_quorum(&mut leading_since);
            if self.disk_is_stalled() && self.leadership.borrow().is_me {
                tracing::error!(
                    "the disk has not finished a log write for {} ms; handing leadership over",
                    self.stall_limit().as_millis()
                );
                let deadline = Instant::now() + HAND_OVER_TIMEOUT;
                if let Err(error) = self.transfers.hand_over(None, deadline).await {
                    tracing::error!(%error, "nobody could take over from a stalled disk");
                }
            }
        }
    }

    fn stall_limit(&self) -> Duration {
        self.timing.election_max * STALL_TIMEOUTS
    }

    fn disk_is_stalled(&self) -> bool {
        self.store
            .stats()
            .oldest_unfinished
            .is_some_and(|age| age > self.stall_limit())
    }

    fn look_at_quorum(&self, leading_since: &mut Option<Instant>) {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let isolated = if metrics.state == ServerState::Leader {
            // A fresh leader has no acknowledgement yet; its time counts from when it began to lead.
            let since = *leading_since.get_or_insert_with(Instant::now);
            let alone = metrics.membership_config.voter_ids().count() == 1;
            let acked = metrics
                .last_quorum_acked
                .map(|acked| acked.elapsed())
                .filter(|_| !alone);
            let silent = if alone {
                Duration::ZERO
            } else {
                acked.unwrap_or_else(|| since.elapsed())
            };
            silent > self.timing.election_max * 2
        } else {
            *leading_since = None;
            false
        };
        self.isolated.send_if_modified(|old| {
            if isolated && !*old {
                tracing::warn!("no majority answers this leader; it no longer presents itself as one");
            }
            std::mem::replace(old, isolated) != isolated
        });
    }
}
