//! What is in the catalog before the first round: many small objects, or large ones.
//!
//! Promises: everything goes through the public API as any client's writes would, so that the replicas hold real rows
//! in memory that their own allocator gave. Left out on purpose: clearing it away; the directory goes with the bench.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_client::{Client, v1};
use quorate_types::limits::{PROPERTIES_MAX, PROPERTY_VALUE_BYTES_MAX};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::group::{Group, create_database};
use crate::error::BenchError;
use crate::progress::{Progress, Share};

const OBJECTS_DATABASE: &str = "objects";
const BALLAST_DATABASE: &str = "ballast";
/// Small writes under way: half of what a write stream takes.
const SMALL_UNDER_WAY: usize = 512;
/// Large writes under way: far below the bytes that a replica takes in flight.
const LARGE_UNDER_WAY: usize = 16;
/// Bytes of values in one collection of ballast after the other: 1 property to as many as there may be, each as long as it may
/// be, so that no size of a block decides how much memory a gigabyte takes.
const VALUE_BYTES: u64 = PROPERTY_VALUE_BYTES_MAX as u64;

/// Creates `objects` objects: half of them collections, the other half their default partitions.
pub(crate) async fn objects(group: &Group, objects: u64, progress: &Progress) -> Result<(), BenchError> {
    let collections = objects.div_ceil(2);
    let make = |number: u64| small_collection(OBJECTS_DATABASE, format!("c{number}"));
    let share = Share::new(progress, "preloading objects", objects);
    fill(
        group.control(),
        OBJECTS_DATABASE,
        collections,
        SMALL_UNDER_WAY,
        make,
        |done| share.show(2 * done),
    )
    .await
}

/// Creates collections with `megabytes` of properties.
pub(crate) async fn ballast(group: &Group, megabytes: u64, progress: &Progress) -> Result<(), BenchError> {
    let collections = ballast_collections(megabytes);
    let share = Share::new(progress, "loading ballast, MB", megabytes);
    let shown = |done: u64| share.show(megabytes * done / collections);
    fill(
        group.control(),
        BALLAST_DATABASE,
        collections,
        LARGE_UNDER_WAY,
        large_collection,
        shown,
    )
    .await
}

/// Properties of a collection of ballast.
fn properties_of(number: u64) -> u64 {
    1 + number % PROPERTIES_MAX as u64
}

/// How many collections have so much in their values.
fn ballast_collections(megabytes: u64) -> u64 {
    let (mut bytes, mut collections) = (0, 0);
    while bytes < megabytes << 20 {
        bytes += properties_of(collections) * VALUE_BYTES;
        collections += 1;
    }
    collections
}

/// A collection as small ones are: a key and a vector.
pub(super) fn small_collection(database: &str, name: String) -> v1::CreateCollectionRequest {
    let key = v1::Field {
        name: "id".to_owned(),
        data_type: v1::DataType::Int64.into(),
        primary_key: true,
        ..Default::default()
    };
    let vector = v1::Field {
        name: "vector".to_owned(),
        data_type: v1::DataType::FloatVector.into(),
        dimension: 128,
        ..Default::default()
    };
    v1::CreateCollectionRequest {
        database: database.to_owned(),
        name,
        schema: Some(v1::Schema {
            fields: vec![key, vector],
            dynamic_fields: false,
        }),
        ..Default::default()
    }
}

/// A collection of ballast. No two values are alike, so that nothing can share or fold them.
fn large_collection(number: u64) -> v1::CreateCollectionRequest {
    let value = |property: u64| {
        let mut value = format!("{number:016x}{property:04x}");
        value.extend((value.len()..PROPERTY_VALUE_BYTES_MAX).map(|_| '.'));
        value
    };
    let properties: BTreeMap<String, String> = (0..properties_of(number))
        .map(|property| (format!("ballast.{property}"), value(property)))
        .collect();
    v1::CreateCollectionRequest {
        properties,
        ..small_collection(BALLAST_DATABASE, format!("c{number}"))
    }
}

/// Creates a database and `count` collections in it through one write stream, `under_way` at a time.
async fn fill(
    client: &Client,
    database: &str,
    count: u64,
    under_way: usize,
    make: impl Fn(u64) -> v1::CreateCollectionRequest,
    mut show: impl FnMut(u64),
) -> Result<(), BenchError> {
    const WHAT: &str = "fill the catalog";
    create_database(client, database).await?;
    let (writes, places) = (client.writes(), Arc::new(Semaphore::new(under_way)));
    let mut answers: JoinSet<Result<(), quorate_client::Error>> = JoinSet::new();
    let mut done = 0;
    for number in 0..count {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.map_err(|_| BenchError::Broken("the places for writes were closed".to_owned()))?;
        let answer = writes.send(make(number)).await.map_err(BenchError::call(WHAT))?;
        answers.spawn(async move {
            let answered = answer.await.map(drop);
            drop(place);
            answered
        });
        while let Some(answered) = answers.try_join_next() {
            flat(answered)?.map_err(BenchError::call(WHAT))?;
            done += 1;
            show(done);
        }
    }
    while let Some(answered) = answers.join_next().await {
        flat(answered)?.map_err(BenchError::call(WHAT))?;
        done += 1;
        show(done);
    }
    Ok(())
}

fn flat<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, BenchError> {
    joined.map_err(|error| BenchError::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use quorate_types::limits::COMMAND_BYTES_MAX;

    use super::*;

    #[test]
    fn ballast_is_what_it_says() {
        for (megabytes, collections) in [(0, 0), (1, 23), (1_024, 8_075)] {
            assert_eq!(ballast_collections(megabytes), collections);
        }
        let mut values: BTreeSet<String> = BTreeSet::new();
        for number in [0, 1, 63, 64] {
            let one = large_collection(number);
            let bytes = properties_of(number) * VALUE_BYTES;
            assert!(one.encoded_len() as u64 >= bytes && one.encoded_len() < COMMAND_BYTES_MAX);
            values.extend(one.properties.into_values());
        }
        assert_eq!(values.len(), 1 + 2 + PROPERTIES_MAX + 1);
    }
}
