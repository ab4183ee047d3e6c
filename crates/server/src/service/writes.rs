//! `Writes`: many writes in flight on one stream.
//!
//! Promises: writes are proposed in the order in which they arrive, and those that arrive together without waiting for one
//! another, so that they share a flush; each is answered when it is decided. At most [`WRITES_UNANSWERED_MAX`] are taken;
//! then the stream is not read, and HTTP/2's window makes the client wait. A write that is malformed, refused or of unknown
//! outcome costs its sender that one answer; when this replica does not lead, the stream ends with the redirect, and all
//! that is unanswered is to be sent again elsewhere. A `grpc-timeout` concerns the stream and not its writes: each of
//! these has ten seconds.

use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt};
use quorate_api::{encode_status, v1};
use quorate_replica::Unavailable;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Messages};
use crate::convert::Malformed;
use crate::convert::write::{Streamed, streamed};
use crate::leader::Led;
use crate::limits::WRITES_UNANSWERED_MAX;
use crate::status;

/// A write of a stream is held this long while nobody leads.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Writes {
    pub(super) led: Led,
    pub(super) ending: CancellationToken,
}

#[tonic::async_trait]
impl v1::writes_server::Writes for Writes {
    type WriteStream = Messages<v1::WriteResponse>;

    async fn write(&self, request: Request<Streaming<v1::WriteRequest>>) -> Answer<Self::WriteStream> {
        self.led.here()?;
        let stream = WriteStream {
            led: self.led.clone(),
            ending: self.ending.clone(),
            requests: Some(request.into_inner()),
            deciding: FuturesUnordered::new(),
            over: false,
        };
        let messages = stream::unfold(stream, |mut stream| async move {
            let message = stream.next().await?;
            stream.over = message.is_err();
            Some((message, stream))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// What a write came to: its answer, or the end of the stream.
type Decided = Result<v1::WriteResponse, Status>;

type Deciding = Pin<Box<dyn Future<Output = Decided> + Send>>;

struct WriteStream {
    led: Led,
    ending: CancellationToken,
    /// `None` once the client has said that it sends no more.
    requests: Option<Streaming<v1::WriteRequest>>,
    deciding: FuturesUnordered<Deciding>,
    over: bool,
}

impl WriteStream {
    async fn next(&mut self) -> Option<Decided> {
        while !self.over {
            let reads = self.requests.is_some() && self.deciding.len() < WRITES_UNANSWERED_MAX;
            if !reads && self.deciding.is_empty() {
                return None;
            }
            tokio::select! {
                // Everything that has arrived is proposed before the first answer leaves.
                biased;
                request = read(&mut self.requests), if reads => match request {
                    Ok(Some(request)) => self.take(request).await,
                    Ok(None) => self.requests = None,
                    Err(broken) => return status::unreadable(&broken).map(Err),
                },
                Some(decided) = self.deciding.next(), if !self.deciding.is_empty() => return Some(decided),
                _ = self.led.elsewhere() => return Some(Err(status::stopping(&self.led.leadership()))),
                () = self.ending.cancelled() => return Some(Err(status::stopping(&self.led.leadership()))),
            }
        }
        None
    }

    /// Proposes a write. Its first step puts it into the proposer's queue, so it is taken here and now: that keeps the
    /// order.
    async fn take(&mut self, request: v1::WriteRequest) {
        let mut deciding: Deciding = Box::pin(decide(self.led.clone(), request));
        let first = poll_fn(|cx| Poll::Ready(deciding.as_mut().poll(cx))).await;
        self.deciding.push(match first {
            Poll::Ready(decided) => Box::pin(ready(decided)),
            Poll::Pending => deciding,
        });
    }
}

async fn read(
    requests: &mut Option<Streaming<v1::WriteRequest>>,
) -> Result<Option<v1::WriteRequest>, Status> {
    match requests {
        Some(requests) => requests.message().await,
        None => Ok(None),
    }
}

async fn decide(led: Led, request: v1::WriteRequest) -> Decided {
    let tag = request.tag;
    let answer = match propose(&led, request).await {
        Ok(answer) => answer,
        Err(Failed::Here(status)) => v1::write_response::Answer::Error(encode_status(&status)),
        Err(Failed::Everywhere(status)) => return Err(status),
    };
    Ok(v1::WriteResponse {
        tag,
        answer: Some(answer),
    })
}

/// Why a write has no answer of its kind.
enum Failed {
    /// It concerns this write.
    Here(Status),
    /// It concerns all writes of the stream: they are to be sent elsewhere.
    Everywhere(Status),
}

impl From<Malformed> for Failed {
    fn from(malformed: Malformed) -> Self {
        Self::Here(status::malformed(malformed))
    }
}

async fn propose(led: &Led, request: v1::WriteRequest) -> Result<v1::write_response::Answer, Failed> {
    let Streamed { proposal, word } = streamed(request.write.ok_or_else(|| Malformed::missing("write"))?)?;
    led.here().map_err(Failed::Everywhere)?;
    let deadline = Instant::now() + PATIENCE;
    match led
        .replica()
        .propose(&proposal.command, proposal.request, deadline)
        .await
    {
        Ok(decided) => {
            let reply = decided
                .outcome
                .map_err(|refusal| Failed::Here(status::refused(&refusal)))?;
            word(reply).ok_or_else(|| Failed::Here(status::number_used()))
        }
        Err(unavailable) => {
            let status = status::unavailable(&unavailable);
            Err(match unavailable {
                Unavailable::OutcomeUnknown
                | Unavailable::Overloaded { .. }
                | Unavailable::TooLarge { .. } => Failed::Here(status),
                Unavailable::NotLeader { .. } | Unavailable::TimedOut | Unavailable::Stopped => {
                    Failed::Everywhere(status)
                }
            })
        }
    }
}
