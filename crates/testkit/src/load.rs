//! Load that is recorded: writers and readers through the Rust client, and the cluster's own history beside them.
//!
//! Promises: every call that was made is in the [`Record`], whatever became of it; the history is one watch, begun
//! before the first write and read up to a marker behind the last; the end is read with linearizable reads. Three kinds
//! of writes are mixed: a property of a few shared databases (which later writes replace), new collections (of which
//! a second execution would be refused), and ids. Left out on purpose: the verdict; see [`crate::judge`].

mod actor;
mod collector;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use quorate_client::{Client, v1};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::KitError;
use crate::judge::{Violation, judge};
use crate::record::{Change, Record};
use actor::{Actor, Made, Role};
use collector::Collector;

/// The property that registers keep their value in.
pub(crate) const PROPERTY: &str = "v";

/// What the load looks like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Begins every name that the load makes, so that several loads can follow one another on a cluster.
    pub prefix: String,
    /// Tasks that write.
    pub writers: usize,
    /// Tasks that read.
    pub readers: usize,
    /// Databases that are written and read again and again.
    pub registers: usize,
    /// What each task waits between two calls.
    pub pause: Duration,
    /// How long a call may take.
    pub deadline: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            prefix: "load".to_owned(),
            writers: 6,
            readers: 4,
            registers: 4,
            pause: Duration::from_millis(4),
            deadline: Duration::from_secs(20),
        }
    }
}

/// A load under way. Dropping it ends its tasks.
#[derive(Debug)]
pub struct Load {
    shape: Shape,
    client: Client,
    clients: Vec<Client>,
    stop: CancellationToken,
    tasks: JoinSet<Made>,
    collector: Collector,
    acknowledged: Arc<AtomicU64>,
    shown: Arc<AtomicU64>,
}

/// A load that is over, with all that the judge needs.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What the clients saw.
    pub record: Record,
    /// What the cluster says happened.
    pub history: Vec<Change>,
    /// What is there at the end.
    pub end: BTreeMap<String, String>,
}

impl Recorded {
    /// The judge's verdict.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        judge(&self.record, &self.history, &self.end)
    }
}

impl Load {
    /// Starts it on the cluster behind `seeds`.
    ///
    /// # Errors
    /// [`KitError::Client`] when the cluster does not answer.
    pub async fn start(seeds: &[String], shape: Shape) -> Result<Self, KitError> {
        // Writers and readers have no connection in common, so that no answer reaches a reader by another way.
        let connect = || Client::builder(seeds.to_vec()).deadline(shape.deadline).connect();
        let (client, writing, reading) = (connect()?, connect()?, connect()?);
        client.ready().await?;
        let registers: Vec<String> = (0..shape.registers)
            .map(|n| format!("{}_reg{n}", shape.prefix))
            .collect();
        for name in registers.iter().cloned().chain([marker(&shape)]) {
            let request = v1::CreateDatabaseRequest {
                name,
                ..Default::default()
            };
            client.root().create_database(request).await?;
        }
        let request = v1::DescribeDatabaseRequest { name: marker(&shape) };
        let position = client
            .root()
            .describe_database(request)
            .await?
            .position
            .unwrap_or_default();
        let collector = Collector::start(&client, position.revision + 1, &shape.prefix, marker(&shape));

        let (acknowledged, shown) = (Arc::default(), Arc::default());
        let (stop, start) = (CancellationToken::new(), Instant::now());
        let mut tasks = JoinSet::new();
        for number in 0..shape.writers + shape.readers {
            let role = if number < shape.writers {
                Role::Writer
            } else {
                Role::Reader
            };
            let (client, counter) = match role {
                Role::Writer => (&writing, &acknowledged),
                Role::Reader => (&reading, &shown),
            };
            let actor = Actor {
                role,
                number,
                prefix: shape.prefix.clone(),
                registers: registers.clone(),
                writers: shape.writers,
                client: client.clone(),
                start,
                pause: shape.pause,
                answered: Arc::clone(counter),
            };
            tasks.spawn(actor.run(stop.clone()));
        }
        let clients = vec![writing, reading];
        Ok(Self {
            shape,
            client,
            clients,
            stop,
            tasks,
            collector,
            acknowledged,
            shown,
        })
    }

    /// Writes that were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Reads that were answered so far.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Waits until so many more writes were acknowledged, and some reads answered.
    ///
    /// # Errors
    /// [`KitError::Waited`] when it takes longer than `patience`.
    pub async fn progress(&self, writes: u64, patience: Duration) -> Result<(), KitError> {
        let (from, read) = (self.acknowledged(), self.shown());
        let going_on = async {
            while self.acknowledged() < from + writes || self.shown() < read + writes / 4 {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(patience, going_on).await.map_err(|_| {
            let (done, shown) = (self.acknowledged() - from, self.shown() - read);
            let last = format!("{done} writes and {shown} reads were");
            KitError::waited(format!("{writes} more writes were acknowledged"), patience, last)
        })
    }

    /// Ends the load; collects what it saw and what the cluster has.
    ///
    /// # Errors
    /// [`KitError`] when the cluster cannot be asked, or the watch does not deliver.
    pub async fn finish(mut self, patience: Duration) -> Result<Recorded, KitError> {
        self.stop.cancel();
        let mut record = Record::default();
        while let Some(made) = self.tasks.join_next().await {
            let made =
                made.map_err(|error| KitError::Watch(format!("a task of the load failed: {error}")))?;
            record.writes.extend(made.writes);
            record.reads.extend(made.reads);
            record.ids.extend(made.ids);
            record.unanswered.extend(made.unanswered);
        }
        let set = BTreeMap::from([(PROPERTY.to_owned(), "end".to_owned())]);
        let request = v1::AlterDatabaseRequest {
            name: marker(&self.shape),
            set,
            ..Default::default()
        };
        self.client.root().alter_database(request).await?;
        let history = self.collector.finish(patience).await?;

        let mut end = BTreeMap::new();
        let root = self.client.root();
        let databases: Vec<v1::Database> = root.list_databases_all().try_collect().await?;
        let collections: Vec<v1::Collection> = root.list_collections_all("").try_collect().await?;
        for database in databases
            .iter()
            .filter(|database| *database.name != marker(&self.shape))
        {
            if let (true, Some(value)) = (
                database.name.starts_with(&self.shape.prefix),
                database.properties.get(PROPERTY),
            ) {
                end.insert(database.name.clone(), value.clone());
            }
        }
        let ours = collections
            .into_iter()
            .filter(|collection| collection.name.starts_with(&self.shape.prefix));
        end.extend(ours.map(|collection| (collection.name.clone(), collection.name)));
        for client in self.clients {
            client.close().await;
        }
        self.client.close().await;
        Ok(Recorded { record, history, end })
    }
}

fn marker(shape: &Shape) -> String {
    format!("{}_marker", shape.prefix)
}
