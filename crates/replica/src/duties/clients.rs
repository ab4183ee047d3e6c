//! Forgetting idle clients: their remembered answers are the only state that grows with visitors who never return.
//!
//! Promises: a client is evicted only when it has been idle for long, or when there are too many and it is among the
//! least recently used; the decision is a command, so all replicas forget the same ones.

use std::time::Duration;

use quorate_machine::Command;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Duties;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the leader waits for one eviction.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Evicts until `end`.
pub(crate) async fn run(duties: Duties, end: CancellationToken) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = end.cancelled() => return,
        }
        let idle = duties.published.image().clients_to_evict();
        if idle.is_empty() {
            continue;
        }
        let count = idle.len();
        let command = Command::EvictClients { clients: idle };
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        match duties.proposer.propose(&command, None, deadline).await {
            Ok(_) => tracing::info!(clients = count, "forgot idle clients"),
            // The next look sees what is left.
            Err(error) => tracing::debug!(%error, "idle clients were not forgotten"),
        }
    }
}
