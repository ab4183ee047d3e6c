//! Accepting through TLS.
//!
//! Promises: accepting never waits for anybody's handshake; it runs in the task that first reads or writes, within
//! [`HANDSHAKE_TIMEOUT`], so that a stranger holds up nobody and the bounds of that task hold for it, too. A failed
//! handshake is told with the stranger's address: one that dials again and again once in [`REPEAT_EVERY`], and whatever
//! comes at most once in [`WARN_EVERY`] for each listener.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorate_host::{BoxFuture, Listen, Listener, Stream};
use rustls::{InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A stranger whose handshake failed has this long to read why, and may send this much meanwhile.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 64 * 1024;
/// Between two lines about strangers, and between two about the same one.
const WARN_EVERY: Duration = Duration::from_secs(10);
const REPEAT_EVERY: Duration = Duration::from_secs(600);

/// What a new connection is to use.
type Now = Box<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// A listener over another one.
pub(crate) struct Accepting {
    below: Listener,
    config: Now,
    told: Arc<Told>,
}

/// Which stranger was told of at last, why, and when.
#[derive(Default)]
struct Told(Mutex<Option<(Option<IpAddr>, String, Instant)>>);

impl Accepting {
    pub(crate) fn listener(below: Listener, config: Now) -> Listener {
        Listener::new(Self {
            below,
            config,
            told: Arc::default(),
        })
    }
}

impl Listen for Accepting {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let stream = self.below.accept().await?;
            let from = stream.remote();
            let acceptor = TlsAcceptor::from((self.config)());
            let greeting = greet(acceptor, stream, Arc::clone(&self.told));
            let accepted = Stream::new(Accepted::Greeting(Box::pin(greeting)));
            Ok(match from {
                Some(from) => accepted.coming_from(from),
                None => accepted,
            })
        })
    }

    fn local_address(&self) -> io::Result<String> {
        self.below.local_address()
    }
}

async fn greet(acceptor: TlsAcceptor, stream: Stream, told: Arc<Told>) -> io::Result<TlsStream<Stream>> {
    let from = stream.remote();
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream).into_fallible()).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => {
            told.tell(from, &error);
            let _ = timeout(LINGER, hang_up(stream)).await;
            Err(error)
        }
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Lets the other side hear why: a socket that is closed with bytes unread takes back what was said last.
async fn hang_up(mut stream: Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut left = LINGER_BYTES_MAX;
    let mut bytes = [0; 1024];
    while left > 0 {
        match stream.read(&mut bytes).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// An accepted connection, before and after its handshake.
enum Accepted {
    Greeting(BoxFuture<'static, io::Result<TlsStream<Stream>>>),
    Standing(Box<TlsStream<Stream>>),
    Failed,
}

impl Accepted {
    /// The connection once its handshake is over.
    fn poll_standing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<Stream>>>> {
        if let Self::Greeting(greeting) = self {
            match ready!(greeting.as_mut().poll(cx)) {
                Ok(stream) => *self = Self::Standing(Box::new(stream)),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match self {
            Self::Standing(stream) => Ok(Pin::new(&mut **stream)),
            Self::Greeting(_) | Self::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl Told {
    fn tell(&self, from: Option<SocketAddr>, error: &io::Error) {
        let due = why(error).filter(|why| self.is_due(from.map(|from| from.ip()), why));
        let from = from.map_or_else(|| "somewhere".to_owned(), |from| from.to_string());
        match due {
            Some(why) => tracing::warn!(from, why, "a connection is refused by TLS"),
            None => tracing::debug!(from, %error, "a connection ended in its TLS handshake"),
        }
    }

    fn is_due(&self, from: Option<IpAddr>, why: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.as_ref().is_none_or(|(who, what, when)| {
            let is_same = *who == from && what == why;
            when.elapsed() >= if is_same { REPEAT_EVERY } else { WARN_EVERY }
        });
        if is_due {
            *last = Some((from, why.to_owned(), Instant::now()));
        }
        is_due
    }
}

/// What is worth a line: a wrong configuration somewhere, and not that somebody hung up.
fn why(error: &io::Error) -> Option<String> {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage as Invalid, NoCertificatesPresented,
    };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref())?;
    Some(match inner {
        Invalid(InvalidMessage::InvalidContentType) => "it does not speak TLS; turn TLS on there".to_owned(),
        NoCertificatesPresented => "it shows no certificate, and one is required".to_owned(),
        InvalidCertificate(why) => format!("its certificate is not accepted: {why}"),
        AlertReceived(alert) => format!("it does not accept this replica's certificate: {alert:?}"),
        other => other.to_string(),
    })
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_standing(cx))?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_standing(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_standing(cx))?.poll_flush(cx)
    }

    /// Nothing was said before the handshake is over, so nothing has to be ended in order.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Standing(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Greeting(_) | Self::Failed => {
                *self = Self::Failed;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_standing(cx))?.poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_told_of_once_in_a_while() {
        let told = Told::default();
        let (one, other) = (
            Some(IpAddr::from([10, 0, 0, 1])),
            Some(IpAddr::from([10, 0, 0, 2])),
        );
        let cases = [
            ("the first", 0, one, "a", true),
            ("again", 1, one, "a", false),
            ("another at once", 1, other, "a", false),
            ("another later", 10, other, "a", true),
            ("the same", 10, other, "a", false),
            ("for another reason", 10, other, "b", true),
            ("the same after long", 600, other, "b", true),
        ];
        for (case, seconds, who, why, want) in cases {
            advance(Duration::from_secs(seconds)).await;
            assert_eq!(told.is_due(who, why), want, "{case}");
        }
    }
}
