//! Keeping the leases: their clocks run on the leader alone, and what runs out is proposed for expiry.
//!
//! Promises: renewals never enter the log; one is acknowledged only behind a read barrier that began after it arrived,
//! so that a deposed leader cannot confirm what its successor takes away, and never once the lease's expiry is proposed.
//! A new leader starts every clock at full time to live after it has applied its first entry, spread, so that sessions
//! that all lost their leader do not all expire in one moment. Sessions are followed by their changes; etcd's leases, which
//! make none, by comparing what there is with what the clocks know.
//!
//! Where a grace for orphans is set, a lease of etcd's whose keeper's connection broke is expired after it, like any other that
//! runs out, unless there is a sign of life ([`super::orphans`]). The grace begins no sooner than this replica's reign.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_host::entropy;
use quorate_machine::{Command, Image, KvGrant, KvLease, KvLeaseNews, KvLeases, Lease, LeaseId, Resource};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Duties;
use super::clocks::{LeaseClocks, Leased};
use super::guard::Guard;
use super::kv_leases::{Asked, KvLeaseTime, LeaseQuestion, LeaseSaid};
use crate::metrics::OrphanCounters;
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
/// Keys of an orphan that are counted for the log.
const KEYS_COUNTED_MAX: usize = 1_000;

/// The clocks, while this replica leads; shared with the sessions' streams.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    started: Instant,
    running: Mutex<Option<Running>>,
    /// A lease of etcd's whose keeper's connection broke ends after this; `None`: connections do not matter.
    orphan_grace: Option<Duration>,
    counters: OrphanCounters,
    /// The next moment of expiry may have come closer.
    sooner: Notify,
}

#[derive(Debug)]
struct Running {
    clocks: LeaseClocks,
    /// Absent when connections do not matter.
    guard: Option<Guard>,
    /// etcd's leases that the clocks know.
    known: KvLeases,
}

impl Running {
    /// Starts the clocks of leases that are new and stops those of leases that are gone.
    fn follow(&mut self, leases: &KvLeases, now: Duration) {
        // Whoever comes late with an older state changes nothing.
        if leases.revision() <= self.known.revision() {
            return;
        }
        for news in leases.news(&self.known) {
            match news {
                KvLeaseNews::Granted(lease) => self.clocks.start(Leased::Kv(lease.grant), ttl(lease), now),
                KvLeaseNews::Ended(grant) => {
                    self.clocks.stop(Leased::Kv(grant));
                    if let Some(guard) = &mut self.guard {
                        guard.ended(grant);
                    }
                }
            }
        }
        self.known = leases.clone();
    }

    /// Takes what is told, and answers. Adds to `spared` how many leases are orphans no more.
    fn say(
        &mut self,
        question: LeaseQuestion,
        arrived: Duration,
        now: Duration,
        spared: &mut usize,
    ) -> LeaseSaid {
        if let Asked::Back { at, host } = question.asked {
            if let Some(guard) = &mut self.guard {
                *spared += guard.back(&mut self.clocks, host, at);
            }
            return LeaseSaid::Absent;
        }
        let Some(lease) = self.known.get(question.lease) else {
            return LeaseSaid::Absent;
        };
        let of = Leased::Kv(lease.grant);
        match &mut self.guard {
            Some(guard) => {
                *spared += guard.take(&mut self.clocks, lease.grant, question, arrived);
            }
            None if question.asked == Asked::Renew => {
                self.clocks.renew(of, arrived);
            }
            None => {}
        }
        match self.clocks.left(of, now) {
            None => LeaseSaid::Expiring,
            Some(left) => LeaseSaid::Lives(KvLeaseTime {
                ttl_s: lease.ttl_s,
                left,
            }),
        }
    }
}

fn ttl(lease: KvLease) -> Duration {
    Duration::from_secs(lease.ttl_s)
}

