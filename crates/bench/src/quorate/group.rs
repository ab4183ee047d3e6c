//! The cluster under test.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use quorate_client::{Client, Writes, v1};
use quorate_local::{Cluster, Plan, Process, State};
use tokio::time::{Instant, sleep, timeout};

use super::fill::small_collection;
use super::target::{DATABASE, Ground, Stream, row_name};
use crate::error::BenchError;
use crate::fault::Fault;
use crate::judge::Tally;
use crate::options::Options;
use crate::pace::Target;
use crate::record::Records;
use crate::system::{Reign, System};

/// Its name in tables and records.
pub(crate) const NAME: &str = "quorate";
/// Until a new cluster serves.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// A status that takes longer is asked for again.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
/// What prepares and checks rounds may take this long: it is not what is measured.
const CONTROL_PATIENCE: Duration = Duration::from_secs(60);
/// An orderly shutdown; after it the replica is killed and the round fails.
const TERM_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at replicas that are not where they should be.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Group {
    cluster: Cluster,
    /// Prepares, looks and checks.
    control: Client,
    /// The one whose waiting is measured. It has connections of its own.
    measured: Client,
    writes: Writes,
    rounds: AtomicU64,
    round: Mutex<Option<Round>>,
}

/// The round that is under way.
#[derive(Debug, Clone)]
struct Round {
    ground: Ground,
    id_before: u64,
}

impl Group {
    /// Starts the replicas and waits until they serve.
    pub(crate) async fn start(options: &Options, directory: &Path) -> Result<Self, BenchError> {
        let mut plan = Plan::new(&options.program, directory.join(NAME)).replicas(options.replicas);
        if let Some(profile) = &options.profile {
            plan = plan.profile(profile);
        }
        let cluster = Cluster::start(plan).await?;
        cluster.ready(START_PATIENCE).await?;
        let connect = || Client::connect(cluster.seeds()).map_err(BenchError::call("connect to the cluster"));
        let (control, measured) = (connect()?.with_deadline(CONTROL_PATIENCE), connect()?);
        let writes = measured.writes();
        create_database(&control, DATABASE).await?;
        Ok(Self {
            cluster,
            control,
            measured,
            writes,
            rounds: AtomicU64::new(0),
            round: Mutex::new(None),
        })
    }

    pub(super) fn control(&self) -> &Client {
        &self.control
    }

    pub(super) fn process(&self, member: usize) -> Result<&Process, BenchError> {
        let process = self.cluster.processes().get(member);
        process.ok_or_else(|| BenchError::Broken(format!("there is no replica {member}")))
    }

    /// Why the replicas are not all where they should be, or who leads. `goal` is the position that all must reach; it
    /// is set to the leader's when one is first seen.
    async fn look(&self, goal: &mut Option<u64>) -> Result<Reign, String> {
        let asking = self.control.with_deadline(STATUS_PATIENCE);
        let mut statuses = Vec::new();
        for process in self.cluster.processes() {
            if process.state() != State::Running {
                return Err(format!("replica {}: {:?}", process.name(), process.state()));
            }
            let status = asking.cluster().status(process.node()).await;
            statuses.push(status.map_err(|error| format!("replica {}: {error}", process.name()))?);
        }
        let leader = statuses
            .iter()
            .position(|status| status.role() == v1::Role::Leader);
        let leader = leader.ok_or("no replica says that it leads")?;
        let term_of =
            |status: &v1::StatusResponse| status.topology.as_ref().map_or(0, |topology| topology.term);
        let (term, node) = (
            term_of(&statuses[leader]),
            statuses[leader].topology.as_ref().map(|of| of.node_id),
        );
        let goal = *goal.get_or_insert(statuses[leader].committed_index);
        for status in &statuses {
            let name = &status.name;
            let follows = status
                .topology
                .as_ref()
                .and_then(|topology| topology.leader.as_ref())
                .map(|of| of.node_id);
            if term_of(status) != term || follows != node {
                return Err(format!(
                    "replica {name} does not follow the leader of term {term}"
                ));
            }
            if status.applied_index < goal {
                return Err(format!(
                    "replica {name} has applied {} of {goal}",
                    status.applied_index
                ));
            }
            if let Some(peer) = status.peers.iter().find(|peer| !peer.linked) {
                return Err(format!("replica {name} has no liveness link to {}", peer.node_id));
            }
        }
        Ok(Reign { leader, term })
    }

