//! What the tests here share: a running cluster, one at a time, and the verdict on a load.

use std::time::Duration;

use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use quorate_local::{Cluster, Plan, Process};
use quorate_testkit::agree::agree;
use quorate_testkit::calm::on_a_calm_machine;
use quorate_testkit::load::{Load, Recorded, Shape};
use quorate_types::NodeId;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Code;
use tonic::transport::Endpoint;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_quorate");
/// Nothing here takes this long; a test that hangs should say so.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// One cluster at a time: several of them on a small machine would take one another's slowness for faults.
static TURN: Semaphore = Semaphore::const_new(1);

/// Followers of the default profile wait for 250 ms at least.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// Those of the profile `lan` for 80 ms.
pub(crate) const PAUSE_LAN: Duration = Duration::from_millis(60);

/// Runs a test in which nobody may be deposed; again when it failed while the machine stood still for `pause`.
pub(crate) fn calm(pause: Duration, test: impl AsyncFn()) {
    on_a_calm_machine(pause, || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(test());
    });
}

/// A cluster and its place; its files are kept when the test fails.
pub(crate) struct Running {
    cluster: Option<Cluster>,
    directory: Option<TempDir>,
    _turn: SemaphorePermit<'static>,
}

impl std::ops::Deref for Running {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster.as_ref().expect("it runs until it is dropped")
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("it runs until it is dropped")
    }
}

impl Running {
    /// A cluster that is ready.
    pub(crate) async fn start(replicas: usize) -> Self {
        Self::with(replicas, |plan| plan).await
    }

    /// A cluster that is ready, with more settings.
    pub(crate) async fn with(replicas: usize, more: impl FnOnce(Plan) -> Plan) -> Self {
        let turn = TURN.acquire().await.unwrap();
        let directory = tempfile::Builder::new()
            .prefix("quorate-test-")
            .tempdir()
            .unwrap();
        let plan = more(Plan::new(PROGRAM, directory.path()).replicas(replicas));
        let cluster = Cluster::start(plan).await.unwrap();
        let running = Self {
            cluster: Some(cluster),
            directory: Some(directory),
            _turn: turn,
        };
        running.ready(LONG).await.unwrap();
        running
    }

    /// The replica that leads, once everybody knows it.
    pub(crate) async fn leader(&self) -> &Process {
        let leader = self.ready(LONG).await.unwrap();
        self.process_at(&leader.address).unwrap()
    }

    /// Those that do not lead.
    pub(crate) async fn followers(&self) -> Vec<&Process> {
        let leader = self.leader().await.name();
        self.processes()
            .iter()
            .filter(|process| process.name() != leader)
            .collect()
    }

    pub(crate) async fn load(&self, prefix: &str) -> Load {
        let shape = Shape {
            prefix: prefix.to_owned(),
            // A call may wait for a whole cluster that is started again on a busy machine.
            deadline: LONG,
            ..Shape::default()
        };
        Load::start(&self.seeds(), shape).await.unwrap()
    }

    /// Ends the load and checks that nothing was lost, doubled or stale, and that all replicas agree.
    pub(crate) async fn verdict(&self, load: Load) -> Recorded {
        let recorded = load.finish(LONG).await.unwrap();
        let violations = recorded.violations();
        let (writes, reads) = (recorded.record.acknowledged(), recorded.record.reads.len());
        println!(
            "{writes} writes acknowledged, {reads} reads, {} changes, {} calls failed, longest pause {:.1} ms",
            recorded.history.len(),
            recorded.record.failed().len(),
            recorded.record.longest_pause().as_secs_f64() * 1e3
        );
        assert!(
            violations.is_empty(),
            "{} violations, first: {:#?}",
            violations.len(),
            &violations[..violations.len().min(5)]
        );
        assert!(
            writes > 100 && reads > 100,
            "so little was done that nothing was tested"
        );
        self.agree().await;
        recorded
    }

    /// Like [`Self::verdict`]; no call may have failed either.
    pub(crate) async fn verdict_without_failures(&self, load: Load) {
        let recorded = self.verdict(load).await;
        assert_eq!(recorded.record.failed(), Vec::<String>::new());
    }

    /// All replicas have the same state.
    pub(crate) async fn agree(&self) {
        let client = self.client().unwrap();
        client.ready().await.unwrap();
        let members = client.members();
        let nodes: Vec<_> = members.iter().map(|member| NodeId(member.node_id)).collect();
        assert!(!nodes.is_empty());
        agree(&client, &nodes, LONG).await.unwrap();
        client.close().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cluster = None;
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("logs and data are kept in {}", directory.keep().display());
        }
    }
}

/// Waits until the process has ended.
pub(crate) async fn ended(process: &Process) {
    tokio::time::timeout(LONG, process.exited())
        .await
        .expect("it ends soon");
}

/// Waits until etcd's leases can be granted at `address`: the leader raises the feature level once it has heard of all replicas.
pub(crate) async fn leases_are_served(address: &str) {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy();
    let mut leases = LeaseClient::new(channel);
    let raised = async {
        let id = i64::MAX;
        while let Err(status) = leases.lease_grant(LeaseGrantRequest { ttl: 10, id }).await {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        leases.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
    };
    let raised = tokio::time::timeout(LONG, raised).await;
    raised.expect("the feature level is raised");
}
