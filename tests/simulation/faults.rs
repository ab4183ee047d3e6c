//! What goes wrong, and when: drawn from the seed, one thing at a time or two.

use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::HOSTS;
use super::network::{Rule, Rules};
use super::oracle::Oracle;

/// Faults end here; the rest of the run shows that everything heals.
pub const CALM_FROM: Duration = Duration::from_secs(24);

/// Draws and carries out.
pub struct Faults {
    rng: StdRng,
    next: Duration,
    /// What is broken now, and when it is mended.
    broken: Vec<(Duration, Broken)>,
    pub injected: u32,
}

enum Broken {
    Crashed(&'static str),
    Network,
    Links,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), next: Duration::from_secs(3), broken: Vec::new(), injected: 0 }
    }

    /// Called between the steps of the simulation.
    pub fn step(&mut self, sim: &mut turmoil::Sim<'_>, rules: &Rules, oracle: &Oracle) {
        let now = sim.elapsed();
        let calm = now >= CALM_FROM;
        let due = |until: &Duration| calm || *until <= now;
        let (mend, keep) = std::mem::take(&mut self.broken).into_iter().partition(|(until, _)| due(until));
        self.broken = keep;
        for (_, broken) in mend {
            self.mend(sim, rules, oracle, &broken);
        }
        if now >= self.next && !calm {
            self.break_something(sim, rules, oracle, now);
            self.next = now + Duration::from_millis(self.rng.random_range(400..2_500));
        }
    }

    fn mend(&self, sim: &mut turmoil::Sim<'_>, rules: &Rules, oracle: &Oracle, broken: &Broken) {
        let now = sim.elapsed();
        match broken {
            Broken::Crashed(host) => {
                oracle.note(now, &format!("fault: {host} starts again"));
                sim.bounce(*host);
            }
            Broken::Network => {
                oracle.note(now, "fault: the network heals");
                for (index, a) in HOSTS.iter().enumerate() {
                    for b in &HOSTS[index + 1..] {
                        sim.repair(*a, *b);
                    }
                }
            }
            Broken::Links => {
                oracle.note(now, "fault: liveness links heal");
                rules.clear();
            }
        }
    }

    fn pick(&mut self) -> &'static str {
        HOSTS[self.rng.random_range(0..HOSTS.len())]
    }

    fn others(host: &str) -> impl Iterator<Item = &'static str> {
        HOSTS.into_iter().filter(move |other| *other != host)
    }

    fn break_something(&mut self, sim: &mut turmoil::Sim<'_>, rules: &Rules, oracle: &Oracle, now: Duration) {
        let until = now + Duration::from_millis(self.rng.random_range(150..3_000));
        let host = self.pick();
        let kind = self.rng.random_range(0..10);
        let has = |wanted: fn(&Broken) -> bool| self.broken.iter().any(|(_, broken)| wanted(broken));
        let ip = |host: &str| -> IpAddr { sim.lookup(host) };
        let (what, broken) = match kind {
            0..=4 if !has(|broken| matches!(broken, Broken::Crashed(_))) => {
                sim.crash(host);
                (format!("{host} crashes"), Broken::Crashed(host))
            }
            5 | 6 if !has(|broken| matches!(broken, Broken::Network)) => {
                for other in Self::others(host) {
                    sim.partition(host, other);
                }
                (format!("{host} is cut off from the other replicas"), Broken::Network)
            }
            7 if !has(|broken| matches!(broken, Broken::Network)) => {
                for other in Self::others(host) {
                    sim.partition_oneway(host, other);
                }
                (format!("{host} hears and is not heard by the other replicas"), Broken::Network)
            }
            8 if !has(|broken| matches!(broken, Broken::Links)) => {
                for from in HOSTS {
                    for to in Self::others(from) {
                        rules.set(from, ip(to), Rule::Silent);
                    }
                }
                ("all liveness links are silent".to_owned(), Broken::Links)
            }
            9 if !has(|broken| matches!(broken, Broken::Links)) => {
                for to in Self::others(host) {
                    rules.set(host, ip(to), Rule::Refused);
                }
                (format!("{host} is refused by the others' liveness listeners, who live"), Broken::Links)
            }
            _ => return,
        };
        self.injected += 1;
        oracle.note(now, &format!("fault: {what}"));
        self.broken.push((until, broken));
    }
}
