//! Watching the metadata: every accepted change, in order, resumable on any replica.
//!
//! Promises: a watcher gets each change set from its first revision on exactly once and in order, and never one that a
//! reader of the same replica cannot see yet. A watcher is *synced* (it waits for news), *catching up* (it is behind,
//! and reads pages of the image's history), or *cancelled* (what it needs is compacted). There is no queue for each
//! watcher: the replicated history is the queue, so a slow watcher costs nothing and makes nobody wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_machine::ChangeSet;
use quorate_types::Revision;
use quorate_types::limits::WATCHERS_MAX;
use tokio::sync::watch;

use crate::published::Published;
use crate::unavailable::Unavailable;

/// Change sets that are read from history at once: bounds what one watcher holds in memory.
const HISTORY_PAGE: usize = 256;

/// Gives out watchers, at most [`WATCHERS_MAX`]; cheap to clone.
#[derive(Clone)]
pub(crate) struct WatchHub {
    published: Published,
    seats: Arc<AtomicUsize>,
}

/// One watch.
pub struct Watcher {
    next: Revision,
    published: Published,
    announced: watch::Receiver<Revision>,
    /// Read from history and not delivered yet.
    page: VecDeque<Arc<ChangeSet>>,
    _seat: Seat,
}

/// Why a watch cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cancelled {
    /// Read the state and watch from its revision.
    #[error("changes below revision {floor} are no longer kept; read the state again and watch from there")]
    Compacted {
        /// The first revision that is still kept.
        floor: Revision,
    },
    /// Watch at another replica.
    #[error("this replica has stopped; go on watching at another one")]
    Stopped,
}

impl WatchHub {
    pub(crate) fn new(published: Published) -> Self {
        Self {
            published,
            seats: Arc::default(),
        }
    }

    /// Watchers now.
    pub(crate) fn watchers(&self) -> usize {
        self.seats.load(Ordering::Relaxed)
    }

    /// A watcher that begins with the changes of revision `from`.
    pub(crate) fn watch(&self, from: Revision) -> Result<Watcher, Unavailable> {
        let seat = Seat(Arc::clone(&self.seats));
        if self.seats.fetch_add(1, Ordering::Relaxed) >= WATCHERS_MAX {
            // Dropping the seat gives the place back.
            return Err(Unavailable::Overloaded { what: "watchers" });
        }
        Ok(Watcher {
            next: from,
            announced: self.published.subscribe(),
            published: self.published.clone(),
            page: VecDeque::new(),
            _seat: seat,
        })
    }
}

impl Watcher {
    /// The revision that comes next.
    #[must_use]
    pub fn next_revision(&self) -> Revision {
        self.next
    }

    /// Everything that this replica has announced is delivered.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.page.is_empty() && self.next > *self.announced.borrow()
    }

    /// Waits for the next change set. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`Cancelled`]; the watcher is of no further use then.
    pub async fn next(&mut self) -> Result<Arc<ChangeSet>, Cancelled> {
        loop {
            if let Some(change_set) = self.page.pop_front() {
                self.next = change_set.revision.next();
                return Ok(change_set);
            }
            let next = self.next;
            self.announced
                .wait_for(|announced| *announced >= next)
                .await
                .map_err(|_| Cancelled::Stopped)?;
            self.read_page()?;
        }
    }

    fn read_page(&mut self) -> Result<(), Cancelled> {
        let image = self.published.image();
        let history = image
            .history(self.next)
            .map_err(|compacted| Cancelled::Compacted {
                floor: compacted.floor,
            })?;
        self.page.extend(history.take(HISTORY_PAGE));
        if self.page.is_empty() {
            // The image is at or past `next`: what is not in its history is compacted away.
            return Err(Cancelled::Compacted {
                floor: image.revision().next(),
            });
        }
        Ok(())
    }
}

/// A watcher's place among [`WATCHERS_MAX`].
#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
