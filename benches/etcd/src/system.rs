//! The two systems: three processes each, and who leads them.
//!
//! Promises: both are asked through etcd's API alone, with the same calls; a process that is struck keeps its data. Left out on
//! purpose: load.

use std::path::Path;
use std::time::Duration;

use quorate_api::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_api::etcdserverpb::{StatusRequest, StatusResponse};
use quorate_bench::BenchError;
use quorate_bench::parts::{Members, Timing};
use quorate_local::{Cluster, Plan, Process};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::plan::Which;

/// Members of each.
pub(crate) const MEMBERS: usize = 3;
/// Longest time to come to rest, after the start and after a kill.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at a system that is not at rest yet.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Entries that a follower may lack.
const BEHIND_MAX: u64 = 100;
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A running system. Dropping it kills what runs.
pub(crate) struct System {
    pub(crate) which: Which,
    processes: Processes,
    addresses: Vec<String>,
}

enum Processes {
    Etcd(Members),
    Quorate(Cluster),
}

/// A way to one server that dials at its first use.
pub(crate) fn channel(address: &str) -> Result<Channel, BenchError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| BenchError::Etcd(format!("{address}: {error}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_PATIENCE)
        .tcp_nodelay(true)
        .connect_lazy())
}

impl System {
    /// Starts three members and waits until they serve.
    pub(crate) async fn start(which: Which, program: &Path, directory: &Path) -> Result<Self, BenchError> {
        let (processes, addresses) = match which {
            Which::Etcd => {
                let members = Members::new(program, Timing::Default, MEMBERS, directory)?;
                for member in members.all() {
                    member.start()?;
                }
                let addresses = members.addresses().to_vec();
                (Processes::Etcd(members), addresses)
            }
            Which::Quorate => {
                let plan = Plan::new(program, directory.join(which.name())).replicas(MEMBERS);
                let cluster = Cluster::start(plan).await?;
                let addresses = cluster.seeds();
                (Processes::Quorate(cluster), addresses)
            }
        };
        let system = Self {
            which,
            processes,
            addresses,
        };
        system.settle().await?;
        Ok(system)
    }

