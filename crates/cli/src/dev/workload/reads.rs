//! The readers: linearizable reads, one after the other.

use std::time::Duration;

use quorate_client::{Client, v1};
use tokio::time::{MissedTickBehavior, interval};

use super::super::event::Event;
use super::super::poll::{Events, tell};
use super::catalog::{ALIAS, DATABASE};

/// Between two reads.
const EVERY: Duration = Duration::from_millis(25);
/// A read is given up after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads until nobody listens.
pub(in super::super) async fn run(client: Client, events: Events) {
    let root = client.with_deadline(PATIENCE).root();
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let request = v1::DescribeCollectionRequest {
            database: DATABASE.to_owned(),
            name: ALIAS.to_owned(),
            collection_id: 0,
        };
        let event = match root.describe_collection(request).await {
            Ok(_) => Event::ReadAnswered,
            Err(error) => Event::ReadFailed(error.to_string()),
        };
        if !tell(&events, event).await {
            return;
        }
    }
}
