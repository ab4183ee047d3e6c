//! One run: replicas, clients, faults, and the verdict.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate::{
    Clock, Coordinator, Listed, MemberName, MemoryDisk, MemoryLatency, MemoryStore, Network, Profile,
    SnapshotEvery, chain,
};
use quorate_host::entropy;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::sleep;

use super::clock;
use super::faults::{Faults, Victim, Victims};
use super::load::{self, CLIENTS, LOAD_UNTIL, READERS};
use super::network::{LIVENESS_PORT, Rules, SimNetwork};
use super::oracle::{Account, Oracle};

const NAMES: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];
/// A run takes this long, of simulated time.
const DURATION: Duration = Duration::from_secs(30);
/// Who has not finished by then hangs.
const DURATION_MAX: Duration = Duration::from_secs(40);
/// The simulation's time of day at its start: 2026-01-01, so that no real clock is looked at.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);
/// How often a replica's state is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Fewer acknowledged writes than this mean that the run tested nothing.
const ACKNOWLEDGED_MIN: u64 = 200;
/// Fewer faults than this, likewise.
const FAULTS_MIN: u32 = 5;

/// How a run ended.
pub(crate) struct Report {
    pub(crate) trace: String,
    pub(crate) summary: String,
    /// Empty when all is well.
    pub(crate) violations: Vec<String>,
}

/// What differs between seeds apart from the faults.
#[derive(Debug, Clone, Copy)]
struct Shape {
    replicas: usize,
    profile: Profile,
    snapshot: SnapshotEvery,
    disk: MemoryLatency,
    latency_max: Duration,
}

impl Shape {
    fn draw(seed: u64) -> Self {
        // A generator of its own, so that another shape does not move the faults.
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5ead);
        let mut one_of = |choices: &[u64]| choices[rng.random_range(0..choices.len())];
        let ms = Duration::from_millis;
        Self {
            replicas: if seed.is_multiple_of(4) { 5 } else { 3 },
            profile: if one_of(&[0, 1]) == 0 {
                Profile::Lan
            } else {
                Profile::Zone
            },
            snapshot: SnapshotEvery {
                entries: one_of(&[30, 100, 300]),
                keep: one_of(&[0, 20, 100]),
            },
            disk: MemoryLatency {
                max: ms(one_of(&[1, 3, 10])),
                ..MemoryLatency::default()
            },
            latency_max: ms(one_of(&[2, 5, 10])),
        }
    }
}

/// The simulation's time of day.
struct SimClock;

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        let since_epoch = turmoil::since_epoch().unwrap_or(EPOCH);
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(now().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn listed(host: &str) -> Listed {
    Listed {
        name: MemberName::new(host).expect("a good name"),
        client_address: format!("{host}:2379"),
        peer_address: format!("{host}:2380"),
        liveness_address: format!("{host}:{LIVENESS_PORT}"),
    }
}

/// What one replica is started with, again and again.
#[derive(Clone)]
struct Host {
    name: &'static str,
    shape: Shape,
    disk: MemoryDisk,
    rules: Rules,
    oracle: Oracle,
    stop: watch::Receiver<bool>,
}

impl Host {
    async fn run(self) -> turmoil::Result {
        let store = MemoryStore::open(&self.disk, self.shape.disk)?;
        let coordinator = Coordinator::builder()
            .name(self.name)
            .replicas(NAMES[..self.shape.replicas].iter().map(|host| listed(host)))
            .store(Arc::new(store))
            .network(Arc::new(SimNetwork {
                host: self.name.to_owned(),
                rules: self.rules.clone(),
            }))
            .clock(Arc::new(SimClock))
            .profile(self.shape.profile)
            .snapshot(self.shape.snapshot)
            .drain_timeout(Duration::from_secs(1))
            .start()
            .await?;
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.watch(&coordinator) => {}
            fault = coordinator.fault() => {
                self.oracle.violation(format!("{} stopped by a fault: {}", self.name, chain(&*fault)));
                return std::future::pending().await;
            }
            _ = stop.wait_for(|stop| *stop) => {}
        }
        coordinator.shutdown().await;
        self.oracle.note(now(), &format!("{} has stopped", self.name));
        self.rules.process(turmoil::lookup(self.name), false);
        Ok(())
    }

    /// Tells the judge what the replica shows, for ever.
    async fn watch(&self, coordinator: &Coordinator) {
        let replica = coordinator.replica();
        let leadership = replica.leadership();
        let mut known = None;
        loop {
            let seen = leadership.borrow().clone();
            if seen.serving {
                self.oracle.serves(self.name, seen.term.0);
            }
            if known.as_ref() != Some(&seen) {
                let leader = seen
                    .leader
                    .as_ref()
                    .map_or("nobody".to_owned(), |leader| leader.node.to_string());
                let what = format!(
                    "{}: term {}, leader {leader}, serving {}",
                    self.name, seen.term, seen.serving
                );
                self.oracle.note(now(), &what);
                known = Some(seen);
            }
            if let Ok(state) = replica.read_stale()
                && let Some(index) = state.image.position()
            {
                self.oracle.applied(self.name, index.0, state.image.digest());
            }
            sleep(LOOK).await;
        }
    }
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Report {
    entropy::seed(seed);
    clock::set(EPOCH);
    let shape = Shape::draw(seed);
    let oracle = Oracle::default();
    print_on_panic(&oracle);
    oracle.note(Duration::ZERO, &format!("seed {seed}: {shape:?}"));
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + EPOCH)
        .enable_random_order()
        .simulation_duration(DURATION_MAX)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(shape.latency_max)
        .tcp_capacity(65_536)
        .build();
    let victims = start(&mut sim, shape, &oracle);
    let mut faults = Faults::new(seed, victims);
    let ended = drive(&mut sim, &mut faults, &oracle);
    let replicas = NAMES[..shape.replicas]
        .iter()
        .filter(|host| sim.is_host_running(**host))
        .count();
    drop(sim);
    if let Err(error) = ended {
        oracle.violation(error);
    }
    if replicas < shape.replicas {
        oracle.violation(format!("only {replicas} replicas run at the end"));
    }
    verdict(oracle.finish(), faults.injected)
}

