//! Who keeps leases at this replica, where the lease policy asks for it, and what the leader hears of it.
//!
//! # What a break is
//!
//! The client's end of file, its reset, and its goodbye are breaks: the kernel closes the sockets of a program that was killed,
//! and a program that ends in order closes them itself. So `kill -9`, `SIGTERM` and `Close()` of etcd's Go client look the same
//! here, and a lease that is to outlive its program is one that was never kept on a stream, or whose stream was closed more than
//! [`bindings::LEFT_WITHIN`] before the connection. To close a stream alone, by a reset or by half-closing it, is a client's choice
//! and no break: its lease lives until its time to live is up. Connections that we close are no breaks, for whatever reason
//! (shutdown, limits, broken rules), nor is the death of this replica, which tells nobody anything. A client that does not answer
//! pings is silent: it counts as broken after [`super::LeasePolicy::silent_after`], unless it is heard of elsewhere by then.
//!
//! # What happens then
//!
//! Breaks are collected for a moment, in which a burst shows ([`breaks`]), and told to the leader ([`outbox`]), which revokes the
//! leases after its grace unless there is a sign of life (`quorate-replica`). A new leader knows of nobody who keeps a lease, so
//! it is told who does, and of breaks again.
//!
//! Promises: everything is bounded, and what is too much is as without a policy; nothing is done when there is none. Left out on
//! purpose: two programs that keep one lease through two replicas; if one of them is gone and the other does not renew within the
//! grace, the lease ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quorate_host::{Connection, Ended};
use quorate_replica::{KeeperNews, KeeperNewsKind, Leadership};
use quorate_types::{NodeId, Term};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::bindings::Bindings;
use super::breaks::{Breaks, Broken};
use super::outbox::{News, Outbox};
use super::policy::LeasePolicy;
use crate::limits::KEEPER_NEWS_IN_FLIGHT_MAX;
use crate::node::Node;

/// A keepalive stream that was open for this long binds.
const BINDS_AFTER: Duration = Duration::from_secs(1);
/// A stream on which nothing was said for this long after it was opened is a client's that is back: whoever begins to keep a
/// lease says so in the same breath.
const QUIET: Duration = Duration::from_millis(50);
/// How long the leader may take to hear news before they are told again.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks for what can be forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// What a report of a break may be late by, all in all.
const LATE: Duration = Duration::from_secs(5);

/// See the module; cheap to clone.
pub(super) struct Keepers<N> {
    inner: Arc<Inner<N>>,
}

struct Inner<N> {
    node: N,
    silent_after: Duration,
    started: Instant,
    state: Mutex<State>,
    /// Something is due sooner.
    wake: Notify,
}

struct State {
    bindings: Bindings,
    /// Connections whose end is waited for; as many as there are, at most.
    followed: BTreeSet<u64>,
    broken: Breaks,
    silent: Breaks,
    outbox: Outbox,
    /// When it was last looked for what can be forgotten.
    swept: Duration,
}

impl<N> Clone for Keepers<N> {
    fn clone(&self) -> Self {
        let inner = Arc::clone(&self.inner);
        Self { inner }
    }
}

impl<N: Node> Keepers<N> {
    /// `None` when the policy leaves leases to their time to live.
    pub(super) fn new(node: N, policy: &LeasePolicy) -> Option<Self> {
        let grace = policy.orphan_grace?;
        let remember = policy.silent_after + grace + LATE;
        let state = State {
            bindings: Bindings::new(remember),
            followed: BTreeSet::new(),
            broken: Breaks::default(),
            silent: Breaks::default(),
            outbox: Outbox::new(grace, remember),
            swept: Duration::ZERO,
        };
        let inner = Inner {
            node,
            silent_after: policy.silent_after,
            started: Instant::now(),
            state: Mutex::new(state),
            wake: Notify::new(),
        };
        Some(Self {
            inner: Arc::new(inner),
        })
    }

