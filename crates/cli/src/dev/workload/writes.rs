//! The writers: a write every few milliseconds, whether or not the ones before were answered, so that a failover shows
//! as what it is to clients: a time without acknowledgements, and then all of them.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quorate_client::{Client, Error, v1};
use tokio::time::{MissedTickBehavior, interval};

use super::super::event::Event;
use super::super::moment::Moment;
use super::super::poll::{Events, tell};
use super::catalog::{ALIAS, COLLECTION, DATABASE, unless_there};

/// Between two writes: 200 a second, and gaps are seen this fine.
const EVERY: Duration = Duration::from_millis(5);
/// A write is given up after this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Writes that wait for their answers; beyond it no more are sent.
const WAITING_MAX: usize = 512;
/// Partitions that come and go.
const PARTITIONS: u64 = 8;

/// Writes until nobody listens.
pub(in super::super) async fn run(client: Client, events: Events) {
    let client = client.with_deadline(PATIENCE);
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    let mut waiting = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = turns.tick(), if waiting.len() < WAITING_MAX => {
                waiting.push(write(client.clone(), number));
                number += 1;
                if !tell(&events, Event::WriteSent).await {
                    return;
                }
            }
            Some(done) = waiting.next() => {
                if events.send(done).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// One write and its end. The moment is taken here, where the answer arrives.
async fn write(client: Client, number: u64) -> (Moment, Event) {
    let event = match Kind::of(number).send(&client).await {
        Ok(()) => Event::WriteAcknowledged,
        Err(error) => Event::WriteFailed(error.to_string()),
    };
    (Moment::now(), event)
}

/// What is written. Nothing grows by it, so it can go on for days.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    AllocateIds,
    NoteRows(u64),
    CreatePartition(u64),
    DropPartition(u64),
}

impl Kind {
    fn of(number: u64) -> Self {
        let partition = number / 8 % PARTITIONS;
        match number % 8 {
            0 => Self::CreatePartition(partition),
            4 => Self::DropPartition((partition + PARTITIONS / 2) % PARTITIONS),
            2 | 6 => Self::NoteRows(number),
            _ => Self::AllocateIds,
        }
    }

    async fn send(self, client: &Client) -> Result<(), Error> {
        let root = client.root();
        let name = |number| format!("batch_{number}");
        match self {
            Self::AllocateIds => client.ids().allocate(100).await.map(drop),
            Self::NoteRows(rows) => {
                let request = v1::AlterCollectionRequest {
                    database: DATABASE.to_owned(),
                    name: ALIAS.to_owned(),
                    set: [("demo.rows".to_owned(), rows.to_string())].into(),
                    ..Default::default()
                };
                root.alter_collection(request).await.map(drop)
            }
            Self::CreatePartition(number) => {
                let request = v1::CreatePartitionRequest {
                    database: DATABASE.to_owned(),
                    collection: COLLECTION.to_owned(),
                    name: name(number),
                    request: None,
                };
                unless_there(root.create_partition(request).await)
            }
            Self::DropPartition(number) => {
                let request = v1::DropPartitionRequest {
                    database: DATABASE.to_owned(),
                    collection: COLLECTION.to_owned(),
                    name: name(number),
                    request: None,
                };
                root.drop_partition(request).await.map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_partition_that_comes_also_goes() {
        let (mut created, mut dropped) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..1_000 {
            match Kind::of(number) {
                Kind::CreatePartition(partition) => drop(created.insert(partition)),
                Kind::DropPartition(partition) => drop(dropped.insert(partition)),
                Kind::AllocateIds | Kind::NoteRows(_) => {}
            }
        }
        assert_eq!(created.len(), 8);
        assert_eq!(created, dropped);
    }
}
