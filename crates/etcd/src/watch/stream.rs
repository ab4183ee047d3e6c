//! One stream: requests in, responses out.
//!
//! Promises: everything happens while the client's side has room for a response, so a client that does not read makes only
//! itself wait: its requests are not read either, and what its watches miss they read in the history later. A watch is created
//! before its first event, and nothing comes of it once it is cancelled. Half a stream that the client has closed goes on
//! delivering, as in etcd.

use std::future::{pending, ready};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use quorate_replica::Unavailable;
use quorate_replica::machine::{Image, KvNeed};
use quorate_types::Revision;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::catch_up;
use super::events::Wanted;
use super::hub::Feed;
use super::inbox::News;
use super::keys::Keys;
use super::outgoing::{Batch, Outgoing};
use super::progress::Progress;
use super::watches::{Watch, WatchId, Watches};
use crate::auth::{Credentials, Guard};
use crate::convert::signed;
use crate::deadline::PATIENCE_MAX;
use crate::error::{self, NoWatch};
use crate::limits::WATCHES_PER_STREAM_MAX;
use crate::node::Node;

/// The id of a watch that did not come to be.
const NONE: WatchId = -1;

/// What a stream is made of besides its requests.
pub(super) struct Surroundings<N> {
    pub(super) node: N,
    pub(super) guard: Guard,
    /// By whoever has opened the stream.
    pub(super) shown: Credentials,
    pub(super) feed: Feed,
    /// The server stops.
    pub(super) ending: CancellationToken,
    /// The client wants a member with a leader, and this says when there is none.
    pub(super) leader_is_gone: Option<watch::Receiver<bool>>,
    /// Watches that want it are told how far they are this often.
    pub(super) progress_every: Duration,
}

/// See the module.
pub(super) struct WatchStream<N, R> {
    around: Surroundings<N>,
    /// `None` once the client has no more.
    requests: Option<R>,
    watches: Watches,
    outgoing: Outgoing,
    progress: Progress,
    ticks: Interval,
    is_over: bool,
}

/// What a stream waits for.
enum Happened {
    Asked(Option<Result<WatchRequest, Status>>),
    News(News),
    /// Watches that are behind may read on.
    Turn,
    /// It is time to say how far the watches are.
    Tick,
    /// What a report of progress waits for is handed out.
    Distributed,
    LeaderGone,
    Ending,
}

