//! What waits for one stream.
//!
//! Promises: nobody waits for a stream that does not read: what is interesting to it is queued up to a bound, in sets and
//! in bytes; above that, the stream is told from which revision on it lacks something, and reads the history instead. The
//! sets are shared with everybody else, so a queue costs its places.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_replica::machine::ChangeSet;
use quorate_types::Revision;
use tokio::sync::Notify;

use crate::limits::{WATCH_QUEUE_BYTES, WATCH_QUEUE_SETS};

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Default)]
struct Queue {
    sets: VecDeque<(Arc<ChangeSet>, usize)>,
    bytes: usize,
    /// The newest revision that was handed in.
    newest: Revision,
    /// Nothing is queued any more until the stream knows.
    lost: Option<Revision>,
}

/// What a stream learns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Some of its watches are interested in this.
    Set(Arc<ChangeSet>),
    /// It may lack what is interesting from this revision on; from now on it gets everything again.
    Lost(Revision),
}

impl Inbox {
    /// Hands in a set of `bytes`, unless it was handed in before. Sets come in the order of their revisions.
    pub(super) fn deliver(&self, set: &Arc<ChangeSet>, bytes: usize) {
        {
            let mut queue = self.queue();
            if queue.newest >= set.revision {
                return;
            }
            queue.newest = set.revision;
            if queue.lost.is_some() {
                return;
            }
            let is_full = queue.sets.len() >= WATCH_QUEUE_SETS
                || !queue.sets.is_empty() && queue.bytes + bytes > WATCH_QUEUE_BYTES;
            if is_full {
                queue.lost = Some(set.revision);
            } else {
                queue.bytes += bytes;
                queue.sets.push_back((Arc::clone(set), bytes));
            }
        }
        self.news.notify_one();
    }

    /// Whatever there is from `from` on could not be handed in.
    pub(super) fn lose(&self, from: Revision) {
        {
            let mut queue = self.queue();
            queue.lost = Some(queue.lost.map_or(from, |lost| lost.min(from)));
        }
        self.news.notify_one();
    }

    /// Waits for the next news. Cancel-safe.
    pub(super) async fn news(&self) -> News {
        loop {
            if let Some(news) = self.take() {
                return news;
            }
            self.news.notified().await;
        }
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let queue = self.queue();
        queue.sets.is_empty() && queue.lost.is_none()
    }

    fn take(&self) -> Option<News> {
        let mut queue = self.queue();
        if let Some((set, bytes)) = queue.sets.pop_front() {
            queue.bytes -= bytes;
            return Some(News::Set(set));
        }
        queue.lost.take().map(News::Lost)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn set(revision: u64) -> Arc<ChangeSet> {
        Arc::new(ChangeSet {
            revision: Revision(revision),
            changes: Vec::new(),
        })
    }

    /// The revisions that are queued, and where it ends.
    fn drain(inbox: &Inbox) -> (Vec<u64>, Option<u64>) {
        let mut revisions = Vec::new();
        loop {
            match inbox.take() {
                Some(News::Set(set)) => revisions.push(set.revision.0),
                Some(News::Lost(from)) => return (revisions, Some(from.0)),
                None => return (revisions, None),
            }
        }
    }

    #[test]
    fn sets_come_once_and_in_order() {
        let inbox = Inbox::default();
        assert!(inbox.news().now_or_never().is_none());
        for revision in [2, 2, 5, 5, 7] {
            inbox.deliver(&set(revision), 1);
        }
        assert_eq!(inbox.news().now_or_never(), Some(News::Set(set(2))));
        assert!(!inbox.is_empty());
        assert_eq!(drain(&inbox), (vec![5, 7], None));
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_full_queue_says_from_where_it_lacks_something() {
        let count = WATCH_QUEUE_SETS as u64;
        let cases: [(&str, Vec<(u64, usize)>, Vec<u64>, Option<u64>); 4] = [
            (
                "too many",
                (1..count + 5).map(|revision| (revision, 1)).collect(),
                (1..=count).collect(),
                Some(count + 1),
            ),
            (
                "too large",
                vec![(1, WATCH_QUEUE_BYTES - 1), (2, 1), (4, 1), (5, 1)],
                vec![1, 2],
                Some(4),
            ),
            (
                "one that is too large by itself",
                vec![(3, 9 * WATCH_QUEUE_BYTES)],
                vec![3],
                None,
            ),
            (
                "one behind it",
                vec![(3, 9 * WATCH_QUEUE_BYTES), (4, 0)],
                vec![3],
                Some(4),
            ),
        ];
        for (case, sets, queued, lost) in cases {
            let inbox = Inbox::default();
            for (revision, bytes) in sets {
                inbox.deliver(&set(revision), bytes);
            }
            assert_eq!(drain(&inbox), (queued, lost), "{case}");
            // It is told once, and gets everything again from there on.
            inbox.deliver(&set(1_000), 1);
            assert_eq!(drain(&inbox), (vec![1_000], None), "{case}");
        }
    }

    #[test]
    fn what_is_lost_first_counts() {
        let inbox = Inbox::default();
        inbox.deliver(&set(2), 1);
        inbox.lose(Revision(9));
        inbox.lose(Revision(5));
        inbox.lose(Revision(7));
        inbox.deliver(&set(10), 1);
        assert_eq!(drain(&inbox), (vec![2], Some(5)));
    }
}
