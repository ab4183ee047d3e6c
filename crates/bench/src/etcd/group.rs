//! The etcd members as child processes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate_host::entropy::random_fraction;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::Timing;
use super::client::{Client, Puts, key, statuses};
use super::wire::{DeleteRangeRequest, Endpoint, RangeRequest, end_of};
use crate::error::BenchError;
use crate::fault::Fault;
use crate::judge::{Tally, judge_versions};
use crate::pace::Target;
use crate::record::Records;
use crate::system::{Reign, System};

const START_PATIENCE: Duration = Duration::from_secs(60);
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
const TERM_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Entries that a follower may lack for the group to count as settled: under load it always lacks some.
const BEHIND_MAX: u64 = 100;
/// Where ports are looked for, and how often.
const PORTS: std::ops::Range<u16> = 10_000..14_980;
const PORT_ATTEMPTS: usize = 200;
/// Keys in one page of a listing.
const PAGE_KEYS: i64 = 10_000;

/// See the module.
pub(crate) struct Group {
    timing: Timing,
    members: Vec<Member>,
    /// Connections for looking and checking, apart from those that are measured.
    control: Arc<[Endpoint]>,
    client: Arc<Client>,
    rounds: AtomicU64,
    prefix: Mutex<String>,
}

struct Member {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Group {
    /// Starts as many members as the other cluster has and waits until they serve.
    pub(crate) async fn start(
        program: &Path,
        timing: Timing,
        members: usize,
        directory: &Path,
    ) -> Result<Self, BenchError> {
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
        let members: Vec<Member> = clients.iter().zip(peers).enumerate().map(member).collect();
        let connect = || {
            let endpoints: Result<Vec<Endpoint>, BenchError> = clients
                .iter()
                .map(|port| Endpoint::new(&format!("127.0.0.1:{port}")))
                .collect();
            endpoints.map(Arc::from)
        };
        let (control, measured): (Arc<[Endpoint]>, Arc<[Endpoint]>) = (connect()?, connect()?);
        for member in &members {
            member.start()?;
        }
        let client = Arc::new(Client::new(measured));
        let group = Self {
            timing,
            members,
            control,
            client,
            rounds: AtomicU64::new(0),
            prefix: Mutex::new(String::new()),
        };
        group.settled(START_PATIENCE).await?;
        Ok(group)
    }

    fn member(&self, member: usize) -> Result<&Member, BenchError> {
        self.members
            .get(member)
            .ok_or_else(|| BenchError::Broken(format!("there is no etcd member {member}")))
    }

    async fn look(&self) -> Result<Reign, String> {
        let mut all = Vec::new();
        for (member, status) in self
            .members
            .iter()
            .zip(statuses(&self.control, STATUS_PATIENCE).await)
        {
            all.push(status.ok_or_else(|| format!("member {} gives no status", member.name))?);
        }
        let leader = all
            .iter()
            .position(super::wire::StatusResponse::says_it_leads)
            .ok_or("no member leads")?;
        let (term, id, applied) = (
            all[leader].raft_term,
            all[leader].member_id(),
            all[leader].raft_applied_index,
        );
        for (member, status) in self.members.iter().zip(&all) {
            if status.raft_term != term || status.leader != id {
                return Err(format!(
                    "member {} does not follow the leader of term {term}",
                    member.name
                ));
            }
            if status.raft_applied_index + BEHIND_MAX < applied {
                return Err(format!(
                    "member {} has applied {} of {applied}",
                    member.name, status.raft_applied_index
                ));
            }
        }
        Ok(Reign { leader, term })
    }

