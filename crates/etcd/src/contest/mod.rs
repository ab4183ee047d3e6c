//! What `Lock` and `Election` have in common: contestants queue up, and whoever has stood for longest has it.
//!
//! Promises, as etcd: a place in the queue is a key that hangs on a lease ([`queue`]); a contestant is told of its turn
//! behind a read that includes everything acknowledged and shows its key. Whoever is not told of it leaves no key: not when
//! its client goes away or its time is over, be it while its key was being written. A change of leader ends nothing: who
//! waits looks at this replica's own state, and only when the next one before it is gone. Beyond etcd: how many may wait is
//! bounded; who has lost its key is told at once, not when its turn would have been.
//!
//! Reads and writes go through `KV` and `Lease`, as the caller's own calls would, with its token: who may lock or lead is who may
//! read the queue and write its own key. A place stays until its lease ends when its user may not delete it any more. Left out
//! on purpose: fairness beyond that order.

pub(crate) mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_api::etcdserverpb::kv_server::Kv as _;
use quorate_api::etcdserverpb::lease_server::Lease as _;
use quorate_api::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseRevokeRequest, RangeRequest,
    RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use quorate_api::timeout_of;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::error::{self, Lost};
use crate::kv::Kv;
use crate::lease::Lease;
use crate::limits::CONTESTANTS_MAX;
use crate::node::Node;
use crate::watch::Watch;
use queue::{Place, Queue, Standing, Taken};

/// Time to live of a lease that a contestant without one gets, seconds.
const LEASE_TTL_S: i64 = 60;
/// For giving up a place; after that, it goes when its lease ends. Below what a server that closes waits for its tasks.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(3);

/// See the module.
pub(crate) struct Contests<N> {
    kv: Kv<N>,
    lease: Arc<Lease<N>>,
    pub(crate) watch: Arc<Watch<N>>,
    seats: Arc<Semaphore>,
    ending: CancellationToken,
    tasks: TaskTracker,
}

/// Who wants what.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Of the lock or election.
    pub(crate) name: Bytes,
    /// 0: a new one.
    pub(crate) lease: i64,
    /// What stands in its key, also when that is there already.
    pub(crate) says: Option<Bytes>,
}

/// It was a contestant's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Won {
    pub(crate) place: Place,
    pub(crate) lease: i64,
    /// When the place was taken.
    pub(crate) entered: ResponseHeader,
    /// When it was seen to be the first.
    pub(crate) header: ResponseHeader,
}

impl<N: Node> Contests<N> {
    /// Over the other services; what it waits for ends with `ending`, in tasks that are left to `tasks`.
    pub(crate) fn new(
        kv: Kv<N>,
        lease: Arc<Lease<N>>,
        watch: Arc<Watch<N>>,
        ending: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let seats = Arc::new(Semaphore::new(CONTESTANTS_MAX));
        Self {
            kv,
            lease,
            watch,
            seats,
            ending,
            tasks,
        }
    }

    /// Queues up and waits for its turn. In a task, because whoever drops this call still has a key to be deleted.
    pub(crate) async fn enter(self: &Arc<Self>, call: MetadataMap, entry: Entry) -> Result<Won, Status> {
        let seat = self.seat()?;
        let gone = CancellationToken::new();
        let _until_dropped = gone.clone().drop_guard();
        let contests = Arc::clone(self);
        let contest = self.tasks.spawn(async move {
            let won = contests.contest(&call, entry, &gone).await;
            drop(seat);
            won
        });
        contest.await.unwrap_or_else(|_| Err(error::stopped()))
    }

    async fn contest(
        &self,
        call: &MetadataMap,
        entry: Entry,
        gone: &CancellationToken,
    ) -> Result<Won, Status> {
        // From its beginning on, for the time that its place takes counts.
        let too_late = elapsed(timeout_of(call));
        let (lease, is_ours) = self.session(call, entry.lease).await?;
        let turn = async {
            let queue = Queue::of(&entry.name);
            let key = queue.key(lease);
            let taken = self.take_place(call, &queue, &key, &entry, lease).await;
            let taken = match taken {
                Ok(taken) => taken,
                Err(status) => return Err((None, status)),
            };
            let (header, created, is_first) = (taken.header, taken.created, taken.is_first);
            let place = Place { queue, key, created };
            let news = entry
                .says
                .filter(|says| taken.found.is_some_and(|found| found != *says));
            let waits = async {
                if let Some(news) = news {
                    self.say(call, &place, &news, lease).await?;
                }
                match is_first {
                    true => Ok(header),
                    false => self.turn_of(call, &place).await,
                }
            };
            let waited = tokio::select! {
                biased;
                () = gone.cancelled() => Err(Status::cancelled("context canceled")),
                () = self.ending.cancelled() => Err(error::stopped()),
                () = too_late => Err(error::too_late()),
                now = waits => now,
            };
            match waited {
                Ok(now) => Ok(Won {
                    place,
                    lease,
                    entered: header,
                    header: now,
                }),
                Err(status) => Err((Some(place), status)),
            }
        };
        match turn.await {
            Ok(won) => Ok(won),
            Err((place, status)) => {
                self.give_up(call, place, is_ours.then_some(lease)).await;
                Err(status)
            }
        }
    }

