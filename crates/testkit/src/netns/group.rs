//! A group of replicas, each in its own namespace with the default ports.
//!
//! Promises: [`Group::ready`] waits until a leader answers and every replica that runs agrees on it. Dropping the group
//! kills its processes, then removes the network. Left out on purpose: load and verdicts.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_client::{Client, Leader, v1};
use quorate_types::NodeId;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{Network, Place};
use crate::error::KitError;
use crate::process::{Process, ProcessState};

/// Port for clients.
pub const CLIENT_PORT: u16 = 2379;
/// Port of the peer protocol.
pub const PEER_PORT: u16 = 2380;
/// Port of the liveness links.
pub const LIVENESS_PORT: u16 = 2382;

/// Runs its further arguments with its first one as the hosts file.
const WITH_HOSTS: &str = "mount --bind \"$0\" /etc/hosts && exec env \"$@\"";

/// How a group is started.
#[derive(Debug, Clone)]
pub struct Plan {
    program: PathBuf,
    replicas: usize,
    arguments: Vec<OsString>,
    data: Vec<Option<PathBuf>>,
    domain: Option<String>,
}

impl Plan {
    /// Three replicas of `program`, the binary `quorate`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            replicas: 3,
            arguments: Vec::new(),
            data: Vec::new(),
            domain: None,
        }
    }

    /// So many replicas.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// As the pods of a StatefulSet: `quorate-0` and so on, at their names under this domain, told by the same environment
    /// as deploy/ tells them. The names stand in a hosts file that only these processes see; see [`Group::move_to`].
    #[must_use]
    pub fn stateful_set(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }

    /// One more argument of `serve`, for all of them.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// This replica keeps its data there instead of in the group's directory.
    #[must_use]
    pub fn data_dir(mut self, replica: usize, path: impl Into<PathBuf>) -> Self {
        self.data.resize(self.data.len().max(replica + 1), None);
        self.data[replica] = Some(path.into());
        self
    }
}

/// See the module.
#[derive(Debug)]
pub struct Group {
    // In this order: processes end before their network and their files go.
    processes: Vec<Process>,
    network: Network,
    directory: TempDir,
    addresses: Mutex<Vec<Ipv4Addr>>,
    domain: Option<String>,
}

impl Group {
    /// A group that is not started yet.
    ///
    /// # Errors
    /// [`KitError::Command`] when there can be no such network; [`KitError::File`] when there is no place for data.
    pub fn new(plan: Plan) -> Result<Self, KitError> {
        let network = Network::new(plan.replicas)?;
        let directory =
            TempDir::with_prefix("quorate-group-").map_err(|cause| KitError::file("/tmp", cause))?;
        let names: Vec<String> = (0..plan.replicas)
            .map(|host| match &plan.domain {
                Some(_) => format!("quorate-{host}"),
                None => name_of(host),
            })
            .collect();
        let hosts = names.iter().enumerate();
        let listed: Vec<String> = hosts
            .map(|(host, name)| format!("{name}={}", Place::Host(host).address()))
            .collect();
        let mut processes = Vec::new();
        for (host, name) in names.iter().enumerate() {
            let home = directory.path().join(name);
            std::fs::create_dir(&home).map_err(|cause| KitError::file(&home, cause))?;
            let data = plan
                .data
                .get(host)
                .cloned()
                .flatten()
                .unwrap_or_else(|| home.join("data"));
            let mut net = OsString::from("--net=");
            net.push(network.path(Place::Host(host)));
            let mut arguments: Vec<OsString> = vec![net, "--".into()];
            let parent = std::process::id().to_string();
            match &plan.domain {
                None => {
                    let listed = listed.join(",");
                    let serve = ["serve", "--name", name, "--replicas", &listed, "--data-dir"];
                    arguments.push(plan.program.clone().into());
                    arguments.extend(serve.map(OsString::from));
                    arguments.push(data.into());
                }
                Some(domain) => {
                    let hosts = directory.path().join("hosts");
                    arguments.extend(["unshare", "--mount", "sh", "-c", WITH_HOSTS].map(OsString::from));
                    arguments.push(hosts.into());
                    arguments.push(format!("QUORATE_NAME={name}").into());
                    arguments.push(format!("QUORATE_PEERS_DNS={domain}").into());
                    arguments.push(format!("QUORATE_GROUP_SIZE={}", plan.replicas).into());
                    arguments.push(format!("QUORATE_DATA_DIR={}", data.display()).into());
                    arguments.extend([plan.program.clone().into(), "serve".into()]);
                }
            }
            arguments.extend(["--stop-with-parent", &parent].map(OsString::from));
            arguments.extend(plan.arguments.iter().cloned());
            // `nsenter` becomes the program: the process id is the replica's own.
            processes.push(Process::new(name, "nsenter".into(), arguments, home.join("log")));
        }
        let addresses = (0..plan.replicas).map(|host| Place::Host(host).address());
        let group = Self {
            processes,
            network,
            directory,
            addresses: Mutex::new(addresses.collect()),
            domain: plan.domain,
        };
        group.write_hosts()?;
        Ok(group)
    }

