//! The clocks of leases, soft state of the leader. Pure: moments in, decisions out.
//!
//! Promises: a lease whose expiry has been proposed is never renewed again, because a renewal that is acknowledged
//! after that would promise what the log may already have taken away. A renewal counts from the moment it arrived, not
//! from when it was confirmed. A suspect's clock only ever gets shorter by the suspicion, and a renewal clears it.
//!
//! Moments are durations since any fixed start, so that the tables need no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_machine::{KvGrant, LeaseId};

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leased {
    /// A worker's session.
    Session(LeaseId),
    /// A lease of etcd's.
    Kv(KvGrant),
}

/// All running clocks.
#[derive(Debug, Default)]
pub(crate) struct LeaseClocks {
    clocks: BTreeMap<Leased, Clock>,
    /// The same, by moment of expiry; without the expiring ones.
    due: BTreeSet<(Duration, Leased)>,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    ttl: Duration,
    expires_at: Duration,
    /// Its expiry was proposed.
    expiring: bool,
}

impl LeaseClocks {
    /// Starts, or restarts, the clock of a lease at full time to live.
    pub(crate) fn start(&mut self, lease: Leased, ttl: Duration, now: Duration) {
        self.stop(lease);
        let clock = Clock {
            ttl,
            expires_at: now + ttl,
            expiring: false,
        };
        self.due.insert((clock.expires_at, lease));
        self.clocks.insert(lease, clock);
    }

    /// Forgets a lease: it was closed, or its expiry is applied.
    pub(crate) fn stop(&mut self, lease: Leased) {
        if let Some(clock) = self.clocks.remove(&lease) {
            self.due.remove(&(clock.expires_at, lease));
        }
    }

    /// Renews a lease that was asked for at `arrived`; gives its time to live, or `None` when it cannot be renewed.
    pub(crate) fn renew(&mut self, lease: Leased, arrived: Duration) -> Option<Duration> {
        let clock = self.clocks.get_mut(&lease).filter(|clock| !clock.expiring)?;
        self.due.remove(&(clock.expires_at, lease));
        clock.expires_at = arrived + clock.ttl;
        self.due.insert((clock.expires_at, lease));
        Some(clock.ttl)
    }

    /// How long a lease has unless it is renewed; `None` when it cannot be renewed.
    pub(crate) fn left(&self, lease: Leased, now: Duration) -> Option<Duration> {
        let clock = self.clocks.get(&lease).filter(|clock| !clock.expiring)?;
        Some(clock.expires_at.saturating_sub(now))
    }

    /// The lease could be renewed now.
    #[cfg(test)]
    pub(crate) fn is_renewable(&self, lease: Leased) -> bool {
        self.clocks.get(&lease).is_some_and(|clock| !clock.expiring)
    }

    /// The holder's connection broke: unless it renews, the lease ends after `grace`. Gives when it would have ended, or `None`
    /// when it cannot be renewed anyhow.
    pub(crate) fn suspect(&mut self, lease: Leased, now: Duration, grace: Duration) -> Option<Duration> {
        let clock = self.clocks.get_mut(&lease).filter(|clock| !clock.expiring)?;
        let before = clock.expires_at;
        let ends = before.min(now + grace);
        self.due.remove(&(before, lease));
        clock.expires_at = ends;
        self.due.insert((ends, lease));
        Some(before)
    }

    /// The suspicion was wrong: the lease ends no sooner than `expires_at`.
    pub(crate) fn clear(&mut self, lease: Leased, expires_at: Duration) {
        if let Some(clock) = self.clocks.get_mut(&lease).filter(|clock| !clock.expiring) {
            self.due.remove(&(clock.expires_at, lease));
            clock.expires_at = clock.expires_at.max(expires_at);
            self.due.insert((clock.expires_at, lease));
        }
    }

