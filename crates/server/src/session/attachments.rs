//! Which stream carries which session, and word to the stream when its session is over.
//!
//! Promises: a stream that breaks makes its session suspect only if the session has not moved on to a newer stream, so that
//! a worker which reconnected before the old connection was noticed to be dead is not punished for it; and only while this
//! replica serves as the leader and is not about to stop, because otherwise the break says nothing about the worker. A
//! session that is replaced, closed elsewhere or expired ends its stream at once, without waiting for the next keep-alive.
//!
//! At most one entry for each open stream, so the streams' limits bound it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_replica::machine::{Change, Image, LeaseId, Resource, ResourceKind};
use quorate_replica::{Cancelled, Replica};
use quorate_types::Epoch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// When all seats of watchers are taken, the follower asks again after this.
const SEAT_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    streams: BTreeMap<LeaseId, Stream>,
}

#[derive(Debug)]
struct Stream {
    number: u64,
    epoch: Epoch,
    over: CancellationToken,
}

/// A session's hold on its stream. Dropping it lets go.
#[derive(Debug)]
pub(crate) struct Attachment {
    all: Arc<Attachments>,
    pub(crate) session: LeaseId,
    pub(crate) epoch: Epoch,
    number: u64,
    /// The session is over.
    pub(crate) over: CancellationToken,
}

impl Attachments {
    /// Hangs a session on a stream; one that carried it before loses it.
    pub(crate) fn attach(self: &Arc<Self>, session: LeaseId, epoch: Epoch) -> Attachment {
        let mut state = self.lock();
        state.last_number += 1;
        let (number, over) = (state.last_number, CancellationToken::new());
        state.streams.insert(
            session,
            Stream {
                number,
                epoch,
                over: over.clone(),
            },
        );
        Attachment {
            all: Arc::clone(self),
            session,
            epoch,
            number,
            over,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, session: LeaseId) {
        if let Some(stream) = self.lock().streams.get(&session) {
            stream.over.cancel();
        }
    }

    /// Ends the streams of sessions that are over. `image` is asked for only when it is known which to look for: every
    /// session is in the state by the time it is attached, so one that is missing then is over and not merely new.
    fn compare(&self, image: impl FnOnce() -> Option<Image>) {
        let streams = self
            .lock()
            .streams
            .iter()
            .map(|(id, stream)| (*id, stream.epoch, stream.over.clone()))
            .collect();
        let streams: Vec<(LeaseId, Epoch, CancellationToken)> = streams;
        let Some(image) = image() else {
            return;
        };
        for (session, epoch, over) in streams {
            if !image.session_is_live(session, epoch) {
                over.cancel();
            }
        }
    }

    /// Follows the sessions that end, until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, replica: Replica, stop: CancellationToken) {
        tokio::select! {
            () = self.follow_forever(&replica) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow_forever(&self, replica: &Replica) {
        if replica.waiting().wait_for(String::is_empty).await.is_err() {
            return;
        }
        let image = || Some(replica.read_stale().ok()?.image);
        loop {
            let Some(image_now) = image() else {
                return;
            };
            let Ok(mut watcher) = replica.watch(image_now.revision().next()) else {
                sleep(SEAT_RETRY).await;
                continue;
            };
            // What ended before the watch began.
            self.compare(image);
            loop {
                match watcher.next().await {
                    Ok(set) => set
                        .changes
                        .iter()
                        .filter_map(ended)
                        .for_each(|session| self.end(session)),
                    Err(Cancelled::Compacted { .. }) => break,
                    Err(Cancelled::Stopped) => return,
                }
            }
        }
    }
}

/// The session that a change ends.
fn ended(change: &Change) -> Option<LeaseId> {
    if change.kind() != Some(ResourceKind::Session) || change.after.is_some() {
        return None;
    }
    match change.resource_before()? {
        Resource::Session(session) => Some(session.id),
        _ => None,
    }
}

impl Attachment {
    /// Lets go; says whether the session was still on this stream.
    pub(crate) fn detach(&self) -> bool {
        let mut state = self.all.lock();
        let is_ours = state
            .streams
            .get(&self.session)
            .is_some_and(|stream| stream.number == self.number);
        if is_ours {
            state.streams.remove(&self.session);
        }
        is_ours
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.detach();
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::machine::Machine;

    use super::*;

    const S: LeaseId = LeaseId(7);

    #[test]
    fn a_session_that_moved_on_is_not_let_go_by_its_old_stream() {
        let all = Arc::new(Attachments::default());
        let old = all.attach(S, Epoch(1));
        let new = all.attach(S, Epoch(1));
        assert!(!old.detach(), "it is on the new stream");
        assert!(new.detach());
        assert!(!new.detach(), "once");
        assert!(all.lock().streams.is_empty());
    }

    #[test]
    fn dropping_lets_go() {
        let all = Arc::new(Attachments::default());
        drop(all.attach(S, Epoch(1)));
        assert!(all.lock().streams.is_empty());
    }

    #[test]
    fn the_end_of_a_session_reaches_its_stream_and_no_other() {
        let all = Arc::new(Attachments::default());
        let (one, other) = (all.attach(S, Epoch(1)), all.attach(LeaseId(8), Epoch(2)));
        all.end(S);
        all.end(LeaseId(9));
        assert_eq!(
            (one.over.is_cancelled(), other.over.is_cancelled()),
            (true, false)
        );
        all.compare(|| Some(Machine::genesis().image()));
        assert!(other.over.is_cancelled(), "no session is in an empty state");
    }
}
