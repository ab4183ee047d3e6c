//! A stream of keepalives.
//!
//! Promises: answers come in the order of the requests, and a renewal does not wait for the one before it: a client that keeps
//! ten thousand leases on one stream is no slower than ten thousand clients. A stream without an answer in time ends with
//! etcd's words, and the client opens another one. What is in flight is bounded: beyond it the stream is not read, so that the
//! client's own flow control slows it down.
//!
//! Where the lease policy asks for it, the stream says which leases are kept on its connection ([`super::keepers`]).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{Stream, StreamExt, stream};
use quorate_api::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use quorate_replica::machine::KvNeed;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::keepers::Keeping;
use crate::auth::{Credentials, Guard};
use crate::convert::lease as convert;
use crate::limits::KEEPALIVES_IN_FLIGHT_MAX;
use crate::node::Node;
use crate::{deadline, error};

/// The answers.
pub(crate) type KeepAlives = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

/// Who keeps leases, and with whose help.
pub(super) struct Keeper<N> {
    pub(super) node: N,
    pub(super) guard: Guard,
    pub(super) shown: Credentials,
}

/// Answers `requests` until they end, one of them fails, or `ending`.
pub(super) fn answers<N, R>(
    keeper: Keeper<N>,
    requests: R,
    ending: CancellationToken,
    keeping: Option<Keeping<N>>,
) -> KeepAlives
where
    N: Node,
    R: Stream<Item = Result<LeaseKeepAliveRequest, Status>> + Send + 'static,
{
    let connection = keeping.as_ref().map_or(0, Keeping::connection);
    let heard = keeping.as_ref().map(Keeping::heard);
    let keeper = Arc::new(keeper);
    let renewals = requests.map(move |request| {
        if let Some(heard) = &heard {
            heard.store(true, Ordering::Relaxed);
        }
        let keeper = Arc::clone(&keeper);
        async move {
            let request = request.map_err(Failed::There)?;
            keeper.renew(connection, request).await.map_err(Failed::Here)
        }
    });
    let answers = Box::pin(renewals.buffered(KEEPALIVES_IN_FLIGHT_MAX));
    let state = Some((answers, ending, keeping));
    Box::pin(stream::unfold(state, |state| async move {
        let (mut answers, ending, mut keeping) = state?;
        let answer = loop {
            let tick = keeping.as_ref().and_then(Keeping::next);
            tokio::select! {
                biased;
                answer = answers.next() => break answer?,
                () = ending.cancelled() => break Err(Failed::Here(error::stopped())),
                () = async { sleep_until(tick.unwrap_or_else(Instant::now)).await }, if tick.is_some() => {
                    if let Some(keeping) = &mut keeping {
                        keeping.tick();
                    }
                }
            }
        };
        match (&answer, &mut keeping) {
            (Ok(kept), Some(keeping)) if kept.ttl > 0 => keeping.renewed(kept.id),
            (Err(Failed::Here(_)), keeping) => {
                if let Some(keeping) = keeping.take() {
                    keeping.end();
                }
            }
            _ => {}
        }
        // An error is the last thing that a stream says.
        let state = answer.is_ok().then_some((answers, ending, keeping));
        Some((answer.map_err(Status::from), state))
    }))
}

/// Why a stream ends.
enum Failed {
    /// We cannot answer, or its user may not.
    Here(Status),
    /// The client cannot be heard, or understood.
    There(Status),
}

impl From<Failed> for Status {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Here(status) | Failed::There(status) => status,
        }
    }
}

impl<N: Node> Keeper<N> {
    async fn renew(
        &self,
        connection: u64,
        request: LeaseKeepAliveRequest,
    ) -> Result<LeaseKeepAliveResponse, Status> {
        let Self { node, guard, shown } = self;
        let lease = request.id;
        let deadline = Instant::now() + deadline::PATIENCE_MAX;
        let need = KvNeed::WriteLease(lease);
        let required = guard.require(node, shown, &need, deadline);
        required.await.map_err(error::denied)?;
        let time = node.renew_lease(connection, lease, deadline).await;
        let time = time.map_err(|unavailable| error::unavailable(&unavailable))?;
        let image = node.read_stale();
        let image = image.map_err(|unavailable| error::unavailable(&unavailable))?;
        let header = node.stamp().header(image.kv_revision());
        Ok(convert::kept(header, lease, time))
    }
}