    /// The lease that was named, or a new one; and whether it is a new one.
    pub(crate) async fn session(&self, call: &MetadataMap, lease: i64) -> Result<(i64, bool), Status> {
        if lease != 0 {
            return Ok((lease, false));
        }
        let request = LeaseGrantRequest {
            ttl: LEASE_TTL_S,
            id: 0,
        };
        let granted = self.lease.lease_grant(as_of(call, request)).await;
        let granted = granted.map_err(error::second_hand)?;
        Ok((granted.into_inner().id, true))
    }

    async fn take_place(
        &self,
        call: &MetadataMap,
        queue: &Queue,
        key: &Bytes,
        entry: &Entry,
        lease: i64,
    ) -> Result<Taken, Status> {
        let value = entry.says.clone().unwrap_or_default();
        let response = self.txn(call, queue.take_place(key, &value, lease)).await?;
        Taken::of(response).ok_or_else(error::unexpected)
    }

    /// Waits until nobody is before a place, and gives the head of a read that shows it.
    async fn turn_of(&self, call: &MetadataMap, place: &Place) -> Result<ResponseHeader, Status> {
        let mut notices = self.watch.notices().map_err(error::full)?;
        notices.also(&place.key).map_err(error::full)?;
        let mut awaited: Option<Bytes> = None;
        loop {
            // Behind the subscription, so that what happens later is told.
            let image = self.watch.image()?;
            let standing = place.standing(&image);
            // A whole state is not held on to while this waits.
            drop(image);
            match standing.map_err(|refusal| error::refused(&refusal))? {
                Standing::Lost => return Err(error::lost(Lost::SessionExpired)),
                Standing::First => break,
                Standing::Behind(before) if awaited.as_ref() == Some(&before) => notices.changed().await,
                Standing::Behind(before) => {
                    if let Some(gone) = awaited.take() {
                        notices.no_longer(&gone);
                    }
                    notices.also(&before).map_err(error::full)?;
                    awaited = Some(before);
                }
            }
        }
        let response = self.range(call, place.read()).await?;
        place
            .held(&response)
            .ok_or_else(|| error::lost(Lost::SessionExpired))
    }

    /// Leaves nothing behind, if that can be done soon.
    async fn give_up(&self, call: &MetadataMap, place: Option<Place>, lease: Option<i64>) {
        let giving_up = async {
            match (lease, place) {
                // Its keys go with it.
                (Some(id), _) => {
                    let request = as_of(call, LeaseRevokeRequest { id });
                    self.lease.lease_revoke(request).await.map(drop)
                }
                (None, Some(place)) => self.txn(call, place.give_up()).await.map(drop),
                (None, None) => Ok(()),
            }
        };
        match timeout(GIVE_UP_WITHIN, giving_up).await {
            Ok(Ok(())) => {}
            Ok(Err(status)) => tracing::debug!(%status, "a place in a queue stays until its lease ends"),
            Err(_) => tracing::debug!("a place in a queue stays until its lease ends: nobody leads"),
        }
    }

    /// Says something else at a place.
    pub(crate) async fn say(
        &self,
        call: &MetadataMap,
        place: &Place,
        value: &Bytes,
        lease: i64,
    ) -> Result<Option<ResponseHeader>, Status> {
        let response = self.txn(call, place.say(value, lease)).await?;
        match response.succeeded {
            true => Ok(response.header),
            false => Err(error::lost(Lost::NotLeader)),
        }
    }

    pub(crate) async fn txn(&self, call: &MetadataMap, request: TxnRequest) -> Result<TxnResponse, Status> {
        told(self.kv.txn(as_of(call, request)).await)
    }

    pub(crate) async fn range(
        &self,
        call: &MetadataMap,
        request: RangeRequest,
    ) -> Result<RangeResponse, Status> {
        told(self.kv.range(as_of(call, request)).await)
    }

    pub(crate) async fn delete(&self, call: &MetadataMap, key: Bytes) -> Result<DeleteRangeResponse, Status> {
        let request = DeleteRangeRequest {
            key,
            ..DeleteRangeRequest::default()
        };
        told(self.kv.delete_range(as_of(call, request)).await)
    }

    /// For as long as somebody waits, or is told of an election.
    pub(crate) fn seat(&self) -> Result<OwnedSemaphorePermit, Status> {
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        seat.map_err(|_| error::too_many_requests())
    }
}

/// A request as if the caller had sent it.
fn as_of<T>(call: &MetadataMap, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().clone_from(call);
    request
}

fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, Status> {
    answer.map(Response::into_inner).map_err(error::second_hand)
}

/// Waits until the caller does not any more.
async fn elapsed(patience: Option<Duration>) {
    match patience {
        Some(patience) => sleep(patience).await,
        None => std::future::pending().await,
    }
}
