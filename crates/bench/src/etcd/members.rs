//! The etcd members as child processes.
//!
//! Promises: each writes with fsync, into a directory of its own, and dies with this process's handle on it. Left out on purpose:
//! who leads, and whatever is said to them.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_host::entropy::random_fraction;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Timing;
use crate::error::BenchError;

const TERM_PATIENCE: Duration = Duration::from_secs(30);
/// Where ports are looked for, and how often.
const PORTS: std::ops::Range<u16> = 10_000..14_980;
const PORT_ATTEMPTS: usize = 200;

/// The members of one group. Dropping it kills what still runs.
pub struct Members {
    members: Vec<Member>,
    addresses: Vec<String>,
}

/// One member, running or not.
pub struct Member {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Members {
    /// So many members that know of one another and have not been started.
    ///
    /// # Errors
    /// When there is no directory, or there are no ports.
    pub fn new(program: &Path, timing: Timing, members: usize, directory: &Path) -> Result<Self, BenchError> {
        let directory = directory.join(timing.name());
        std::fs::create_dir_all(&directory)
            .map_err(|cause| BenchError::io("make a directory for etcd", cause))?;
        let ports = free_ports(2 * members)?;
        let (clients, peers) = ports.split_at(members);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let initial: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(number, port)| format!("m{number}={}", url(port)))
            .collect();
        let initial = initial.join(",");
        let member = |(number, (client, peer)): (usize, (&u16, &u16))| {
            let name = format!("m{number}");
            let data = directory.join(&name);
            let mut arguments = vec![
                format!("--name={name}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls={}", url(client)),
                format!("--advertise-client-urls={}", url(client)),
                format!("--listen-peer-urls={}", url(peer)),
                format!("--initial-advertise-peer-urls={}", url(peer)),
                format!("--initial-cluster={initial}"),
                "--initial-cluster-state=new".to_owned(),
                "--log-level=error".to_owned(),
            ];
            arguments.extend(timing.flags().iter().map(|&flag| flag.to_owned()));
            let log = directory.join(format!("{name}.log"));
            Member {
                name,
                program: program.to_owned(),
                arguments,
                log,
                child: Mutex::new(None),
            }
        };
        Ok(Self {
            members: clients.iter().zip(peers).enumerate().map(member).collect(),
            addresses: clients.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
        })
    }

    /// All members.
    #[must_use]
    pub fn all(&self) -> &[Member] {
        &self.members
    }

    /// Where clients reach them, in the same order.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The member of that place.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, member: usize) -> Result<&Member, BenchError> {
        self.members
            .get(member)
            .ok_or_else(|| BenchError::Broken(format!("there is no etcd member {member}")))
    }

    /// Kills all of them: they hold nothing that anybody wants to keep.
    pub async fn stop(&self) {
        for member in &self.members {
            if member.signal(Signal::KILL).is_ok() {
                let _ = member.ended().await;
            }
        }
    }
}

impl Member {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Starts it, with the data of its earlier life.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(&self) -> Result<(), BenchError> {
        let failed = |cause| BenchError::io(format!("start etcd member {}", self.name), cause);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(failed)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        *self.child() = Some(child);
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), BenchError> {
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| BenchError::Etcd(format!("member {} does not run", self.name)))?;
        // Nobody waits for the child but `ended`, so the number is still its own.
        kill_process(pid, signal)
            .map_err(|errno| BenchError::io(format!("signal etcd member {}", self.name), errno.into()))
    }

    /// Kills it without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> Result<(), BenchError> {
        self.signal(Signal::KILL)
    }

    /// The process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().and_then(Child::id)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It does not end; it is killed then.
    pub async fn ended(&self) -> Result<(), BenchError> {
        let Some(mut child) = self.child().take() else {
            return Ok(());
        };
        match timeout(TERM_PATIENCE, child.wait()).await {
            Ok(ended) => ended
                .map(drop)
                .map_err(|cause| BenchError::io("wait for etcd's end", cause)),
            // Dropping it kills it.
            Err(_) => Err(BenchError::Etcd(format!("member {} does not end", self.name))),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ports of 127.0.0.1 that are free now, one after the other. They lie below those that the kernel gives to outgoing
/// connections, which could otherwise occupy the port of a member that is down.
fn free_ports(count: usize) -> Result<Vec<u16>, BenchError> {
    for _ in 0..PORT_ATTEMPTS {
        let start = PORTS.start.saturating_add(fraction_of(PORTS.end - PORTS.start));
        let ports: Vec<u16> = (start..).take(count).collect();
        if ports
            .iter()
            .all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        {
            return Ok(ports);
        }
    }
    Err(BenchError::Etcd(format!(
        "no {count} free ports were found on 127.0.0.1 between 10000 and 14999"
    )))
}

/// A random number below `width`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is below a u16
fn fraction_of(width: u16) -> u16 {
    (f64::from(width) * random_fraction()) as u16
}
