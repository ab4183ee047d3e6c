//! A whole group in one process, over real sockets and simulated disks.
//!
//! A "crash" here drops a replica with its runtime: its sockets close at once, as a kernel closes those of a killed
//! process.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use quorate_host::{Clock, Network, SystemClock, Tcp};
use quorate_replica::machine::{Command, CreateDatabase};
use quorate_replica::{Listed, Listeners, Profile, Replica, ReplicaConfig, SnapshotEvery, Surroundings};
use quorate_store::{MemoryDisk, MemoryLatency, MemoryStore, Store};
use quorate_types::MemberName;
use tokio::time::{Instant, timeout};

/// No condition here takes long on any machine; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A replica on a runtime of its own, so that it can be killed.
pub(crate) struct Node {
    pub(crate) replica: Replica,
    runtime: tokio::runtime::Runtime,
}

pub(crate) struct Group {
    pub(crate) listed: Vec<Listed>,
    host: Host,
    /// Those that formed the group; later ones join.
    founders: usize,
    disks: BTreeMap<usize, MemoryDisk>,
    pub(crate) nodes: BTreeMap<usize, Node>,
    pub(crate) snapshot: SnapshotEvery,
    /// Of leases whose keeper's connection broke.
    pub(crate) orphan_grace: Option<Duration>,
    /// How far all clocks are ahead of the machine's.
    pub(crate) ahead_ms: Arc<AtomicU64>,
}

/// The machine's clock, set ahead.
struct Ahead(Arc<AtomicU64>);

impl Clock for Ahead {
    fn unix_ms(&self) -> u64 {
        SystemClock.unix_ms() + self.0.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        SystemClock.monotonic_ns()
    }
}

/// `RUST_LOG=quorate=debug cargo test ... -- --nocapture` shows what the replicas say.
fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
}

/// An address that is ours alone: each group has a loopback host of its own, so that no other group and no connection on
/// the way out can take one of its ports while a replica is down.
struct Host {
    host: String,
    next_port: u16,
}

impl Host {
    fn new() -> Self {
        static GROUPS: AtomicU32 = AtomicU32::new(0);
        let group = GROUPS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let host = format!(
            "127.{}.{}.{}",
            64 + (process >> 8) % 128,
            process % 256,
            1 + group % 250
        );
        Self {
            host,
            next_port: 7_001,
        }
    }

    fn replica(&mut self, index: usize) -> Listed {
        Listed {
            name: MemberName::new(format!("r{index}")).unwrap(),
            peer_address: self.address(),
            liveness_address: self.address(),
            client_address: self.address(),
        }
    }

    fn address(&mut self) -> String {
        let port = self.next_port;
        self.next_port += 1;
        format!("{}:{port}", self.host)
    }
}

impl Group {
    pub(crate) fn new(size: usize) -> Self {
        log();
        let mut host = Host::new();
        let listed = (0..size).map(|index| host.replica(index)).collect();
        let disks = (0..size).map(|index| (index, MemoryDisk::new())).collect();
        Self {
            listed,
            host,
            founders: size,
            disks,
            nodes: BTreeMap::new(),
            snapshot: SnapshotEvery::default(),
            orphan_grace: None,
            ahead_ms: Arc::default(),
        }
    }

    pub(crate) async fn started(size: usize) -> Self {
        let mut group = Self::new(size);
        for index in 0..size {
            group.start(index).await;
        }
        for index in 0..size {
            timeout(PATIENCE, group.replica(index).ready())
                .await
                .expect("ready in time")
                .unwrap();
        }
        group
    }

    pub(crate) async fn start(&mut self, index: usize) {
        let listed = self.listed.clone();
        let config = ReplicaConfig {
            joins: index >= self.founders,
            name: listed[index].name.clone(),
            listed: listed.clone(),
            profile: Profile::Lan,
            snapshot: self.snapshot,
            session_grace: Duration::from_millis(200),
            compaction: None,
            orphan_grace: self.orphan_grace,
            version: "test".to_owned(),
        };
        let disk = self.disks[&index].clone();
        let clock = Ahead(Arc::clone(&self.ahead_ms));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let start = runtime.spawn(async move {
            let liveness = Tcp.listen(&listed[index].liveness_address).await.unwrap();
            let peer = Tcp.listen(&listed[index].peer_address).await.unwrap();
            let store: Arc<dyn Store> = Arc::new(MemoryStore::open(&disk, MemoryLatency::default()).unwrap());
            let surroundings = Surroundings {
                network: Arc::new(Tcp),
                clock: Arc::new(clock),
            };
            Replica::start(
                config.checked().unwrap(),
                store,
                Listeners { liveness, peer },
                surroundings,
            )
            .await
        });
        let replica = start.await.unwrap();
        self.nodes.insert(index, Node { replica, runtime });
    }

    /// Starts one more replica, which joins as a learner; gives its index.
    pub(crate) async fn join(&mut self) -> usize {
        let index = self.listed.len();
        self.listed.push(self.host.replica(index));
        self.disks.insert(index, MemoryDisk::new());
        self.start(index).await;
        index
    }

    pub(crate) fn crash(&mut self, index: usize) {
        let node = self.nodes.remove(&index).unwrap();
        node.runtime.shutdown_background();
        drop(node.replica);
        self.disks[&index].crash();
    }

    /// The one that serves as the leader, once there is one.
    pub(crate) async fn leader(&self) -> usize {
        let serving = async {
            loop {
                for (index, node) in &self.nodes {
                    if node.replica.leadership().borrow().serving {
                        return *index;
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, serving).await.expect("a leader")
    }

    pub(crate) fn replica(&self, index: usize) -> &Replica {
        &self.nodes[&index].replica
    }

    pub(crate) async fn propose(&self, index: usize, command: Command) -> quorate_replica::machine::Outcome {
        self.replica(index)
            .propose(&command, None, soon())
            .await
            .unwrap()
            .outcome
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (_, node) in std::mem::take(&mut self.nodes) {
            node.runtime.shutdown_background();
        }
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub(crate) fn database(name: &str) -> Command {
    Command::CreateDatabase(CreateDatabase {
        name: name.to_owned(),
        properties: BTreeMap::new(),
    })
}
