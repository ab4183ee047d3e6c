//! `Watch`: changes as they happen, resumable at any replica.
//!
//! Promises: each change of a selected kind comes once and in order, from the first revision asked for; with the state
//! first, the state is that of one revision and the changes are those after it, without a gap and without a duplicate. A
//! message goes out at least every five seconds and says how far the watch has come, so that a client can resume from a
//! fresh revision and tell a dead stream. A slow client makes only its own stream wait: messages are made when HTTP/2 has
//! room for them, out of an immutable image and the replicated history; who falls behind what history keeps is cancelled
//! and told where it begins.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, stream};
use prost::Message;
use quorate_api::v1;
use quorate_replica::machine::{ChangeSet, Image};
use quorate_replica::{Cancelled, Unavailable, Watcher};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Answer, Messages};
use crate::convert::watch::{Beginning, Wanted, events, existing, wanted};
use crate::leader::Led;
use crate::limits::{WATCH_MESSAGE_BYTES, WATCH_MESSAGE_EVENTS};
use crate::status;

/// Below the five seconds that are promised, so that the way is covered.
const PROGRESS_EVERY: Duration = Duration::from_secs(4);

pub(super) struct Watch {
    pub(super) led: Led,
    pub(super) ending: CancellationToken,
}

#[tonic::async_trait]
impl v1::watch_server::Watch for Watch {
    type WatchStream = Messages<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let wanted = wanted(request.get_ref()).map_err(status::malformed)?;
        let watch = self
            .begin(wanted)
            .map_err(|unavailable| status::unavailable(&unavailable))?;
        let messages = stream::unfold(watch, |mut watch| async move {
            let message = watch.next().await?;
            Some((Ok::<_, Status>(message), watch))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

impl Watch {
    fn begin(&self, wanted: Wanted) -> Result<ChangeWatch, Unavailable> {
        let replica = self.led.replica();
        let image = replica.read_stale()?.image;
        let (from, state) = match wanted.beginning {
            Beginning::From(revision) => (revision, None),
            Beginning::Now => (image.revision().next(), None),
            Beginning::State => (image.revision().next(), Some(state(image, &wanted))),
        };
        Ok(ChangeWatch {
            watcher: replica.watch(from)?,
            wanted,
            state,
            is_synced: false,
            told: Instant::now(),
            ending: self.ending.clone(),
            over: false,
        })
    }
}

/// What exists, as events.
type State = Box<dyn Iterator<Item = v1::Event> + Send>;

fn state(image: Image, wanted: &Wanted) -> State {
    let source = image.clone();
    let resources = wanted
        .kinds
        .clone()
        .into_iter()
        .flat_map(move |kind| source.resources(kind));
    Box::new(resources.map(move |(_, resource)| existing(resource, &image)))
}

/// One watch.
struct ChangeWatch {
    watcher: Watcher,
    wanted: Wanted,
    /// What is still to be delivered of the state.
    state: Option<State>,
    /// The client was told that it has what existed when it began.
    is_synced: bool,
    /// When the last message went out.
    told: Instant,
    ending: CancellationToken,
    over: bool,
}

impl ChangeWatch {
    /// The next message; `None` after the last.
    async fn next(&mut self) -> Option<v1::WatchResponse> {
        if self.over {
            return None;
        }
        let message = match &mut self.state {
            Some(state) => {
                let events = batch(state);
                if events.is_empty() {
                    self.state = None;
                    self.synced()
                } else {
                    self.message(events)
                }
            }
            None => self.changes().await,
        };
        self.over = message.cancelled.is_some();
        self.told = Instant::now();
        Some(message)
    }

    /// The next changes, or a sign when there are none.
    async fn changes(&mut self) -> v1::WatchResponse {
        loop {
            if !self.is_synced && self.watcher.is_synced() {
                return self.synced();
            }
            let due = self.told + PROGRESS_EVERY;
            let first = tokio::select! {
                biased;
                () = self.ending.cancelled() => return cancelled(Cancelled::Stopped),
                first = self.watcher.next() => first,
                () = sleep_until(due) => return self.message(Vec::new()),
            };
            let first = match first {
                Ok(first) => first,
                Err(why) => return cancelled(why),
            };
            let events = self.gather(&first);
            // Changes of other kinds alone are no news; the sign that is due says how far they went.
            if !events.is_empty() || Instant::now() >= due {
                return self.message(events);
            }
        }
    }

    /// The events of `first` and of whatever is there behind it, whole revisions, until a message is full.
    fn gather(&mut self, first: &Arc<ChangeSet>) -> Vec<v1::Event> {
        let mut gathered = Gathered::default();
        gathered.extend(events(first, &self.wanted));
        while !gathered.is_full() {
            // What fails now fails again on the next call, after these events.
            let Some(Ok(set)) = self.watcher.next().now_or_never() else {
                break;
            };
            gathered.extend(events(&set, &self.wanted));
        }
        gathered.events
    }

    fn synced(&mut self) -> v1::WatchResponse {
        self.is_synced = true;
        v1::WatchResponse {
            synced: true,
            ..self.message(Vec::new())
        }
    }

    fn message(&self, events: Vec<v1::Event>) -> v1::WatchResponse {
        let revision = self.watcher.next_revision().0.saturating_sub(1);
        v1::WatchResponse {
            revision,
            events,
            synced: false,
            cancelled: None,
        }
    }
}

fn cancelled(why: Cancelled) -> v1::WatchResponse {
    let compacted_below = match why {
        Cancelled::Compacted { floor } => floor.0,
        Cancelled::Stopped => 0,
    };
    let cancelled = v1::WatchCancelled {
        compacted_below,
        why: why.to_string(),
    };
    v1::WatchResponse {
        cancelled: Some(cancelled),
        ..Default::default()
    }
}

/// Events of one message.
#[derive(Default)]
struct Gathered {
    events: Vec<v1::Event>,
    bytes: usize,
}

impl Gathered {
    fn extend(&mut self, events: impl Iterator<Item = v1::Event>) {
        for event in events {
            self.bytes += event.encoded_len();
            self.events.push(event);
        }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= WATCH_MESSAGE_EVENTS || self.bytes >= WATCH_MESSAGE_BYTES
    }
}

/// As many events as one message carries; none when there are no more.
fn batch(state: &mut State) -> Vec<v1::Event> {
    let mut gathered = Gathered::default();
    while !gathered.is_full()
        && let Some(event) = state.next()
    {
        gathered.extend(std::iter::once(event));
    }
    gathered.events
}

#[cfg(test)]
mod tests {
    use quorate_types::Revision;

    use super::*;

    fn event(bytes: usize) -> v1::Event {
        let alias = v1::Alias {
            name: "x".repeat(bytes),
            ..Default::default()
        };
        let after = Some(v1::Resource {
            kind: Some(v1::resource::Kind::Alias(alias)),
        });
        v1::Event {
            after,
            ..Default::default()
        }
    }

    #[test]
    fn messages_of_the_state_are_bounded_in_events_and_bytes() {
        let cases = [
            ("nothing", 0, 1, vec![]),
            ("a few", 3, 1, vec![3]),
            ("many small ones", 2_500, 1, vec![1_024, 1_024, 452]),
            ("large ones", 5, 600_000, vec![2, 2, 1]),
            ("one that is larger than a message", 2, 3_000_000, vec![1, 1]),
        ];
        for (case, count, bytes, want) in cases {
            let mut state: State = Box::new(std::iter::repeat_n(event(bytes), count));
            let mut got = Vec::new();
            loop {
                let events = batch(&mut state);
                if events.is_empty() {
                    break;
                }
                got.push(events.len());
            }
            assert_eq!(got, want, "{case}");
        }
    }

    #[test]
    fn a_cancellation_says_from_where_history_is_kept() {
        let gone = cancelled(Cancelled::Compacted { floor: Revision(9) })
            .cancelled
            .expect("cancelled");
        assert_eq!(gone.compacted_below, 9);
        assert!(gone.why.contains("revision 9"), "{}", gone.why);
        let stopped = cancelled(Cancelled::Stopped).cancelled.expect("cancelled");
        assert_eq!(
            stopped.compacted_below, 0,
            "nothing is compacted; another replica goes on"
        );
    }
}
