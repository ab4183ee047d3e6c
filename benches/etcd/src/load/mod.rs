//! Load on one system for one stretch.
//!
//! Promises: a closed loop keeps exactly one call of each client under way; the first moments are left out, and so is what
//! is under way at the end; a call that is not answered long after it counts as failed. Left out on purpose: which system
//! and when.

mod keepalive;
mod keys;
mod kv;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_bench::BenchError;
use quorate_bench::parts::now_ns;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use crate::cpu;
use crate::figures::{Noted, Sample, Stretch, Window};
use crate::plan::{Cell, Op};
use crate::system::{self, System};

pub(crate) use keys::VALUE_BYTES;

/// Load that runs before a stretch begins.
const WARM_UP: Duration = Duration::from_millis(500);
/// A call that is not answered so long after the end failed.
const LAST_PATIENCE: Duration = Duration::from_secs(15);
/// A client whose call failed waits so long, so that a dead server is not asked in a busy loop.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// As many as the benchmark tool of etcd is usually told to take.
const CONNECTIONS_MAX: usize = 100;

/// What a system needs before the first stretch.
pub(crate) struct Ground {
    leases: Vec<i64>,
}

impl Ground {
    /// Writes all keys, and grants leases when `ops` need them.
    pub(crate) async fn prepare(system: &System, ops: &[Op]) -> Result<Self, BenchError> {
        let channels = connections(system, CONNECTIONS_MAX)?;
        keys::fill(&channels).await?;
        let leases = if ops.contains(&Op::KeepAlive) {
            keepalive::grant(&channels).await?
        } else {
            Vec::new()
        };
        Ok(Self { leases })
    }

    /// One stretch.
    pub(crate) async fn stretch(
        &self,
        system: &System,
        cell: Cell,
        long: Duration,
    ) -> Result<Stretch, BenchError> {
        let clients = cell.clients;
        let channels = connections(system, clients)?;
        match cell.op {
            Op::Watch => watch::stretch(system, &channels, clients, long).await,
            Op::KeepAlive => {
                let callers = keepalive::callers(&channels, clients, &self.leases).await?;
                Ok(closed_loop(system, callers, long).await)
            }
            op => Ok(closed_loop(system, kv::callers(op, &channels, clients), long).await),
        }
    }
}

/// A client of a closed loop.
trait Caller: Send + 'static {
    /// Its call number `turn`.
    fn call(&mut self, turn: usize) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Connections for so many clients, spread over all members, one to each at least.
fn connections(system: &System, clients: usize) -> Result<Vec<Channel>, BenchError> {
    let addresses = system.addresses();
    let count = clients.clamp(addresses.len(), CONNECTIONS_MAX);
    let addresses = addresses.iter().cycle().take(count);
    addresses.map(|address| system::channel(address)).collect()
}

async fn closed_loop<C: Caller>(system: &System, callers: Vec<C>, long: Duration) -> Stretch {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(repeat(caller, Arc::clone(&stop)));
    }
    let window = window(system, long).await;
    stop.store(true, Ordering::Relaxed);
    let noted = gather(tasks, "is not answered").await;
    Stretch { window, noted }
}

/// Lets the load warm up, and then run for `long`.
async fn window(system: &System, long: Duration) -> Window {
    let (servers, client) = (system.pids(), [std::process::id()]);
    sleep(WARM_UP).await;
    let (begin_ns, servers_before, client_before) = (now_ns(), cpu::used(&servers), cpu::used(&client));
    sleep(long).await;
    Window {
        end_ns: now_ns(),
        servers: cpu::used(&servers).saturating_sub(servers_before),
        client: cpu::used(&client).saturating_sub(client_before),
        begin_ns,
    }
}

async fn repeat<C: Caller>(mut caller: C, stop: Arc<AtomicBool>) -> Noted {
    let mut noted = Noted::default();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent_ns = now_ns();
        match caller.call(turn).await {
            Ok(()) => {
                let at_ns = now_ns();
                let took_ns = at_ns.saturating_sub(sent_ns);
                noted.samples.push(Sample { at_ns, took_ns });
            }
            Err(status) => {
                noted.fail(format!("{:?}: {}", status.code(), status.message()));
                sleep(AFTER_FAILURE).await;
            }
        }
    }
    noted
}

/// Joins clients that have been told to stop. What is still under way then is given up and counts as failed.
async fn gather(mut tasks: JoinSet<Noted>, unanswered: &str) -> Noted {
    let mut all = Noted::default();
    let until = tokio::time::Instant::now() + LAST_PATIENCE;
    loop {
        match timeout_at(until, tasks.join_next()).await {
            Ok(Some(Ok(noted))) => all.add(noted),
            Ok(Some(Err(error))) => all.fail(error.to_string()),
            Ok(None) => return all,
            Err(_) => break,
        }
    }
    for _ in 0..tasks.len() {
        all.fail(unanswered);
    }
    tasks.shutdown().await;
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails its third call and never answers its fifth.
    struct Third;

    impl Caller for Third {
        async fn call(&mut self, turn: usize) -> Result<(), Status> {
            match turn {
                2 => Err(Status::unavailable("the third")),
                4 => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_notes_every_call() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        tasks.spawn(repeat(Third, stop));
        let noted = gather(tasks, "is not answered").await;
        // What an unanswered client had noted goes with it: it shows as a failure.
        assert_eq!((noted.samples.len(), noted.failed), (0, 1));
        assert_eq!(noted.first_failure.as_deref(), Some("is not answered"));

        let stop = Arc::new(AtomicBool::new(true));
        let mut tasks = JoinSet::new();
        tasks.spawn(repeat(Third, stop));
        assert_eq!(gather(tasks, "").await.failed, 0);
    }
}
