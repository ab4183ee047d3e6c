//! A TCP proxy that can cut what goes through it.
//!
//! Promises: bytes pass unchanged; [`Proxy::reset`] resets every connection on both sides, as a firewall or a dying proxy does;
//! new connections pass again at once. It can stand for a host of its own, as far as addresses tell. Dropping it cuts all and ends its tasks. Left out on purpose: delays and losses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    /// Cuts the connections that there are now.
    cut: Arc<Mutex<CancellationToken>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of this machine and passes everything to `target`.
    ///
    /// # Errors
    /// The system's.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        Self::start_from(Ipv4Addr::LOCALHOST, target).await
    }

    /// As [`Self::start`], for clients that seem to come from `host`, a loopback address.
    ///
    /// # Errors
    /// The system's.
    pub async fn start_from(host: Ipv4Addr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let task = tokio::spawn(accept(listener, host, target, Arc::clone(&cut)));
        Ok(Self { address, cut, task })
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Resets all connections.
    pub fn reset(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    host: Ipv4Addr,
    target: SocketAddr,
    cut: Arc<Mutex<CancellationToken>>,
) {
    // Ends with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let cut = cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
                connections.spawn(pass(client, host, target, cut));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn dial(host: Ipv4Addr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(host), 0))?;
    socket.connect(target).await
}

async fn pass(mut client: TcpStream, host: Ipv4Addr, target: SocketAddr, cut: CancellationToken) {
    let Ok(mut server) = dial(host, target).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    tokio::select! {
        // However it ends, both sides are closed then.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        () = cut.cancelled() => {
            // A socket that does not linger is reset when it is closed.
            let _ = client.set_zero_linger();
            let _ = server.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_until_they_are_cut_and_then_again() {
        let echo = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = echo.local_addr().expect("an address");
        let echoing = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((mut stream, _)) = echo.accept().await {
                tasks.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let proxy = Proxy::start(target).await.expect("a proxy");
        for _ in 0..3 {
            let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
            stream.write_all(b"ping").await.expect("written");
            let mut four = [0; 4];
            stream.read_exact(&mut four).await.expect("read");
            assert_eq!(&four, b"ping");
            proxy.reset();
            let error = stream.read(&mut four).await.expect_err("cut");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        echoing.abort();
    }
}
