//! What the leaders of an election say, one after the other.
//!
//! Promises, as etcd: it begins with what the present leader says, or waits for one; whatever this leader says after that
//! comes in order, each once; when it is gone, the next one is looked for. A leader that came and went meanwhile may be
//! missed, the present one never is. Beyond etcd: an observer that is so slow that history is forgotten goes on with the
//! present leader instead of being sent away, and one that cannot go on is told why.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use quorate_api::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse};
use quorate_api::mvccpb::event::EventType;
use quorate_api::mvccpb::{Event, KeyValue};
use quorate_api::v3electionpb::LeaderResponse;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::contest::Contests;
use crate::contest::queue::Queue;
use crate::error;
use crate::node::Node;

/// Answers to a watch.
type Watched = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

/// One observer.
struct Observer<N> {
    contests: Arc<Contests<N>>,
    call: MetadataMap,
    queue: Queue,
    follows: Follows,
    /// Read and not looked at yet.
    events: VecDeque<(ResponseHeader, Event)>,
    _seat: OwnedSemaphorePermit,
}

/// What an observer waits for.
enum Follows {
    /// Nothing: it has to look who leads.
    Nobody,
    /// The first one to stand.
    Queue(Watched),
    /// What this leader says.
    Leader(Watched),
}

/// What the leaders of `queue` say, for as long as somebody listens.
pub(super) fn responses<N: Node>(
    contests: Arc<Contests<N>>,
    call: MetadataMap,
    queue: Queue,
    seat: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<LeaderResponse, Status>> + Send {
    let observer = Observer {
        contests,
        call,
        queue,
        follows: Follows::Nobody,
        events: VecDeque::new(),
        _seat: seat,
    };
    stream::unfold(Some(observer), |observer| async move {
        let mut observer = observer?;
        let response = observer.next().await;
        // An error is the last thing that a stream says.
        let observer = response.is_ok().then_some(observer);
        Some((response, observer))
    })
}

impl<N: Node> Observer<N> {
    async fn next(&mut self) -> Result<LeaderResponse, Status> {
        loop {
            if matches!(self.follows, Follows::Nobody) {
                self.events.clear();
                if let Some(leader) = self.look().await? {
                    return Ok(leader);
                }
            }
            while let Some((header, event)) = self.events.pop_front() {
                if let Some(said) = self.take(header, event)? {
                    return Ok(said);
                }
            }
            self.read().await?;
        }
    }

    /// Looks who leads, and follows that, or whoever stands next.
    async fn look(&mut self) -> Result<Option<LeaderResponse>, Status> {
        let first = self.contests.range(&self.call, self.queue.first()).await?;
        let header = first.header.unwrap_or_default();
        match first.kvs.into_iter().next() {
            Some(kv) => {
                self.follow(&kv, header.revision)?;
                Ok(Some(said(header, kv)))
            }
            None => {
                let standing = WatchCreateRequest {
                    key: self.queue.prefix.clone(),
                    range_end: self.queue.end.clone(),
                    start_revision: header.revision + 1,
                    ..WatchCreateRequest::default()
                };
                self.follows = Follows::Queue(self.watch(standing)?);
                Ok(None)
            }
        }
    }

    /// Something happened to a candidate or to the leader.
    fn take(&mut self, header: ResponseHeader, event: Event) -> Result<Option<LeaderResponse>, Status> {
        let is_deletion = event.r#type == i32::from(EventType::Delete);
        let Some(kv) = event.kv.filter(|_| !is_deletion) else {
            if matches!(self.follows, Follows::Leader(_)) {
                self.lose();
            }
            return Ok(None);
        };
        match self.follows {
            Follows::Queue(_) => {
                self.events.clear();
                let revision = kv.mod_revision;
                self.follow(&kv, revision)?;
                Ok(Some(said(ResponseHeader { revision, ..header }, kv)))
            }
            Follows::Leader(_) => Ok(Some(said(header, kv))),
            Follows::Nobody => Ok(None),
        }
    }

    /// Follows the leader that has this key, from behind a revision on.
    fn follow(&mut self, kv: &KeyValue, revision: i64) -> Result<(), Status> {
        let says = WatchCreateRequest {
            key: kv.key.clone(),
            start_revision: revision + 1,
            ..WatchCreateRequest::default()
        };
        self.follows = Follows::Leader(self.watch(says)?);
        Ok(())
    }

    fn lose(&mut self) {
        self.events.clear();
        self.follows = Follows::Nobody;
    }

    /// Waits for events.
    async fn read(&mut self) -> Result<(), Status> {
        let watched = match &mut self.follows {
            Follows::Nobody => return Ok(()),
            Follows::Queue(watched) | Follows::Leader(watched) => watched.next().await,
        };
        let response = match watched {
            Some(response) => response?,
            None => return Err(error::stopped()),
        };
        if response.canceled && response.created {
            // Its caller may not read any more, or there are too many watches here.
            self.contests.range(&self.call, self.queue.first()).await?;
            return Err(error::too_many_requests());
        }
        if response.canceled {
            // What it wants next is forgotten: it has read too slowly.
            self.lose();
            return Ok(());
        }
        let header = response.header.unwrap_or_default();
        let events = response.events.into_iter();
        self.events.extend(events.map(|event| (header, event)));
        Ok(())
    }

    fn watch(&self, request: WatchCreateRequest) -> Result<Watched, Status> {
        Ok(Box::pin(self.contests.watch.follow(request, &self.call)?))
    }
}

fn said(header: ResponseHeader, kv: KeyValue) -> LeaderResponse {
    LeaderResponse {
        header: Some(header),
        kv: Some(kv),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::enable;
    use crate::testing::{Served, bytes};

    #[tokio::test]
    async fn an_observer_that_was_too_slow_goes_on_with_the_present_leader() {
        let served = Served::with_leases(&[]);
        served.node.put(&[("e/1", "a"), ("e/1", "b")]);
        let forgotten = WatchResponse {
            canceled: true,
            compact_revision: 3,
            ..WatchResponse::default()
        };
        let mut observer = Observer {
            contests: Arc::clone(&served.contests),
            call: MetadataMap::new(),
            queue: Queue::of(b"e"),
            follows: Follows::Leader(Box::pin(stream::iter([Ok(forgotten)]))),
            events: VecDeque::new(),
            _seat: served.contests.seat().expect("a seat"),
        };
        let said = observer.next().await.expect("a leader").kv.expect("its key");
        assert_eq!((said.key, said.value), (bytes("e/1"), bytes("b")));

        let full = WatchResponse {
            created: true,
            canceled: true,
            ..WatchResponse::default()
        };
        observer.follows = Follows::Leader(Box::pin(stream::iter([Ok(full.clone())])));
        let status = observer.next().await.expect_err("no watch");
        assert_eq!(status.message(), "etcdserver: too many requests");

        // A watch that is denied looks the same.
        enable(&served.node);
        observer.follows = Follows::Leader(Box::pin(stream::iter([Ok(full)])));
        let status = observer.next().await.expect_err("no user");
        assert_eq!(status.message(), "etcdserver: user name is empty");
    }
}
