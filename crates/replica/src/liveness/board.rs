//! What all links together know: evidence about each peer's runs, and which runs have connections open towards us.
//!
//! Promises: [`Board::is_dead`] is true only while the evidence of our own link says so and nothing that the run opened
//! towards us is still open. A process takes all its connections with it, so an open one is proof of life; without
//! this rule, a firewall that refuses new connections to a living leader would look like its death to everybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_types::{BootId, NodeId};
use tokio::sync::watch;

use super::evidence::{Change, Evidence, Sign};

/// Round trips that are kept for one peer: enough for a median that follows the network within a minute.
const ROUND_TRIPS: usize = 64;

/// See the module. Shared by the links, the listener, the peer service and the failover.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<NodeId, Peer>,
    /// Connections that a run has open towards us.
    open: BTreeMap<BootId, usize>,
}

#[derive(Debug, Default)]
struct Peer {
    evidence: Evidence,
    round_trips: Vec<Duration>,
    feature_level_max: Option<u32>,
}

/// What is known of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerView {
    /// The run that our link is up to.
    pub(crate) linked: Option<BootId>,
    /// Median of the recent round trips.
    pub(crate) round_trip: Option<Duration>,
    /// The highest feature level that its binary knows.
    pub(crate) feature_level_max: Option<u32>,
}

impl Board {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            version: watch::Sender::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps stay whole at every step, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Changes whenever evidence or an open connection comes or goes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Takes in a sign of our link to `peer`.
    pub(crate) fn observe(&self, peer: NodeId, sign: Sign) -> Option<Change> {
        let change = self.state().peers.entry(peer).or_default().evidence.observe(sign);
        self.changed();
        change
    }

    /// Where our link to `peer` should dial first; see [`Evidence::dial_first`].
    pub(crate) fn dial_first(&self, peer: NodeId) -> Option<std::net::SocketAddr> {
        self.state().peers.get(&peer)?.evidence.dial_first()
    }

    /// Notes a round trip on our link to `peer`.
    pub(crate) fn round_trip(&self, peer: NodeId, took: Duration) {
        let mut state = self.state();
        let samples = &mut state.peers.entry(peer).or_default().round_trips;
        if samples.len() == ROUND_TRIPS {
            samples.remove(0);
        }
        samples.push(took);
    }

    /// Notes what feature level the binary of `peer` knows.
    pub(crate) fn feature_level(&self, peer: NodeId, level_max: u32) {
        self.state().peers.entry(peer).or_default().feature_level_max = Some(level_max);
    }

    /// A connection of run `boot` towards us is open until the guard is dropped.
    pub(crate) fn open(self: &Arc<Self>, boot: BootId) -> OpenConnection {
        *self.state().open.entry(boot).or_default() += 1;
        OpenConnection {
            board: Arc::clone(self),
            boot,
        }
    }

    /// Run `boot` of `peer` is gone for certain.
    pub(crate) fn is_dead(&self, peer: NodeId, boot: BootId) -> bool {
        let state = self.state();
        let dead = state
            .peers
            .get(&peer)
            .is_some_and(|peer| peer.evidence.is_dead(boot));
        dead && !state.open.contains_key(&boot)
    }

    /// What is known of `peer`.
    pub(crate) fn peer(&self, peer: NodeId) -> PeerView {
        let state = self.state();
        let Some(peer) = state.peers.get(&peer) else {
            return PeerView {
                linked: None,
                round_trip: None,
                feature_level_max: None,
            };
        };
        let mut sorted = peer.round_trips.clone();
        sorted.sort_unstable();
        PeerView {
            linked: peer.evidence.linked(),
            round_trip: sorted.get(sorted.len() / 2).copied(),
            feature_level_max: peer.feature_level_max,
        }
    }
}

/// See [`Board::open`].
#[derive(Debug)]
pub(crate) struct OpenConnection {
    board: Arc<Board>,
    boot: BootId,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut state = self.board.state();
        if let Some(count) = state.open.get_mut(&self.boot) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.boot);
            }
        }
        drop(state);
        self.board.changed();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn an_open_connection_is_proof_of_life() {
        let board = Board::new();
        let (peer, boot) = (NodeId(1), BootId(7));
        let here = SocketAddr::from(([127, 0, 0, 1], 1));
        let (first, second) = (board.open(boot), board.open(boot));
        for sign in [Sign::Hello(boot, here), Sign::Broke, Sign::Refused(here)] {
            board.observe(peer, sign);
        }
        assert!(!board.is_dead(peer, boot), "two connections are open");
        drop(first);
        assert!(!board.is_dead(peer, boot), "one connection is open");
        let mut changes = board.subscribe();
        changes.mark_unchanged();
        drop(second);
        assert!(
            changes.has_changed().expect("the board lives"),
            "the last end is told"
        );
        assert!(board.is_dead(peer, boot));
        assert!(!board.is_dead(peer, BootId(8)), "another run is not meant");
        assert!(!board.is_dead(NodeId(2), boot), "another peer is not meant");
    }

    #[test]
    fn the_median_round_trip_follows_the_latest() {
        let board = Board::new();
        assert_eq!(board.peer(NodeId(1)).round_trip, None);
        for ms in 1..=200 {
            board.round_trip(NodeId(1), Duration::from_millis(ms));
        }
        assert_eq!(board.peer(NodeId(1)).round_trip, Some(Duration::from_millis(169)));
    }
}
