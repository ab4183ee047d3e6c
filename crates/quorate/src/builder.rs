//! How a coordinator is told what to be, and its start.
//!
//! Promises: what is wrong with the settings is told before anything is opened; then the order of [`Builder::start`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_etcd::LeasePolicy;
use quorate_host::{Clock, Network, SystemClock, Tcp};
use quorate_replica::{AutoCompaction, Listed, Profile, Replica, ReplicaConfig, SnapshotEvery, Surroundings};
use quorate_server::{Life, Options, Server};
use quorate_store::{DiskOptions, DiskStore, Store};
use quorate_tls::{ReplicaFiles, ReplicaTls};
use quorate_types::MemberName;
use tokio::task::JoinSet;

use crate::coordinator::Coordinator;
use crate::error::StartError;
use crate::listen::{self, Bound};

/// A session whose stream broke dies after this, unless its worker resumes it.
const SESSION_GRACE_DEFAULT: Duration = Duration::from_secs(1);

/// Settings of a [`Coordinator`].
#[derive(Clone)]
#[must_use = "nothing runs before `start`"]
pub struct Builder {
    name: Option<String>,
    replicas: Vec<Listed>,
    joins: bool,
    data: Option<Data>,
    bind: String,
    http: Option<String>,
    profile: Profile,
    snapshot: SnapshotEvery,
    session_grace: Duration,
    compaction: Option<AutoCompaction>,
    leases: LeasePolicy,
    version: String,
    options: Options,
    tls: Option<ReplicaFiles>,
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
}

/// Where the durable side is.
#[derive(Clone)]
enum Data {
    Directory(PathBuf),
    Given(Arc<dyn Store>),
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            replicas: Vec::new(),
            joins: false,
            data: None,
            bind: "0.0.0.0".to_owned(),
            http: None,
            profile: Profile::default(),
            snapshot: SnapshotEvery::default(),
            session_grace: SESSION_GRACE_DEFAULT,
            compaction: None,
            leases: LeasePolicy::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            options: Options::default(),
            tls: None,
            network: Arc::new(Tcp),
            clock: Arc::new(SystemClock),
        }
    }

    /// This replica's name; one of the listed ones. Required.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// All replicas that form the group at first: one, three or five; the same list at each of them. Required.
    pub fn replicas(mut self, replicas: impl IntoIterator<Item = Listed>) -> Self {
        self.replicas = replicas.into_iter().collect();
        self
    }

    /// Whether the replica only joins a running cluster and never forms one; its list then names itself and members of that
    /// cluster, and may have any length. False by default: a replica with an empty directory joins when one of those listed
    /// has a cluster, and otherwise forms one with them.
    pub fn joins(mut self, joins: bool) -> Self {
        self.joins = joins;
        self
    }

    /// The directory of the replica's data; made when it is missing. This or [`Self::store`] is required; the last one
    /// counts.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = Some(Data::Directory(path.into()));
        self
    }

    /// A store that is open already: a [`MemoryStore`](quorate_store::MemoryStore), for example. The coordinator closes it.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.data = Some(Data::Given(store));
        self
    }

    /// The host on which the replica's own three ports are bound; `0.0.0.0` by default.
    pub fn bind(mut self, host: impl Into<String>) -> Self {
        self.bind = host.into();
        self
    }

    /// `host:port` of probes, metrics and the status page; off by default. Port 0 takes a free one, see
    /// [`Coordinator::http_address`].
    pub fn http(mut self, address: impl Into<String>) -> Self {
        self.http = Some(address.into());
        self
    }

    /// Timeouts; [`Profile::Zone`] by default.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How often snapshots are taken.
    pub fn snapshot(mut self, every: SnapshotEvery) -> Self {
        self.snapshot = every;
        self
    }

    /// A session whose stream broke dies after this, unless its worker resumes it; one second by default.
    pub fn session_grace(mut self, grace: Duration) -> Self {
        self.session_grace = grace;
        self
    }

    /// How much of the history of etcd's keys is kept; all of it by default, until a client compacts. The same at each replica:
    /// what counts is what the leader was told.
    pub fn auto_compaction(mut self, compaction: Option<AutoCompaction>) -> Self {
        self.compaction = compaction;
        self
    }

    /// What becomes of etcd's leases whose keepers are gone, and how long leases live at most; as in etcd by default. The same at
    /// all replicas.
    pub fn leases(mut self, policy: LeasePolicy) -> Self {
        self.leases = policy;
        self
    }

    /// The version that status shows; this crate's by default.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// How long [`Coordinator::shutdown`] waits for clients' calls to end; five seconds by default.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout;
        self
    }

    /// Speaks TLS on the three ports: with the other replicas mutually, and with clients. All replicas do, or none. The
    /// files are read again when they change. The HTTP side stays without.
    pub fn tls(mut self, files: ReplicaFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Dials and listens through this network instead of TCP.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Tells the time of day by this clock instead of the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings as [`Self::start`] does first, the files for TLS among them, and opens nothing.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), StartError> {
        let (config, _) = self.checked()?;
        self.secured(&entry(&config)).map(drop)
    }

    /// Starts the coordinator: the liveness listener is bound first, then the other listeners, then the store is opened,
    /// then the replica starts and serves. It returns as soon as peers and clients are answered; becoming part of the group
    /// goes on in the background, see [`Coordinator::ready`].
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind then.
    pub async fn start(self) -> Result<Coordinator, StartError> {
        let (config, data) = self.checked()?;
        let leases = self.leases;
        let entry = entry(&config);
        let tls = self.secured(&entry)?;
        let replicas = match &tls {
            Some(tls) => tls.replicas(Arc::clone(&self.network)),
            None => Arc::clone(&self.network),
        };
        let Bound {
            liveness,
            peers,
            clients,
            http,
        } = listen::listen(
            &*replicas,
            &*self.network,
            &self.bind,
            &entry,
            self.http.as_deref(),
        )
        .await?;
        let http_address = http.as_ref().and_then(|listener| listener.local_address().ok());
        let store = match data {
            Data::Given(store) => store,
            Data::Directory(path) => Arc::new(DiskStore::open(&path, DiskOptions::default()).await?),
        };
        let replica = Replica::start(
            config,
            store,
            quorate_replica::Listeners {
                liveness,
                peer: peers,
            },
            Surroundings {
                network: replicas,
                clock: self.clock,
            },
        )
        .await;
        let clients = match &tls {
            Some(tls) => tls.clients(clients),
            None => clients,
        };
        let listeners = quorate_server::Listeners { clients, http };
        let scheme = match tls {
            Some(_) => quorate_etcd::Scheme::Https,
            None => quorate_etcd::Scheme::Http,
        };
        let etcd =
            |life: &Life| quorate_etcd::routes(replica.clone(), scheme, &leases, &life.ending, &life.tasks);
        let server = Server::start(replica.clone(), listeners, self.options, etcd);
        tracing::info!(name = %entry.name, clients = entry.client_address, "the replica has started");
        let mut tasks = JoinSet::new();
        if let Some(tls) = tls {
            tasks.spawn(tls.keep_fresh());
        }
        Ok(Coordinator::new(replica, server, entry, http_address, tasks))
    }

    fn secured(&self, entry: &Listed) -> Result<Option<ReplicaTls>, StartError> {
        let addresses = [
            &entry.client_address,
            &entry.peer_address,
            &entry.liveness_address,
        ];
        let load = |files| ReplicaTls::load(files, addresses.map(String::as_str));
        Ok(self.tls.as_ref().map(load).transpose()?)
    }

    fn checked(&self) -> Result<(ReplicaConfig, Data), StartError> {
        let name = MemberName::new(self.name.clone().ok_or(StartError::NoName)?)?;
        let config = ReplicaConfig {
            name,
            listed: self.replicas.clone(),
            joins: self.joins,
            profile: self.profile,
            snapshot: self.snapshot,
            session_grace: self.session_grace,
            compaction: self.compaction,
            orphan_grace: self.leases.checked()?.orphan_grace,
            version: self.version.clone(),
        };
        let config = config.checked()?;
        for listed in &config.listed {
            for address in [
                &listed.client_address,
                &listed.peer_address,
                &listed.liveness_address,
            ] {
                if listen::port(address).bytes().all(|digit| digit == b'0') {
                    let (name, address) = (listed.name.clone(), address.clone());
                    return Err(StartError::PortZero { name, address });
                }
            }
        }
        Ok((config, self.data.clone().ok_or(StartError::NoStore)?))
    }
}