    /// A keepalive stream was opened on `connection`.
    pub(super) fn opened(&self, connection: Connection) -> Keeping<N> {
        Keeping {
            keepers: self.clone(),
            connection,
            opened: Instant::now(),
            heard: Arc::default(),
            leases: BTreeSet::new(),
            is_bound: false,
            was_quiet: false,
            is_ours: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// Learns of the connection's end, once.
    fn follow(&self, connection: &Connection) {
        if self.state().followed.insert(connection.id()) {
            let (keepers, id, host) = (self.clone(), connection.id(), connection.host());
            connection.when_ended(move |ended| keepers.ended(id, host, ended));
        }
    }

    fn ended(&self, connection: u64, host: u64, ended: Ended) {
        let at = self.now();
        let mut state = self.state();
        let State {
            bindings,
            followed,
            broken,
            silent,
            ..
        } = &mut *state;
        followed.remove(&connection);
        let Some(leases) = bindings.end(connection, at) else {
            return;
        };
        let keepers = bindings.keepers();
        let gone = Broken {
            connection,
            host,
            at,
            leases,
        };
        match ended {
            Ended::Broken => broken.add(gone, keepers),
            Ended::Silent => silent.add(gone, keepers),
            Ended::Closed => return,
        }
        drop(state);
        self.inner.wake.notify_one();
    }

    /// Judges breaks that are due; gives how many leases were spared.
    fn judge(&self, state: &mut State, now: Duration) -> usize {
        let mut spared = 0;
        let waits = [Duration::ZERO, self.inner.silent_after];
        for (breaks, wait) in [&mut state.broken, &mut state.silent].into_iter().zip(waits) {
            let Some((gone, is_burst)) = breaks.take(now) else {
                continue;
            };
            if is_burst {
                let leases: usize = gone.iter().map(|gone| gone.leases.len()).sum();
                tracing::warn!(
                    connections = gone.len(),
                    leases,
                    "connections that keep leases broke all at once, as when a proxy dies: the leases are left to their time to live"
                );
                spared += leases;
                continue;
            }
            for gone in gone {
                let news = |lease| News {
                    connection: gone.connection,
                    host: gone.host,
                    at: gone.at,
                    what: KeeperNewsKind::Broke(lease),
                };
                for lease in &gone.leases {
                    // What does not fit is left to its time to live.
                    state.outbox.put(news(*lease), gone.at + wait);
                }
            }
        }
        spared
    }

    /// What is to be told now, and when to look again.
    fn due(&self, under_way: usize) -> (Vec<(u64, News)>, Duration) {
        let now = self.now();
        let mut state = self.state();
        let spared = self.judge(&mut state, now);
        if state.swept + SWEEP_EVERY <= now {
            state.swept = now;
            state.bindings.sweep(now);
            state.outbox.sweep(now);
        }
        let max = KEEPER_NEWS_IN_FLIGHT_MAX.saturating_sub(under_way);
        let due = state.outbox.take(now, max);
        let moments = [state.broken.due(), state.silent.due(), state.outbox.next_due()];
        drop(state);
        if spared > 0 {
            self.inner.node.count_spared_leases(spared);
        }
        let soonest = moments.into_iter().flatten().min();
        let sweep = now + SWEEP_EVERY;
        // What is due and does not go is waited for.
        let look = soonest
            .filter(|soonest| *soonest > now)
            .map_or(sweep, |soonest| soonest.min(sweep));
        (due, look)
    }

    async fn tell(&self, number: u64, news: News) -> (u64, bool) {
        let news = KeeperNews {
            connection: news.connection,
            host: news.host,
            at: self.inner.started + news.at,
            what: news.what,
        };
        let told = self
            .inner
            .node
            .keeper_news(news, Instant::now() + TELL_TIMEOUT)
            .await;
        (number, told.is_ok())
    }

    /// The leader is a new one.
    fn introduce(&self) {
        let now = self.now();
        let mut state = self.state();
        let State { bindings, outbox, .. } = &mut *state;
        outbox.again();
        for (connection, lease, at) in bindings.kept() {
            let news = News {
                connection,
                host: 0,
                at,
                what: KeeperNewsKind::Kept(lease),
            };
            if !outbox.put(news, now) {
                break;
            }
        }
    }

    /// Tells the leader what happens here, until `ending`.
    pub(super) async fn run(self, ending: CancellationToken) {
        let mut leadership = self.inner.node.leadership();
        let mut known = reign(&leadership.borrow());
        let mut telling = FuturesUnordered::new();
        loop {
            let (due, look) = self.due(telling.len());
            for (number, news) in due {
                telling.push(self.tell(number, news));
            }
            tokio::select! {
                Some(told) = telling.next(), if !telling.is_empty() => {
                    // Answers come many at a time, as the calls that carry the news do.
                    let mut told = vec![told];
                    while let Some(Some(next)) = telling.next().now_or_never() {
                        told.push(next);
                    }
                    let now = self.now();
                    let mut state = self.state();
                    for (number, is_heard) in told {
                        state.outbox.told(number, is_heard, now);
                    }
                }
                () = sleep_until(self.inner.started + look) => {}
                () = self.inner.wake.notified() => {}
                changed = leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = reign(&leadership.borrow_and_update());
                    if now.is_some() && now != known {
                        known = now;
                        self.introduce();
                    }
                }
                () = ending.cancelled() => return,
            }
        }
    }
}

/// Who leads, and since when.
fn reign(leadership: &Leadership) -> Option<(Term, NodeId)> {
    let leader = leadership.leader.as_ref()?;
    Some((leadership.term, leader.node))
}

/// A keepalive stream, for as long as it is open.
pub(super) struct Keeping<N: Node> {
    keepers: Keepers<N>,
    connection: Connection,
    opened: Instant,
    /// Something was said on it.
    heard: Arc<AtomicBool>,
    /// Noted as renewed by this stream.
    leases: BTreeSet<i64>,
    is_bound: bool,
    was_quiet: bool,
    is_ours: bool,
}

impl<N: Node> Keeping<N> {
    pub(super) fn connection(&self) -> u64 {
        self.connection.id()
    }

