//! Watches: changes as they happen, from any replica.
//!
//! Promises: the watch resumes by itself, at another replica when its own dies or falls silent, and delivers every
//! change from its beginning on once and in order. When the changes that it would resume with are no longer kept, it
//! ends, or begins anew with the present state, as the caller chose. It fetches when it is polled, so a slow reader
//! slows the replica's stream and nobody else. Left out on purpose: a deadline. A watch waits for the cluster for as
//! long as it takes; [`crate::Client::leader`] shows whether there is one.

mod cursor;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use quorate_api::v1;
use tonic::{Status, Streaming};

use crate::call::{Flown, Router, Target, Verdict, words};
use crate::client::Client;
use crate::error::{Error, Outcome};
use crate::topology::Route;
use crate::wire::{ANSWER_BYTES_MAX, Wire};
use cursor::{Cursor, Taken};

/// What to do when the changes that come next are no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCompaction {
    /// End with [`WatchItem::Compacted`].
    End,
    /// Deliver [`WatchItem::Reset`], then the present state, then the changes after it.
    Restart,
}

/// What a watch delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchItem {
    /// Changes of one or more whole revisions, or a part of the state at the beginning.
    Events {
        /// Every selected change up to this revision has been delivered; for parts of the state, the revision that
        /// they belong to.
        revision: u64,
        /// In the order of their revisions; the state in any order.
        events: Vec<v1::Event>,
    },
    /// What existed at the beginning has been delivered; from here on events are news.
    Synced {
        /// The revision of what existed.
        revision: u64,
    },
    /// Forget everything that was delivered: the present state follows from its beginning, up to the next `Synced`.
    /// Comes after a compaction, when asked for, and when the state's delivery broke off in its middle.
    Reset,
    /// The last item: the changes that come next are no longer kept.
    Compacted {
        /// Changes from this revision on are kept.
        floor: u64,
    },
}

/// A stream of changes. Ends after [`WatchItem::Compacted`] or an error.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Refused`] for a request that cannot be served, [`Error::Protocol`] when a replica
/// does not know watches, [`Error::Unavailable`] when the client was closed. Each ends the stream.
pub struct Watch(BoxStream<'static, Result<WatchItem, Error>>);

impl Watch {
    pub(crate) fn new(client: Client, request: v1::WatchRequest, on_compaction: OnCompaction) -> Self {
        let router = Router::new(&client.core().topology, Target::Any);
        let watching = Watching {
            _client: client,
            router,
            cursor: Cursor::new(request, on_compaction),
            source: None,
            ready: VecDeque::new(),
            over: false,
        };
        Self(
            stream::unfold(watching, |mut watching| async move {
                let item = watching.next().await?;
                watching.over = item.is_err();
                Some((item, watching))
            })
            .boxed(),
        )
    }

    /// The next item; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        StreamExt::next(&mut self.0).await
    }
}

impl Stream for Watch {
    type Item = Result<WatchItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The state behind a watch.
struct Watching {
    /// Held, so that the client's tasks go on while there is a watch.
    _client: Client,
    router: Router,
    cursor: Cursor,
    source: Option<(Route, Streaming<v1::WatchResponse>)>,
    ready: VecDeque<WatchItem>,
    over: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        if self.over {
            return None;
        }
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            let request = self.cursor.request()?;
            let step = match self.source.take() {
                Some((route, stream)) => self.listen(route, stream).await,
                None => self.open(request).await,
            };
            if let Err(error) = step {
                return Some(Err(error));
            }
        }
    }

    async fn open(&mut self, request: v1::WatchRequest) -> Result<(), Error> {
        let Some(route) = self.router.next().await else {
            return Err(Error::closed(Outcome::NotExecuted));
        };
        let client = v1::watch_client::WatchClient::<Wire>::new(route.wire.clone());
        let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
        match self.router.fly(&route, Box::pin(client.watch(request))).await {
            Flown::Landed(Ok(stream)) => {
                self.source = Some((route, stream.into_inner()));
                Ok(())
            }
            Flown::Landed(Err(status)) => self.judge(&route, &status),
            Flown::Overtaken => {
                self.router.failed(&route);
                Ok(())
            }
            Flown::Closed => Err(Error::closed(Outcome::NotExecuted)),
        }
    }

    async fn listen(&mut self, route: Route, mut stream: Streaming<v1::WatchResponse>) -> Result<(), Error> {
        let before = self.cursor.position();
        match self.router.fly(&route, stream.message()).await {
            Flown::Landed(Ok(Some(message))) => match self.cursor.take(message) {
                Taken::Items(items) => {
                    self.ready.extend(items);
                    // Only progress counts: a replica that greets and breaks off again must not be asked in a loop.
                    if self.cursor.position() > before {
                        self.router.forgive();
                    }
                    self.source = Some((route, stream));
                }
                Taken::Elsewhere(why) => {
                    tracing::warn!(address = %route.address, why, "a watch is resumed at another replica");
                    self.gone(&route);
                }
            },
            Flown::Landed(Ok(None)) | Flown::Overtaken => self.gone(&route),
            Flown::Landed(Err(status)) => {
                self.ready.extend(self.cursor.broken());
                return self.judge(&route, &status);
            }
            Flown::Closed => return Err(Error::closed(Outcome::NotExecuted)),
        }
        Ok(())
    }

    fn gone(&mut self, route: &Route) {
        self.ready.extend(self.cursor.broken());
        self.router.failed(route);
    }

    /// Decides what to do after a replica has failed with `status`.
    fn judge(&mut self, route: &Route, status: &Status) -> Result<(), Error> {
        match Verdict::of(status) {
            Verdict::Final(error) | Verdict::Foreign(error) => return Err(error),
            Verdict::Overloaded { .. }
            | Verdict::Redirected(_)
            | Verdict::Lost
            | Verdict::ClientUnknown
            | Verdict::RequestForgotten => {
                tracing::debug!(address = %route.address, said = words(status), "a watch is resumed elsewhere");
                self.router.failed(route);
            }
        }
        Ok(())
    }
}
