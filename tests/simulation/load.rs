//! The clients: create names, raise counters, allocate ids, read what must be there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_client::{Client, Error, v1};
use quorate_host::{Network, entropy};
use tokio::time::sleep;

use super::faults::CALM_FROM;
use super::oracle::Oracle;

pub const CLIENTS: usize = 3;
/// Beyond this time a client only waits for the end.
const LOAD_UNTIL: Duration = Duration::from_secs(28);
const COLLECTION: &str = "things";
/// A call that gets no answer for this long is given up: long enough for every fault but the longest.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

fn key(client: usize) -> String {
    format!("counter{client}")
}

fn create_collection() -> v1::CreateCollectionRequest {
    let field = |name: &str, data_type: v1::DataType| v1::Field {
        name: name.to_owned(),
        data_type: data_type.into(),
        ..v1::Field::default()
    };
    let id = v1::Field { primary_key: true, ..field("id", v1::DataType::Int64) };
    let vector = v1::Field { dimension: 8, ..field("vector", v1::DataType::FloatVector) };
    v1::CreateCollectionRequest {
        name: COLLECTION.to_owned(),
        schema: Some(v1::Schema { fields: vec![id, vector], dynamic_fields: false }),
        ..v1::CreateCollectionRequest::default()
    }
}

/// One client's life.
pub async fn run(number: usize, seeds: Vec<String>, network: Arc<dyn Network>, oracle: Oracle) -> turmoil::Result {
    let client = Client::builder(seeds).network(network).timeout(CALL_TIMEOUT).build()?;
    while let Err(error) = client.create_collection(create_collection()).await {
        oracle.note(now(), &format!("client {number}: not yet: {}", kind(&error)));
    }
    let mut made = 0;
    let mut calm_answers = 0;
    while now() < LOAD_UNTIL {
        let answered = match entropy::random_u64() % 10 {
            0..=3 => create(&client, number, &mut made, &oracle).await,
            4..=5 => count(&client, number, &oracle).await,
            6 => allocate(&client, number, &oracle).await,
            7..=8 => read_counters(&client, number, &oracle).await,
            _ => read_name(&client, number, &oracle).await,
        };
        if answered && now() > CALM_FROM + CALL_TIMEOUT / 2 {
            calm_answers += 1;
        }
        sleep(Duration::from_millis(10 + entropy::random_u64() % 40)).await;
    }
    if calm_answers == 0 {
        oracle.violation(format!("client {number} got no answer after the faults had ended"));
    }
    if number == 0 {
        read_all(&client, &oracle).await;
    }
    client.close().await;
    Ok(())
}

fn kind(error: &Error) -> String {
    error.to_string().chars().take(60).collect()
}

/// Notes the outcome of a write; true when it was answered.
fn settle<T>(number: usize, what: &str, outcome: &Result<T, Error>, oracle: &Oracle) -> bool {
    match outcome {
        Ok(_) => oracle.note(now(), &format!("client {number}: {what}")),
        Err(error) => {
            oracle.unknown();
            oracle.note(now(), &format!("client {number}: {what} failed: {}", kind(error)));
        }
    }
    outcome.is_ok()
}

async fn create(client: &Client, number: usize, made: &mut u64, oracle: &Oracle) -> bool {
    *made += 1;
    let name = format!("p{number}_{made}");
    oracle.ask_name(&name);
    let request = v1::CreatePartitionRequest {
        collection: COLLECTION.to_owned(),
        name: name.clone(),
        ..v1::CreatePartitionRequest::default()
    };
    let outcome = client.create_partition(request).await;
    if outcome.is_ok() {
        oracle.created(&name);
    }
    settle(number, &format!("create {name}"), &outcome, oracle)
}

async fn count(client: &Client, number: usize, oracle: &Oracle) -> bool {
    let value = oracle.ask_counter(number);
    let request = v1::AlterCollectionRequest {
        name: COLLECTION.to_owned(),
        set: BTreeMap::from([(key(number), value.to_string())]),
        ..v1::AlterCollectionRequest::default()
    };
    let outcome = client.alter_collection(request).await;
    if outcome.is_ok() {
        oracle.counted(number, value);
    }
    settle(number, &format!("count {value}"), &outcome, oracle)
}

async fn allocate(client: &Client, number: usize, oracle: &Oracle) -> bool {
    let count = 1 + entropy::random_u64() % 5;
    let outcome = client.allocate_ids(count).await;
    if let Ok(range) = &outcome {
        oracle.allocated(range.first, range.count);
    }
    settle(number, &format!("allocate {count}"), &outcome, oracle)
}

async fn read_counters(client: &Client, number: usize, oracle: &Oracle) -> bool {
    let floor = oracle.floor();
    let request = v1::DescribeCollectionRequest { name: COLLECTION.to_owned(), ..Default::default() };
    let outcome = client.describe_collection(request).await;
    if let Ok(response) = &outcome {
        let properties = response.collection.clone().unwrap_or_default().properties;
        for other in 0..CLIENTS {
            let value = properties.get(&key(other)).and_then(|value| value.parse().ok()).unwrap_or(0);
            oracle.saw_counter(&floor, other, value);
        }
    }
    let revision = outcome.as_ref().ok().and_then(|response| response.position).map(|position| position.revision);
    settle(number, &format!("read counters at {revision:?}"), &outcome, oracle)
}

async fn read_name(client: &Client, number: usize, oracle: &Oracle) -> bool {
    let floor = oracle.floor();
    let known: Vec<&String> = floor.created.iter().collect();
    let name = match known.len() as u64 {
        0 => "p9_1".to_owned(),
        some => known[usize::try_from(entropy::random_u64() % some).unwrap_or(0)].clone(),
    };
    let request = v1::HasPartitionRequest {
        collection: COLLECTION.to_owned(),
        name: name.clone(),
        ..v1::HasPartitionRequest::default()
    };
    let outcome = client.has_partition(request).await;
    if let Ok(response) = &outcome {
        oracle.saw_name(&floor, &name, response.exists);
    }
    settle(number, &format!("read {name}"), &outcome, oracle)
}

async fn read_all(client: &Client, oracle: &Oracle) {
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let request = v1::ListPartitionsRequest {
            collection: COLLECTION.to_owned(),
            page: Some(v1::Page { rows: 1_000, token: token.clone() }),
            ..v1::ListPartitionsRequest::default()
        };
        match client.list_partitions(request).await {
            Ok(page) => {
                names.extend(page.partitions.into_iter().map(|partition| partition.name));
                token = page.next_token;
                if token.is_empty() {
                    break;
                }
            }
            Err(error) => {
                oracle.violation(format!("the final listing failed: {error}"));
                return;
            }
        }
    }
    names.retain(|name| name != "_default");
    oracle.saw_all(&names);
}
