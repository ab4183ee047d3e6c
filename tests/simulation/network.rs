//! The simulated network behind the product's seam, made truer where the product looks closely.
//!
//! The simulator's own TCP answers a dial into a partition with "refused", which the liveness links would take for proof
//! of a death. Here a dial into a partition waits, as it does on a real network; a dial to a machine that lives without
//! the process is refused; and liveness links can be cut or lied to apart from everything else. Left out on purpose:
//! retransmission. A segment that a partition swallowed is gone, and its connection stands still until somebody gives
//! it up, as behind a firewall that forgot it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use quorate_host::{BoxFuture, Listen, Listener, Network, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::{TcpListener, TcpStream};

/// Where every replica's liveness listener is.
pub(crate) const LIVENESS_PORT: u16 = 2382;
/// How often a connection under a rule looks whether the rule still holds.
const LOOK: Duration = Duration::from_millis(10);
/// How long a refusal is on its way.
const REFUSAL_WAY: Duration = Duration::from_millis(1);

/// What happens to liveness links between two hosts, in one direction of dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing passes and nothing is said, as behind a firewall that drops.
    Silent,
    /// Established links are reset and new ones refused, as behind a firewall that lies.
    Refused,
}

#[derive(Debug, Default)]
struct State {
    /// (who dials, who is dialled) to the rule for liveness links.
    links: BTreeMap<(IpAddr, IpAddr), Rule>,
    /// Pairs, in either order, between which dials go nowhere.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// How often anything was cut: a dial during which this moved proves nothing.
    cuts: u64,
    /// Machines that live without the process.
    without_process: BTreeSet<IpAddr>,
}

/// What holds on the network now; shared by all hosts and by the faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules(Arc<Mutex<State>>);

impl Rules {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_link(&self, from: IpAddr, to: IpAddr, rule: Rule) {
        self.lock().links.insert((from, to), rule);
    }

    pub(crate) fn clear_links(&self) {
        self.lock().links.clear();
    }

    pub(crate) fn cut(&self, one: IpAddr, other: IpAddr) {
        let mut state = self.lock();
        state.cuts += 1;
        state.cut.extend([(one, other), (other, one)]);
    }

    pub(crate) fn mend(&self, one: IpAddr, other: IpAddr) {
        let mut state = self.lock();
        state.cut.remove(&(one, other));
        state.cut.remove(&(other, one));
    }

    /// Says whether the process on the machine at `host` runs.
    pub(crate) fn process(&self, host: IpAddr, runs: bool) {
        let mut state = self.lock();
        if runs {
            state.without_process.remove(&host);
        } else {
            state.without_process.insert(host);
        }
    }

    fn of_link(&self, from: IpAddr, to: SocketAddr) -> Option<Rule> {
        if to.port() != LIVENESS_PORT {
            return None;
        }
        self.lock().links.get(&(from, to.ip())).copied()
    }
}

/// One host's view of the network.
pub(crate) struct SimNetwork {
    pub(crate) host: String,
    pub(crate) rules: Rules,
}

impl SimNetwork {
    async fn connect(&self, to: SocketAddr) -> io::Result<(IpAddr, TcpStream)> {
        let from = turmoil::lookup(self.host.as_str());
        loop {
            let rule = self.rules.of_link(from, to);
            let (is_cut, cuts, has_no_process) = {
                let state = self.rules.lock();
                let is_cut = state.cut.contains(&(from, to.ip()));
                (is_cut, state.cuts, state.without_process.contains(&to.ip()))
            };
            if is_cut || rule == Some(Rule::Silent) {
                sleep(LOOK).await;
                continue;
            }
            if has_no_process || rule == Some(Rule::Refused) {
                sleep(REFUSAL_WAY).await;
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            match TcpStream::connect(to).await {
                Ok(stream) => return Ok((from, stream)),
                // The simulator says so of a dial that a partition swallowed.
                Err(_) if self.rules.lock().cuts != cuts => {}
                Err(error) => return Err(error),
            }
        }
    }
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
            let (from, inner) = self.connect(to).await?;
            let rules = self.rules.clone();
            Ok(Stream::new(Ruled {
                inner,
                from,
                to,
                rules,
                look: None,
                broken: false,
            }))
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

/// A dialled connection that obeys the rules for liveness links.
struct Ruled {
    inner: TcpStream,
    from: IpAddr,
    to: SocketAddr,
    rules: Rules,
    look: Option<Pin<Box<Sleep>>>,
    /// Bytes were lost under a rule, so the connection cannot go on after it.
    broken: bool,
}

impl Ruled {
    /// Pending or failed while a rule holds; `None` when the bytes may pass.
    fn held(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Error>> {
        if self.to.port() != LIVENESS_PORT {
            return None;
        }
        let rule = self.rules.of_link(self.from, self.to);
        if rule == Some(Rule::Refused) || (self.broken && rule.is_none()) {
            return Some(Poll::Ready(io::ErrorKind::ConnectionReset.into()));
        }
        // A rule may begin and end while somebody waits here: look again by and by.
        self.look_again(cx);
        rule?;
        self.broken = true;
        Some(Poll::Pending)
    }

    fn look_again(&mut self, cx: &mut Context<'_>) {
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        while look.as_mut().poll(cx).is_ready() {
            look.set(sleep(LOOK));
        }
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
            None => Pin::new(&mut self.inner).poll_read(cx, buffer),
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
