//! The simulated network behind the product's seam, with rules for liveness links that turmoil does not have.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use quorate_host::{BoxFuture, Listen, Listener, Network, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::{TcpListener, TcpStream};

/// Where every replica's liveness listener is.
pub const LIVENESS_PORT: u16 = 2382;
/// How often a connection under a rule looks whether the rule still holds.
const LOOK: Duration = Duration::from_millis(10);

/// What happens to liveness links between two hosts, in one direction of dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing passes and nothing is said, as behind a firewall that drops.
    Silent,
    /// Established links are reset and new ones refused, as behind a firewall that lies.
    Refused,
}

/// The rules in force: (who dials, who is dialled) to rule.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<Mutex<BTreeMap<(String, IpAddr), Rule>>>);

impl Rules {
    pub fn set(&self, from: &str, to: IpAddr, rule: Rule) {
        self.0.lock().expect("no panic holds it").insert((from.to_owned(), to), rule);
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panic holds it").clear();
    }

    fn of(&self, from: &str, to: SocketAddr) -> Option<Rule> {
        if to.port() != LIVENESS_PORT {
            return None;
        }
        self.0.lock().expect("no panic holds it").get(&(from.to_owned(), to.ip())).copied()
    }
}

/// One host's view of the network.
pub struct SimNetwork {
    pub host: String,
    pub rules: Rules,
}

fn split(address: &str) -> io::Result<(&str, u16)> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is no address"));
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    Ok((host, port.parse().map_err(|_| malformed())?))
}

impl Network for SimNetwork {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let (host, port) = split(address)?;
            let ip = host.parse().unwrap_or_else(|_| turmoil::lookup(host));
            Ok(vec![SocketAddr::new(ip, port)])
        })
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let to = self.resolve(address).await?[0];
            while let Some(rule) = self.rules.of(&self.host, to) {
                if rule == Rule::Refused {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                sleep(LOOK).await;
            }
            let inner = TcpStream::connect(to).await?;
            let (host, rules) = (self.host.clone(), self.rules.clone());
            Ok(Stream::new(Ruled { inner, host, to, rules, look: None, broken: false }))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Listener>> {
        Box::pin(async move {
            let (_, port) = split(address)?;
            Ok(Listener::new(Bound(TcpListener::bind(("0.0.0.0", port)).await?)))
        })
    }
}

struct Bound(TcpListener);

impl Listen for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { Ok(Stream::new(self.0.accept().await?.0)) })
    }

    fn local_address(&self) -> io::Result<String> {
        Ok(self.0.local_addr()?.to_string())
    }
}

/// A dialled connection that obeys the rules.
struct Ruled {
    inner: TcpStream,
    host: String,
    to: SocketAddr,
    rules: Rules,
    look: Option<Pin<Box<Sleep>>>,
    /// Bytes were lost under a rule, so the connection cannot go on after it.
    broken: bool,
}

impl Ruled {
    /// Pending or failed while a rule holds; `None` when the bytes may pass.
    fn held(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Error>> {
        let rule = self.rules.of(&self.host, self.to);
        if rule == Some(Rule::Refused) || (self.broken && rule.is_none()) {
            return Some(Poll::Ready(io::ErrorKind::ConnectionReset.into()));
        }
        rule?;
        self.broken = true;
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        while look.as_mut().poll(cx).is_ready() {
            look.set(sleep(LOOK));
        }
        Some(Poll::Pending)
    }
}

impl AsyncRead for Ruled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.held(cx) {
            Some(Poll::Ready(error)) => Poll::Ready(Err(error)),
            Some(Poll::Pending) => Poll::Pending,
            None => {
                // A rule may begin while the read waits: look again then, too.
                let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
                if polled.is_pending() && self.to.port() == LIVENESS_PORT {
                    let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
                    if look.as_mut().poll(cx).is_ready() {
                        look.set(sleep(LOOK));
                        cx.waker().wake_by_ref();
                    }
                }
                polled
            }
        }
    }
}

impl AsyncWrite for Ruled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.held(cx) {
            Some(Poll::Ready(error)) => Poll::Ready(Err(error)),
            // Taken and lost.
            Some(Poll::Pending) => Poll::Ready(Ok(bytes.len())),
            None => Pin::new(&mut self.inner).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
