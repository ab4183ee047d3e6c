//! Which leases are bound to which connection, at one replica. Pure: moments in, decisions out.
//!
//! Promises: a lease is bound to a connection once a keepalive stream on it that renewed the lease has been open for a second;
//! who renews once binds nothing. It stays bound for [`LEFT_WITHIN`] after the client has closed that stream, because a program
//! that ends closes its streams a moment before its connection; a stream that we ended leaves nothing behind, because its client
//! goes elsewhere. A lease that an open stream on another connection keeps here as well is nobody's orphan. Left out on purpose:
//! what follows when a connection breaks ([`super::breaks`], [`super::outbox`]).
//!
//! Moments are durations since any fixed start, so that the tables need no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::limits::LEASES_BOUND_MAX;

/// A client that closes its stream and not its connection within this has chosen to let the lease live.
pub(super) const LEFT_WITHIN: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Bindings {
    /// For how long it is remembered who kept a lease on a stream that is closed.
    remember: Duration,
    /// By connection and lease.
    held: BTreeMap<(u64, i64), Held>,
    /// The same, by lease and connection.
    by_lease: BTreeSet<(i64, u64)>,
    /// Connections with bound leases, and how many.
    keepers: BTreeMap<u64, usize>,
    /// What no stream keeps any more, in the order in which it was left.
    left: VecDeque<(Duration, u64, i64)>,
}

#[derive(Debug)]
struct Held {
    /// Open streams of the connection that renewed the lease.
    streams: usize,
    is_bound: bool,
    renewed: Duration,
    /// When the last stream was closed.
    left: Option<Duration>,
}

impl Bindings {
    pub(super) fn new(remember: Duration) -> Self {
        Self {
            remember,
            held: BTreeMap::new(),
            by_lease: BTreeSet::new(),
            keepers: BTreeMap::new(),
            left: VecDeque::new(),
        }
    }

    /// A stream renews a lease for the first time. When there are too many, nothing is noted: such a lease waits for its time to
    /// live.
    pub(super) fn begin(&mut self, connection: u64, lease: i64, now: Duration) -> bool {
        if !self.held.contains_key(&(connection, lease)) {
            if self.held.len() >= LEASES_BOUND_MAX {
                return false;
            }
            self.by_lease.insert((lease, connection));
        }
        let held = self.held.entry((connection, lease)).or_insert(Held {
            streams: 0,
            is_bound: false,
            renewed: now,
            left: None,
        });
        held.streams += 1;
        held.renewed = now;
        held.left = None;
        true
    }

    /// It renews it again.
    pub(super) fn renewed(&mut self, connection: u64, lease: i64, now: Duration) {
        if let Some(held) = self.held.get_mut(&(connection, lease)) {
            held.renewed = now;
        }
    }

    /// The stream has been open for long enough.
    pub(super) fn bind(&mut self, connection: u64, lease: i64) {
        if let Some(held) = self.held.get_mut(&(connection, lease))
            && !held.is_bound
        {
            held.is_bound = true;
            *self.keepers.entry(connection).or_default() += 1;
        }
    }

    /// The client has closed the stream, with its connection or without.
    pub(super) fn leave(&mut self, connection: u64, lease: i64, now: Duration) {
        if let Some(held) = self.held.get_mut(&(connection, lease)) {
            held.streams = held.streams.saturating_sub(1);
            if held.streams == 0 {
                held.left = Some(now);
                self.left.push_back((now, connection, lease));
            }
        }
    }

    /// We have ended the stream.
    pub(super) fn dismiss(&mut self, connection: u64, lease: i64) {
        if let Some(held) = self.held.get_mut(&(connection, lease)) {
            held.streams = held.streams.saturating_sub(1);
            if held.streams == 0 {
                self.remove(connection, lease);
            }
        }
    }

    /// The connection has ended. Gives the leases that were bound to it alone, or `None` when none was bound to it.
    pub(super) fn end(&mut self, connection: u64, now: Duration) -> Option<Vec<i64>> {
        let was_keeper = self.keepers.contains_key(&connection);
        let leases: Vec<i64> = self
            .held
            .range((connection, i64::MIN)..=(connection, i64::MAX))
            .map(|((_, lease), _)| *lease)
            .collect();
        let mut orphans = Vec::new();
        for lease in leases {
            let is_bound = self.held.get(&(connection, lease)).is_some_and(|held| {
                let is_current = held
                    .left
                    .is_none_or(|left| now.saturating_sub(left) <= LEFT_WITHIN);
                held.is_bound && is_current
            });
            self.remove(connection, lease);
            if is_bound && !self.is_kept(lease) {
                orphans.push(lease);
            }
        }
        was_keeper.then_some(orphans)
    }

    /// Connections with bound leases.
    pub(super) fn keepers(&self) -> usize {
        self.keepers.len()
    }

