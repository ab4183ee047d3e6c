//! Why a dialled connection failed: TLS that answers where plain HTTP/2 was spoken, and errors that hyper keeps to itself.
//!
//! Promises: such a connection fails with words that say so; all others are untouched. Nothing that HTTP/2 begins with
//! can be taken for it: the first byte of a server's settings is the high byte of a length, which is zero. A read's error
//! is kept as the [`Mishap`]: hyper tells it to nobody when it comes before the first request was sent, which then ends
//! with a bare "connection closed".

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::network::Stream;

/// First byte of the alert that a TLS server answers anything else with.
const TLS_ALERT: u8 = 0x15;

/// What ended a channel's connection at last, for people.
#[derive(Debug, Clone, Default)]
pub struct Mishap(Arc<Mutex<Option<String>>>);

impl Mishap {
    /// `words` about a failed call, and the mishap behind it if they do not tell it already.
    #[must_use]
    pub fn explain(&self, words: String) -> String {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) if !words.contains(why.as_str()) => format!("{words}: {why}"),
            Some(_) | None => words,
        }
    }

    fn happened(&self, error: &io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

/// A dialled connection.
pub(crate) struct Answered {
    stream: Stream,
    heard: bool,
    mishap: Mishap,
}

impl Answered {
    pub(crate) fn by(stream: Stream, mishap: Mishap) -> Self {
        Self {
            stream,
            heard: false,
            mishap,
        }
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(first) = buffer.filled().get(before)
            && !std::mem::replace(&mut self.heard, true)
            && *first == TLS_ALERT
        {
            buffer.set_filled(before);
            let words = "the other side speaks TLS and this side does not; give the CA of its certificate";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Answered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let heard = ready!(self.poll_heard(cx, buffer));
        Poll::Ready(heard.inspect_err(|error| self.mishap.happened(error)))
    }
}

impl AsyncWrite for Answered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_alert_is_told_and_anything_else_is_handed_on() {
        let cases: &[(&str, &[&[u8]], Option<&[u8]>)] = &[
            ("nothing", &[], Some(b"")),
            (
                "settings",
                &[&[0, 0, 18, 4, 0, 0, 0, 0, 0]],
                Some(&[0, 0, 18, 4, 0, 0, 0, 0, 0]),
            ),
            ("an alert", &[&[0x15, 3, 3, 0, 2, 2, 10]], None),
            ("an alert in pieces", &[&[0x15], &[3, 3, 0, 2, 2, 10]], None),
            (
                "its first byte later on",
                &[b"\0", &[0x15, 3]],
                Some(&[0, 0x15, 3]),
            ),
        ];
        for (case, pieces, want) in cases {
            let (near, mut far) = duplex(64);
            let mishap = Mishap::default();
            let mut near = Answered::by(Stream::new(near), mishap.clone());
            let reading = async {
                let mut all = Vec::new();
                near.read_to_end(&mut all).await.map(|_| all)
            };
            let saying = async {
                for piece in *pieces {
                    // The reader may have given up.
                    let _ = far.write_all(piece).await;
                    tokio::task::yield_now().await;
                }
                drop(far);
            };
            let (read, ()) = tokio::join!(reading, saying);
            assert_eq!(read.ok().as_deref(), *want, "{case}");
            let told = mishap.explain("closed".to_owned());
            let why = "closed: the other side speaks TLS and this side does not";
            assert_eq!(told.starts_with(why), want.is_none(), "{case}: {told}");
            assert_eq!(mishap.explain(told.clone()), told, "{case}: once is enough");
        }
    }
}
