//! Our link to one peer: dial, greet, echo, and dial again.
//!
//! Promises: every sign goes to the [`Board`] in the order in which it happened, and after a break the place of the
//! broken run is dialled at once, because only that place can prove a death, and again within milliseconds when it does
//! not answer. Left out on purpose: judgement, which is [`super::evidence`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Network, Stream, entropy};
use quorate_types::{ClusterId, Member, NodeId};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Identity;
use super::board::Board;
use super::evidence::{Change, Sign};
use super::hello::{self, FRAME_BYTES, Frame, HELLO_BYTES, say};

/// How often the peer is asked for an echo: often enough to measure round trips, seldom enough to cost nothing.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// A link without an echo for this long is given up and dialled anew. It proves nothing about the peer.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A dial and a greeting that take longer are given up.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// After a break the first dial is given up after this and some round trips; each further one has twice as long. Linux drops
/// a connection request without an answer when it arrives while the listener of a dying process is being closed, and
/// sends it again only after a second: measured, one death in fifty was noticed [`DIAL_TIMEOUT`] late for it.
const DIAL_TIMEOUT_AFTER_BREAK: Duration = Duration::from_millis(10);
/// Round trips that the first dial after a break has on top: one for the connection, one for the greeting, and reserve.
const ROUND_TRIPS_AFTER_BREAK: u32 = 4;
/// Shortest and longest wait between two rounds of dialling.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));

/// Keeps the link to `peer` until `stop`.
pub(crate) async fn keep_link(
    peer: Member,
    me: Identity,
    network: Arc<dyn Network>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut link = Link {
        peer,
        me,
        network,
        board,
        stranger: None,
    };
    tokio::select! {
        () = link.run() => {}
        () = stop.cancelled() => {}
    }
}

struct Link {
    peer: Member,
    me: Identity,
    network: Arc<dyn Network>,
    board: Arc<Board>,
    /// Who answered in the peer's place at last, so that it is told once and not at every dial.
    stranger: Option<(ClusterId, NodeId)>,
}

impl Link {
    async fn run(&mut self) {
        let (mut pause, mut patience) = (PAUSE.0, DIAL_TIMEOUT);
        loop {
            if self.round(patience).await {
                // The link stood and broke: ask its place at once what that meant.
                (pause, patience) = (PAUSE.0, self.first_patience());
                continue;
            }
            sleep(pause.mul_f64(0.5 + entropy::random_fraction())).await;
            pause = (pause * 2).min(PAUSE.1);
            patience = (patience * 2).min(DIAL_TIMEOUT);
        }
    }

    /// How long the first dial after a break may take.
    fn first_patience(&self) -> Duration {
        let round_trip = self.board.peer(self.peer.node).round_trip.unwrap_or_default();
        (DIAL_TIMEOUT_AFTER_BREAK + round_trip * ROUND_TRIPS_AFTER_BREAK).min(DIAL_TIMEOUT)
    }

    /// Tries every place once; true when a link stood. Each place is given up after `patience`.
    async fn round(&mut self, patience: Duration) -> bool {
        if let Some(address) = self.board.dial_first(self.peer.node)
            && self.try_address(address, patience).await
        {
            return true;
        }
        let Ok(Ok(addresses)) =
            timeout(DIAL_TIMEOUT, self.network.resolve(&self.peer.liveness_address)).await
        else {
            return false;
        };
        for address in addresses {
            if self.try_address(address, patience).await {
                return true;
            }
        }
        false
    }

    /// Dials one address and serves the link if it stands; true when it stood.
    async fn try_address(&mut self, address: SocketAddr, patience: Duration) -> bool {
        let dialing = self.network.dial_place(address, &self.peer.liveness_address);
        let dialed = timeout(patience, dialing).await;
        let mut stream = match dialed {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.tell(Sign::Refused(address));
                return false;
            }
            Ok(Err(_)) | Err(_) => return false,
        };
        let theirs = match timeout(patience, self.greet(&mut stream)).await {
            Ok(Ok(theirs)) => theirs,
            Ok(Err(_)) | Err(_) => return false,
        };
        if theirs.cluster != self.me.cluster || theirs.node != self.peer.node {
            let stranger = Some((theirs.cluster, theirs.node));
            if std::mem::replace(&mut self.stranger, stranger) != stranger {
                tracing::warn!(
                    peer = %self.peer, %address, node = %theirs.node, cluster = %theirs.cluster,
                    "another replica answers at this peer's liveness address; check the addresses"
                );
            }
            return false;
        }
        self.stranger = None;
        self.board.feature_level(self.peer.node, theirs.feature_level_max);
        self.tell(Sign::Hello(theirs.boot, address));
        let ended = self.echo(stream).await;
        tracing::debug!(peer = %self.peer, %address, %ended, "liveness link ended");
        self.tell(Sign::Broke);
        true
    }

    fn tell(&self, sign: Sign) {
        match self.board.observe(self.peer.node, sign) {
            Some(Change::Died(boot)) => {
                tracing::info!(peer = %self.peer, %boot, "the peer's process is gone")
            }
            Some(Change::Returned(boot)) => {
                tracing::warn!(peer = %self.peer, %boot, "a peer that looked dead answers again");
            }
            None => {}
        }
    }

    async fn greet(&self, stream: &mut Stream) -> io::Result<Identity> {
        say(stream, &hello::encode_hello(&self.me)).await?;
        let mut theirs = [0; HELLO_BYTES];
        stream.read_exact(&mut theirs).await?;
        hello::decode_hello(&theirs).map_err(io::Error::other)
    }

    /// Asks and listens until the link ends.
    async fn echo(&self, mut stream: Stream) -> io::Error {
        let started = Instant::now();
        let mut heard = started;
        let mut asks = interval(ASK_INTERVAL);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frame = [0; FRAME_BYTES];
        let mut filled = 0;
        loop {
            tokio::select! {
                biased;
                read = stream.read(&mut frame[filled..]) => match read {
                    Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                    Ok(bytes) => filled += bytes,
                    Err(error) => return error,
                },
                _ = asks.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return io::ErrorKind::TimedOut.into();
                    }
                    let ask = Frame::Ask(nanoseconds(started.elapsed()));
                    if let Err(error) = say(&mut stream, &hello::encode_frame(ask)).await {
                        return error;
                    }
                }
            }
            if filled == FRAME_BYTES {
                filled = 0;
                heard = Instant::now();
                if let Some(Frame::Answer(asked)) = hello::decode_frame(&frame) {
                    let took = started.elapsed().saturating_sub(Duration::from_nanos(asked));
                    self.board.round_trip(self.peer.node, took);
                }
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
