//! The newest applied state, published by a pointer swap, and the word that it has changed.
//!
//! Promises: readers take the present image without a lock and without making the state machine wait; an image never
//! changes once taken. Waiters are told of a revision, or of an index, only after the image that includes it is published.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use quorate_machine::Image;
use quorate_types::{Index, Revision};
use tokio::sync::{oneshot, watch};

/// Where the state machine publishes and everybody reads; cheap to clone.
#[derive(Clone)]
pub(crate) struct Published {
    image: Arc<ArcSwap<Image>>,
    revision: watch::Sender<Revision>,
    kv_leases: watch::Sender<Revision>,
    kv_revision: watch::Sender<Revision>,
    awaited: Arc<Mutex<Awaited>>,
}

/// Who waits for an index. Not a watch channel: each batch of entries would wake everybody who waits for a later one.
#[derive(Default)]
struct Awaited {
    /// By index; the number tells apart those who wait for the same one.
    waiters: BTreeMap<(Index, u64), oneshot::Sender<()>>,
    next: u64,
}

/// Leaves the list when its owner gives up.
struct Waiter<'a> {
    published: &'a Published,
    key: (Index, u64),
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.published.awaited().waiters.remove(&self.key);
    }
}

impl Published {
    pub(crate) fn new(image: Image) -> Self {
        let revision = watch::Sender::new(image.revision());
        Self {
            kv_leases: watch::Sender::new(image.kv_lease_revision()),
            kv_revision: watch::Sender::new(image.kv_revision()),
            image: Arc::new(ArcSwap::from_pointee(image)),
            revision,
            awaited: Arc::default(),
        }
    }

    /// Replaces what readers see. Watchers learn of it by [`Self::announce`], which comes after the answers.
    pub(crate) fn publish(&self, image: Image) {
        self.image.store(Arc::new(image));
    }

    /// Wakes the watchers, if their keyspace's revision has moved, and those who wait for an index that is reached.
    pub(crate) fn announce(&self) {
        let (position, revision, kv_revision, leases) = {
            let image = self.image.load();
            let (revision, kv_revision) = (image.revision(), image.kv_revision());
            (image.position(), revision, kv_revision, image.kv_lease_revision())
        };
        if let Some(reached) = position {
            let mut awaited = self.awaited();
            let later = awaited.waiters.split_off(&(Index(reached.0 + 1), 0));
            let reached = std::mem::replace(&mut awaited.waiters, later);
            drop(awaited);
            for waiter in reached.into_values() {
                // It may have given up.
                let _ = waiter.send(());
            }
        }
        self.revision
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
        self.kv_leases
            .send_if_modified(|known| std::mem::replace(known, leases) != leases);
        self.kv_revision
            .send_if_modified(|known| std::mem::replace(known, kv_revision) != kv_revision);
    }

    /// Waits until readers see the effect of the entry at `index`. Cancel-safe.
    pub(crate) async fn reached(&self, index: Index) {
        let (reached, waits) = oneshot::channel();
        let _waiter = {
            let mut awaited = self.awaited();
            // Under the lock: what is published after this look is announced after we are in the list.
            if self.image.load().position() >= Some(index) {
                return;
            }
            awaited.next += 1;
            let key = (index, awaited.next);
            awaited.waiters.insert(key, reached);
            Waiter { published: self, key }
        };
        // The sender lives in the list, which this replica holds: it is not dropped unsent.
        let _ = waits.await;
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        // Nothing panics while it holds the lock.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What readers see now.
    pub(crate) fn image(&self) -> Image {
        Image::clone(&self.image.load())
    }

    /// Whether etcd's authentication is on, without taking the image.
    pub(crate) fn kv_auth_is_on(&self) -> bool {
        self.image.load().kv_auth().is_on()
    }

    /// Tells when a lease of etcd's was granted or has ended.
    pub(crate) fn kv_leases(&self) -> watch::Receiver<Revision> {
        self.kv_leases.subscribe()
    }

    /// Tells of announced revisions.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Tells of announced revisions of etcd's keyspace.
    pub(crate) fn subscribe_kv(&self) -> watch::Receiver<Revision> {
        self.kv_revision.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use quorate_machine::Machine;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_an_index_is_woken_by_it_and_by_later_ones() {
        let mut machine = Machine::genesis();
        let published = Published::new(machine.image());
        let waits = |index: u64| {
            let published = published.clone();
            async move { published.reached(Index(index)).await }.boxed()
        };
        let (mut zero, mut one, mut one_more, mut two) = (waits(0), waits(1), waits(1), waits(2));
        for waiter in [&mut zero, &mut one, &mut one_more, &mut two] {
            assert!(waiter.now_or_never().is_none(), "nothing is applied yet");
        }
        drop(one_more);
        assert_eq!(published.awaited().waiters.len(), 3, "who gives up leaves");
        for index in 0..2 {
            machine.skip(Index(index)).expect("the next one");
        }
        published.publish(machine.image());
        assert!((&mut one).now_or_never().is_none(), "not announced yet");
        published.announce();
        zero.await;
        one.await;
        assert!((&mut two).now_or_never().is_none());
        waits(1).now_or_never().expect("reached already");
        drop(two);
        assert!(published.awaited().waiters.is_empty());
    }
}