    /// Takes the leases that are due, at most `max`; from here on they cannot be renewed.
    pub(crate) fn take_due(&mut self, now: Duration, max: usize) -> Vec<Leased> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((expires_at, lease)) = self.due.first().copied()
            && expires_at <= now
        {
            self.due.remove(&(expires_at, lease));
            if let Some(clock) = self.clocks.get_mut(&lease) {
                clock.expiring = true;
            }
            taken.push(lease);
        }
        taken
    }

    /// The proposal of these expiries was certainly not executed: the clocks run again, and are due at once.
    pub(crate) fn put_back(&mut self, leases: &[Leased]) {
        for lease in leases {
            if let Some(clock) = self.clocks.get_mut(lease).filter(|clock| clock.expiring) {
                clock.expiring = false;
                self.due.insert((clock.expires_at, *lease));
            }
        }
    }

    /// When the next lease is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(expires_at, _)| *expires_at)
    }

    /// Leases whose clock runs or whose expiry is under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.clocks.len()
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::Revision;

    use super::*;

    const A: Leased = Leased::Session(LeaseId(1));
    const B: Leased = Leased::Kv(KvGrant {
        lease: 1,
        granted: Revision(2),
    });
    const TTL: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn running() -> LeaseClocks {
        let mut clocks = LeaseClocks::default();
        clocks.start(A, TTL, ms(0));
        clocks
    }

    #[test]
    fn a_lease_is_due_after_its_time_and_not_before() {
        let mut clocks = running();
        assert_eq!(clocks.next_due(), Some(ms(100)));
        assert_eq!(clocks.take_due(ms(99), 10), []);
        assert_eq!(clocks.take_due(ms(100), 10), [A]);
        assert_eq!(clocks.next_due(), None);
    }

    #[test]
    fn a_renewal_counts_from_its_arrival() {
        let mut clocks = running();
        assert_eq!(clocks.renew(A, ms(30)), Some(TTL));
        assert_eq!(clocks.left(A, ms(50)), Some(ms(80)));
        assert_eq!(clocks.take_due(ms(129), 10), []);
        assert_eq!(clocks.take_due(ms(130), 10), [A]);
    }

    #[test]
    fn nothing_renews_a_lease_whose_expiry_is_proposed() {
        let mut clocks = running();
        assert_eq!(clocks.take_due(ms(100), 10), [A]);
        assert_eq!(clocks.renew(A, ms(100)), None);
        assert_eq!(clocks.left(A, ms(100)), None);
        assert!(!clocks.is_renewable(A));
        clocks.suspect(A, ms(100), ms(0));
        assert_eq!(clocks.take_due(ms(500), 10), [], "it is proposed once");
    }

    #[test]
    fn a_proposal_that_was_not_executed_gives_the_lease_back() {
        let mut clocks = running();
        assert_eq!(clocks.take_due(ms(100), 10), [A]);
        clocks.put_back(&[A, B]);
        assert_eq!(clocks.renew(A, ms(101)), Some(TTL), "it can be renewed again");
        assert_eq!(clocks.len(), 1, "an unknown lease is not made up");
    }

    #[test]
    fn suspicion_shortens_and_renewal_clears_it() {
        let mut clocks = running();
        clocks.suspect(A, ms(10), ms(20));
        assert_eq!(clocks.next_due(), Some(ms(30)));
        clocks.suspect(A, ms(20), ms(500));
        assert_eq!(clocks.next_due(), Some(ms(30)), "suspicion never lengthens");
        assert_eq!(clocks.renew(A, ms(25)), Some(TTL));
        assert_eq!(clocks.next_due(), Some(ms(125)));
    }

    #[test]
    fn a_suspicion_that_is_cleared_leaves_the_clock_as_it_was() {
        let mut clocks = running();
        assert_eq!(clocks.suspect(A, ms(10), ms(20)), Some(ms(100)));
        clocks.clear(A, ms(100));
        assert_eq!(clocks.next_due(), Some(ms(100)));
        assert_eq!(clocks.renew(A, ms(20)), Some(TTL));
        clocks.clear(A, ms(100));
        assert_eq!(clocks.next_due(), Some(ms(120)), "it never shortens");
        clocks.take_due(ms(120), 10);
        assert_eq!(clocks.suspect(A, ms(120), ms(20)), None);
        clocks.clear(A, ms(500));
        assert_eq!(clocks.next_due(), None, "what is being expired stays so");
    }

    #[test]
    fn unknown_leases_are_refused_and_stopped_ones_forgotten() {
        let mut clocks = running();
        assert_eq!(clocks.renew(B, ms(0)), None);
        clocks.stop(A);
        assert_eq!((clocks.len(), clocks.next_due()), (0, None));
        assert_eq!(clocks.take_due(ms(500), 10), []);
    }

    #[test]
    fn the_due_come_in_order_and_bounded() {
        let mut clocks = running();
        clocks.start(B, ms(50), ms(0));
        assert_eq!(clocks.take_due(ms(500), 1), [B]);
        assert_eq!(clocks.take_due(ms(500), 1), [A]);
    }
}
