//! A lease policy before living keepers whose connections are reset: etcd's own client in Go, and the crate `etcd-client`.
//!
//! Each keeper is behind a proxy of its own, which stands for a host of its own, and keeps one lease. The proxies reset their
//! connections one after the other, a hundred times in all; no lease may be lost. Then a keeper is killed, and its lease has to be
//! revoked long before its time: without that, the rest would prove nothing. Left out on purpose: etcd, which has no such policy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_api::etcdserverpb::LeaseGrantRequest;
use quorate_api::etcdserverpb::LeaseTimeToLiveRequest;
use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_local::{Cluster, Plan};
use quorate_testkit::etcd_client;
use quorate_testkit::proxy::Proxy;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::servers::{LONG, serves};

const KEEPERS: u8 = 10;
const ROUNDS: usize = 10;
/// Long enough for a client to be back and to have renewed its lease, which etcd's do after a third of its time, and for that to
/// bind the lease to the new connection.
const ROUND: Duration = Duration::from_secs(5);
/// What is asked for, and what the policy grants.
const ASKED_S: i64 = 60;
const TTL_S: u64 = 10;

/// Whose keepers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// etcdctl's.
    Go,
    /// The crate `etcd-client`'s.
    Rust,
}

/// A program that keeps a lease; it ends when this is dropped.
enum Keeper {
    Process(Child),
    Task(JoinHandle<String>),
}

impl Of {
    fn keeps(self, programs: &Path, endpoint: &str, lease: i64) -> Result<Keeper, String> {
        match self {
            Self::Go => {
                let process = Command::new("setpriv")
                    .args(["--pdeathsig", "KILL", "--"])
                    .arg(programs.join("etcdctl"))
                    .args([
                        "--endpoints",
                        endpoint,
                        "lease",
                        "keep-alive",
                        &format!("{lease:x}"),
                    ])
                    .env_clear()
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                    .env("GOMAXPROCS", "1")
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn();
                process
                    .map(Keeper::Process)
                    .map_err(|error| format!("etcdctl does not start: {error}"))
            }
            Self::Rust => {
                let endpoint = endpoint.to_owned();
                let keeping = async move { etcd_client::keep(&endpoint, lease).await };
                Ok(Keeper::Task(tokio::spawn(keeping)))
            }
        }
    }
}

impl Keeper {
    fn lives(&mut self) -> bool {
        match self {
            Self::Process(process) => matches!(process.try_wait(), Ok(None)),
            Self::Task(task) => !task.is_finished(),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        match self {
            Self::Process(process) => {
                // It may have ended by itself; either way nothing is left.
                let _ = process.kill();
                let _ = process.wait();
            }
            Self::Task(task) => task.abort(),
        }
    }
}

fn leases(address: &str) -> LeaseClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    LeaseClient::new(endpoint.connect_lazy())
}

/// What a lease has left, seconds; -1 when there is none.
async fn left(address: &str, id: i64) -> Result<i64, String> {
    let request = LeaseTimeToLiveRequest { id, keys: false };
    let answer = leases(address).lease_time_to_live(request).await;
    Ok(answer.map_err(|status| status.to_string())?.into_inner().ttl)
}

pub(crate) async fn run(of: Of, programs: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let directory = tempfile::Builder::new()
        .prefix("quorate-resets-")
        .tempdir()
        .map_err(text)?;
    let plan = Plan::new(env!("CARGO_BIN_EXE_quorate"), directory.path())
        .argument("--lease-orphan-grace=1s")
        .argument(format!("--lease-ttl-max-s={TTL_S}"));
    let cluster = Cluster::start(plan).await.map_err(|error| error.to_string())?;
    cluster.ready(LONG).await.map_err(|error| error.to_string())?;
    let seeds = cluster.seeds();
    for seed in &seeds {
        serves(seed, || true).await?;
    }
    let mut kept = Vec::new();
    for number in 0..KEEPERS {
        let seed = &seeds[usize::from(number) % seeds.len()];
        let target: SocketAddr = seed.parse().map_err(|error| format!("{seed}: {error}"))?;
        let host = Ipv4Addr::new(127, 0, 1, 1 + number);
        let proxy = Proxy::start_from(host, target).await.map_err(text)?;
        let lease = 100 + i64::from(number);
        let request = LeaseGrantRequest {
            id: lease,
            ttl: ASKED_S,
        };
        let granted = leases(seed).lease_grant(request).await;
        let granted = granted.map_err(|status| status.to_string())?.into_inner().ttl;
        if u64::try_from(granted) != Ok(TTL_S) {
            return Err(format!(
                "a lease has {granted} s, and not the most that is granted"
            ));
        }
        let keeper = of.keeps(programs, proxy.address(), lease)?;
        kept.push((lease, proxy, keeper));
    }
    sleep(ROUND).await;
    for round in 0..ROUNDS {
        for (lease, proxy, keeper) in &mut kept {
            proxy.reset();
            sleep(ROUND / u32::from(KEEPERS)).await;
            if !keeper.lives() {
                return Err(format!("round {round}: the keeper of lease {lease} gave up"));
            }
        }
    }
    // Longer than the grace: what was wrongly taken for dead would be revoked by now.
    sleep(ROUND).await;
    for (lease, _, keeper) in &mut kept {
        if left(&seeds[0], *lease).await? < 0 || !keeper.lives() {
            return Err(format!("lease {lease} is lost, although its keeper lives"));
        }
    }
    let (lease, _proxy, keeper) = kept.remove(0);
    drop(keeper);
    let begun = Instant::now();
    let gone = async {
        while left(&seeds[0], lease).await? >= 0 {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, String>(())
    };
    timeout(LONG, gone)
        .await
        .map_err(|_| "a lease outlives its keeper".to_owned())??;
    println!(
        "{} resets; the lease of a keeper that was killed ended after {:?}",
        ROUNDS * usize::from(KEEPERS),
        begun.elapsed()
    );
    let revoked = revoked(&cluster).await?;
    match revoked {
        1 => Ok(()),
        other => Err(format!("{other} leases were revoked as orphans, and not one")),
    }
}

/// How many leases were revoked as orphans, at all replicas.
async fn revoked(cluster: &Cluster) -> Result<u64, String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut revoked = 0;
    for process in cluster.processes() {
        let reading = async {
            let mut stream = tokio::net::TcpStream::connect(process.http_address()).await?;
            let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        let text = reading.await.map_err(|error| error.to_string())?;
        let name = "quorate_lease_orphans_total{outcome=\"revoked\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let count: u64 = line
            .and_then(|count| count.trim().parse().ok())
            .ok_or_else(|| format!("no {name}in {text}"))?;
        revoked += count;
    }
    Ok(revoked)
}
