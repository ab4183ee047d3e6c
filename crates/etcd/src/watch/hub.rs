//! Hands each change to the streams that are interested in it.
//!
//! Promises: one task reads each set of changes once, whatever the number of watches, and finds by an index who is
//! interested; it waits for nobody. A stream that has subscribed to keys is handed every change of them that is newer than
//! any state that it takes from then on. Streams, watches and the bytes of their keys are bounded, for all clients of a
//! replica together.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_replica::machine::{ChangeSet, Image};
use quorate_types::Revision;
use tokio::sync::watch;
use tokio::task::yield_now;

use super::inbox::Inbox;
use super::index::Index;
use super::keys::Keys;
use crate::limits;
use crate::node::Node;

/// Changes that are looked up at once: so long those wait who subscribe.
const CHANGES_PER_LOOK: usize = 256;
/// A set is handed to so many streams before those have a turn: what they write leaves while the next ones are told.
const DELIVERIES_PER_TURN: usize = 64;
/// Sets that are taken out of one state.
const SETS_PER_STATE: usize = 256;

/// What is bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) streams: usize,
    pub(super) watches: usize,
    pub(super) key_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: limits::WATCH_STREAMS_MAX,
            watches: limits::WATCHES_MAX,
            key_bytes: limits::WATCH_KEY_BYTES_MAX,
        }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// See the module.
pub(super) struct Hub {
    limits: Limits,
    subscriptions: Mutex<Subscriptions>,
    /// Everything up to here is handed out.
    distributed: watch::Sender<Revision>,
}

#[derive(Default)]
struct Subscriptions {
    index: Index<Subscriber>,
    inboxes: BTreeMap<u64, Arc<Inbox>>,
    next_stream: u64,
    watches: usize,
    key_bytes: usize,
}

/// A stream in the index.
struct Subscriber {
    stream: u64,
    inbox: Arc<Inbox>,
}

impl Ord for Subscriber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.stream.cmp(&other.stream)
    }
}

impl PartialOrd for Subscriber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Subscriber {
    fn eq(&self, other: &Self) -> bool {
        self.stream == other.stream
    }
}

impl Eq for Subscriber {}

impl Hub {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            subscriptions: Mutex::default(),
            distributed: watch::Sender::default(),
        })
    }

    /// A place for one more stream.
    pub(super) fn open(self: &Arc<Self>) -> Result<Feed, Full> {
        let mut subscriptions = self.subscriptions();
        if subscriptions.inboxes.len() >= self.limits.streams {
            return Err(Full);
        }
        let stream = subscriptions.next_stream;
        subscriptions.next_stream += 1;
        let inbox = Arc::<Inbox>::default();
        subscriptions.inboxes.insert(stream, Arc::clone(&inbox));
        drop(subscriptions);
        Ok(Feed {
            hub: Arc::clone(self),
            stream,
            inbox,
            subscribed: BTreeMap::new(),
            distributed: self.distributed.subscribe(),
        })
    }

    /// Hands out what happens, for as long as it runs.
    pub(super) async fn distribute<N: Node>(&self, node: N) {
        let mut revisions = node.kv_revisions().await;
        let mut next = None;
        loop {
            let goes_on = match node.read_stale() {
                Ok(image) => {
                    let wanted = self.turn(next, &image).await;
                    next = Some(wanted);
                    revisions.wait_for(|revision| *revision >= wanted).await.is_ok()
                }
                // A fault has stopped the replica: nothing happens any more.
                Err(_) => revisions.changed().await.is_ok(),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Hands out some of what a state has from `next` on, and gives what comes after that.
    pub(super) async fn turn(&self, next: Option<Revision>, image: &Image) -> Revision {
        let history = next.map(|next| (next, image.kv_history(next)));
        let Some((mut next, Ok(history))) = history else {
            // It has just begun, or what comes next is forgotten: whoever has subscribed reads the history, as far as it goes.
            self.lose(next.unwrap_or_default());
            self.distributed.send_replace(image.kv_revision());
            return image.kv_revision().next();
        };
        for set in history.take(SETS_PER_STATE) {
            self.hand_out(&set).await;
            self.distributed.send_replace(set.revision);
            next = set.revision.next();
        }
        next
    }

    async fn hand_out(&self, set: &Arc<ChangeSet>) {
        let bytes = set.bytes();
        let mut delivered = 0;
        // Who is found again in a later part of a large set has it already.
        for changes in set.changes.chunks(CHANGES_PER_LOOK) {
            let interested: Vec<Arc<Inbox>> = {
                let subscriptions = self.subscriptions();
                let groups = subscriptions.index.interested(changes).into_iter();
                groups
                    .flatten()
                    .map(|subscriber| Arc::clone(&subscriber.inbox))
                    .collect()
            };
            for inbox in interested {
                inbox.deliver(set, bytes);
                delivered += 1;
                if delivered % DELIVERIES_PER_TURN == 0 {
                    yield_now().await;
                }
            }
        }
    }

    fn lose(&self, from: Revision) {
        let inboxes: Vec<_> = self.subscriptions().inboxes.values().cloned().collect();
        for inbox in inboxes {
            inbox.lose(from);
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        // Nothing panics while it holds the lock.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place at the hub, until it is dropped.
pub(super) struct Feed {
    hub: Arc<Hub>,
    stream: u64,
    inbox: Arc<Inbox>,
    /// How many watches are on which keys.
    subscribed: BTreeMap<Keys, usize>,
    distributed: watch::Receiver<Revision>,
}

impl Feed {
    /// One more watch is on these keys.
    pub(super) fn subscribe(&mut self, keys: &Keys) -> Result<(), Full> {
        let limits = self.hub.limits;
        {
            let mut subscriptions = self.hub.subscriptions();
            let key_bytes = subscriptions.key_bytes + keys.bytes();
            if subscriptions.watches >= limits.watches || key_bytes > limits.key_bytes {
                return Err(Full);
            }
            subscriptions.watches += 1;
            subscriptions.key_bytes = key_bytes;
            if !self.subscribed.contains_key(keys) {
                let subscriber = self.subscriber();
                subscriptions.index.insert(keys, subscriber);
            }
        }
        *self.subscribed.entry(keys.clone()).or_default() += 1;
        Ok(())
    }

    /// A watch on these keys has ended.
    pub(super) fn unsubscribe(&mut self, keys: &Keys) {
        let Some(watches) = self.subscribed.get_mut(keys) else {
            return;
        };
        *watches -= 1;
        let is_last = *watches == 0;
        if is_last {
            self.subscribed.remove(keys);
        }
        self.leave(keys, 1, is_last);
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Everything of interest up to here is in the inbox, or was.
    pub(super) fn distributed(&self) -> Revision {
        *self.distributed.borrow()
    }

    /// For waiting until a revision is handed out.
    pub(super) fn distribution(&self) -> watch::Receiver<Revision> {
        self.distributed.clone()
    }

    fn leave(&self, keys: &Keys, watches: usize, is_last: bool) {
        let subscriber = self.subscriber();
        let mut subscriptions = self.hub.subscriptions();
        subscriptions.watches -= watches;
        subscriptions.key_bytes -= watches * keys.bytes();
        if is_last {
            subscriptions.index.remove(keys, &subscriber);
        }
    }

    fn subscriber(&self) -> Subscriber {
        Subscriber {
            stream: self.stream,
            inbox: Arc::clone(&self.inbox),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for (keys, watches) in std::mem::take(&mut self.subscribed) {
            self.leave(&keys, watches, true);
        }
        self.hub.subscriptions().inboxes.remove(&self.stream);
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