/// The replica itself in its list.
fn entry(config: &ReplicaConfig) -> Listed {
    let entry = config.listed.iter().find(|listed| listed.name == config.name);
    entry.expect("a checked list names the replica itself").clone()
}

#[cfg(test)]
mod tests {
    use quorate_replica::ConfigError;

    use super::*;

    fn listed(name: &str, port: u16) -> Listed {
        Listed {
            name: MemberName::new(name).expect("a good name"),
            client_address: format!("{name}:{port}"),
            peer_address: format!("{name}:{}", port + 1),
            liveness_address: format!("{name}:{}", port + 2),
        }
    }

    #[test]
    fn settings_are_checked_before_anything_is_opened() {
        let whole = || {
            Builder::new()
                .name("a")
                .replicas([listed("a", 2_379)])
                .data_dir("/tmp/none")
        };
        assert!(whole().checked().is_ok());
        let wrong = |builder: Builder| builder.checked().map(|_| ()).expect_err("wrong").to_string();
        let cases = [
            (
                Builder::new().replicas([listed("a", 1)]),
                "the replica has no name",
            ),
            (whole().name(""), "a replica's name is empty"),
            (whole().name("b"), "this replica's name, b, is not in the list"),
            (whole().replicas([]), "0 replicas are listed"),
            (
                whole().replicas([listed("a", 0)]),
                "the address a:0 of replica a has port 0",
            ),
            (
                Builder::new().name("a").replicas([listed("a", 1)]),
                "there is no place for the data",
            ),
        ];
        for (builder, want) in cases {
            let line = wrong(builder);
            assert!(line.starts_with(want), "{line}");
        }
        let two = whole()
            .replicas([listed("a", 1), listed("b", 1)])
            .checked()
            .map(|_| ());
        assert!(matches!(two, Err(StartError::Config(ConfigError::GroupSize(2)))));
    }
}