impl<N, R> WatchStream<N, R>
where
    N: Node,
    R: Stream<Item = Result<WatchRequest, Status>> + Send + Unpin,
{
    pub(super) fn new(around: Surroundings<N>, requests: R) -> Self {
        let every = around.progress_every;
        // Up to a tenth more, so that the many watches of a client that starts again do not report all at once.
        let tenth = u64::try_from(every.as_micros() / 10).unwrap_or(u64::MAX).max(1);
        let chance = RandomState::new().hash_one(0);
        let every = every + Duration::from_micros(chance % tenth);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            around,
            requests: Some(requests),
            watches: Watches::default(),
            outgoing: Outgoing::default(),
            progress: Progress::default(),
            ticks,
            is_over: false,
        }
    }

    /// The next response; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        while !self.is_over {
            if let Some(response) = self.outgoing.next(&mut self.watches) {
                return Some(Ok(response));
            }
            self.report_progress();
            if self.outgoing.is_empty()
                && let Err(status) = self.go_on().await
            {
                self.is_over = true;
                return Some(Err(status));
            }
        }
        None
    }

    /// Waits until something happens, and does what follows from it. An error is the end.
    async fn go_on(&mut self) -> Result<(), Status> {
        match self.happens().await {
            Happened::Asked(None) => self.requests = None,
            Happened::Asked(Some(Err(broken))) => return Err(error::unread(broken)),
            Happened::Asked(Some(Ok(request))) => match request.request_union {
                Some(RequestUnion::CreateRequest(create)) => {
                    let permitted = self.who().permitted(&create).await;
                    self.create(&create, permitted)?;
                }
                Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id)?,
                Some(RequestUnion::ProgressRequest(_)) => self.progress.ask(self.image()?.kv_revision()),
                // Of a later release, perhaps.
                None => {}
            },
            Happened::News(News::Set(set)) => {
                let ids = self.watches.take(&set);
                let batch = Batch::News(set, ids.into_iter());
                self.outgoing.say_events(self.around.node.stamp(), batch);
            }
            Happened::News(News::Lost(from)) => self.watches.lose(from),
            Happened::Turn => {
                self.catch_up()?;
                // A long way through what interests nobody.
                if self.outgoing.is_empty() {
                    yield_now().await;
                }
            }
            Happened::Tick => {
                let revision = self.image()?.kv_revision();
                self.progress.tick(&mut self.watches, revision);
            }
            Happened::Distributed => {}
            Happened::LeaderGone => return Err(error::no_leader()),
            Happened::Ending => return Err(error::unavailable(&Unavailable::Stopped)),
        }
        Ok(())
    }

    /// Chosen by chance among what has happened, so that nothing keeps the rest waiting for long.
    async fn happens(&mut self) -> Happened {
        let Surroundings {
            feed,
            ending,
            leader_is_gone,
            ..
        } = &mut self.around;
        let awaited = self
            .progress
            .target()
            .filter(|target| feed.distributed() < *target);
        tokio::select! {
            request = asked(&mut self.requests) => Happened::Asked(request),
            news = feed.inbox().news() => Happened::News(news),
            () = ready(()), if self.watches.are_behind() => Happened::Turn,
            _ = self.ticks.tick() => Happened::Tick,
            () = reached(feed, awaited) => Happened::Distributed,
            () = gone(leader_is_gone) => Happened::LeaderGone,
            () = ending.cancelled() => Happened::Ending,
        }
    }

    /// Who has opened the stream; `None` while that does not matter.
    fn who(&self) -> Who<N> {
        let Surroundings {
            node, guard, shown, ..
        } = &self.around;
        let is_asked = node.auth_is_on();
        Who(is_asked.then(|| (node.clone(), guard.clone(), shown.clone())))
    }

    fn create(&mut self, request: &WatchCreateRequest, permitted: Result<(), NoWatch>) -> Result<(), Status> {
        let begun = self.begin(request, permitted);
        // Behind the subscription, so that the hub hands out what is newer.
        let image = self.image()?;
        let response = WatchResponse {
            created: true,
            ..self.response(image.kv_revision())
        };
        match begun {
            Ok((watch_id, watch)) => {
                self.outgoing.say(WatchResponse { watch_id, ..response });
                self.place(watch_id, watch, &image);
            }
            Err(no_watch) => self.outgoing.say(WatchResponse {
                watch_id: NONE,
                canceled: true,
                cancel_reason: error::cancel_reason(no_watch).to_owned(),
                ..response
            }),
        }
        Ok(())
    }

    /// Checks, and subscribes.
    fn begin(
        &mut self,
        request: &WatchCreateRequest,
        permitted: Result<(), NoWatch>,
    ) -> Result<(WatchId, Watch), NoWatch> {
        let start = u64::try_from(request.start_revision).map_err(|_| NoWatch::Compacted)?;
        permitted?;
        let keys = Keys::of(&request.key, &request.range_end).ok_or(NoWatch::EmptyRange)?;
        if self.watches.len() >= WATCHES_PER_STREAM_MAX {
            return Err(NoWatch::TooManyOnStream);
        }
        if request.watch_id != 0 && self.watches.has(request.watch_id) {
            return Err(NoWatch::DuplicateId);
        }
        let feed = &mut self.around.feed;
        feed.subscribe(&keys).map_err(|_| NoWatch::TooManyHere)?;
        let id = self.watches.choose_id(request.watch_id);
        let watch = Watch {
            keys,
            wanted: Wanted::new(&request.filters, request.prev_kv),
            fragment: request.fragment,
            notify: request.progress_notify,
            is_quiet: true,
            start: Revision(start),
            next: Revision(start),
        };
        Ok((id, watch))
    }

    /// Gives a watch its place among the others.
    fn place(&mut self, id: WatchId, mut watch: Watch, image: &Image) {
        let (compacted, present) = (image.kv_compacted(), image.kv_revision());
        if watch.start == Revision(0) {
            watch.next = present.next();
        } else if watch.start < compacted {
            self.around.feed.unsubscribe(&watch.keys);
            self.watches.add_ended(id);
            self.say_compacted(id, compacted);
            return;
        }
        let is_behind = watch.next <= present;
        self.watches.add(id, watch, is_behind);
    }

    fn cancel(&mut self, id: WatchId) -> Result<(), Status> {
        let Some(watch) = self.watches.remove(id) else {
            return Ok(());
        };
        if let Some(watch) = watch {
            self.around.feed.unsubscribe(&watch.keys);
        }
        let response = WatchResponse {
            watch_id: id,
            canceled: true,
            ..self.response(self.image()?.kv_revision())
        };
        self.outgoing.say(response);
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), Status> {
        let image = self.image()?;
        let page = catch_up::read(&mut self.watches, &image);
        for (id, watch) in page.ended {
            self.around.feed.unsubscribe(&watch.keys);
            self.say_compacted(id, page.compacted);
        }
        let stamp = self.around.node.stamp();
        for (id, sets) in page.found {
            let batch = Batch::Past(id, sets.into_iter(), page.position);
            self.outgoing.say_events(stamp, batch);
        }
        Ok(())
    }

    fn report_progress(&mut self) {
        // In this order: what is handed out before the inbox is looked at has gone through it.
        let distributed = self.around.feed.distributed();
        if self.progress.target().is_none() || !self.around.feed.inbox().is_empty() {
            return;
        }
        for watch_id in self.progress.report(&self.watches, distributed) {
            let response = WatchResponse {
                watch_id,
                ..self.response(distributed)
            };
            self.outgoing.say(response);
        }
    }

    fn say_compacted(&mut self, id: WatchId, compacted: Revision) {
        let response = WatchResponse {
            watch_id: id,
            canceled: true,
            compact_revision: signed(compacted.0),
            // As in etcd, there is no revision in the head of this one.
            ..self.response(Revision(0))
        };
        self.outgoing.say(response);
    }

    fn response(&self, revision: Revision) -> WatchResponse {
        WatchResponse {
            header: Some(self.around.node.stamp().header(revision)),
            ..WatchResponse::default()
        }
    }

    fn image(&self) -> Result<Image, Status> {
        let image = self.around.node.read_stale();
        image.map_err(|unavailable| error::unavailable(&unavailable))
    }
}

