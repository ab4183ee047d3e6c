//! Leases of etcd's whose keeper's connection broke, at the leader. Pure: moments in, decisions out.
//!
//! Promises: a report that a connection broke counts for a lease only if nobody else has renewed the lease since that
//! connection did, and if there has been no sign since the break that the program behind it lives. Such a sign spares all
//! leases that the connection kept, because they are one program's:
//!
//! - another connection renews one of them, or did so [`MOVED_WITHIN`] before: the program moved, and closed the old one then;
//! - a keepalive stream opens from the same host and says nothing, or did so [`BACK_BEFORE`] before. So do etcd's clients in Go and Java when their connection was
//!   cut: they open the stream again after half a second, and renew a lease only when that is due, a third of its time to
//!   live after the last renewal.
//!
//! Signs and reports may come in any order, from any replica, with their ages; each pair is judged the same either way. Whatever
//! is in doubt leaves the lease to its time to live. Left out on purpose: the clocks ([`super::clocks`]); who decides that a
//! connection broke, which is each replica's business for its own clients.
//!
//! Moments are durations since any fixed start, so that the tables need no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_machine::KvGrant;

/// A program that has moved to another connection closes the old one within this.
const MOVED_WITHIN: Duration = Duration::from_secs(2);
/// A client may be seen back at one replica before another one notices that its connection broke: a busy machine is late by so
/// much.
const BACK_BEFORE: Duration = Duration::from_millis(500);
/// Signs of life that are remembered. Beyond it the oldest is forgotten, and with it whatever broke before it is not believed.
const SIGNS_MAX: usize = 16_384;

/// Who keeps leases, and whose keeper is gone. As many entries as there are leases, at most.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    keepers: BTreeMap<KvGrant, Kept>,
    orphans: BTreeMap<KvGrant, Orphan>,
    signs: Signs,
}

/// Who renewed a lease last, as far as is known in this term.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// 0: somebody who is not known.
    connection: u64,
    at: Duration,
}

/// A broken connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) connection: u64,
    /// Where the client is; 0 when that is not known.
    pub(crate) host: u64,
    pub(crate) at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Orphan {
    broke: Break,
    /// When the lease would have run out.
    expires_at: Duration,
}

/// A lease that is an orphan no more, and when it runs out again.
pub(crate) type Spared = (KvGrant, Duration);

impl Orphans {
    /// Whether a renewal by this connection comes from before the connection broke.
    pub(crate) fn is_late(&self, lease: KvGrant, connection: u64) -> bool {
        let orphan = self.orphans.get(&lease);
        connection != 0 && orphan.is_some_and(|orphan| orphan.broke.connection == connection)
    }

    /// A connection has renewed a lease.
    pub(crate) fn renewed(&mut self, lease: KvGrant, connection: u64, at: Duration) -> Vec<Spared> {
        let before = self.keepers.insert(lease, Kept { connection, at });
        let mut spared = Vec::new();
        if let Some(orphan) = self.orphans.remove(&lease) {
            spared.push((lease, orphan.expires_at));
            spared.extend(self.lives(Sign::Connection(orphan.broke.connection), at));
        }
        match before {
            Some(before) if before.connection != connection && before.connection != 0 => {
                spared.extend(self.lives(Sign::Connection(before.connection), at));
            }
            _ => {}
        }
        spared
    }

    /// A replica says who keeps a lease there, since it does not know whether this leader does.
    pub(crate) fn kept(&mut self, lease: KvGrant, connection: u64, at: Duration) -> Vec<Spared> {
        let is_news = self.keepers.get(&lease).is_none_or(|known| known.at < at);
        match is_news && !self.is_late(lease, connection) {
            true => self.renewed(lease, connection, at),
            false => Vec::new(),
        }
    }

    /// A silent stream was opened from `host`.
    pub(crate) fn back(&mut self, host: u64, at: Duration) -> Vec<Spared> {
        self.lives(Sign::Host(host), at)
    }

    /// Whether a break makes the lease an orphan; and what it shows to live instead.
    pub(crate) fn judge(&mut self, lease: KvGrant, broke: Break) -> (bool, Vec<Spared>) {
        let Break { connection, host, at } = broke;
        if self.signs.is_unknown(at) {
            return (false, Vec::new());
        }
        if let Some(known) = self.keepers.get(&lease).copied()
            && known.connection != connection
        {
            // Somebody else keeps it. If that came after the break, or hardly before, it is the same program, on another
            // connection.
            let spared = match known.at + MOVED_WITHIN >= at {
                true => self.lives(Sign::Connection(connection), known.at),
                false => Vec::new(),
            };
            return (false, spared);
        }
        let signs = [Sign::Connection(connection), Sign::Host(host)];
        let lives = signs
            .iter()
            .any(|sign| self.signs.is_after(*sign, at.saturating_sub(sign.slack())));
        (!lives, Vec::new())
    }