/// A panic anywhere ends the run: what led to it must not be lost.
fn print_on_panic(oracle: &Oracle) {
    let oracle = oracle.clone();
    std::panic::set_hook(Box::new(move |panic| {
        print!("{}", oracle.trace());
        eprintln!("{panic}");
    }));
}

fn start(sim: &mut turmoil::Sim<'_>, shape: Shape, oracle: &Oracle) -> Victims {
    let rules = Rules::default();
    let mut hosts = Vec::new();
    for name in &NAMES[..shape.replicas] {
        let (stop, stopped) = watch::channel(false);
        let disk = MemoryDisk::new();
        hosts.push(Victim {
            name,
            disk: disk.clone(),
            stop,
        });
        let host = Host {
            name,
            shape,
            disk,
            rules: rules.clone(),
            oracle: oracle.clone(),
            stop: stopped,
        };
        sim.host(*name, move || host.clone().run());
    }
    let clients: Vec<String> = (0..CLIENTS + READERS)
        .map(|number| format!("client{number}"))
        .collect();
    for (number, name) in clients.iter().enumerate() {
        let network: Arc<dyn Network> = Arc::new(SimNetwork {
            host: name.clone(),
            rules: rules.clone(),
        });
        let seeds = hosts.iter().map(|host| format!("{}:2379", host.name)).collect();
        sim.client(name.as_str(), load::run(number, seeds, network, oracle.clone()));
    }
    Victims {
        hosts,
        clients,
        rules,
        oracle: oracle.clone(),
        latency_max: shape.latency_max,
    }
}

fn drive(sim: &mut turmoil::Sim<'_>, faults: &mut Faults, oracle: &Oracle) -> Result<(), String> {
    let mut next_mark = Duration::ZERO;
    let mut written = None;
    loop {
        faults.step(sim);
        clock::set(sim.since_epoch());
        let is_finished = sim.step().map_err(|error| error.to_string())?;
        if sim.elapsed() >= next_mark {
            // One draw too many or too few anywhere before shows here, also when nothing else does.
            let draw = entropy::random_u64();
            oracle.note(
                sim.elapsed(),
                &format!("draw {draw:016x}, applied {:?}", oracle.positions()),
            );
            next_mark += Duration::from_secs(1);
        }
        if written.is_none() && sim.elapsed() >= LOAD_UNTIL {
            written = oracle.positions().into_values().max();
        }
        if is_finished && sim.elapsed() >= DURATION {
            break;
        }
    }
    for (host, applied) in oracle.positions() {
        if Some(applied) < written {
            oracle.violation(format!(
                "{host} has applied {applied} of {written:?} entries long after the faults"
            ));
        }
    }
    Ok(())
}

fn verdict(account: Account, faults: u32) -> Report {
    let Account {
        trace,
        acknowledged,
        unknown,
        reads,
        terms,
        mut violations,
    } = account;
    if acknowledged < ACKNOWLEDGED_MIN {
        violations.push(format!(
            "only {acknowledged} writes were acknowledged: the run tested too little"
        ));
    }
    if faults < FAULTS_MIN {
        violations.push(format!(
            "only {faults} faults were injected: the run tested too little"
        ));
    }
    let summary = format!(
        "{faults} faults, {terms} terms, {acknowledged} writes acknowledged, {unknown} calls without an answer, \
         {reads} reads checked"
    );
    Report {
        trace,
        summary,
        violations,
    }
}
