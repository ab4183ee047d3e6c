//! One run: three replicas, three clients, faults, and the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::{Coordinator, Listed, MemberName, MemoryDisk, MemoryLatency, MemoryStore, Network, Profile, SnapshotEvery};
use quorate_host::{Clock, entropy};

use super::faults::Faults;
use super::load::{self, CLIENTS};
use super::network::{LIVENESS_PORT, Rules, SimNetwork};
use super::oracle::Oracle;

pub const HOSTS: [&str; 3] = ["r0", "r1", "r2"];
const DURATION: Duration = Duration::from_secs(30);
/// Fewer acknowledged writes than this mean that the run tested nothing.
const ACKNOWLEDGED_MIN: u64 = 200;
/// Fewer faults than this, likewise.
const FAULTS_MIN: u32 = 5;

pub struct Report {
    pub trace: String,
    pub summary: String,
}

pub struct Failure {
    pub trace: String,
    pub why: String,
}

/// The simulation's time of day.
struct SimClock;

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        let since_epoch = turmoil::since_epoch().unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn listed() -> Vec<Listed> {
    let one = |host: &&str| Listed {
        name: MemberName::new(*host).expect("a good name"),
        client_address: format!("{host}:2379"),
        peer_address: format!("{host}:2380"),
        liveness_address: format!("{host}:{LIVENESS_PORT}"),
    };
    HOSTS.iter().map(one).collect()
}

async fn replica(host: &'static str, disk: MemoryDisk, network: Arc<dyn Network>, oracle: Oracle) -> turmoil::Result {
    let store = MemoryStore::open(&disk, MemoryLatency::default())?;
    let coordinator = Coordinator::builder()
        .name(host)
        .replicas(listed())
        .store(Arc::new(store))
        .network(network)
        .clock(Arc::new(SimClock))
        .profile(Profile::Lan)
        // Small, so that snapshots and purges happen within the run.
        .snapshot(SnapshotEvery { entries: 300, keep: 50 })
        .start()
        .await?;
    let mut leadership = coordinator.replica().leadership();
    let mut fault = coordinator.fault();
    loop {
        if let Some(fault) = &*fault.borrow_and_update() {
            oracle.violation(format!("{host} stopped by a fault: {}", quorate::chain(&**fault)));
            std::future::pending::<()>().await;
        }
        let line = {
            let now = leadership.borrow_and_update();
            let leader = now.leader.as_ref().map(|leader| leader.node.to_string());
            format!("{host}: term {}, leader {}, serving {}", now.term, leader.unwrap_or_default(), now.serving)
        };
        oracle.note(turmoil::sim_elapsed().unwrap_or_default(), &line);
        tokio::select! {
            changed = leadership.changed() => changed?,
            changed = fault.changed() => changed?,
        }
    }
}

/// Runs one seed.
pub fn run(seed: u64) -> Result<Report, Failure> {
    entropy::seed(seed);
    let oracle = Oracle::default();
    let rules = Rules::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(DURATION)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(Duration::from_millis(6))
        .tcp_capacity(65_536)
        .build();
    let disks: BTreeMap<&str, MemoryDisk> = HOSTS.into_iter().map(|host| (host, MemoryDisk::new())).collect();
    for host in HOSTS {
        let (disk, rules, oracle) = (disks[host].clone(), rules.clone(), oracle.clone());
        sim.host(host, move || {
            // A crash takes what was not durable; a first start finds an empty disk either way.
            disk.crash();
            let network = Arc::new(SimNetwork { host: host.to_owned(), rules: rules.clone() });
            replica(host, disk.clone(), network, oracle.clone())
        });
    }
    for number in 0..CLIENTS {
        let name = format!("client{number}");
        let network = Arc::new(SimNetwork { host: name.clone(), rules: rules.clone() });
        let seeds = HOSTS.iter().map(|host| format!("{host}:2379")).collect();
        sim.client(name, load::run(number, seeds, network, oracle.clone()));
    }
    let mut faults = Faults::new(seed);
    let ended = loop {
        faults.step(&mut sim, &rules, &oracle);
        match sim.step() {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(error.to_string()),
        }
    };
    drop(sim);
    let acknowledged = oracle.acknowledged();
    let (trace, summary, mut violations) = oracle.finish();
    if let Err(error) = ended {
        violations.push(error);
    }
    if acknowledged < ACKNOWLEDGED_MIN {
        violations.push(format!("only {acknowledged} writes were acknowledged: the run tested too little"));
    }
    if faults.injected < FAULTS_MIN {
        violations.push(format!("only {} faults were injected: the run tested too little", faults.injected));
    }
    if violations.is_empty() {
        return Ok(Report { trace, summary: format!("{summary}, {} faults", faults.injected) });
    }
    violations.truncate(10);
    Err(Failure { trace, why: violations.join("; ") })
}