    /// Starts all replicas.
    ///
    /// # Errors
    /// See [`Process::start`].
    pub fn start(&self) -> Result<(), KitError> {
        self.processes.iter().try_for_each(Process::start)
    }

    /// Gives a host another address, and its replica's name with it, as when a pod is scheduled elsewhere. Kill the replica
    /// first: its connections would hang.
    ///
    /// # Errors
    /// [`KitError`] when the system refuses.
    pub fn move_to(&self, host: usize, address: Ipv4Addr) -> Result<(), KitError> {
        let old = std::mem::replace(&mut self.addresses()[host], address);
        self.network.readdress(Place::Host(host), old, address)?;
        self.write_hosts()
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<Ipv4Addr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the hosts file in place: it is mounted where the processes look.
    fn write_hosts(&self) -> Result<(), KitError> {
        let Some(domain) = &self.domain else {
            return Ok(());
        };
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (process, address) in self.processes.iter().zip(self.addresses().iter()) {
            text.push_str(&format!("{address} {}.{domain}\n", process.name()));
        }
        let path = self.directory.path().join("hosts");
        std::fs::write(&path, text).map_err(|cause| KitError::file(&path, cause))
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The replicas' processes, in the order of their node ids.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Where logs and data are.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Keeps logs and data when the group is dropped, for who wants to look.
    pub fn keep_files(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// The node id of a host's replica.
    #[must_use]
    pub fn node(&self, host: usize) -> NodeId {
        NodeId(host as u64 + 1)
    }

    /// The host of a node.
    #[must_use]
    pub fn host(&self, node: NodeId) -> usize {
        usize::try_from(node.0).map_or(usize::MAX, |node| node.wrapping_sub(1))
    }

    /// All hosts but these.
    #[must_use]
    pub fn others(&self, hosts: &[usize]) -> Vec<usize> {
        (0..self.processes.len())
            .filter(|host| !hosts.contains(host))
            .collect()
    }

    /// Where clients find the replicas.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        (0..self.processes.len()).map(|host| self.seed(host)).collect()
    }

    /// Where clients find one replica.
    #[must_use]
    pub fn seed(&self, host: usize) -> String {
        format!("{}:{CLIENT_PORT}", self.addresses()[host])
    }

    /// What a replica says of itself, asked directly.
    ///
    /// # Errors
    /// [`KitError::Client`] when it does not answer within `patience`.
    pub async fn status(&self, host: usize, patience: Duration) -> Result<v1::StatusResponse, KitError> {
        let client = Client::builder([self.seed(host)]).deadline(patience).connect()?;
        let status = client.cluster().status(self.node(host)).await;
        client.close().await;
        Ok(status?)
    }

    /// Waits until a leader answers and all of `hosts` that run know it.
    ///
    /// # Errors
    /// [`KitError::Waited`] when it takes longer than `patience`, with what each said last.
    pub async fn ready(&self, hosts: &[usize], patience: Duration) -> Result<Leader, KitError> {
        let seeds: Vec<String> = hosts.iter().map(|host| self.seed(*host)).collect();
        let client = Client::builder(seeds).deadline(patience).connect()?;
        let one = client.with_deadline(Duration::from_secs(1));
        let mut last = String::new();
        let agreed = async {
            loop {
                last.clear();
                let mut leaders = Vec::new();
                for host in hosts
                    .iter()
                    .filter(|host| self.processes[**host].state() == ProcessState::Running)
                {
                    match one.cluster().status(self.node(*host)).await {
                        Ok(status) => {
                            let leader = status.topology.and_then(|topology| topology.leader);
                            last += &format!("{} says {leader:?}; ", status.name);
                            leaders.push(leader);
                        }
                        Err(error) => {
                            last += &format!("{}: {error}; ", name_of(*host));
                            leaders.push(None);
                        }
                    }
                }
                if let Some(Some(first)) = leaders.first()
                    && leaders.iter().all(|leader| leader.as_ref() == Some(first))
                    && let Ok(leader) = one.ready().await
                    && leader.node == NodeId(first.node_id)
                {
                    return leader;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let agreed = timeout(patience, agreed).await;
        client.close().await;
        agreed.map_err(|_| KitError::waited("all replicas know a leader that answers", patience, last))
    }
}

/// a, b, c and so on.
fn name_of(host: usize) -> String {
    char::from(b'a' + u8::try_from(host % 26).unwrap_or(0)).to_string()
}