    /// A lease is an orphan, which would have run out at `expires_at`.
    pub(crate) fn orphaned(&mut self, lease: KvGrant, broke: Break, expires_at: Duration) {
        // Told twice: what counts is when it would have run out at first.
        self.orphans.entry(lease).or_insert(Orphan { broke, expires_at });
    }

    pub(crate) fn is_orphan(&self, lease: KvGrant) -> bool {
        self.orphans.contains_key(&lease)
    }

    /// The lease has ended.
    pub(crate) fn ended(&mut self, lease: KvGrant) {
        self.keepers.remove(&lease);
        self.orphans.remove(&lease);
    }

    fn lives(&mut self, sign: Sign, at: Duration) -> Vec<Spared> {
        self.signs.note(sign, at);
        let is_spared = |orphan: &Orphan| {
            let is_of = match sign {
                Sign::Connection(connection) => orphan.broke.connection == connection,
                Sign::Host(host) => orphan.broke.host == host,
            };
            is_of && orphan.broke.at <= at + sign.slack()
        };
        let spared = self.orphans.iter().filter(|(_, orphan)| is_spared(orphan));
        let spared: Vec<Spared> = spared
            .map(|(lease, orphan)| (*lease, orphan.expires_at))
            .collect();
        for (lease, _) in &spared {
            self.orphans.remove(lease);
        }
        spared
    }
}

/// What lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// The program that had this connection.
    Connection(u64),
    /// A program on this host.
    Host(u64),
}

impl Sign {
    /// How long before a break the sign may come.
    fn slack(self) -> Duration {
        match self {
            Self::Connection(_) => MOVED_WITHIN,
            Self::Host(_) => BACK_BEFORE,
        }
    }
}

#[derive(Debug, Default)]
struct Signs {
    last: BTreeMap<Sign, Duration>,
    /// The same, by moment.
    order: BTreeSet<(Duration, Sign)>,
    /// Signs up to here were forgotten.
    forgotten: Option<Duration>,
}

