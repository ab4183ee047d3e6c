//! Dialling through TLS.
//!
//! Promises: a connection that is handed out has verified the other side; an error keeps its kind when it is the
//! network's, and says in words what is wrong when it is the handshake's. A handshake that fails is told once for each
//! address and reason where the callers above would only see a silent peer.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use quorate_host::{BoxFuture, Listener, Network, Stream};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a new connection is to use.
type Now = Box<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;
/// Secures a listener.
type Secure = Box<dyn Fn(Listener) -> Listener + Send + Sync>;

/// A network over another one.
pub(crate) struct Dialling {
    below: Arc<dyn Network>,
    config: Now,
    /// How listeners are secured, and with it: whether this is a replica's network, whose failures are told.
    secure: Option<Secure>,
    told: Mutex<BTreeMap<String, String>>,
}

impl Dialling {
    pub(crate) fn new(below: Arc<dyn Network>, config: Now, secure: Option<Secure>) -> Self {
        Self {
            below,
            config,
            secure,
            told: Mutex::default(),
        }
    }

    async fn connect(&self, dialled: &str, name: &str) -> io::Result<Stream> {
        let host = server_name(host(name))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} has no host")))?;
        let stream = self.below.dial(dialled).await?;
        let connector = TlsConnector::from((self.config)());
        let connected = connector.connect(host, stream).await.map_err(in_words);
        self.tell(name, connected.as_ref().err());
        Ok(Stream::new(Verified(connected?)))
    }

    fn tell(&self, address: &str, error: Option<&io::Error>) {
        if self.secure.is_none() {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = error else {
            told.remove(address);
            return;
        };
        let why = error.to_string();
        if told.get(address) != Some(&why) {
            tracing::warn!(address, why, "no TLS connection to a replica");
            told.insert(address.to_owned(), why);
        }
    }
}

impl Network for Dialling {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.below.resolve(address)
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(self.connect(address, address))
    }

    fn dial_place<'a>(&'a self, place: SocketAddr, name: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { self.connect(&place.to_string(), name).await })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Listener>> {
        Box::pin(async move {
            match &self.secure {
                Some(secure) => Ok(secure(self.below.listen(address).await?)),
                None => Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a client's network does not listen",
                )),
            }
        })
    }
}

/// The host of `host:port`, without brackets.
pub(crate) fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// A host as certificates name it: an address as such, a name without the dot at its end.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// The same error with words that say what to do. Never a refusal: this side reached somebody.
pub(crate) fn in_words(error: io::Error) -> io::Error {
    use AlertDescription as Alert;
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Invalid};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let words = match inner {
        Some(Invalid(InvalidMessage::InvalidContentType)) => {
            "the other side does not speak TLS; turn TLS on there, or off here".to_owned()
        }
        Some(InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the other side's certificate is not accepted: UnknownIssuer (the CA given here has not signed it)"
                .to_owned()
        }
        Some(InvalidCertificate(why)) => format!("the other side's certificate is not accepted: {why}"),
        Some(AlertReceived(Alert::CertificateRequired)) => {
            "the other side asks for a certificate, and none was given".to_owned()
        }
        Some(AlertReceived(Alert::UnknownCA)) => {
            "the other side does not trust the CA of this side's certificate".to_owned()
        }
        Some(AlertReceived(Alert::CertificateExpired)) => {
            "the other side finds this side's certificate expired".to_owned()
        }
        Some(AlertReceived(alert)) => format!("the other side ended TLS: {alert:?}"),
        Some(other) => format!("TLS failed: {other}"),
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe => {
                "the other side hung up on the TLS greeting; perhaps it does not speak TLS".to_owned()
            }
            _ => return error,
        },
    };
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// A connection to somebody who was verified. That the other side refuses our own certificate is only heard when the
/// first bytes are read, because TLS 1.3 does not wait for it.
struct Verified(TlsStream<Stream>);

impl AsyncRead for Verified {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer).map_err(|error| {
            // The end of an established connection is what it is.
            if error.kind() == io::ErrorKind::InvalidData {
                in_words(error)
            } else {
                error
            }
        })
    }
}

impl AsyncWrite for Verified {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
