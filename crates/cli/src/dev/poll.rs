//! What the replicas say: their status four times a second, and the leader at once.
//!
//! Promises: one question per replica under way at a time, each with a deadline, so that a paused replica costs nothing
//! but its own row.

use std::time::Duration;

use quorate_client::Client;
use quorate_types::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::event::{Event, Leading};
use super::moment::Moment;

/// Between two questions to a replica.
const EVERY: Duration = Duration::from_millis(250);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where events go. The queue is bounded: whoever is too fast waits.
pub(super) type Events = mpsc::Sender<(Moment, Event)>;

/// Tells an event that happens now. False when nobody listens any more.
pub(super) async fn tell(events: &Events, event: Event) -> bool {
    events.send((Moment::now(), event)).await.is_ok()
}

/// Starts the pollers of these replicas, in the order of their places.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    client: &Client,
    nodes: impl Iterator<Item = NodeId>,
    events: &Events,
) {
    for (replica, node) in nodes.enumerate() {
        tasks.spawn(statuses(
            client.with_deadline(PATIENCE),
            replica,
            node,
            events.clone(),
        ));
    }
    tasks.spawn(leaders(client.clone(), events.clone()));
}

async fn statuses(client: Client, replica: usize, node: NodeId, events: Events) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let answer = client.cluster().status(node).await;
        let answer = answer.map(Box::new).map_err(|error| error.to_string());
        if !tell(&events, Event::Status { replica, answer }).await {
            return;
        }
    }
}

async fn leaders(client: Client, events: Events) {
    let mut leaders = client.leader();
    loop {
        let leader = leaders.borrow_and_update().clone();
        let leader = leader.map(|leader| Leading {
            node: leader.node.0,
            term: leader.term.0,
        });
        if !tell(&events, Event::Leader(leader)).await || leaders.changed().await.is_err() {
            return;
        }
    }
}