impl Signs {
    fn note(&mut self, sign: Sign, at: Duration) {
        let before = self.last.get(&sign).copied();
        if before.is_some_and(|before| before >= at) {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, sign));
        }
        self.last.insert(sign, at);
        self.order.insert((at, sign));
        if self.last.len() > SIGNS_MAX
            && let Some((at, oldest)) = self.order.pop_first()
        {
            self.last.remove(&oldest);
            self.forgotten = Some(at);
        }
    }

    fn is_after(&self, sign: Sign, at: Duration) -> bool {
        self.last.get(&sign).is_some_and(|last| *last >= at)
    }

    fn is_unknown(&self, at: Duration) -> bool {
        self.forgotten.is_some_and(|forgotten| at <= forgotten)
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::Revision;

    use super::*;

    const HOST: u64 = 9;
    const END: Duration = Duration::from_secs(60);

    fn lease(lease: i64) -> KvGrant {
        let granted = Revision(2);
        KvGrant { lease, granted }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[derive(Debug, Clone, Copy)]
    enum Told {
        Renewed(i64, u64, u64),
        Kept(i64, u64, u64),
        /// Lease, connection, when.
        Broke(i64, u64, u64),
        Back(u64, u64),
    }
    use Told::{Back, Broke, Kept, Renewed};

    /// What is an orphan after all that.
    fn orphans(told: &[Told]) -> Vec<i64> {
        let mut orphans = Orphans::default();
        for told in told {
            let spared = match *told {
                Renewed(id, by, at) if !orphans.is_late(lease(id), by) => {
                    orphans.renewed(lease(id), by, ms(at))
                }
                Renewed(..) => Vec::new(),
                Kept(id, by, at) => orphans.kept(lease(id), by, ms(at)),
                Back(host, at) => orphans.back(host, ms(at)),
                Broke(id, connection, at) => {
                    let broke = Break {
                        connection,
                        host: HOST,
                        at: ms(at),
                    };
                    let (is_orphan, spared) = orphans.judge(lease(id), broke);
                    if is_orphan {
                        orphans.orphaned(lease(id), broke, END);
                    }
                    spared
                }
            };
            assert!(spared.iter().all(|(_, expires_at)| *expires_at == END));
        }
        (0..10).filter(|id| orphans.is_orphan(lease(*id))).collect()
    }

    #[test]
    fn whose_keeper_is_gone() {
        let cases: &[(&str, &[Told], &[i64])] = &[
            ("nothing is known of it", &[Broke(1, 1, 10)], &[1]),
            ("its keeper broke", &[Renewed(1, 1, 5), Broke(1, 1, 10)], &[1]),
            (
                "another keeps it",
                &[Renewed(1, 1, 5), Renewed(1, 2, 6), Broke(1, 1, 10)],
                &[],
            ),
            (
                "it was renewed once by another, and then by its keeper",
                &[
                    Renewed(1, 1, 5),
                    Renewed(1, 2, 6),
                    Renewed(1, 1, 7),
                    Broke(1, 1, 2_007),
                ],
                &[1],
            ),
            (
                "it is renewed on another connection",
                &[Renewed(1, 1, 5), Broke(1, 1, 10), Renewed(1, 2, 20)],
                &[],
            ),
            (
                "or by nobody known",
                &[Renewed(1, 1, 5), Broke(1, 1, 10), Renewed(1, 0, 20)],
                &[],
            ),
            (
                "what the broken connection asked for before is late",
                &[Renewed(1, 1, 5), Broke(1, 1, 10), Renewed(1, 1, 9)],
                &[1],
            ),
            (
                "the program renews another of its leases",
                &[
                    Renewed(1, 1, 5),
                    Renewed(2, 1, 5),
                    Renewed(3, 4, 5),
                    Broke(1, 1, 10),
                    Broke(2, 1, 10),
                    Broke(3, 4, 10),
                    Renewed(2, 2, 20),
                ],
                &[3],
            ),
            (
                "the same, told the other way round",
                &[
                    Renewed(1, 1, 5),
                    Renewed(2, 1, 5),
                    Renewed(2, 2, 20),
                    Broke(1, 1, 10),
                    Broke(2, 1, 10),
                ],
                &[],
            ),
            (
                "a new leader hears of both, in either order",
                &[Broke(1, 1, 10), Broke(2, 1, 10), Kept(2, 2, 20)],
                &[],
            ),
            (
                "the other",
                &[Kept(2, 2, 20), Broke(1, 1, 10), Broke(2, 1, 10)],
                &[],
            ),
            (
                "one lease moved long before the break",
                &[
                    Renewed(1, 1, 5),
                    Renewed(2, 1, 5),
                    Renewed(2, 2, 6),
                    Broke(1, 1, 2_007),
                ],
                &[1],
            ),
            (
                "the program moved, and closed its connection then",
                &[
                    Renewed(1, 1, 5),
                    Renewed(2, 1, 5),
                    Renewed(2, 2, 6),
                    Broke(1, 1, 2_006),
                ],
                &[],
            ),
            (
                "the same, as a new leader hears of it",
                &[Broke(1, 1, 2_006), Broke(2, 1, 2_006), Kept(2, 2, 6)],
                &[],
            ),
            ("a client is back", &[Broke(1, 1, 10), Back(HOST, 20)], &[]),
            (
                "it is known to be back first",
                &[Back(HOST, 20), Broke(1, 1, 10)],
                &[],
            ),
            (
                "it was back before its old connection's end was noticed",
                &[Back(HOST, 9), Broke(1, 1, 509)],
                &[],
            ),
            (
                "it came long before the break",
                &[Back(HOST, 9), Broke(1, 1, 510)],
                &[1],
            ),
            ("another host's", &[Broke(1, 1, 10), Back(7, 20)], &[1]),
            (
                "old news of who keeps it",
                &[Renewed(1, 2, 8), Kept(1, 1, 5), Broke(1, 1, 10)],
                &[],
            ),
            (
                "newer news",
                &[Kept(1, 1, 5), Kept(1, 2, 8), Broke(1, 1, 10)],
                &[],
            ),
            ("told twice", &[Broke(1, 1, 10), Broke(1, 1, 10)], &[1]),
            (
                "told again after it was renewed elsewhere",
                &[Broke(1, 1, 10), Renewed(1, 2, 20), Broke(1, 1, 10)],
                &[],
            ),
            (
                "the next connection breaks, too",
                &[Broke(1, 1, 10), Renewed(1, 2, 20), Broke(1, 2, 30)],
                &[1],
            ),
        ];
        for (name, told, want) in cases {
            assert_eq!(orphans(told), *want, "{name}");
        }
    }

    #[test]
    fn an_ended_lease_is_forgotten() {
        let mut orphans = Orphans::default();
        let broke = Break {
            connection: 1,
            host: HOST,
            at: ms(10),
        };
        orphans.renewed(lease(1), 1, ms(5));
        orphans.orphaned(lease(1), broke, END);
        orphans.ended(lease(1));
        assert!(!orphans.is_orphan(lease(1)));
        assert!(orphans.keepers.is_empty());
    }

    #[test]
    fn what_may_have_been_forgotten_is_not_believed() {
        let mut orphans = Orphans::default();
        for host in 0..=u64::try_from(SIGNS_MAX).expect("few") {
            orphans.back(1_000 + host, ms(100 + host));
        }
        let broke = |at| Break {
            connection: 1,
            host: HOST,
            at: ms(at),
        };
        assert!(!orphans.judge(lease(1), broke(100)).0);
        assert!(orphans.judge(lease(1), broke(101)).0);
        assert_eq!(orphans.signs.last.len(), SIGNS_MAX);
        assert_eq!(orphans.signs.order.len(), SIGNS_MAX);
    }
}