    /// To be set with the first request.
    pub(super) fn heard(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.heard)
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        match (self.was_quiet, self.is_bound) {
            (false, _) => Some(self.opened + QUIET),
            (true, false) => Some(self.opened + BINDS_AFTER),
            (true, true) => None,
        }
    }

    pub(super) fn tick(&mut self) {
        let open = self.opened.elapsed();
        if !self.was_quiet && open >= QUIET {
            self.was_quiet = true;
            if !self.heard.load(Ordering::Relaxed) {
                self.back();
            }
        }
        if !self.is_bound && open >= BINDS_AFTER {
            self.is_bound = true;
            let mut state = self.keepers.state();
            for lease in &self.leases {
                state.bindings.bind(self.connection.id(), *lease);
            }
        }
    }

    fn back(&self) {
        let at = self.opened.duration_since(self.keepers.inner.started);
        let news = News {
            connection: self.connection.id(),
            host: self.connection.host(),
            at,
            what: KeeperNewsKind::Back,
        };
        // What does not fit is lost: then the client has to renew within the grace.
        self.keepers.state().outbox.put(news, at);
        self.keepers.inner.wake.notify_one();
    }

    /// The leader has renewed a lease.
    pub(super) fn renewed(&mut self, lease: i64) {
        if self.leases.is_empty() {
            self.keepers.follow(&self.connection);
        }
        let (now, id) = (self.keepers.now(), self.connection.id());
        let mut state = self.keepers.state();
        if self.leases.contains(&lease) {
            state.bindings.renewed(id, lease, now);
            return;
        }
        if state.bindings.begin(id, lease, now) {
            self.leases.insert(lease);
            if self.is_bound {
                state.bindings.bind(id, lease);
            }
        }
    }

    /// We end the stream.
    pub(super) fn end(mut self) {
        self.is_ours = true;
    }
}

impl<N: Node> Drop for Keeping<N> {
    fn drop(&mut self) {
        let (now, id) = (self.keepers.now(), self.connection.id());
        let mut state = self.keepers.state();
        for lease in &self.leases {
            match self.is_ours {
                true => state.bindings.dismiss(id, *lease),
                false => state.bindings.leave(id, *lease, now),
            }
        }
    }
}
