//! The clients: create and drop names, raise counters, rename, allocate ids, read what must be there, and now and then
//! ask for another leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use quorate_client::{Client, Error, v1};
use quorate_host::{Network, entropy};
use tokio::time::sleep;

use super::faults::CALM_FROM;
use super::oracle::Oracle;

pub(crate) const CLIENTS: usize = 3;
/// Clients that only read: one that waits for the answer to a write reads nothing meanwhile.
pub(crate) const READERS: usize = 2;
/// Beyond this time a client begins nothing new.
pub(crate) const LOAD_UNTIL: Duration = Duration::from_secs(29);
/// From here on every call must be answered: the longest fault is over, and so is what TCP makes of it.
const SERVES_FROM: Duration = Duration::from_secs(CALM_FROM.as_secs() + 5);
/// Answers that each client must get from then on.
const CALM_ANSWERS_MIN: u64 = 10;
const COLLECTION: &str = "things";
/// A call that gets no answer for this long is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// A read that gets no answer for this long is given up by a reader, which then asks anew.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn collection(name: String) -> v1::CreateCollectionRequest {
    let field = |name: &str, data_type: v1::DataType| v1::Field {
        name: name.to_owned(),
        data_type: data_type.into(),
        ..v1::Field::default()
    };
    let id = v1::Field {
        primary_key: true,
        ..field("id", v1::DataType::Int64)
    };
    let vector = v1::Field {
        dimension: 8,
        ..field("vector", v1::DataType::FloatVector)
    };
    v1::CreateCollectionRequest {
        name,
        schema: Some(v1::Schema {
            fields: vec![id, vector],
            dynamic_fields: false,
        }),
        ..v1::CreateCollectionRequest::default()
    }
}

/// One client's life. Those from number [`CLIENTS`] on only read.
pub(crate) async fn run(
    number: usize,
    seeds: Vec<String>,
    network: Arc<dyn Network>,
    oracle: Oracle,
) -> turmoil::Result {
    let is_reader = number >= CLIENTS;
    let deadline = if is_reader { READ_TIMEOUT } else { CALL_TIMEOUT };
    let client = Client::builder(seeds)
        .network(network)
        .deadline(deadline)
        .connect()?;
    let mut life = Life {
        client,
        number,
        oracle,
        serial: 0,
        counter: 0,
        own: Vec::new(),
        walk: None,
    };
    while let Err(error) = life
        .client
        .root()
        .create_collection(collection(COLLECTION.to_owned()))
        .await
    {
        life.note(&format!("not yet: {}", line(&error)));
    }
    let mut calm_answers = 0;
    while now() < LOAD_UNTIL {
        let began = now();
        let answered = if is_reader {
            life.read().await
        } else {
            life.act().await
        };
        if began >= SERVES_FROM {
            if answered {
                calm_answers += 1;
            } else {
                life.oracle.violation(format!(
                    "client {number}: a call failed long after the faults had ended"
                ));
            }
        }
        sleep(Duration::from_millis(5 + entropy::random_u64() % 40)).await;
    }
    if calm_answers < CALM_ANSWERS_MIN {
        let why = format!("client {number} got only {calm_answers} answers long after the faults had ended");
        life.oracle.violation(why);
    }
    if number == 0 {
        life.read_all().await;
    }
    life.client.close().await;
    Ok(())
}

fn line(error: &Error) -> String {
    error.to_string().replace('\n', " ")
}

struct Life {
    client: Client,
    number: usize,
    oracle: Oracle,
    /// Numbers what this client creates.
    serial: u64,
    /// Numbers its counters: after an unknown outcome the next one begins, because the old value may arrive at any time.
    counter: u64,
    /// Names of which this client knows that they are there.
    own: Vec<String>,
    /// A collection that this client renames again and again: (which, how often).
    walk: Option<(u64, u64)>,
}

impl Life {
    fn note(&self, what: &str) {
        self.oracle
            .note(now(), &format!("client {}: {what}", self.number));
    }

    /// Notes the outcome of a call; true when it was answered.
    fn settle<T>(&self, what: &str, outcome: &Result<T, Error>) -> bool {
        match outcome {
            Ok(_) => self.note(what),
            Err(error) => {
                self.oracle.unknown();
                self.note(&format!("{what} failed: {}", line(error)));
                // Everything that is asked for here is possible, unless something was executed twice or lost.
                if !matches!(error, Error::Unavailable { .. }) {
                    self.oracle.violation(format!(
                        "client {}: {what} was refused: {}",
                        self.number,
                        line(error)
                    ));
                }
            }
        }
        outcome.is_ok()
    }

    async fn act(&mut self) -> bool {
        match entropy::random_u64() % 100 {
            0..=29 => self.create().await,
            30..=36 => self.drop_one().await,
            37..=52 => self.count().await,
            53..=60 => self.step().await,
            61..=67 => self.allocate().await,
            68..=83 => self.read_counters().await,
            84..=98 => self.read_name().await,
            _ => self.transfer().await,
        }
    }

    async fn read(&self) -> bool {
        if entropy::random_u64().is_multiple_of(2) {
            self.read_counters().await
        } else {
            self.read_name().await
        }
    }