    async fn settled(&self, patience: Duration) -> Result<Reign, BenchError> {
        let (begun, mut goal) = (Instant::now(), None);
        loop {
            let why = match self.look(&mut goal).await {
                Ok(reign) => return Ok(reign),
                Err(why) => why,
            };
            if begun.elapsed() > patience {
                return Err(BenchError::Unsettled {
                    system: NAME.to_owned(),
                    after_s: patience.as_secs(),
                    why,
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn begin_round(&self) -> Result<Arc<dyn Target>, BenchError> {
        let ground = Ground::new(self.rounds.fetch_add(1, Ordering::Relaxed));
        for name in ground.collections() {
            let created = self
                .control
                .root()
                .create_collection(small_collection(DATABASE, name))
                .await;
            created.map_err(BenchError::call("create the round's collections"))?;
        }
        let id_before = self.take_id().await?;
        *self.round.lock().unwrap_or_else(PoisonError::into_inner) = Some(Round {
            ground: ground.clone(),
            id_before,
        });
        Ok(Stream::target(ground, self.writes.clone()))
    }

    async fn take_id(&self) -> Result<u64, BenchError> {
        let ids = self
            .control
            .ids()
            .allocate(1)
            .await
            .map_err(BenchError::call("take an id"))?;
        Ok(ids.start)
    }

    async fn check_round(&self, records: &Records) -> Result<Tally, BenchError> {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner).take();
        let round =
            round.ok_or_else(|| BenchError::Broken("a round was checked that was not begun".to_owned()))?;
        let id_after = self.take_id().await?;
        let mut listed = Vec::new();
        for collection in round.ground.collections() {
            let partitions = self.control.root().list_partitions_all(DATABASE, &collection);
            let partitions: Vec<v1::Partition> = partitions
                .try_collect()
                .await
                .map_err(BenchError::call("list the partitions of the round"))?;
            // The one that each collection is born with.
            let written = partitions
                .into_iter()
                .filter(|partition| partition.id > round.id_before);
            listed.extend(written.map(|partition| (row_name(&collection, &partition.name), partition.id)));
        }
        let tally = round
            .ground
            .evidence(records, (round.id_before, id_after), listed)
            .judge();
        for name in round.ground.collections() {
            let request = v1::DropCollectionRequest {
                request: None,
                database: DATABASE.to_owned(),
                name,
            };
            self.control
                .root()
                .drop_collection(request)
                .await
                .map_err(BenchError::call("drop the round's collections"))?;
        }
        Ok(tally)
    }

    /// The steps of whoever leads in a later term than `reign`.
    async fn later_steps(&self, reign: Reign) -> Result<Vec<(String, u64)>, BenchError> {
        let begun = Instant::now();
        while begun.elapsed() < STATUS_PATIENCE * 5 {
            let leader = self.control.leader().borrow().clone();
            if let Some(leader) = leader.filter(|leader| leader.term.0 > reign.term)
                && let Ok(status) = self
                    .control
                    .with_deadline(STATUS_PATIENCE)
                    .cluster()
                    .status(leader.node)
                    .await
                && let Some(change) = status.last_leader_change
                && change.term == leader.term.0
                && change.node_id == leader.node.0
            {
                return Ok(change
                    .phases
                    .into_iter()
                    .map(|phase| (phase.name, phase.monotonic_ns))
                    .collect());
            }
            sleep(LOOK_EVERY).await;
        }
        // A round without steps is a round; the table shows what the others had.
        Ok(Vec::new())
    }

    async fn has_ended(&self, process: &Process) -> Result<(), BenchError> {
        let ended = timeout(TERM_PATIENCE, process.exited()).await;
        match (ended, process.state()) {
            (Ok(()), State::Exited(how)) if how.ends_with(": 0") => Ok(()),
            (Ok(()), state) => Err(unordered(process, &format!("ended as {state:?}"))),
            (Err(_), _) => Err(unordered(
                process,
                &format!("runs {} s later", TERM_PATIENCE.as_secs()),
            )),
        }
    }
}

fn unordered(process: &Process, what: &str) -> BenchError {
    BenchError::Unsettled {
        system: NAME.to_owned(),
        after_s: TERM_PATIENCE.as_secs(),
        why: format!(
            "replica {} was asked to end and {what}; its log is {}",
            process.name(),
            process.log_path().display()
        ),
    }
}

pub(super) async fn create_database(client: &Client, name: &str) -> Result<(), BenchError> {
    let request = v1::CreateDatabaseRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    let created = client.root().create_database(request).await;
    created
        .map(drop)
        .map_err(BenchError::call("create a database for the bench"))
}

impl System for Group {
    fn name(&self) -> &str {
        NAME
    }

    fn settle(&self, patience: Duration) -> BoxFuture<'_, Result<Reign, BenchError>> {
        self.settled(patience).boxed()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Arc<dyn Target>, BenchError>> {
        self.begin_round().boxed()
    }

    fn strike(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>> {
        async move {
            let process = self.process(leader)?;
            match fault {
                Fault::Kill => Ok(process.kill()?),
                Fault::Term => Ok(process.terminate()?),
                Fault::Stop => Ok(process.pause()?),
                Fault::Transfer => {
                    let moved = self.control.cluster().transfer_leadership(None).await;
                    moved.map(drop).map_err(BenchError::call("transfer leadership"))
                }
            }
        }
        .boxed()
    }

    fn ended(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>> {
        async move {
            match fault {
                Fault::Term => self.has_ended(self.process(leader)?).await,
                Fault::Kill => {
                    self.process(leader)?.exited().await;
                    Ok(())
                }
                Fault::Stop | Fault::Transfer => Ok(()),
            }
        }
        .boxed()
    }

    fn steps(&self, reign: Reign) -> BoxFuture<'_, Result<Vec<(String, u64)>, BenchError>> {
        self.later_steps(reign).boxed()
    }

    fn repair(&self, fault: Fault, leader: usize) -> Result<(), BenchError> {
        let process = self.process(leader)?;
        match fault {
            Fault::Kill | Fault::Term => Ok(process.start()?),
            Fault::Stop => Ok(process.resume()?),
            Fault::Transfer => Ok(()),
        }
    }

    fn check<'a>(&'a self, records: &'a Records) -> BoxFuture<'a, Result<Tally, BenchError>> {
        self.check_round(records).boxed()
    }

    fn pid(&self, member: usize) -> Option<u32> {
        self.cluster.processes().get(member).and_then(Process::pid)
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            let Self {
                cluster,
                control,
                measured,
                writes,
                ..
            } = *self;
            drop(writes);
            measured.close().await;
            control.close().await;
            cluster.stop(Duration::from_secs(10)).await;
        }
        .boxed()
    }
}
