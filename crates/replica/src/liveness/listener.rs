//! The liveness listener: greets, echoes, and otherwise only stays open.
//!
//! Promises: a stranger costs at most 64 bytes and two seconds; peers of another cluster are turned away; at most
//! [`CONNECTIONS_MAX`] connections are held, more are closed at once. Its owner opens it before anything else of the
//! replica and closes it after everything else, because its being closed is read as a death.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_host::{Listener, Stream};
use quorate_types::{ClusterId, NodeId};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Identity;
use super::board::Board;
use super::hello::{self, FRAME_BYTES, Frame, HELLO_BYTES, say};

/// Connections at once. A group of five needs four; the rest is for reconnects that overlap.
const CONNECTIONS_MAX: usize = 64;
/// A greeting that takes longer is given up.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that asks nothing for this long is closed: its other end is gone without a word.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Accepts until `stop`. While `me` is `None` (not part of a group yet) nobody is greeted.
pub(crate) async fn serve(
    mut listener: Listener,
    me: watch::Receiver<Option<Identity>>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    // The stranger that was warned of last: it dials several times a second, and one line is enough.
    let warned_of = Arc::new(Mutex::new(None));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "the liveness listener could not accept a connection");
                // Out of file descriptors, most likely: do not spin on it.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let identity = *me.borrow();
        if let Some(identity) = identity
            && connections.len() < CONNECTIONS_MAX
        {
            connections.spawn(hold(stream, identity, Arc::clone(&board), Arc::clone(&warned_of)));
        }
    }
    connections.shutdown().await;
}

async fn hold(
    mut stream: Stream,
    me: Identity,
    board: Arc<Board>,
    warned_of: Arc<Mutex<Option<(ClusterId, NodeId)>>>,
) {
    let theirs = match timeout(GREETING_TIMEOUT, greet(&mut stream, me)).await {
        Ok(Ok(theirs)) => theirs,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a stranger on the liveness port");
            return;
        }
        Err(_) => return,
    };
    if theirs.cluster != me.cluster {
        let stranger = Some((theirs.cluster, theirs.node));
        let mut warned_of = warned_of.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *warned_of, stranger) != stranger {
            tracing::warn!(
                cluster = %theirs.cluster, node = %theirs.node,
                "a replica of another cluster dials this one's liveness port; check its list of peers"
            );
        }
        return;
    }
    let _open = board.open(theirs.boot);
    let mut frame = [0; FRAME_BYTES];
    while let Ok(Ok(_)) = timeout(SILENCE_MAX, stream.read_exact(&mut frame)).await {
        if let Some(Frame::Ask(number)) = hello::decode_frame(&frame)
            && say(&mut stream, &hello::encode_frame(Frame::Answer(number)))
                .await
                .is_err()
        {
            return;
        }
    }
}

async fn greet(stream: &mut Stream, me: Identity) -> io::Result<Identity> {
    let mut theirs = [0; HELLO_BYTES];
    stream.read_exact(&mut theirs).await?;
    let theirs = hello::decode_hello(&theirs).map_err(io::Error::other)?;
    say(stream, &hello::encode_hello(&me)).await?;
    Ok(theirs)
}
