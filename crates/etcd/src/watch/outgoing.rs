//! What a stream has to say and has not said yet.
//!
//! Promises: responses are made one by one, when the client has room for them, out of shared sets: ten thousand watches of a
//! stream that get the same change cost a number each; a response is never mixed with another one's fragments; what a
//! watch does not want makes no response. Nothing is taken in before everything is said, so it is bounded by what comes at
//! once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::IntoIter;

use quorate_api::etcdserverpb::{ResponseHeader, WatchResponse};
use quorate_api::mvccpb::{Event, KeyValue};
use quorate_replica::machine::ChangeSet;
use quorate_types::Revision;

use super::events::events;
use super::fragments::fragments;
use super::watches::{WatchId, Watches};
use crate::limits::{MESSAGE_BYTES_MAX, WATCH_RESPONSE_BYTES, WATCH_RESPONSE_REVISIONS};
use crate::node::Stamp;

/// See the module.
#[derive(Default)]
pub(super) struct Outgoing {
    responses: VecDeque<WatchResponse>,
    batches: VecDeque<(Stamp, Batch)>,
}

/// Events of which no responses are made yet.
pub(super) enum Batch {
    /// One set for several watches, as it happened.
    News(Arc<ChangeSet>, IntoIter<WatchId>),
    /// Several sets for one watch out of the history, which was read up to the revision.
    Past(WatchId, IntoIter<Arc<ChangeSet>>, Revision),
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.batches.is_empty()
    }

    pub(super) fn say(&mut self, response: WatchResponse) {
        self.responses.push_back(response);
    }

    /// Says the events, behind everything else.
    pub(super) fn say_events(&mut self, stamp: Stamp, batch: Batch) {
        self.batches.push_back((stamp, batch));
    }

    /// The next response.
    pub(super) fn next(&mut self, watches: &mut Watches) -> Option<WatchResponse> {
        loop {
            if let Some(response) = self.responses.pop_front() {
                return Some(response);
            }
            let (stamp, batch) = self.batches.front_mut()?;
            let Some((id, events, revision)) = batch.next(watches) else {
                self.batches.pop_front();
                continue;
            };
            let header = stamp.header(revision);
            self.respond(watches, id, events, header);
        }
    }

    fn respond(&mut self, watches: &mut Watches, id: WatchId, events: Vec<Event>, header: ResponseHeader) {
        let Some(watch) = watches.get_mut(id).filter(|_| !events.is_empty()) else {
            return;
        };
        watch.is_quiet = false;
        let response = WatchResponse {
            header: Some(header),
            watch_id: id,
            events,
            ..WatchResponse::default()
        };
        match watch.fragment {
            true => self.responses.extend(fragments(response, MESSAGE_BYTES_MAX)),
            false => self.responses.push_back(response),
        }
    }
}

impl Batch {
    /// The events of the next response, perhaps none, and the revision in its head; `None` when there is no more.
    fn next(&mut self, watches: &mut Watches) -> Option<(WatchId, Vec<Event>, Revision)> {
        match self {
            Self::News(set, ids) => {
                let id = ids.next()?;
                let watch = watches.get_mut(id);
                let events = watch.map(|watch| events(set, &watch.keys, watch.wanted).collect());
                Some((id, events.unwrap_or_default(), set.revision))
            }
            Self::Past(id, sets, read) => {
                let first = sets.next()?;
                let (mut all, mut bytes, mut last) = (Vec::new(), 0, first.revision);
                let mut next = Some(first);
                for count in 1.. {
                    let Some(set) = next else {
                        break;
                    };
                    if let Some(watch) = watches.get_mut(*id) {
                        for event in events(&set, &watch.keys, watch.wanted) {
                            bytes += event_bytes(&event);
                            all.push(event);
                        }
                    }
                    last = set.revision;
                    // Whole revisions; a response is closed by the one that fills it.
                    if count >= WATCH_RESPONSE_REVISIONS || bytes >= WATCH_RESPONSE_BYTES {
                        break;
                    }
                    next = sets.next();
                }
                // The last response says how far the watch is, beyond its events.
                let is_last = sets.as_slice().is_empty();
                Some((*id, all, if is_last { *read } else { last }))
            }
        }
    }
}

/// Bytes of keys and values.
fn event_bytes(event: &Event) -> usize {
    let bytes = |kv: &Option<KeyValue>| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
    bytes(&event.kv) + bytes(&event.prev_kv)
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