impl LeaseKeeper {
    pub(crate) fn new(orphan_grace: Option<Duration>, counters: OrphanCounters) -> Self {
        Self {
            started: Instant::now(),
            running: Mutex::new(None),
            orphan_grace,
            counters,
            sooner: Notify::new(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Starts every clock at full time to live, spread.
    pub(crate) fn claim(&self, image: &Image) {
        let now = self.now();
        let mut clocks = LeaseClocks::default();
        let mut start = |lease, ttl: Duration| {
            let spread = ttl.mul_f64(SPREAD * entropy::random_fraction());
            clocks.start(lease, ttl, now + spread);
        };
        for lease in image.leases() {
            start(Leased::Session(lease.id), Duration::from_millis(lease.ttl_ms));
        }
        let known = image.kv_leases();
        for lease in known.iter() {
            start(Leased::Kv(lease.grant), ttl(lease));
        }
        *self.running() = Some(Running {
            clocks,
            guard: self
                .orphan_grace
                .map(|grace| Guard::new(self.started, now, grace)),
            known,
        });
        self.sooner.notify_one();
    }

    /// Stops all clocks: another replica keeps the leases now.
    pub(crate) fn renounce(&self) {
        *self.running() = None;
    }

    /// A lease was granted.
    fn granted(&self, lease: Lease) {
        let now = self.now();
        if let Some(running) = self.running().as_mut() {
            let ttl = Duration::from_millis(lease.ttl_ms);
            running.clocks.start(Leased::Session(lease.id), ttl, now);
        }
        self.sooner.notify_one();
    }

    fn ended(&self, lease: LeaseId) {
        if let Some(running) = self.running().as_mut() {
            running.clocks.stop(Leased::Session(lease));
        }
    }

    /// etcd's leases are these now.
    fn follow(&self, leases: &KvLeases) {
        let now = self.now();
        if let Some(running) = self.running().as_mut() {
            running.follow(leases, now);
        }
        self.sooner.notify_one();
    }

    /// Answers questions about etcd's leases as of `arrived`; the barrier has been passed since, and `leases` are as new
    /// as that. `None` when the clocks do not run here.
    pub(crate) fn answer(
        &self,
        leases: &KvLeases,
        questions: &[LeaseQuestion],
        arrived: Instant,
    ) -> Option<Vec<LeaseSaid>> {
        let arrived = arrived.duration_since(self.started);
        let now = self.now();
        let mut running = self.running();
        let running = running.as_mut()?;
        running.follow(leases, now);
        let due = running.clocks.next_due();
        let mut spared = 0;
        let mut say = |question: &LeaseQuestion| running.say(*question, arrived, now, &mut spared);
        let said = questions.iter().map(&mut say).collect();
        if running.clocks.next_due() < due {
            self.sooner.notify_one();
        }
        self.counters.renewed(spared);
        Some(said)
    }

    /// Those of `leases` whose keeper is gone.
    fn orphans(&self, leases: &[KvGrant]) -> Vec<KvGrant> {
        let running = self.running();
        let guard = running.as_ref().and_then(|running| running.guard.as_ref());
        let is_orphan = |lease: &&KvGrant| guard.is_some_and(|guard| guard.is_orphan(**lease));
        leases.iter().filter(is_orphan).copied().collect()
    }

    /// Renews `lease` as of `arrived`; the barrier has been passed since. `None` when it cannot be renewed any more.
    pub(crate) fn renew(&self, lease: LeaseId, arrived: Instant) -> Option<Duration> {
        let arrived = arrived.duration_since(self.started);
        let mut running = self.running();
        running.as_mut()?.clocks.renew(Leased::Session(lease), arrived)
    }

    /// The holder's stream broke: unless it renews within `grace`, the lease ends.
    pub(crate) fn suspect(&self, lease: LeaseId, grace: Duration) {
        let now = self.now();
        if let Some(running) = self.running().as_mut() {
            running.clocks.suspect(Leased::Session(lease), now, grace);
        }
        self.sooner.notify_one();
    }

    fn take_due(&self) -> Vec<Leased> {
        let now = self.now();
        self.running()
            .as_mut()
            .map(|running| running.clocks.take_due(now, EXPIRIES_PER_COMMAND))
            .unwrap_or_default()
    }

    fn put_back(&self, leases: &[Leased]) {
        if let Some(running) = self.running().as_mut() {
            running.clocks.put_back(leases);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.running().as_ref()?.clocks.next_due()?;
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
    let mut kv_leases = duties.published.kv_leases();
    // What was granted between the claim and now.
    keeper.follow(&duties.published.image().kv_leases());
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
            Ok(()) = kv_leases.changed() => keeper.follow(&duties.published.image().kv_leases()),
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
    let (mut sessions, mut grants) = (Vec::new(), Vec::new());
    for lease in &due {
        match lease {
            Leased::Session(id) => sessions.push(*id),
            Leased::Kv(grant) => grants.push(*grant),
        }
    }
    if !sessions.is_empty() {
        let leases: Vec<_> = sessions.iter().copied().map(Leased::Session).collect();
        propose(duties, Command::ExpireLeases { ids: sessions }, &leases).await;
    }
    if !grants.is_empty() {
        let leases: Vec<_> = grants.iter().copied().map(Leased::Kv).collect();
        let orphans = duties.leases.orphans(&grants);
        let image = duties.published.image();
        let keys = |lease: &KvGrant| image.kv_lease_keys(lease.lease).take(KEYS_COUNTED_MAX).count();
        let orphans: Vec<_> = orphans.iter().map(|lease| (lease.lease, keys(lease))).collect();
        if propose(duties, Command::ExpireKvLeases { grants }, &leases).await {
            for (lease, keys) in &orphans {
                tracing::info!(
                    lease,
                    keys,
                    "an orphaned lease is revoked: its keeper's connection broke, and nothing was heard of it within the grace"
                );
            }
            duties.leases.counters.revoked(orphans.len());
        }
    }
}

/// Whether it was executed.
async fn propose(duties: &Duties, expiry: Command, leases: &[Leased]) -> bool {
    tracing::info!(leases = leases.len(), "leases have run out");
    let deadline = Instant::now() + PROPOSE_TIMEOUT;
    match duties.proposer.propose(&expiry, None, deadline).await {
        // Applied; what has ended loses its clock. A refusal cannot be: unknown leases are skipped.
        Ok(_) => true,
        // It may be applied at any moment: these leases stay beyond renewal. If it is not, the next leader starts anew.
        Err(Unavailable::OutcomeUnknown) => {
            tracing::warn!("the outcome of an expiry is unknown");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "an expiry was not executed");
            duties.leases.put_back(leases);
            tokio::time::sleep(RETRY_PAUSE).await;
            false
        }
    }
}
