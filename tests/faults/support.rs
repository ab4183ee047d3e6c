//! What the tests here share: a group in namespaces, and the verdict on a load.

use std::time::Duration;

use quorate_client::{Client, v1};
use quorate_testkit::agree::agree;
use quorate_testkit::load::{Load, Recorded, Shape};
use quorate_testkit::netns::{Group, Plan};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// Nothing here takes this long; a test that hangs should say so.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// The tests' own settings: short timeouts, so that silence is noticed soon.
pub(crate) fn plan() -> Plan {
    Plan::new(env!("CARGO_BIN_EXE_quorate"))
        .argument("--profile")
        .argument("lan")
}

/// A group under test.
pub(crate) struct Running {
    group: Group,
}

/// Runs `test` on a group that is ready, inside its network. Logs and data are kept when the test fails.
pub(crate) fn on_group(plan: Plan, test: impl AsyncFnOnce(&Running) + Send) {
    let running = Running {
        group: Group::new(plan).unwrap(),
    };
    let inside = async || {
        running.group.start().unwrap();
        running.ready(&running.all()).await;
        test(&running).await;
    };
    running.group.network().inside(inside).unwrap();
}

impl std::ops::Deref for Running {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.group
    }
}

impl Running {
    pub(crate) fn all(&self) -> Vec<usize> {
        self.others(&[])
    }

    /// The host whose replica leads, once all of `hosts` know it.
    pub(crate) async fn ready(&self, hosts: &[usize]) -> usize {
        let leader = self.group.ready(hosts, LONG).await.unwrap();
        self.host(leader.node)
    }

    /// The host whose replica leads instead of that at `old`, once all of `hosts` know it.
    pub(crate) async fn replaced(&self, old: usize, hosts: &[usize]) -> usize {
        let waiting = async {
            loop {
                // At first they all still believe in the old one.
                match self.ready(hosts).await {
                    leader if leader == old => sleep(Duration::from_millis(10)).await,
                    leader => return leader,
                }
            }
        };
        timeout(LONG, waiting)
            .await
            .expect("the leader is replaced in time")
    }

    pub(crate) async fn load(&self) -> Load {
        let shape = Shape {
            deadline: LONG,
            ..Shape::default()
        };
        Load::start(&self.seeds(), shape).await.unwrap()
    }

    /// Who leads in which term, as one replica sees it.
    pub(crate) async fn reign(&self, host: usize) -> (u64, u64) {
        let topology = self.status(host, LONG).await.unwrap().topology.unwrap();
        (topology.term, topology.leader.unwrap_or_default().node_id)
    }

    /// Waits until the replica at `host` says what is wanted of itself.
    pub(crate) async fn until(&self, host: usize, what: &str, wanted: impl Fn(&v1::StatusResponse) -> bool) {
        let asking = async {
            while !wanted(&self.status(host, LONG).await.unwrap()) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, asking)
            .await
            .unwrap_or_else(|_| panic!("waited too long until {what}"));
    }

    /// A raw channel to one replica, which knows of no other.
    pub(crate) fn channel(&self, host: usize) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.seed(host)))
            .unwrap()
            .connect_lazy()
    }

    /// Ends the load and checks that nothing was lost, doubled or stale, that no call failed, and that all replicas
    /// agree.
    pub(crate) async fn verdict(&self, load: Load) -> Recorded {
        let recorded = load.finish(LONG).await.unwrap();
        let violations = recorded.violations();
        let (writes, reads) = (recorded.record.acknowledged(), recorded.record.reads.len());
        println!(
            "{writes} writes acknowledged, {reads} reads, {} calls failed",
            recorded.record.failed().len()
        );
        let first = &violations[..violations.len().min(5)];
        assert!(
            violations.is_empty(),
            "{} violations, first: {first:#?}",
            violations.len()
        );
        assert!(
            writes > 100 && reads > 100,
            "so little was done that nothing was tested"
        );
        assert_eq!(recorded.record.failed(), Vec::<String>::new());
        let client = Client::connect(self.seeds()).unwrap();
        let nodes: Vec<_> = self.all().into_iter().map(|host| self.node(host)).collect();
        agree(&client, &nodes, LONG).await.unwrap();
        client.close().await;
        recorded
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.group.keep_files();
            eprintln!("logs and data are kept in {}", self.group.directory().display());
        }
    }
}
