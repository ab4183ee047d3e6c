//! The two adapters that tonic needs to run over a [`Network`]: a connector and a stream of accepted connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::answered::{Answered, Mishap};
use crate::network::{Listener, Network, Stream};

/// The endpoint for `host:port`, with the settings that every channel of ours shares.
///
/// Dead connections are noticed by HTTP/2 pings, because tonic by default would wait on a half-open one for ever.
///
/// # Errors
/// When the address cannot stand in a URI.
pub fn channel_endpoint(
    address: &str,
    connect_timeout: Duration,
) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true))
}

/// A channel that dials through `network` at its first use and again after each loss.
#[must_use]
pub fn connect_lazy(endpoint: &Endpoint, network: Arc<dyn Network>) -> Channel {
    connect_lazy_noting(endpoint, network, &Mishap::default())
}

/// The same, and what ends a connection is noted in `mishap`.
#[must_use]
pub fn connect_lazy_noting(endpoint: &Endpoint, network: Arc<dyn Network>, mishap: &Mishap) -> Channel {
    let mishap = mishap.clone();
    endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
        let (network, mishap) = (Arc::clone(&network), mishap.clone());
        async move {
            let authority = uri
                .authority()
                .ok_or_else(|| io::Error::other("an address without a host"))?;
            let stream = network.dial(authority.as_str()).await?;
            Ok::<_, io::Error>(TokioIo::new(Answered::by(stream, mishap)))
        }
    }))
}

/// The connections that `listener` accepts, for a tonic server.
///
/// A failed accept (too many open files, say) is given to tonic, which logs it and goes on.
pub fn incoming(listener: Listener) -> impl stream::Stream<Item = io::Result<Stream>> {
    stream::unfold(listener, |mut listener| async move {
        let accepted = listener.accept().await;
        Some((accepted, listener))
    })
}

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}