/// See [`WatchStream::who`].
struct Who<N>(Option<(N, Guard, Credentials)>);

impl<N: Node> Who<N> {
    /// Whether it may read what a watch is on.
    async fn permitted(self, request: &WatchCreateRequest) -> Result<(), NoWatch> {
        let Some((node, guard, shown)) = self.0 else {
            return Ok(());
        };
        let first = Bytes::from_static(&[0]);
        let need = KvNeed::Read {
            key: match request.key.is_empty() {
                true => &first,
                false => &request.key,
            },
            range_end: &request.range_end,
        };
        let deadline = Instant::now() + PATIENCE_MAX;
        let required = guard.require(&node, &shown, &need, deadline).await;
        required.map_err(NoWatch::Denied)
    }
}

/// The client's next request, for as long as it has some.
async fn asked<R>(requests: &mut Option<R>) -> Option<Result<WatchRequest, Status>>
where
    R: Stream<Item = Result<WatchRequest, Status>> + Unpin,
{
    match requests {
        Some(requests) => requests.next().await,
        None => pending().await,
    }
}

/// Waits until `awaited` is handed out.
async fn reached(feed: &Feed, awaited: Option<Revision>) {
    let Some(awaited) = awaited else {
        return pending().await;
    };
    let mut distribution = feed.distribution();
    if distribution
        .wait_for(|revision| *revision >= awaited)
        .await
        .is_err()
    {
        // The hub is gone with its server, which ends this stream.
        pending::<()>().await;
    }
}

/// Waits until the leader is gone for too long.
async fn gone(leader_is_gone: &mut Option<watch::Receiver<bool>>) {
    if let Some(is_gone) = leader_is_gone
        && is_gone.wait_for(|is_gone| *is_gone).await.is_ok()
    {
        return;
    }
    pending().await
}