    /// Who renewed which lease here last, and how long ago: connection, lease, moment.
    pub(super) fn kept(&self) -> impl Iterator<Item = (u64, i64, Duration)> + use<'_> {
        let held = self.held.iter();
        held.map(|((connection, lease), held)| (*connection, *lease, held.renewed))
    }

    /// Forgets what was left long ago.
    pub(super) fn sweep(&mut self, now: Duration) {
        while let Some((left, connection, lease)) = self.left.front().copied()
            && left + self.remember < now
        {
            self.left.pop_front();
            let held = self.held.get(&(connection, lease));
            if held.is_some_and(|held| held.left == Some(left)) {
                self.remove(connection, lease);
            }
        }
    }

    /// An open stream keeps it here.
    fn is_kept(&self, lease: i64) -> bool {
        let mut connections = self.by_lease.range((lease, u64::MIN)..=(lease, u64::MAX));
        connections.any(|(_, connection)| {
            let held = self.held.get(&(*connection, lease));
            held.is_some_and(|held| held.streams > 0)
        })
    }

    fn remove(&mut self, connection: u64, lease: i64) {
        self.by_lease.remove(&(lease, connection));
        let Some(held) = self.held.remove(&(connection, lease)) else {
            return;
        };
        if held.is_bound
            && let Some(count) = self.keepers.get_mut(&connection)
        {
            *count -= 1;
            if *count == 0 {
                self.keepers.remove(&connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMEMBER: Duration = Duration::from_secs(16);

    /// Seconds since the start.
    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    enum Did {
        /// Connection, lease.
        Begin(u64, i64),
        Bind(u64, i64),
        /// And when.
        Leave(u64, i64, u64),
        Dismiss(u64, i64),
    }
    use Did::{Begin, Bind, Dismiss, Leave};

    fn after(did: &[Did]) -> Bindings {
        let mut bindings = Bindings::new(REMEMBER);
        for did in did {
            match *did {
                Begin(connection, lease) => assert!(bindings.begin(connection, lease, s(1))),
                Bind(connection, lease) => bindings.bind(connection, lease),
                Leave(connection, lease, at) => bindings.leave(connection, lease, s(at)),
                Dismiss(connection, lease) => bindings.dismiss(connection, lease),
            }
        }
        bindings
    }

    #[test]
    fn what_the_end_of_connection_1_leaves_behind() {
        let cases: &[(&str, &[Did], u64, Option<&[i64]>)] = &[
            ("nothing was kept", &[], 5, None),
            ("a short stream", &[Begin(1, 7)], 5, None),
            ("renewed once", &[Begin(1, 7), Leave(1, 7, 1)], 1, None),
            ("a stream", &[Begin(1, 7), Bind(1, 7)], 5, Some(&[7])),
            (
                "two leases",
                &[Begin(1, 7), Begin(1, 8), Bind(1, 7), Bind(1, 8)],
                5,
                Some(&[7, 8]),
            ),
            (
                "one of them just renewed",
                &[Begin(1, 7), Bind(1, 7), Begin(1, 8)],
                5,
                Some(&[7]),
            ),
            (
                "closed a moment before",
                &[Begin(1, 7), Bind(1, 7), Leave(1, 7, 5)],
                7,
                Some(&[7]),
            ),
            (
                "closed longer ago",
                &[Begin(1, 7), Bind(1, 7), Leave(1, 7, 5)],
                8,
                Some(&[]),
            ),
            (
                "one of two streams closed",
                &[Begin(1, 7), Begin(1, 7), Bind(1, 7), Leave(1, 7, 1)],
                9,
                Some(&[7]),
            ),
            (
                "opened again",
                &[Begin(1, 7), Bind(1, 7), Leave(1, 7, 1), Begin(1, 7)],
                9,
                Some(&[7]),
            ),
            ("ended by us", &[Begin(1, 7), Bind(1, 7), Dismiss(1, 7)], 5, None),
            (
                "kept by another, too",
                &[Begin(1, 7), Bind(1, 7), Begin(2, 7)],
                5,
                Some(&[]),
            ),
            (
                "and by another that is gone",
                &[Begin(1, 7), Bind(1, 7), Begin(2, 7), Leave(2, 7, 5)],
                5,
                Some(&[7]),
            ),
            ("another's", &[Begin(2, 7), Bind(2, 7)], 5, None),
        ];
        for (name, did, at, want) in cases {
            let mut bindings = after(did);
            let keepers = bindings.keepers();
            let ended = bindings.end(1, s(*at));
            assert_eq!(ended.as_deref(), *want, "{name}");
            assert_eq!(
                keepers - bindings.keepers(),
                usize::from(want.is_some()),
                "{name}"
            );
            assert!(bindings.kept().all(|(connection, ..)| connection != 1), "{name}");
            assert_eq!(bindings.held.len(), bindings.by_lease.len(), "{name}");
        }
    }

    #[test]
    fn what_was_left_is_remembered_for_a_while() {
        let mut bindings = after(&[Begin(1, 7), Bind(1, 7), Leave(1, 7, 2), Begin(1, 8)]);
        bindings.renewed(1, 8, s(9));
        bindings.sweep(s(2) + REMEMBER);
        assert_eq!(bindings.kept().collect::<Vec<_>>(), [(1, 7, s(1)), (1, 8, s(9))]);
        bindings.sweep(s(3) + REMEMBER);
        assert_eq!(bindings.kept().collect::<Vec<_>>(), [(1, 8, s(9))]);
        assert_eq!(bindings.keepers(), 0);

        let mut again = after(&[Begin(1, 7), Leave(1, 7, 2), Begin(1, 7)]);
        again.sweep(s(100));
        assert_eq!(again.kept().count(), 1, "it was opened again");
    }

    #[test]
    fn beyond_the_bound_nothing_is_noted() {
        let mut bindings = Bindings::new(REMEMBER);
        let max = i64::try_from(LEASES_BOUND_MAX).expect("a small number");
        assert!((0..max).all(|lease| bindings.begin(1, lease, s(1))));
        assert!(!bindings.begin(1, max, s(1)));
        bindings.bind(1, max);
        bindings.leave(1, max, s(1));
        assert!(bindings.begin(1, 0, s(1)), "what is known already");
        assert_eq!(bindings.keepers(), 0);
    }
}