    async fn create(&mut self) -> bool {
        self.serial += 1;
        let name = format!("p{}_{}", self.number, self.serial);
        self.oracle.ask_create(&name);
        let request = v1::CreatePartitionRequest {
            collection: COLLECTION.to_owned(),
            name: name.clone(),
            ..v1::CreatePartitionRequest::default()
        };
        let outcome = self.client.root().create_partition(request).await;
        if outcome.is_ok() {
            self.oracle.created(&name);
            self.own.push(name.clone());
        }
        self.settle(&format!("create {name}"), &outcome)
    }

    async fn drop_one(&mut self) -> bool {
        if self.own.is_empty() {
            return true;
        }
        let choice = entropy::random_u64() % self.own.len() as u64;
        let name = self.own.swap_remove(usize::try_from(choice).unwrap_or(0));
        self.oracle.ask_drop(&name);
        let request = v1::DropPartitionRequest {
            collection: COLLECTION.to_owned(),
            name: name.clone(),
            ..v1::DropPartitionRequest::default()
        };
        let outcome = self.client.root().drop_partition(request).await;
        if let Ok(answer) = &outcome {
            self.oracle.dropped(&name, answer.existed);
        }
        self.settle(&format!("drop {name}"), &outcome)
    }

    async fn count(&mut self) -> bool {
        let key = format!("c{}_{}", self.number, self.counter);
        let value = self.oracle.ask_count(&key);
        let request = v1::AlterCollectionRequest {
            name: COLLECTION.to_owned(),
            set: BTreeMap::from([(key.clone(), value.to_string())]),
            ..v1::AlterCollectionRequest::default()
        };
        let outcome = self.client.root().alter_collection(request).await;
        match &outcome {
            Ok(_) => self.oracle.counted(&key, value),
            Err(_) => self.counter += 1,
        }
        self.settle(&format!("count {key} {value}"), &outcome)
    }

    /// Renames the walking collection. A rename that is executed twice finds nothing under the old name.
    async fn step(&mut self) -> bool {
        let name = |walk: u64, step: u64| format!("w{}_{walk}_{step}", self.number);
        let Some((walk, step)) = self.walk else {
            self.serial += 1;
            let walk = self.serial;
            let outcome = self
                .client
                .root()
                .create_collection(collection(name(walk, 0)))
                .await;
            if outcome.is_ok() {
                self.walk = Some((walk, 0));
            }
            return self.settle(&format!("begin walk {walk}"), &outcome);
        };
        let request = v1::RenameCollectionRequest {
            name: name(walk, step),
            new_name: name(walk, step + 1),
            ..v1::RenameCollectionRequest::default()
        };
        let outcome = self.client.root().rename_collection(request).await;
        self.walk = outcome.is_ok().then_some((walk, step + 1));
        self.settle(&format!("step {walk} {}", step + 1), &outcome)
    }

    async fn allocate(&self) -> bool {
        let count = 1 + entropy::random_u64() % 5;
        let outcome = self.client.ids().allocate(count).await;
        if let Ok(ids) = &outcome {
            self.oracle.allocated(ids.clone());
        }
        let first = outcome.as_ref().ok().map(|ids| ids.start);
        self.settle(&format!("allocate {count} from {first:?}"), &outcome)
    }

    async fn read_counters(&self) -> bool {
        let floor = self.oracle.floor();
        let request = v1::DescribeCollectionRequest {
            name: COLLECTION.to_owned(),
            ..Default::default()
        };
        let outcome = self.client.root().describe_collection(request).await;
        if let Ok(answer) = &outcome {
            let shown = answer.collection.clone().unwrap_or_default().properties;
            self.oracle.saw_counters(&floor, &shown);
        }
        let position = outcome.as_ref().ok().and_then(|answer| answer.position);
        self.settle(
            &format!(
                "read counters at {:?}",
                position.map(|position| position.applied_index)
            ),
            &outcome,
        )
    }

    async fn read_name(&self) -> bool {
        let floor = self.oracle.floor();
        let name = self
            .oracle
            .some_name(entropy::random_u64())
            .unwrap_or_else(|| "p9_1".to_owned());
        let request = v1::HasPartitionRequest {
            collection: COLLECTION.to_owned(),
            name: name.clone(),
            ..v1::HasPartitionRequest::default()
        };
        let outcome = self.client.root().has_partition(request).await;
        if let Ok(answer) = &outcome {
            self.oracle.saw_name(&floor, &name, answer.exists);
        }
        self.settle(&format!("read {name}"), &outcome)
    }

    /// Asks for another leader. That this fails is no harm: there may be nobody to lead.
    async fn transfer(&self) -> bool {
        match self.client.cluster().transfer_leadership(None).await {
            Ok(leader) => self.note(&format!("transferred to {}", leader.node)),
            Err(error) => self.note(&format!("no transfer: {}", line(&error))),
        }
        true
    }

    async fn read_all(&self) {
        let floor = self.oracle.floor();
        let listed = self.client.root().list_partitions_all("", COLLECTION);
        let listed: Result<Vec<v1::Partition>, Error> = listed.try_collect().await;
        match listed {
            Ok(listed) => {
                let names: Vec<String> = listed.into_iter().map(|partition| partition.name).collect();
                let names: Vec<String> = names.into_iter().filter(|name| name != "_default").collect();
                self.oracle.saw_all(&floor, &names);
                self.note(&format!("{} names are there", names.len()));
            }
            Err(error) => self
                .oracle
                .violation(format!("the final listing failed: {}", line(&error))),
        }
    }
}
