//! The workers: proxies, query nodes, data nodes and index nodes, each with a session.
//!
//! Promises: a worker whose session is fenced opens another, as a real one would; at the end every session is closed, as
//! long as somebody leads.

use std::time::Duration;

use quorate_client::{Client, Session as Open, SessionState, v1};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::event::{Event, Session, Tone};
use super::super::poll::{Events, tell};

/// Time to live of a session.
const TTL: Duration = Duration::from_secs(10);
/// Between two attempts to open a session.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long a session may take to open.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

const KINDS: [(v1::WorkerKind, &str); 4] = [
    (v1::WorkerKind::Proxy, "proxy"),
    (v1::WorkerKind::QueryNode, "query"),
    (v1::WorkerKind::DataNode, "data"),
    (v1::WorkerKind::IndexNode, "index"),
];

/// The worker in this place.
pub(in super::super) fn worker(number: usize) -> v1::Worker {
    let (kind, name) = KINDS[number % KINDS.len()];
    let of_kind = number / KINDS.len() + 1;
    v1::Worker {
        kind: kind.into(),
        name: format!("{name}-{of_kind}"),
        // Nobody listens there: what workers do for one another is not simulated.
        address: format!("{name}-{of_kind}.demo:19530"),
        zone: ["zone-1", "zone-2", "zone-3"][number % 3].to_owned(),
        resource_group: "default".to_owned(),
        capacity: [("memory_mb".to_owned(), 16_384)].into(),
    }
}

/// Keeps a session until `ends` says so, or nobody listens.
pub(in super::super) async fn run(
    client: Client,
    number: usize,
    events: Events,
    mut ends: watch::Receiver<bool>,
) {
    let client = client.with_deadline(PATIENCE);
    loop {
        let opening = client.session(worker(number), TTL).open();
        let opened = tokio::select! {
            opened = Box::pin(opening) => opened,
            () = ended(&mut ends) => return,
        };
        match opened {
            Ok(session) => {
                let goes_on = tokio::select! {
                    goes_on = follow(&session, number, &events) => goes_on,
                    () = ended(&mut ends) => {
                        // Without a leader it expires by itself.
                        let _ = timeout(CLOSE_WITHIN, session.close()).await;
                        return;
                    }
                };
                if !goes_on {
                    return;
                }
            }
            Err(error) => {
                let text = format!("worker {} has no session: {error}", worker(number).name);
                if !tell(&events, Event::Said(Tone::Warn, text)).await {
                    return;
                }
            }
        }
        tokio::select! {
            () = sleep(AGAIN_AFTER) => {}
            () = ended(&mut ends) => return,
        }
        if !tell(
            &events,
            Event::Worker {
                number,
                session: Session::Connecting,
            },
        )
        .await
        {
            return;
        }
    }
}

/// Tells the states of a session until it is over; false when nobody listens any more.
async fn follow(session: &Open, number: usize, events: &Events) -> bool {
    let mut states = session.state();
    loop {
        let state = *states.borrow_and_update();
        let (shown, over) = match state {
            SessionState::Connecting => (Session::Connecting, false),
            SessionState::Ready => (
                Session::Ready {
                    epoch: session.epoch().0,
                },
                false,
            ),
            SessionState::Jeopardy { .. } => (Session::Jeopardy, false),
            SessionState::Fenced | SessionState::Closed => (Session::Fenced, true),
        };
        if !tell(
            events,
            Event::Worker {
                number,
                session: shown,
            },
        )
        .await
        {
            return false;
        }
        if over || states.changed().await.is_err() {
            return true;
        }
    }
}

/// Waits for the end.
async fn ended(ends: &mut watch::Receiver<bool>) {
    if ends.wait_for(|ends| *ends).await.is_err() {
        // Whoever could say so is gone, and this task will be, too.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn workers_are_of_all_kinds_and_differ() {
        let names: Vec<String> = (0..6).map(|number| worker(number).name).collect();
        assert_eq!(
            names,
            ["proxy-1", "query-1", "data-1", "index-1", "proxy-2", "query-2"]
        );
        let all: BTreeSet<(i32, String)> = (0..1_000)
            .map(worker)
            .map(|worker| (worker.kind, worker.name))
            .collect();
        assert_eq!(all.len(), 1_000);
    }
}
