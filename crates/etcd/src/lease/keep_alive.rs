//! A stream of keepalives.
//!
//! Promises: answers come in the order of the requests, and a renewal does not wait for the one before it: a client that keeps
//! ten thousand leases on one stream is no slower than ten thousand clients. A stream without an answer in time ends with
//! etcd's words, and the client opens another one. What is in flight is bounded: beyond it the stream is not read, so that the
//! client's own flow control slows it down.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use quorate_api::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use quorate_replica::machine::KvNeed;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::auth::{Credentials, Guard};
use crate::convert::lease as convert;
use crate::limits::KEEPALIVES_IN_FLIGHT_MAX;
use crate::node::Node;
use crate::{deadline, error};

/// The answers.
pub(crate) type KeepAlives = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

/// Who keeps leases, and with whose help.
pub(crate) struct Keeper<N> {
    pub(crate) node: N,
    pub(crate) guard: Guard,
    pub(crate) shown: Credentials,
}

/// Answers `requests` until they end, one of them fails, or `ending`.
pub(crate) fn answers<N, R>(keeper: Keeper<N>, requests: R, ending: CancellationToken) -> KeepAlives
where
    N: Node,
    R: Stream<Item = Result<LeaseKeepAliveRequest, Status>> + Send + 'static,
{
    let keeper = Arc::new(keeper);
    let renewals = requests.map(move |request| {
        let keeper = Arc::clone(&keeper);
        async move { keeper.renew(request?).await }
    });
    let answers = Box::pin(renewals.buffered(KEEPALIVES_IN_FLIGHT_MAX));
    Box::pin(stream::unfold(Some((answers, ending)), |state| async move {
        let (mut answers, ending) = state?;
        let answer = tokio::select! {
            biased;
            answer = answers.next() => answer?,
            () = ending.cancelled() => Err(error::stopped()),
        };
        // An error is the last thing that a stream says.
        let state = answer.is_ok().then_some((answers, ending));
        Some((answer, state))
    }))
}

impl<N: Node> Keeper<N> {
    async fn renew(&self, request: LeaseKeepAliveRequest) -> Result<LeaseKeepAliveResponse, Status> {
        let Self { node, guard, shown } = self;
        let lease = request.id;
        let deadline = Instant::now() + deadline::PATIENCE_MAX;
        let need = KvNeed::WriteLease(lease);
        let required = guard.require(node, shown, &need, deadline);
        required.await.map_err(error::denied)?;
        let time = node.renew_lease(lease, deadline).await;
        let time = time.map_err(|unavailable| error::unavailable(&unavailable))?;
        let image = node.read_stale();
        let image = image.map_err(|unavailable| error::unavailable(&unavailable))?;
        let header = node.stamp().header(image.kv_revision());
        Ok(convert::kept(header, lease, time))
    }
}