    /// Where clients reach the members.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The members that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match &self.processes {
            Processes::Etcd(members) => members.all().iter().filter_map(|member| member.pid()).collect(),
            Processes::Quorate(cluster) => cluster.processes().iter().filter_map(Process::pid).collect(),
        }
    }

    /// Kills a member without a word.
    #[cfg(feature = "etcd-client")]
    pub(crate) fn kill(&self, member: usize) -> Result<(), BenchError> {
        match &self.processes {
            Processes::Etcd(members) => members.get(member)?.kill(),
            Processes::Quorate(cluster) => Ok(replica(cluster, member)?.kill()?),
        }
    }

    /// Starts a member that was killed, once it has ended.
    #[cfg(feature = "etcd-client")]
    pub(crate) async fn restart(&self, member: usize) -> Result<(), BenchError> {
        match &self.processes {
            Processes::Etcd(members) => {
                members.get(member)?.ended().await?;
                members.get(member)?.start()
            }
            Processes::Quorate(cluster) => {
                let replica = replica(cluster, member)?;
                replica.exited().await;
                Ok(replica.start()?)
            }
        }
    }

    /// Waits until all members follow one leader and have what it had; returns the place of the leader.
    pub(crate) async fn settle(&self) -> Result<usize, BenchError> {
        let channels: Result<Vec<Channel>, BenchError> =
            self.addresses.iter().map(|address| channel(address)).collect();
        let (channels, begun) = (channels?, Instant::now());
        loop {
            let why = match look(&channels).await {
                Ok(leader) => return Ok(leader),
                Err(why) => why,
            };
            if begun.elapsed() > PATIENCE {
                return Err(BenchError::Unsettled {
                    system: self.which.name().to_owned(),
                    after_s: PATIENCE.as_secs(),
                    why,
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends all members.
    pub(crate) async fn stop(self) {
        match self.processes {
            Processes::Etcd(members) => members.stop().await,
            Processes::Quorate(cluster) => cluster.stop(STOP_PATIENCE).await,
        }
    }
}

#[cfg(feature = "etcd-client")]
fn replica(cluster: &Cluster, member: usize) -> Result<&Process, BenchError> {
    let replica = cluster.processes().get(member);
    replica.ok_or_else(|| BenchError::Broken(format!("there is no replica {member}")))
}

async fn look(channels: &[Channel]) -> Result<usize, String> {
    let mut statuses = Vec::new();
    for (member, channel) in channels.iter().enumerate() {
        let mut client = MaintenanceClient::new(channel.clone());
        let status = timeout(STATUS_PATIENCE, client.status(StatusRequest {})).await;
        match status {
            Ok(Ok(status)) => statuses.push(status.into_inner()),
            Ok(Err(status)) => return Err(format!("member {member}: {}", status.message())),
            Err(_) => return Err(format!("member {member} gives no status")),
        }
    }
    judge(&statuses)
}

/// The place of the leader that all of them follow, or what is missing.
fn judge(statuses: &[StatusResponse]) -> Result<usize, String> {
    let id_of = |status: &StatusResponse| status.header.as_ref().map_or(0, |header| header.member_id);
    let leads = |status: &StatusResponse| status.leader != 0 && status.leader == id_of(status);
    let leader = statuses.iter().position(leads).ok_or("no member leads")?;
    let (id, term, applied) = {
        let status = &statuses[leader];
        (status.leader, status.raft_term, status.raft_applied_index)
    };
    for (member, status) in statuses.iter().enumerate() {
        if (status.leader, status.raft_term) != (id, term) {
            return Err(format!(
                "member {member} does not follow the leader of term {term}"
            ));
        }
        if status.raft_applied_index + BEHIND_MAX < applied {
            let has = status.raft_applied_index;
            return Err(format!("member {member} has applied {has} of {applied}"));
        }
    }
    Ok(leader)
}

#[cfg(test)]
mod tests {
    use quorate_api::etcdserverpb::ResponseHeader;

    use super::*;

    #[test]
    fn when_a_system_is_at_rest() {
        // Member, leader, term, applied.
        type Case<'a> = (&'a str, &'a [(u64, u64, u64, u64)], Result<usize, &'a str>);
        let cases: &[Case] = &[
            (
                "at rest",
                &[(1, 2, 5, 900), (2, 2, 5, 1000), (3, 2, 5, 950)],
                Ok(1),
            ),
            (
                "nobody leads",
                &[(1, 0, 5, 9), (2, 0, 5, 9), (3, 0, 5, 9)],
                Err("no member leads"),
            ),
            (
                "another term",
                &[(1, 1, 5, 9), (2, 1, 4, 9), (3, 1, 5, 9)],
                Err("member 1 does not"),
            ),
            (
                "another leader",
                &[(1, 1, 5, 9), (2, 1, 5, 9), (3, 2, 5, 9)],
                Err("member 2 does not"),
            ),
            (
                "one lags",
                &[(1, 1, 5, 900), (2, 1, 5, 700), (3, 1, 5, 900)],
                Err("member 1 has"),
            ),
        ];
        for (name, statuses, want) in cases {
            let status =
                |&(member_id, leader, raft_term, raft_applied_index): &(u64, u64, u64, u64)| StatusResponse {
                    header: Some(ResponseHeader {
                        member_id,
                        ..Default::default()
                    }),
                    leader,
                    raft_term,
                    raft_applied_index,
                    ..Default::default()
                };
            let statuses: Vec<StatusResponse> = statuses.iter().map(status).collect();
            match (judge(&statuses), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, *want, "{name}"),
                (Err(got), Err(want)) => assert!(got.starts_with(want), "{name}: {got}"),
                (got, _) => panic!("{name}: {got:?}"),
            }
        }
    }
}
