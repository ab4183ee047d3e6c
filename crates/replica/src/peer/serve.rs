//! The peers' port: accepting, serving, hanging up.
//!
//! Promises: once the replica's end is announced, every connection that this port has accepted breaks, and the owner's
//! [`Ending`] waits until they are gone. tonic leaves that to the end of the process, which comes much later where
//! several replicas live in one program: until then a peer would go on asking a replica that has stopped, over a
//! connection that looks healthy, and never dial the one that was started in its place.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use quorate_host::{Listener, Stream, incoming};
use quorate_types::limits::PEER_MESSAGE_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::transport::server::Connected;

use super::service::PeerService;
use super::wire::peer_server::PeerServer;
use crate::ending::Ending;

/// Serves the peer protocol until `ending`.
pub(crate) fn serve(
    service: PeerService,
    listener: Listener,
    ending: &Ending,
) -> impl Future<Output = ()> + Send + 'static {
    let (stop, tasks) = (ending.stop(), ending.tasks());
    async move {
        let service = PeerServer::new(service)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keepalive_interval(Some(Duration::from_secs(2)))
            .http2_keepalive_timeout(Some(Duration::from_secs(2)))
            .add_service(service);
        let connections =
            incoming(listener).map(|accepted| accepted.map(|stream| Connection::new(stream, &stop, &tasks)));
        // Streams between peers never end by themselves, so the server is dropped rather than drained.
        tokio::select! {
            served = server.serve_with_incoming(connections) => {
                if let Err(error) = served {
                    tracing::error!(%error, "the peer service has ended");
                }
            }
            () = stop.cancelled() => {}
        }
    }
}

/// An accepted connection that breaks when the replica stops.
struct Connection {
    stream: Stream,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    _alive: TaskTrackerToken,
}

impl Connection {
    fn new(stream: Stream, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        Self {
            stream,
            stopped: Box::pin(stop.clone().cancelled_owned()),
            _alive: tasks.token(),
        }
    }

    /// Fails once the replica stops, and wakes the task then.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "this replica has stopped",
            )),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stopped(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// Writing needs no watch of its own: a connection is always being read, which ends it.
impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use quorate_host::{Network, Tcp};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_connection_breaks_when_its_replica_stops_and_is_waited_for() {
        let mut listener = Tcp.listen("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_address().expect("an address");
        let (dialed, accepted) = futures_util::future::join(Tcp.dial(&address), listener.accept()).await;
        let ending = Ending::default();
        let mut connection = Connection::new(accepted.expect("accepted"), &ending.stop(), &ending.tasks());
        let mut dialed = dialed.expect("dialed");
        dialed.write_all(b"ping").await.expect("written");
        let mut four = [0; 4];
        connection.read_exact(&mut four).await.expect("read");
        assert_eq!(&four, b"ping");

        // As hyper would: it waits for more, is woken with the error, and lets go.
        let reader = tokio::spawn(async move { connection.read(&mut [0; 4]).await });
        ending.end().await;
        assert!(reader.is_finished(), "the end waits for the connection");
        let error = reader.await.expect("no panic").expect_err("it broke");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(dialed.read(&mut four).await.expect("closed in order"), 0);
    }
}
