//! The first bytes of a client's connection: only who speaks HTTP/2 gets further.
//!
//! Promises: a stranger costs at most 24 bytes and [`GREETING_TIMEOUT`]; hyper alone would wait on a silent connection for
//! ever, because its pings begin only after the greeting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use quorate_host::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::limits::GREETING_TIMEOUT;

/// What every HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose greeting was read and stands before it again.
pub(crate) struct Greeted {
    stream: Stream,
    /// How much of the preface was read again.
    again: usize,
}

/// Waits for the greeting; `None` when something else comes, or nothing.
pub(crate) async fn expect(mut stream: Stream) -> Option<Greeted> {
    let mut first = [0; PREFACE.len()];
    let greeting = async {
        let mut read = 0;
        // Byte by byte, as they come: what is no greeting is known from its first wrong byte.
        while read < first.len() {
            let bytes = stream.read(&mut first[read..]).await?;
            read += bytes;
            if bytes == 0 || first[..read] != PREFACE[..read] {
                return Ok(false);
            }
        }
        Ok::<bool, io::Error>(true)
    };
    match timeout(GREETING_TIMEOUT, greeting).await {
        Ok(Ok(true)) => Some(Greeted { stream, again: 0 }),
        Ok(Ok(false)) => {
            tracing::debug!("a connection that does not speak HTTP/2 is closed");
            None
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.again < PREFACE.len() {
            let left = &PREFACE[self.again..];
            let bytes = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..bytes]);
            self.again += bytes;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Greeted {
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
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    async fn greeted(chunks: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut client, server) = duplex(4_096);
        for chunk in chunks {
            client.write_all(chunk).await.expect("written");
        }
        client.shutdown().await.expect("shut down");
        let mut stream = expect(Stream::new(server)).await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("read");
        Some(all)
    }

    #[tokio::test(start_paused = true)]
    async fn a_greeting_is_handed_on_and_anything_else_is_not() {
        let whole = [&PREFACE[..], b"and more"].concat();
        let cases: Vec<(&str, Vec<&[u8]>, Option<&[u8]>)> = vec![
            ("a greeting", vec![PREFACE], Some(PREFACE)),
            ("a greeting and what follows", vec![&whole], Some(&whole)),
            (
                "a greeting in pieces",
                vec![&whole[..5], &whole[5..20], &whole[20..]],
                Some(&whole),
            ),
            ("nothing", vec![], None),
            ("half a greeting", vec![&PREFACE[..10]], None),
            ("HTTP/1.1", vec![b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], None),
            ("TLS", vec![&[0x16, 0x03, 0x01, 0x02, 0x00]], None),
            ("garbage", vec![&[0xff; 4_000]], None),
        ];
        for (case, chunks, want) in cases {
            assert_eq!(greeted(&chunks).await.as_deref(), want, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_waited_for() {
        let (_client, server) = duplex(64);
        let began = tokio::time::Instant::now();
        assert!(expect(Stream::new(server)).await.is_none());
        assert_eq!(began.elapsed(), GREETING_TIMEOUT);
    }
}
