//! The two that are compared: one real etcd, and three replicas of Quorate; or etcd and etcd, to try a script itself.
//!
//! Promises: both are new and empty, and serve when [`Servers::start`] returns; both end with it. Left out on purpose: what is
//! said to them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_local::{Cluster, Plan, free_ports};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::message;
use crate::raw::Raw;

/// Nothing here takes this long.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Between two looks at a server that is not ready yet.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between choosing an etcd's ports and taking them, somebody else may.
const ATTEMPTS: usize = 3;

/// `1`: etcd takes the place of Quorate, too. A script that fails then is wrong itself.
const TWICE: &str = "QUORATE_ETCD_TWICE";

/// Whether etcd is compared with itself.
pub(crate) fn is_twice() -> bool {
    std::env::var_os(TWICE).is_some_and(|value| value == "1")
}

/// See the module.
pub(crate) struct Servers {
    etcd: Etcd,
    other: Other,
    _directory: TempDir,
}

enum Other {
    Quorate(Cluster),
    Etcd(Etcd),
}

impl Servers {
    pub(crate) async fn start(programs: &Path) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("quorate-etcd-").tempdir();
        let directory = directory.map_err(|error| format!("no directory: {error}"))?;
        let etcd = Etcd::start(programs, directory.path().join("etcd"));
        let other = async {
            if is_twice() {
                let etcd = Etcd::start(programs, directory.path().join("other"));
                return Ok(Other::Etcd(etcd.await?));
            }
            Ok::<_, String>(Other::Quorate(quorate(directory.path()).await?))
        };
        let (etcd, other) = tokio::join!(etcd, other);
        Ok(Self {
            etcd: etcd?,
            other: other?,
            _directory: directory,
        })
    }

    pub(crate) fn etcd(&self) -> Vec<String> {
        vec![self.etcd.address.clone()]
    }

    pub(crate) fn other(&self) -> Vec<String> {
        match &self.other {
            Other::Quorate(cluster) => cluster.seeds(),
            Other::Etcd(etcd) => vec![etcd.address.clone()],
        }
    }
}

/// Three replicas.
async fn quorate(directory: &Path) -> Result<Cluster, String> {
    let plan = Plan::new(env!("CARGO_BIN_EXE_quorate"), directory.join("quorate"));
    let cluster = Cluster::start(plan).await.map_err(|error| error.to_string())?;
    cluster.ready(LONG).await.map_err(|error| error.to_string())?;
    for seed in cluster.seeds() {
        // The cluster is ready; etcd's keys are a moment later.
        serves(&seed, || true).await?;
    }
    Ok(cluster)
}

/// A member that is a cluster of its own.
struct Etcd {
    process: Child,
    address: String,
}

impl Etcd {
    async fn start(programs: &Path, directory: PathBuf) -> Result<Self, String> {
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            let mut etcd = Self::spawn(programs, &directory.join(attempt.to_string()))?;
            let (process, address) = (&mut etcd.process, &etcd.address);
            match serves(address, || matches!(process.try_wait(), Ok(None))).await {
                Ok(()) => return Ok(etcd),
                Err(error) => why = error,
            }
        }
        Err(format!("etcd: {why}"))
    }

    fn spawn(programs: &Path, directory: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("etcd does not start: {error}");
        let ports = free_ports(2).map_err(|error| error.to_string())?;
        let (address, peers) = (
            format!("127.0.0.1:{}", ports[0]),
            format!("http://127.0.0.1:{}", ports[1]),
        );
        let url = format!("http://{address}");
        let program: PathBuf = programs.join("etcd");
        std::fs::create_dir_all(directory).map_err(failed)?;
        let log = File::create(directory.join("log")).map_err(failed)?;
        // It dies with this thread, however that ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--name", "one", "--log-level", "error"])
            .arg("--data-dir")
            .arg(directory.join("data"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args([
                "--listen-peer-urls",
                &peers,
                "--initial-advertise-peer-urls",
                &peers,
            ])
            .args(["--initial-cluster", &format!("one={peers}")])
            // Answers are compared, not disks.
            .arg("--unsafe-no-fsync")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(failed)?;
        Ok(Self { process, address })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until leases are served, which of etcd's API come last, while it is alive. To revoke one that is not there leaves no
/// trace: neither a key nor a revision.
pub(crate) async fn serves(address: &str, mut is_alive: impl FnMut() -> bool) -> Result<(), String> {
    let method = message::method("LeaseRevoke").expect("a call of etcd's");
    let raw = Raw::new(address);
    let asking = async {
        loop {
            let request = message::parse(method.input(), "ID: 404").expect("a message of etcd's");
            match raw.call(&method, request, None).await {
                Err(status) if status.code() == Code::NotFound => return true,
                _ if !is_alive() => return false,
                _ => sleep(LOOK_EVERY).await,
            }
        }
    };
    match timeout(LONG, asking).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the server at {address} ended")),
        Err(_) => Err(format!("{address} does not serve")),
    }
}
