//! What goes wrong, and when: drawn from the seed, one thing at a time or a few.

use std::time::Duration;

use quorate::MemoryDisk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use super::network::{Rule, Rules};
use super::oracle::Oracle;

/// Faults end here; the rest of the run shows that everything heals.
pub(crate) const CALM_FROM: Duration = Duration::from_secs(22);
/// The first fault: by then the group has formed.
const FIRST_AT: Duration = Duration::from_secs(2);
/// How long a message takes at most while the network is slow.
const SLOW: Duration = Duration::from_millis(90);

/// What the faults are done to.
pub(crate) struct Victims {
    pub(crate) hosts: Vec<Victim>,
    /// The last one only reads.
    pub(crate) clients: Vec<String>,
    pub(crate) rules: Rules,
    pub(crate) oracle: Oracle,
    /// How long a message takes at most when nothing is wrong.
    pub(crate) latency_max: Duration,
}

/// One replica.
pub(crate) struct Victim {
    pub(crate) name: &'static str,
    pub(crate) disk: MemoryDisk,
    /// Set to true, it asks the replica to stop in order.
    pub(crate) stop: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// The process is gone, its machine answers for it.
    Killed(usize),
    /// The machine is gone.
    PowerLost(usize),
    /// Asked to stop in order.
    Stopping(usize),
    /// Messages between replicas, and perhaps clients, are lost.
    Cut,
    /// Messages between replicas arrive when this is over.
    Held(usize),
    /// Messages take long.
    Slow,
    /// Liveness links are cut or lied to.
    Links,
    /// The disk answers when this is over.
    Stalled(usize),
    /// All disks stall, and when this is over everybody loses power: what was not on disk must not have been promised.
    Doomed,
}

impl Broken {
    fn down(self) -> Option<usize> {
        match self {
            Self::Killed(host) | Self::PowerLost(host) | Self::Stopping(host) => Some(host),
            _ => None,
        }
    }

    fn is_of_network(self) -> bool {
        matches!(self, Self::PowerLost(_) | Self::Cut | Self::Held(_) | Self::Slow)
    }
}

/// Draws and carries out.
pub(crate) struct Faults {
    victims: Victims,
    rng: StdRng,
    next: Duration,
    /// What is broken now, and when it is mended.
    broken: Vec<(Duration, Broken)>,
    pub(crate) injected: u32,
}

impl Faults {
    pub(crate) fn new(seed: u64, victims: Victims) -> Self {
        Self {
            victims,
            rng: StdRng::seed_from_u64(seed),
            next: FIRST_AT,
            broken: Vec::new(),
            injected: 0,
        }
    }

    /// Called between the steps of the simulation.
    pub(crate) fn step(&mut self, sim: &mut turmoil::Sim<'_>) {
        let now = sim.elapsed();
        let is_calm = now >= CALM_FROM;
        let (mend, keep) = std::mem::take(&mut self.broken)
            .into_iter()
            .partition(|(until, _)| is_calm || *until <= now);
        self.broken = keep;
        for (_, broken) in mend {
            self.mend(sim, broken);
        }
        if now >= self.next && !is_calm {
            self.break_something(sim, now);
            self.next = now + Duration::from_millis(self.rng.random_range(200..1_800));
        }
    }

    fn note(&self, sim: &turmoil::Sim<'_>, what: &str) {
        self.victims.oracle.note(sim.elapsed(), &format!("fault: {what}"));
    }

