//! Dialing and listening, behind a trait so that a simulated network can stand in for TCP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, lookup_host};

/// A boxed future, as object-safe traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A network: real TCP, or a simulated one.
///
/// Errors keep their [`io::ErrorKind`]: `ConnectionRefused` is evidence that nothing listens, a timeout is not.
pub trait Network: Send + Sync + 'static {
    /// The addresses that `host:port` names now. Never remembered: names move.
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// Opens a connection to `host:port`. The name is resolved anew at each call.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;

    /// Opens a connection to one of the places that `name`, a `host:port`, was resolved to. A network that verifies whom it
    /// reaches does so by the name.
    fn dial_place<'a>(&'a self, place: SocketAddr, name: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        let _ = name;
        Box::pin(async move { self.dial(&place.to_string()).await })
    }

    /// Listens on `host:port`; port 0 takes a free one.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Listener>>;
}

/// A connection. What is written may wait in it until it is flushed.
pub struct Stream {
    io: Box<dyn Io>,
    remote: Option<SocketAddr>,
}

impl Stream {
    /// Wraps a transport's own connection.
    pub fn new(io: impl Io) -> Self {
        Self {
            io: Box::new(io),
            remote: None,
        }
    }

    /// The same connection, which is known to come from there.
    #[must_use]
    pub fn coming_from(self, remote: SocketAddr) -> Self {
        Self {
            remote: Some(remote),
            ..self
        }
    }

    /// Where an accepted connection comes from, if the transport knows: for people only.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// What accepts connections at one address.
pub trait Listen: Send + 'static {
    /// Waits for the next connection. Cancel-safe: a dropped call loses no connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;

    /// The address that peers can dial, `host:port`.
    fn local_address(&self) -> io::Result<String>;
}

/// A bound address.
pub struct Listener(Box<dyn Listen>);

impl Listener {
    /// Wraps a transport's own listener.
    pub fn new(listener: impl Listen) -> Self {
        Self(Box::new(listener))
    }

    /// Waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// The transport's; the listener stays usable.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        self.0.accept().await
    }

    /// The address that peers can dial, `host:port`.
    ///
    /// # Errors
    /// The transport's.
    pub fn local_address(&self) -> io::Result<String> {
        self.0.local_address()
    }
}

/// Real TCP, without Nagle's delay: every message here is small and urgent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Network for Tcp {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host(address).await?.collect()) })
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Listener>> {
        Box::pin(async move { Ok(Listener::new(TcpListener::bind(address).await?)) })
    }
}

impl Listen for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (stream, remote) = TcpListener::accept(self).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::new(stream).coming_from(remote))
        })
    }

    fn local_address(&self) -> io::Result<String> {
        Ok(self.local_addr()?.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_a_closed_listener_refuses() {
        let mut listener = Tcp.listen("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_address().expect("an address");
        let (dialed, accepted) = tokio::join!(Tcp.dial(&address), listener.accept());
        let (mut dialed, mut accepted) = (dialed.expect("dialed"), accepted.expect("accepted"));
        dialed.write_all(b"ping").await.expect("written");
        let mut four = [0; 4];
        accepted.read_exact(&mut four).await.expect("read");
        assert_eq!(&four, b"ping");

        drop(listener);
        let refused = Tcp.dial(&address).await.map(|_| ()).expect_err("nothing listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
