//! A network inside the test: connections that can be cut and frozen, addresses that refuse or do not resolve.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use quorate_host::{BoxFuture, Listen, Listener, Network, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

const BUFFER: usize = 64 * 1024;

/// Addresses are whatever was listened on before. Clones share the network.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<BTreeMap<String, Place>>>);

struct Place {
    /// `None` while nothing listens: dials are refused.
    accepts: Option<mpsc::UnboundedSender<DuplexStream>>,
    cables: JoinSet<()>,
    frozen: watch::Sender<bool>,
    dials: usize,
}

impl Memory {
    /// Cuts all connections to `address` and refuses new ones, as the kernel does for a killed process.
    pub(crate) fn kill(&self, address: &str) {
        let mut places = self.0.lock().unwrap();
        let place = places.get_mut(address).expect("a known address");
        place.accepts = None;
        place.cables.abort_all();
    }

    /// Lets nothing through in either direction, without any connection noticing; or lets it through again.
    pub(crate) fn freeze(&self, address: &str, frozen: bool) {
        self.0.lock().unwrap()[address].frozen.send_replace(frozen);
    }

    /// Cuts the connections to `address`; new ones are accepted.
    pub(crate) fn cut(&self, address: &str) {
        self.0
            .lock()
            .unwrap()
            .get_mut(address)
            .expect("a known address")
            .cables
            .abort_all();
    }

    /// How often `address` was dialled.
    pub(crate) fn dials(&self, address: &str) -> usize {
        self.0.lock().unwrap()[address].dials
    }

    /// Connections that are established now.
    pub(crate) fn connections(&self) -> usize {
        let mut places = self.0.lock().unwrap();
        let open = places.values_mut().map(|place| {
            while place.cables.try_join_next().is_some() {}
            place.cables.len()
        });
        open.sum()
    }
}

impl Network for Memory {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let message = format!("{address} has no address: this network knows names only");
        Box::pin(async { Err(io::Error::other(message)) })
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let mut places = self.0.lock().unwrap();
            let Some(place) = places.get_mut(address) else {
                return Err(io::Error::other("failed to lookup address information"));
            };
            place.dials += 1;
            let Some(accepts) = &place.accepts else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (ours, left) = duplex(BUFFER);
            let (right, theirs) = duplex(BUFFER);
            if accepts.send(theirs).is_err() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let frozen = place.frozen.subscribe();
            place.cables.spawn(cable(left, right, frozen));
            Ok(Stream::new(ours))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Listener>> {
        Box::pin(async move {
            let (accepts, accepted) = mpsc::unbounded_channel();
            let mut places = self.0.lock().unwrap();
            let place = places.entry(address.to_owned()).or_insert_with(|| Place {
                accepts: None,
                cables: JoinSet::new(),
                frozen: watch::Sender::new(false),
                dials: 0,
            });
            place.accepts = Some(accepts);
            let address = address.to_owned();
            Ok(Listener::new(Accepting { accepted, address }))
        })
    }
}

struct Accepting {
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
    address: String,
}

impl Listen for Accepting {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            match self.accepted.recv().await {
                Some(stream) => Ok(Stream::new(stream)),
                // Killed: nothing comes any more.
                None => std::future::pending().await,
            }
        })
    }

    fn local_address(&self) -> io::Result<String> {
        Ok(self.address.clone())
    }
}

/// Carries bytes both ways until an end is dropped. Aborting it cuts the connection.
async fn cable(left: DuplexStream, right: DuplexStream, frozen: watch::Receiver<bool>) {
    let ((left_in, left_out), (right_in, right_out)) = (split(left), split(right));
    tokio::select! {
        biased;
        () = carry(left_in, right_out, frozen.clone()) => {}
        () = carry(right_in, left_out, frozen) => {}
    }
}

async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut frozen: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let thawed = frozen.wait_for(|frozen| !frozen).await.is_ok();
        if !thawed || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