    fn name(&self, host: usize) -> &'static str {
        self.victims.hosts[host].name
    }

    /// Everybody but `host`; without the clients if only replicas are meant.
    fn others(&self, host: usize, with_clients: bool) -> Vec<String> {
        let hosts = self.victims.hosts.iter().map(|victim| victim.name.to_owned());
        let others = hosts.filter(|other| other != self.name(host));
        others
            .chain(self.victims.clients.iter().filter(|_| with_clients).cloned())
            .collect()
    }

    fn pick(&mut self) -> usize {
        let leader = self.victims.oracle.leader();
        let leader = self
            .victims
            .hosts
            .iter()
            .position(|victim| Some(victim.name) == leader.as_deref());
        let any = self.rng.random_range(0..self.victims.hosts.len());
        match leader {
            Some(leader) if self.rng.random_range(0..2) == 0 => leader,
            _ => any,
        }
    }

    fn cut(&self, sim: &turmoil::Sim<'_>, one: &str, other: &str) {
        self.victims.rules.cut(sim.lookup(one), sim.lookup(other));
        sim.partition(one, other);
    }

    fn repair(&self, sim: &turmoil::Sim<'_>, one: &str, other: &str) {
        self.victims.rules.mend(sim.lookup(one), sim.lookup(other));
        sim.repair(one, other);
    }

    fn restart(&self, sim: &mut turmoil::Sim<'_>, host: usize) {
        self.note(sim, &format!("{} starts again", self.name(host)));
        let victim = &self.victims.hosts[host];
        victim.stop.send_replace(false);
        self.victims.rules.process(sim.lookup(victim.name), true);
        sim.bounce(victim.name);
    }

    fn kill(&self, sim: &mut turmoil::Sim<'_>, host: usize) {
        let victim = &self.victims.hosts[host];
        self.victims.rules.process(sim.lookup(victim.name), false);
        victim.disk.crash_in_flight();
        sim.crash(victim.name);
    }

    fn lose_power(&mut self, sim: &mut turmoil::Sim<'_>, host: usize) {
        // Cut first, so that not even the end of its connections is heard of.
        for other in self.others(host, true) {
            self.cut(sim, self.name(host), &other);
        }
        let victim = &self.victims.hosts[host];
        victim.disk.crash_in_flight();
        sim.crash(victim.name);
    }

    fn all_lose_power(&mut self, sim: &mut turmoil::Sim<'_>) {
        for host in 0..self.victims.hosts.len() {
            self.lose_power(sim, host);
            let back = sim.elapsed() + Duration::from_millis(self.rng.random_range(100..1_500));
            self.broken.push((back, Broken::PowerLost(host)));
        }
        self.injected += 1;
        self.note(sim, "everybody loses power");
    }

    fn mend(&mut self, sim: &mut turmoil::Sim<'_>, broken: Broken) {
        match broken {
            Broken::Killed(host) => self.restart(sim, host),
            Broken::PowerLost(host) => {
                for other in self.others(host, true) {
                    // Two machines without power: the second one mends the cut between them.
                    let is_down = |name: &str| {
                        let mut down = self.broken.iter().filter_map(|(_, broken)| match broken {
                            Broken::PowerLost(host) => Some(self.name(*host)),
                            _ => None,
                        });
                        down.any(|down| down == name)
                    };
                    if !is_down(&other) {
                        self.repair(sim, self.name(host), &other);
                    }
                }
                self.restart(sim, host);
            }
            Broken::Stopping(host) => {
                if sim.is_host_running(self.name(host)) {
                    self.note(sim, &format!("{} has not stopped and is killed", self.name(host)));
                    self.kill(sim, host);
                }
                self.restart(sim, host);
            }
            Broken::Cut => {
                self.note(sim, "the network heals");
                for host in 0..self.victims.hosts.len() {
                    for other in self.others(host, true) {
                        self.repair(sim, self.name(host), &other);
                    }
                }
            }
            Broken::Held(host) => {
                self.note(sim, "what was held arrives");
                for other in self.others(host, false) {
                    sim.release(self.name(host), other);
                }
            }
            Broken::Slow => {
                self.note(sim, "the network is quick again");
                sim.set_max_message_latency(self.victims.latency_max);
            }
            Broken::Links => {
                self.note(sim, "liveness links heal");
                self.victims.rules.clear_links();
            }
            Broken::Stalled(host) => {
                self.note(sim, &format!("the disk of {} goes on", self.name(host)));
                self.victims.hosts[host].disk.stall(false);
            }
            Broken::Doomed => {
                if sim.elapsed() < CALM_FROM {
                    self.all_lose_power(sim);
                }
                for victim in &self.victims.hosts {
                    victim.disk.stall(false);
                }
            }
        }
    }

    fn break_something(&mut self, sim: &mut turmoil::Sim<'_>, now: Duration) {
        if self.broken.iter().any(|(_, broken)| *broken == Broken::Doomed) {
            return;
        }
        let host = self.pick();
        let name = self.name(host);
        let mut until = now + Duration::from_millis(self.rng.random_range(100..2_500));
        let down = self.broken.iter().filter_map(|(_, broken)| broken.down()).count();
        let is_down = self.broken.iter().any(|(_, broken)| broken.down() == Some(host));
        let network_is_broken = self.broken.iter().any(|(_, broken)| broken.is_of_network());
        let has = |kind: fn(&Broken) -> bool| self.broken.iter().any(|(_, broken)| kind(broken));
        let links_are_broken = has(|broken| matches!(broken, Broken::Links));
        let is_stalled = has(|broken| matches!(broken, Broken::Stalled(_)));
        // More than one down at a time now and then: the group cannot serve then, and must forget nothing.
        let may_go_down = !is_down && (down == 0 || self.rng.random_range(0..5) == 0);
        let (what, broken) = match self.rng.random_range(0..100) {
            0..=24 if may_go_down => {
                self.kill(sim, host);
                (format!("{name} is killed"), Broken::Killed(host))
            }
            25..=34 if may_go_down && !network_is_broken => {
                self.lose_power(sim, host);
                (format!("{name} loses power"), Broken::PowerLost(host))
            }
            35..=37 if down == 0 && !network_is_broken => {
                self.all_lose_power(sim);
                return;
            }
            38..=41 if down == 0 && !network_is_broken => {
                for victim in &self.victims.hosts {
                    victim.disk.stall(true);
                }
                until = now + Duration::from_millis(self.rng.random_range(50..500));
                ("all disks stall".to_owned(), Broken::Doomed)
            }
            42..=47 if may_go_down => {
                self.victims.hosts[host].stop.send_replace(true);
                until += Duration::from_secs(1);
                (format!("{name} is asked to stop"), Broken::Stopping(host))
            }
            48..=60 if !network_is_broken => (self.cut_something(sim, host), Broken::Cut),
            61..=65 if !network_is_broken => {
                for other in self.others(host, false) {
                    sim.hold(name, other);
                }
                (
                    format!("what the other replicas and {name} say to each other is held"),
                    Broken::Held(host),
                )
            }
            66..=72 if !network_is_broken => {
                sim.set_max_message_latency(SLOW);
                ("the network is slow".to_owned(), Broken::Slow)
            }
            73..=88 if !links_are_broken => (self.break_links(sim, host), Broken::Links),
            89..=99 if !is_stalled => {
                self.victims.hosts[host].disk.stall(true);
                (format!("the disk of {name} stalls"), Broken::Stalled(host))
            }
            _ => return,
        };
        self.injected += 1;
        self.note(sim, &what);
        self.broken.push((until, broken));
    }

    fn cut_something(&mut self, sim: &turmoil::Sim<'_>, host: usize) -> String {
        let name = self.name(host);
        let others = self.others(host, false);
        match self.rng.random_range(0..8) {
            0 => {
                for other in self.others(host, true) {
                    self.cut(sim, name, &other);
                }
                format!("{name} is cut off from everybody")
            }
            1 => {
                for other in others {
                    self.cut(sim, name, &other);
                }
                format!("{name} is cut off from the other replicas")
            }
            2 => {
                let other = &others[self.rng.random_range(0..others.len())];
                self.cut(sim, name, other);
                format!("{name} and {other} are cut off from each other")
            }
            // An old leader that somebody still asks, while the others elect a new one: who reads there must not be told
            // what is no longer true.
            3..=5 => {
                let mut there = self.others(host, true);
                let reader = there.pop().unwrap_or_default();
                for other in &there {
                    self.cut(sim, name, other);
                }
                for other in self.others(host, false) {
                    self.cut(sim, &reader, &other);
                }
                format!("{name} and {reader} are cut off from everybody else")
            }
            // A dial needs both ways, so that both kinds count as a cut.
            6 => {
                for other in others {
                    self.victims
                        .rules
                        .cut(sim.lookup(name), sim.lookup(other.as_str()));
                    sim.partition_oneway(name, other);
                }
                format!("{name} hears the other replicas and is not heard")
            }
            _ => {
                for other in others {
                    self.victims
                        .rules
                        .cut(sim.lookup(name), sim.lookup(other.as_str()));
                    sim.partition_oneway(other, name);
                }
                format!("{name} is heard by the other replicas and does not hear")
            }
        }
    }

    fn break_links(&mut self, sim: &turmoil::Sim<'_>, host: usize) -> String {
        let name = self.name(host);
        let rules = self.victims.rules.clone();
        let set = |from: &str, to: &str, rule| rules.set_link(sim.lookup(from), sim.lookup(to), rule);
        match self.rng.random_range(0..4) {
            0 => {
                for from in 0..self.victims.hosts.len() {
                    for to in self.others(from, false) {
                        set(self.name(from), &to, Rule::Silent);
                    }
                }
                "all liveness links are silent".to_owned()
            }
            1 => {
                for to in self.others(host, false) {
                    set(name, &to, Rule::Refused);
                }
                format!("{name} is refused by the liveness listeners of the others, who live")
            }
            2 => {
                for from in self.others(host, false) {
                    set(&from, name, Rule::Refused);
                }
                format!("the liveness listener of {name}, which lives, refuses everybody")
            }
            _ => {
                let others = self.others(host, false);
                let from = &others[self.rng.random_range(0..others.len())];
                set(from, name, Rule::Refused);
                format!("the liveness listener of {name}, which lives, refuses {from}")
            }
        }
    }
}
