//! A grace for leases of etcd's whose keeper's connection broke, at the leader: what is told of keepers, put into their clocks.
//!
//! Promises: the grace of a lease begins when the connection broke, but no sooner than this replica's reign, and not long before
//! the report arrived: whatever held the report up may have held up a renewal, too. Who is spared has its clock back as it was.
//! Left out on purpose: which breaks count ([`super::orphans`]).

use std::time::Duration;

use quorate_machine::KvGrant;
use tokio::time::Instant;

use super::clocks::{LeaseClocks, Leased};
use super::kv_leases::{Asked, LeaseQuestion};
use super::orphans::{Break, Orphans, Spared};

/// A report that a connection broke is credited with at most this much of its age.
const REPORT_AGE_MAX: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(crate) struct Guard {
    /// What moments are counted from.
    started: Instant,
    /// Since when this replica leads.
    since: Duration,
    grace: Duration,
    orphans: Orphans,
}

impl Guard {
    pub(crate) fn new(started: Instant, since: Duration, grace: Duration) -> Self {
        Self {
            started,
            since,
            grace,
            orphans: Orphans::default(),
        }
    }

    /// Takes what is asked or told of a lease; gives how many are orphans no more.
    pub(crate) fn take(
        &mut self,
        clocks: &mut LeaseClocks,
        lease: KvGrant,
        question: LeaseQuestion,
        arrived: Duration,
    ) -> usize {
        let (connection, of) = (question.connection, Leased::Kv(lease));
        let spared = match question.asked {
            Asked::Renew if self.orphans.is_late(lease, connection) => Vec::new(),
            Asked::Renew => match clocks.renew(of, arrived) {
                Some(_) => self.orphans.renewed(lease, connection, arrived),
                None => Vec::new(),
            },
            Asked::Kept { at } => self.orphans.kept(lease, connection, self.moment(at)),
            Asked::Broke { at, host } => {
                let at = self.moment(at);
                let broke = Break { connection, host, at };
                let (is_orphan, spared) = self.orphans.judge(lease, broke);
                let begins = at.max(arrived.saturating_sub(REPORT_AGE_MAX)).max(self.since);
                if is_orphan && let Some(expires_at) = clocks.suspect(of, begins, self.grace) {
                    self.orphans.orphaned(lease, broke, expires_at);
                }
                spared
            }
            Asked::Time | Asked::Back { .. } => Vec::new(),
        };
        clear(clocks, &spared)
    }

    /// A client on `host` is back; gives how many leases are orphans no more.
    pub(crate) fn back(&mut self, clocks: &mut LeaseClocks, host: u64, at: Instant) -> usize {
        let spared = self.orphans.back(host, self.moment(at));
        clear(clocks, &spared)
    }

    pub(crate) fn is_orphan(&self, lease: KvGrant) -> bool {
        self.orphans.is_orphan(lease)
    }

    /// The lease has ended.
    pub(crate) fn ended(&mut self, lease: KvGrant) {
        self.orphans.ended(lease);
    }

    fn moment(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }
}

fn clear(clocks: &mut LeaseClocks, spared: &[Spared]) -> usize {
    for (lease, expires_at) in spared {
        clocks.clear(Leased::Kv(*lease), *expires_at);
    }
    spared.len()
}

#[cfg(test)]
mod tests {
    use quorate_types::Revision;

    use super::*;

    const LEASE: KvGrant = KvGrant {
        lease: 7,
        granted: Revision(2),
    };
    const TTL: Duration = Duration::from_secs(60);
    const HOST: u64 = 9;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A leader since the tenth second, with a grace of a second, and the lease granted then.
    struct Leader {
        started: Instant,
        guard: Guard,
        clocks: LeaseClocks,
    }

    impl Leader {
        fn new() -> Self {
            let started = Instant::now();
            let mut clocks = LeaseClocks::default();
            clocks.start(Leased::Kv(LEASE), TTL, ms(10_000));
            Self {
                started,
                guard: Guard::new(started, ms(10_000), ms(1_000)),
                clocks,
            }
        }

        fn told(&mut self, connection: u64, asked: Asked, arrived: u64) -> usize {
            let question = LeaseQuestion {
                lease: LEASE.lease,
                connection,
                asked,
            };
            self.guard.take(&mut self.clocks, LEASE, question, ms(arrived))
        }

        fn broke(&self, at: u64) -> Asked {
            let at = self.started + ms(at);
            Asked::Broke { at, host: HOST }
        }
    }

    #[test]
    fn when_a_grace_begins() {
        // When the connection broke, when that was told, and when the lease ends.
        let cases = [
            ("told at once", 20_000, 20_000, 21_000),
            ("told soon", 20_000, 20_150, 21_000),
            ("told late", 20_000, 25_000, 25_800),
            ("before the reign", 9_900, 10_050, 11_000),
            ("a clock that runs ahead", 20_100, 20_000, 21_100),
            ("when its time is up anyhow", 69_500, 69_600, 70_000),
        ];
        for (name, at, arrived, want) in cases {
            let mut leader = Leader::new();
            let broke = leader.broke(at);
            assert_eq!(leader.told(1, broke, arrived), 0, "{name}");
            assert_eq!(leader.clocks.next_due(), Some(ms(want)), "{name}");
            assert!(leader.guard.is_orphan(LEASE), "{name}");
        }
    }

    #[test]
    fn who_is_spared_has_its_clock_back() {
        let mut leader = Leader::new();
        let broke = leader.broke(20_000);
        leader.told(1, broke, 20_100);
        leader.told(1, broke, 20_500);
        assert_eq!(leader.clocks.next_due(), Some(ms(21_000)), "told twice");
        assert_eq!(leader.told(1, Asked::Renew, 20_600), 0, "from before the break");
        assert_eq!(leader.clocks.next_due(), Some(ms(21_000)));
        let at = leader.started + ms(20_500);
        assert_eq!(leader.guard.back(&mut leader.clocks, HOST, at), 1);
        assert_eq!(leader.clocks.next_due(), Some(ms(70_000)));
        assert!(!leader.guard.is_orphan(LEASE));

        let mut leader = Leader::new();
        let broke = leader.broke(20_000);
        leader.told(1, broke, 20_100);
        assert_eq!(leader.told(2, Asked::Renew, 20_600), 1);
        assert_eq!(leader.clocks.next_due(), Some(ms(80_600)));
        assert_eq!(leader.told(1, broke, 20_700), 0, "told again");
        assert_eq!(leader.clocks.next_due(), Some(ms(80_600)));
    }
}
