//! The etcd members as a system that rounds strike.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Timing;
use super::client::{Client, Puts, key, statuses};
use super::members::{Member, Members};
use super::wire::{DeleteRangeRequest, Endpoint, RangeRequest, end_of};
use crate::error::BenchError;
use crate::fault::Fault;
use crate::judge::{Tally, judge_versions};
use crate::pace::Target;
use crate::record::Records;
use crate::system::{Reign, System};

const START_PATIENCE: Duration = Duration::from_secs(60);
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Entries that a follower may lack for the group to count as settled: under load it always lacks some.
const BEHIND_MAX: u64 = 100;
/// Keys in one page of a listing.
const PAGE_KEYS: i64 = 10_000;

/// See the module.
pub(crate) struct Group {
    timing: Timing,
    members: Members,
    /// Connections for looking and checking, apart from those that are measured.
    control: Arc<[Endpoint]>,
    client: Arc<Client>,
    rounds: AtomicU64,
    prefix: Mutex<String>,
}

impl Group {
    /// Starts as many members as the other cluster has and waits until they serve.
    pub(crate) async fn start(
        program: &Path,
        timing: Timing,
        members: usize,
        directory: &Path,
    ) -> Result<Self, BenchError> {
        let members = Members::new(program, timing, members, directory)?;
        let connect = || {
            let addresses = members.addresses().iter();
            let endpoints: Result<Vec<Endpoint>, BenchError> =
                addresses.map(|address| Endpoint::new(address)).collect();
            endpoints.map(Arc::from)
        };
        let (control, measured): (Arc<[Endpoint]>, Arc<[Endpoint]>) = (connect()?, connect()?);
        for member in members.all() {
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

    async fn look(&self) -> Result<Reign, String> {
        let mut all = Vec::new();
        for (member, status) in self
            .members
            .all()
            .iter()
            .zip(statuses(&self.control, STATUS_PATIENCE).await)
        {
            all.push(status.ok_or_else(|| format!("member {} gives no status", member.name()))?);
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
        for (member, status) in self.members.all().iter().zip(&all) {
            if status.raft_term != term || status.leader != id {
                return Err(format!(
                    "member {} does not follow the leader of term {term}",
                    member.name()
                ));
            }
            if status.raft_applied_index + BEHIND_MAX < applied {
                return Err(format!(
                    "member {} has applied {} of {applied}",
                    member.name(),
                    status.raft_applied_index
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
        let next = (leader + 1) % self.members.all().len();
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
                Fault::Kill => self.members.get(leader)?.signal(Signal::KILL),
                Fault::Term => self.members.get(leader)?.signal(Signal::TERM),
                Fault::Stop => self.members.get(leader)?.signal(Signal::STOP),
                Fault::Transfer => self.transfer(leader).await,
            }
        }
        .boxed()
    }

    fn ended(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>> {
        async move {
            match fault {
                Fault::Kill | Fault::Term => self.members.get(leader)?.ended().await,
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
            Fault::Kill | Fault::Term => self.members.get(leader)?.start(),
            Fault::Stop => self.members.get(leader)?.signal(Signal::CONT),
            Fault::Transfer => Ok(()),
        }
    }

    fn check<'a>(&'a self, records: &'a Records) -> BoxFuture<'a, Result<Tally, BenchError>> {
        self.check_round(records).boxed()
    }

    fn pid(&self, member: usize) -> Option<u32> {
        self.members.get(member).ok().and_then(Member::pid)
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move { self.members.stop().await }.boxed()
    }
}
