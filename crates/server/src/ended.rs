//! How a client's connection ended: by the client, by silence, or by us.
//!
//! Promises: an end of file or a reset is the client's doing only if nothing of ours came first: neither the end of the server,
//! nor our having taken offence. A client whose pings go unanswered is silent, not gone. Left out on purpose: what follows from
//! it.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use quorate_host::Ended;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the transport met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// End of file, or a reset.
    Gone = 1,
    /// The network gave up on the other side.
    Unreachable = 2,
}

/// What [`Seen`] has met so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight(Arc<AtomicU8>);

impl Sight {
    pub(crate) fn met(&self) -> Option<Met> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Met::Gone),
            2 => Some(Met::Unreachable),
            _ => None,
        }
    }

    fn note(&self, met: Met) {
        // What came first counts.
        let _ = self
            .0
            .compare_exchange(0, met as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn note_error(&self, error: &io::Error) {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
                self.note(Met::Gone);
            }
            Kind::TimedOut | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                self.note(Met::Unreachable);
            }
            _ => {}
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// In order, with whatever the client said or closed.
    Done,
    /// Our ping was not answered.
    Unanswered,
    /// The transport failed.
    Failed,
    /// The client broke the rules.
    Offended,
}

impl From<&Result<(), hyper::Error>> for Served {
    fn from(served: &Result<(), hyper::Error>) -> Self {
        match served {
            Ok(()) => Self::Done,
            Err(error) if error.is_timeout() => Self::Unanswered,
            Err(error) => match error.source().is_some_and(|source| source.is::<io::Error>()) {
                true => Self::Failed,
                false => Self::Offended,
            },
        }
    }
}

/// How it ended, when the server itself is ending or not.
pub(crate) fn judge(met: Option<Met>, served: Served, is_ending: bool) -> Ended {
    match (is_ending, served, met) {
        (true, ..) | (_, Served::Offended, _) => Ended::Closed,
        (_, Served::Unanswered, _) | (.., Some(Met::Unreachable)) => Ended::Silent,
        (.., Some(Met::Gone)) => Ended::Broken,
        // It said goodbye, and nothing was left to be done.
        (_, Served::Done, None) => Ended::Broken,
        (_, Served::Failed, None) => Ended::Closed,
    }
}

/// A connection that notes how it ends.
pub(crate) struct Seen<S> {
    stream: S,
    sight: Sight,
}

impl<S> Seen<S> {
    pub(crate) fn new(stream: S) -> (Self, Sight) {
        let sight = Sight::default();
        let seen = Self {
            stream,
            sight: sight.clone(),
        };
        (seen, sight)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Seen<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        match &read {
            Ok(()) if has_room && buffer.filled().len() == before => self.sight.note(Met::Gone),
            Ok(()) => {}
            Err(error) => self.sight.note_error(error),
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> Seen<S> {
    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.sight.note_error(error);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seen<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.noted(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn whose_doing_an_end_was() {
        let cases = [
            (
                "closed by the client",
                Some(Met::Gone),
                Served::Done,
                false,
                Ended::Broken,
            ),
            (
                "reset by it",
                Some(Met::Gone),
                Served::Failed,
                false,
                Ended::Broken,
            ),
            ("it said goodbye", None, Served::Done, false, Ended::Broken),
            (
                "no answer to a ping",
                None,
                Served::Unanswered,
                false,
                Ended::Silent,
            ),
            (
                "no answer, and reset later",
                Some(Met::Gone),
                Served::Unanswered,
                false,
                Ended::Silent,
            ),
            (
                "the network gave up",
                Some(Met::Unreachable),
                Served::Failed,
                false,
                Ended::Silent,
            ),
            ("we took offence", None, Served::Offended, false, Ended::Closed),
            (
                "we did, and it went",
                Some(Met::Gone),
                Served::Offended,
                false,
                Ended::Closed,
            ),
            ("a failure of ours", None, Served::Failed, false, Ended::Closed),
            (
                "we are ending",
                Some(Met::Gone),
                Served::Done,
                true,
                Ended::Closed,
            ),
            ("and it was silent", None, Served::Unanswered, true, Ended::Closed),
        ];
        for (name, met, served, is_ending, want) in cases {
            assert_eq!(judge(met, served, is_ending), want, "{name}");
        }
    }

    #[tokio::test]
    async fn an_end_of_file_is_seen_and_bytes_are_not_one() {
        let (near, mut far) = duplex(64);
        let (mut near, sight) = Seen::new(near);
        far.write_all(b"bytes").await.expect("written");
        let mut bytes = [0; 5];
        near.read_exact(&mut bytes).await.expect("read");
        near.read_exact(&mut []).await.expect("nothing to read");
        assert_eq!(sight.met(), None);
        drop(far);
        assert_eq!(near.read(&mut bytes).await.expect("the end"), 0);
        assert_eq!(sight.met(), Some(Met::Gone));
        sight.note_error(&io::ErrorKind::TimedOut.into());
        assert_eq!(sight.met(), Some(Met::Gone), "what came first");
    }

    #[test]
    fn errors_are_told_apart() {
        use io::ErrorKind as Kind;
        let cases = [
            (Kind::ConnectionReset, Some(Met::Gone)),
            (Kind::BrokenPipe, Some(Met::Gone)),
            (Kind::UnexpectedEof, Some(Met::Gone)),
            (Kind::TimedOut, Some(Met::Unreachable)),
            (Kind::HostUnreachable, Some(Met::Unreachable)),
            (Kind::InvalidData, None),
        ];
        for (kind, want) in cases {
            let sight = Sight::default();
            sight.note_error(&kind.into());
            assert_eq!(sight.met(), want, "{kind:?}");
        }
    }
}
