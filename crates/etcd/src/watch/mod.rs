//! `Watch`: changes of keys as they happen, and as they happened.
//!
//! Promises, as etcd: each watch gets the events of its keys from its first revision on, in order, each once, all of a
//! revision in one response unless the client lets it be split; a watch of the past joins the present without a gap; what
//! is compacted is said with the revision from which on something is left. Beyond etcd: a client that does not read costs a
//! bounded queue, whatever it watches; watches, streams and keys are bounded.
//!
//! Where things are: `hub` hands each change to the streams that are interested, found by `index` (`keys`, `ranges`), through
//! their `inbox`; `stream` is one client's stream, `watches` what is on it, `catch_up` reads the history, `outgoing`
//! makes responses (`events`, `fragments`), `progress` says how far it is, `leader` ends streams that want a leader;
//! `notices` tells other services that something has changed.
//! Left out on purpose: queues for single watches. The history is the queue.

mod catch_up;
mod events;
mod fragments;
mod hub;
mod inbox;
mod index;
mod keys;
mod leader;
mod notices;
mod outgoing;
mod progress;
mod ranges;
mod stream;
mod watches;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream as streams};
use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::watch_server;
use quorate_api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use quorate_replica::machine::Image;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use hub::Full;
pub(crate) use notices::Notices;

use crate::auth::{Credentials, Guard};
use crate::error;
use crate::limits::WATCH_PROGRESS_EVERY;
use crate::node::Node;
use hub::{Hub, Limits};
use stream::{Surroundings, WatchStream};

/// See the module.
pub(crate) struct Watch<N> {
    node: N,
    guard: Guard,
    hub: Arc<Hub>,
    /// The member has been without a leader for too long.
    leader_is_gone: Sender<bool>,
    ending: CancellationToken,
    progress_every: Duration,
}

impl<N: Node> Watch<N> {
    /// Over `node`; streams end with `ending`.
    pub(crate) fn new(node: N, guard: Guard, ending: CancellationToken) -> Self {
        Self {
            node,
            guard,
            hub: Hub::new(Limits::default()),
            leader_is_gone: Sender::new(false),
            ending,
            progress_every: WATCH_PROGRESS_EVERY,
        }
    }

    /// What must run for as long as there are streams; it ends with them.
    pub(crate) fn work(&self) -> impl Future<Output = ()> + Send + use<N> {
        let (node, hub, ending) = (self.node.clone(), Arc::clone(&self.hub), self.ending.clone());
        let leader_is_gone = self.leader_is_gone.clone();
        async move {
            let work = async {
                tokio::join!(
                    hub.distribute(node.clone()),
                    leader::follow(node.clone(), &leader_is_gone)
                );
            };
            tokio::select! {
                () = work => {}
                () = ending.cancelled() => {}
            }
        }
    }

    /// To be told of keys, for the other services.
    pub(crate) fn notices(&self) -> Result<Notices, Full> {
        Notices::open(&self.hub)
    }

    /// What this replica has, at least as new as what it was told of.
    pub(crate) fn image(&self) -> Result<Image, Status> {
        let image = self.node.read_stale();
        image.map_err(|unavailable| error::unavailable(&unavailable))
    }

    /// A single watch, for the other services, as if the caller of `call` had opened it.
    pub(crate) fn follow(
        &self,
        request: WatchCreateRequest,
        call: &MetadataMap,
    ) -> Result<impl Stream<Item = Result<WatchResponse, Status>> + Send + use<N>, Status> {
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(request)),
        };
        let requests = streams::iter([Ok(request)]);
        let shown = Credentials::of(call);
        let stream = self.open(requests, shown, leader::is_required(call))?;
        Ok(responses(stream))
    }

    /// A stream that answers `requests`.
    fn open<R>(
        &self,
        requests: R,
        shown: Credentials,
        wants_leader: bool,
    ) -> Result<WatchStream<N, R>, Status>
    where
        R: Stream<Item = Result<WatchRequest, Status>> + Send + Unpin,
    {
        // Part of a group, and not stopped.
        self.image()?;
        let around = Surroundings {
            node: self.node.clone(),
            guard: self.guard.clone(),
            shown,
            feed: self.hub.open().map_err(error::full)?,
            // Of its own, so that ten thousand streams do not queue at one lock.
            ending: self.ending.child_token(),
            leader_is_gone: wants_leader.then(|| self.leader_is_gone.subscribe()),
            progress_every: self.progress_every,
        };
        Ok(WatchStream::new(around, requests))
    }
}

#[tonic::async_trait]
impl<N: Node> watch_server::Watch for Watch<N> {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let wants_leader = leader::is_required(request.metadata());
        let shown = Credentials::of(request.metadata());
        let stream = self.open(request.into_inner(), shown, wants_leader)?;
        Ok(Response::new(Box::pin(responses(stream))))
    }
}

fn responses<N, R>(stream: WatchStream<N, R>) -> impl Stream<Item = Result<WatchResponse, Status>> + Send
where
    N: Node,
    R: Stream<Item = Result<WatchRequest, Status>> + Send + Unpin,
{
    streams::unfold(stream, |mut stream| async move {
        let response = stream.next().await?;
        Some((response, stream))
    })
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