    async fn settled(&self, patience: Duration) -> Result<Reign, BenchError> {
        let begun = Instant::now();
        loop {
            let why = match self.look().await {
                Ok(reign) => return Ok(reign),
                Err(why) => why,
            };
            if begun.elapsed() > patience {
                let system = self.timing.name().to_owned();
                return Err(BenchError::Unsettled {
                    system,
                    after_s: patience.as_secs(),
                    why,
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn transfer(&self, leader: usize) -> Result<(), BenchError> {
        let failed =
            |status: tonic::Status| BenchError::Etcd(format!("transfer leadership: {}", status.message()));
        let next = (leader + 1) % self.members.len();
        let to = self.endpoint(next)?.status().await.map_err(failed)?.member_id();
        self.endpoint(leader)?
            .move_leader(to)
            .await
            .map(drop)
            .map_err(failed)
    }

    fn endpoint(&self, member: usize) -> Result<&Endpoint, BenchError> {
        self.control
            .get(member)
            .ok_or_else(|| BenchError::Broken(format!("there is no etcd member {member}")))
    }

    fn prefix(&self) -> MutexGuard<'_, String> {
        self.prefix.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check_round(&self, records: &Records) -> Result<Tally, BenchError> {
        let prefix = self.prefix().clone();
        let failed =
            |status: tonic::Status| BenchError::Etcd(format!("check the round: {}", status.message()));
        let leader = self.settled(START_PATIENCE).await?.leader;
        let endpoint = self.endpoint(leader)?;
        let (mut versions, mut from, end) = (
            BTreeMap::new(),
            prefix.clone().into_bytes(),
            end_of(prefix.as_bytes()),
        );
        loop {
            let request = RangeRequest {
                key: from,
                range_end: end.clone(),
                limit: PAGE_KEYS,
                keys_only: true,
            };
            let page = endpoint.range(request).await.map_err(failed)?;
            let last = page.kvs.last().map(|kv| kv.key.clone());
            versions.extend(page.kvs.into_iter().map(|kv| (kv.key, kv.version)));
            match last {
                Some(mut last) if page.more => {
                    last.push(0);
                    from = last;
                }
                _ => break,
            }
        }
        let acked: Vec<Vec<u8>> = records
            .acked()
            .map(|(sequence, _)| key(&prefix, sequence))
            .collect();
        let tally = judge_versions(acked.iter().map(Vec::as_slice), &versions);
        let all = DeleteRangeRequest {
            key: prefix.into_bytes(),
            range_end: end,
        };
        endpoint.delete_range(all).await.map_err(failed)?;
        Ok(tally)
    }
}

impl Member {
    fn start(&self) -> Result<(), BenchError> {
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

    fn signal(&self, signal: Signal) -> Result<(), BenchError> {
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| BenchError::Etcd(format!("member {} does not run", self.name)))?;
        // Nobody waits for the child but `ended`, so the number is still its own.
        kill_process(pid, signal)
            .map_err(|errno| BenchError::io(format!("signal etcd member {}", self.name), errno.into()))
    }

    fn pid(&self) -> Option<u32> {
        self.child().as_ref().and_then(Child::id)
    }

    async fn ended(&self) -> Result<(), BenchError> {
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

impl System for Group {
    fn name(&self) -> &str {
        self.timing.name()
    }

    fn settle(&self, patience: Duration) -> BoxFuture<'_, Result<Reign, BenchError>> {
        self.settled(patience).boxed()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Arc<dyn Target>, BenchError>> {
        let prefix = format!("round/{:08}/", self.rounds.fetch_add(1, Ordering::Relaxed));
        self.prefix().clone_from(&prefix);
        let puts: Arc<dyn Target> = Arc::new(Puts {
            prefix,
            client: Arc::clone(&self.client),
        });
        futures_util::future::ready(Ok(puts)).boxed()
    }

    fn strike(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>> {
        async move {
            match fault {
                Fault::Kill => self.member(leader)?.signal(Signal::KILL),
                Fault::Term => self.member(leader)?.signal(Signal::TERM),
                Fault::Stop => self.member(leader)?.signal(Signal::STOP),
                Fault::Transfer => self.transfer(leader).await,
            }
        }
        .boxed()
    }

    fn ended(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>> {
        async move {
            match fault {
                Fault::Kill | Fault::Term => self.member(leader)?.ended().await,
                Fault::Stop | Fault::Transfer => Ok(()),
            }
        }
        .boxed()
    }

    fn steps(&self, _reign: Reign) -> BoxFuture<'_, Result<Vec<(String, u64)>, BenchError>> {
        futures_util::future::ready(Ok(Vec::new())).boxed()
    }

    fn repair(&self, fault: Fault, leader: usize) -> Result<(), BenchError> {
        match fault {
            Fault::Kill | Fault::Term => self.member(leader)?.start(),
            Fault::Stop => self.member(leader)?.signal(Signal::CONT),
            Fault::Transfer => Ok(()),
        }
    }

    fn check<'a>(&'a self, records: &'a Records) -> BoxFuture<'a, Result<Tally, BenchError>> {
        self.check_round(records).boxed()
    }

    fn pid(&self, member: usize) -> Option<u32> {
        self.members.get(member).and_then(Member::pid)
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            for member in &self.members {
                // It holds nothing that anybody wants to keep.
                if member.signal(Signal::KILL).is_ok() {
                    let _ = member.ended().await;
                }
            }
        }
        .boxed()
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
