//! A stream of keepalives.
//!
//! Promises: answers come in the order of the requests, and a renewal does not wait for the one before it: a client that keeps
//! ten thousand leases on one stream is no slower than ten thousand clients. A stream without an answer in time ends with
//! etcd's words, and the client opens another one. What is in flight is bounded: beyond it the stream is not read, so that the
//! client's own flow control slows it down.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use quorate_api::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::convert::lease as convert;
use crate::limits::KEEPALIVES_IN_FLIGHT_MAX;
use crate::node::Node;
use crate::{deadline, error};

/// The answers.
pub(crate) type KeepAlives = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

/// Answers `requests` until they end, one of them fails, or `ending`.
pub(super) fn answers<N, R>(node: N, requests: R, ending: CancellationToken) -> KeepAlives
where
    N: Node,
    R: Stream<Item = Result<LeaseKeepAliveRequest, Status>> + Send + 'static,
{
    let renewals = requests.map(move |request| {
        let node = node.clone();
        async move { renew(&node, request?).await }
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

async fn renew<N: Node>(node: &N, request: LeaseKeepAliveRequest) -> Result<LeaseKeepAliveResponse, Status> {
    let lease = request.id;
    let deadline = Instant::now() + deadline::PATIENCE_MAX;
    let time = node.renew_lease(lease, deadline).await;
    let time = time.map_err(|unavailable| error::unavailable(&unavailable))?;
    let image = node.read_stale();
    let image = image.map_err(|unavailable| error::unavailable(&unavailable))?;
    let header = node.stamp().header(image.kv_revision());
    Ok(convert::kept(header, lease, time))
}
