//! A client's connection, as the requests on it know it.
//!
//! Promises: whoever asks is told once how the connection ended, also when it had ended before; an owner that goes away without a
//! word has closed it. Left out on purpose: what is spoken on it, and how its end is recognised, which is its owner's business.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entropy;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By the client, or by what stands between: it was closed or reset from outside.
    Broken,
    /// Nothing was heard of the client for too long.
    Silent,
    /// By us: we stop, or do not like what we are sent.
    Closed,
}

/// See the module; cheap to clone. Stands in the extensions of every request on the connection.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

/// Whoever serves a connection, and knows its end.
#[derive(Debug)]
pub struct ServedConnection(Connection);

struct Inner {
    id: u64,
    remote: Option<SocketAddr>,
    state: Mutex<State>,
}

enum State {
    /// Who wants to know of its end: whoever asks does so once for each connection.
    Open(Vec<Tell>),
    Ended(Ended),
}

type Tell = Box<dyn FnOnce(Ended) + Send>;

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connection");
        shown.field("id", &self.0.id).field("remote", &self.0.remote);
        shown.finish_non_exhaustive()
    }
}

impl Connection {
    /// A number by chance, so that it is this connection's alone whatever machine has which other; never 0.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The client's host as a number, the same for all connections from there; 0 when it is not known.
    #[must_use]
    pub fn host(&self) -> u64 {
        match self.0.remote.map(|remote| remote.ip().to_canonical()) {
            None => 0,
            // Above all IPv4 addresses, so that 0.0.0.0 is not 0 either.
            Some(IpAddr::V4(address)) => 1 << 32 | u64::from(address.to_bits()),
            Some(IpAddr::V6(address)) => {
                let bits = address.to_bits();
                #[allow(clippy::cast_possible_truncation, reason = "both halves are taken")]
                let (network, interface) = ((bits >> 64) as u64, bits as u64);
                (network.rotate_left(1) ^ interface) | 1 << 63
            }
        }
    }

    /// Tells how it ended, once, as soon as it has: at once when it has ended already. `tell` must not wait.
    pub fn when_ended(&self, tell: impl FnOnce(Ended) + Send + 'static) {
        let ended = match &mut *self.state() {
            State::Open(waiting) => {
                waiting.push(Box::new(tell));
                return;
            }
            State::Ended(ended) => *ended,
        };
        tell(ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ended: Ended) {
        let before = match &mut *self.state() {
            State::Ended(_) => return,
            open @ State::Open(_) => std::mem::replace(open, State::Ended(ended)),
        };
        if let State::Open(waiting) = before {
            for tell in waiting {
                tell(ended);
            }
        }
    }
}

impl ServedConnection {
    /// A connection that comes from there.
    #[must_use]
    pub fn new(remote: Option<SocketAddr>) -> Self {
        Self(Connection(Arc::new(Inner {
            id: entropy::random_u64().max(1),
            remote,
            state: Mutex::new(State::Open(Vec::new())),
        })))
    }

    /// For those who are asked something on it.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.0.clone()
    }

    /// It has ended.
    pub fn ended(self, ended: Ended) {
        self.0.end(ended);
    }
}

impl Drop for ServedConnection {
    fn drop(&mut self) {
        self.0.end(Ended::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(connection: &Connection) -> Arc<Mutex<Vec<Ended>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        connection.when_ended(move |ended| note.lock().expect("unpoisoned").push(ended));
        told
    }

    #[test]
    fn each_is_told_once_how_it_ended() {
        for want in [Ended::Broken, Ended::Silent, Ended::Closed] {
            let served = ServedConnection::new(None);
            let connection = served.connection();
            let before = told(&connection);
            assert!(before.lock().expect("unpoisoned").is_empty());
            served.ended(want);
            let after = told(&connection);
            for told in [before, after] {
                assert_eq!(*told.lock().expect("unpoisoned"), [want]);
            }
        }
    }

    #[test]
    fn a_connection_that_is_dropped_was_closed_here() {
        let served = ServedConnection::new(None);
        let told = told(&served.connection());
        drop(served);
        assert_eq!(*told.lock().expect("unpoisoned"), [Ended::Closed]);
    }

    #[test]
    fn hosts_are_told_apart_and_ports_are_not() {
        let host = |address: Option<&str>| {
            let address = address.map(|address| address.parse().expect("an address"));
            ServedConnection::new(address).connection().host()
        };
        assert_eq!(host(None), 0);
        assert_eq!(host(Some("10.0.0.1:1")), host(Some("10.0.0.1:2")));
        assert_eq!(host(Some("10.0.0.1:1")), host(Some("[::ffff:10.0.0.1]:2")));
        let hosts = ["0.0.0.0:1", "10.0.0.1:1", "10.0.0.2:1", "[::1]:1", "[fe80::1]:1"];
        let mut numbers: Vec<u64> = hosts.iter().map(|address| host(Some(address))).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), hosts.len());
        assert!(!numbers.contains(&0));
    }
}
