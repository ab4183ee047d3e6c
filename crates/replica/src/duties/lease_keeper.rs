//! Keeping the leases: their clocks run on the leader alone, and what runs out is proposed for expiry.
//!
//! Promises: renewals never enter the log; one is acknowledged only behind a read barrier that began after it arrived,
//! so that a deposed leader cannot confirm what its successor takes away, and never once the lease's expiry is proposed.
//! A new leader starts every clock at full time to live after it has applied its first entry, spread, so that sessions
//! that all lost their leader do not all expire in one moment.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_host::entropy;
use quorate_machine::{Command, Image, Lease, LeaseId, Resource};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Duties;
use super::clocks::LeaseClocks;
use crate::unavailable::Unavailable;
use crate::watch::Cancelled;

/// Leases that one command expires at most; more are due at once only after a disaster, and follow in the next.
const EXPIRIES_PER_COMMAND: usize = 1_024;
/// How long the leader waits for the outcome of an expiry before it proposes the rest.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A pause after an expiry that was not executed for a passing reason.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// After a change of leader every lease lives longer by up to this part of its time to live.
const SPREAD: f64 = 0.1;

/// The clocks, while this replica leads; shared with the sessions' streams.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    started: Instant,
    clocks: Mutex<Option<LeaseClocks>>,
    /// The next moment of expiry may have come closer.
    sooner: Notify,
}

impl LeaseKeeper {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            clocks: Mutex::new(None),
            sooner: Notify::new(),
        }
    }

    fn clocks(&self) -> MutexGuard<'_, Option<LeaseClocks>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Starts every clock at full time to live, spread.
    pub(crate) fn claim(&self, image: &Image) {
        let now = self.now();
        let mut clocks = LeaseClocks::default();
        for lease in image.leases() {
            let ttl = Duration::from_millis(lease.ttl_ms);
            clocks.start(
                lease.id,
                ttl,
                now + ttl.mul_f64(SPREAD * entropy::random_fraction()),
            );
        }
        *self.clocks() = Some(clocks);
    }

    /// Stops all clocks: another replica keeps the leases now.
    pub(crate) fn renounce(&self) {
        *self.clocks() = None;
    }

    /// A lease was granted.
    fn granted(&self, lease: Lease) {
        let now = self.now();
        if let Some(clocks) = self.clocks().as_mut() {
            clocks.start(lease.id, Duration::from_millis(lease.ttl_ms), now);
        }
        self.sooner.notify_one();
    }

    fn ended(&self, lease: LeaseId) {
        if let Some(clocks) = self.clocks().as_mut() {
            clocks.stop(lease);
        }
    }

    /// Renews `lease` as of `arrived`; the barrier has been passed since. `None` when it cannot be renewed any more.
    pub(crate) fn renew(&self, lease: LeaseId, arrived: Instant) -> Option<Duration> {
        let arrived = arrived.duration_since(self.started);
        self.clocks().as_mut()?.renew(lease, arrived)
    }

    /// The holder's stream broke: unless it renews within `grace`, the lease ends.
    pub(crate) fn suspect(&self, lease: LeaseId, grace: Duration) {
        let now = self.now();
        if let Some(clocks) = self.clocks().as_mut() {
            clocks.suspect(lease, now, grace);
        }
        self.sooner.notify_one();
    }

    fn take_due(&self) -> Vec<LeaseId> {
        let now = self.now();
        self.clocks()
            .as_mut()
            .map(|clocks| clocks.take_due(now, EXPIRIES_PER_COMMAND))
            .unwrap_or_default()
    }

    fn put_back(&self, leases: &[LeaseId]) {
        if let Some(clocks) = self.clocks().as_mut() {
            clocks.put_back(leases);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.clocks().as_ref()?.next_due()?;
        Some(self.started + due)
    }
}

/// Proposes expiries, and follows the sessions that come and go, until `end`.
pub(crate) async fn run(duties: Duties, end: CancellationToken) {
    let keeper = &duties.leases;
    // The clocks were started from an image at least as new as this revision; what comes after is news.
    let mut watcher = match duties.hub.watch(duties.published.image().revision().next()) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::error!(%error, "the leader cannot follow its sessions; they will not expire in this term");
            return;
        }
    };
    loop {
        let due = keeper.next_due();
        tokio::select! {
            news = watcher.next() => match news {
                Ok(change_set) => follow(&duties, &change_set.changes),
                Err(Cancelled::Stopped) => return,
                // Too far behind to follow: start over from the present state, at full time to live.
                Err(Cancelled::Compacted { .. }) => {
                    keeper.claim(&duties.published.image());
                    match duties.hub.watch(duties.published.image().revision().next()) {
                        Ok(fresh) => watcher = fresh,
                        Err(_) => return,
                    }
                }
            },
            () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                expire(&duties).await;
            }
            () = keeper.sooner.notified() => {}
            () = end.cancelled() => return,
        }
    }
}

fn follow(duties: &Duties, changes: &[quorate_machine::Change]) {
    for change in changes {
        match (change.resource_before(), change.resource_after()) {
            (None, Some(Resource::Session(session))) => {
                // The image may be past the session's end already; its change set follows.
                if let Some(lease) = duties.published.image().lease(session.id) {
                    duties.leases.granted(lease);
                }
            }
            (Some(Resource::Session(session)), None) => duties.leases.ended(session.id),
            _ => {}
        }
    }
}

async fn expire(duties: &Duties) {
    let due = duties.leases.take_due();
    if due.is_empty() {
        return;
    }
    tracing::info!(leases = due.len(), "leases have run out");
    let command = Command::ExpireLeases { ids: due.clone() };
    let deadline = Instant::now() + PROPOSE_TIMEOUT;
    match duties.proposer.propose(&command, None, deadline).await {
        // Applied; the change sets end their clocks. A refusal cannot be: unknown leases are skipped.
        Ok(_) => {}
        // It may be applied at any moment: these leases stay beyond renewal. If it is not, the next leader starts anew.
        Err(Unavailable::OutcomeUnknown) => tracing::warn!("the outcome of an expiry is unknown"),
        Err(error) => {
            tracing::debug!(%error, "an expiry was not executed");
            duties.leases.put_back(&due);
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
