//! `Cluster`: the group of replicas itself.
//!
//! Promises of the topology stream: a change of leadership or members is pushed the moment this replica knows it, without
//! a timer in between; a reader that is slow gets the newest state and skips what it missed, so nothing queues up. It ends
//! when the replica is about to stop, which tells clients to go on elsewhere.

use std::time::Duration;

use futures_util::stream;
use quorate_api::v1;
use quorate_replica::{Leadership, Replica, Unavailable};
use quorate_types::Member;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Answer, Messages};
use crate::convert::cluster::{self, Group};
use crate::leader::Led;
use crate::{deadline, status};

/// Below the five seconds that `cluster.proto` promises, so that the way is covered.
const REPEAT_EVERY: Duration = Duration::from_secs(4);

pub(super) struct Cluster {
    pub(super) led: Led,
    pub(super) ending: CancellationToken,
}

#[tonic::async_trait]
impl v1::cluster_server::Cluster for Cluster {
    type WatchTopologyStream = Messages<v1::Topology>;

    async fn watch_topology(
        &self,
        _: Request<v1::WatchTopologyRequest>,
    ) -> Answer<Self::WatchTopologyStream> {
        if self.ending.is_cancelled() {
            return Err(status::unavailable(&Unavailable::Stopped));
        }
        let watch = TopologyWatch::new(self.led.replica().clone(), self.ending.clone());
        let messages = stream::unfold(watch, |mut watch| async move {
            let topology = watch.next().await?;
            Some((Ok::<_, Status>(topology), watch))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        Ok(Response::new(cluster::status(&self.led.replica().status())))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Answer<v1::TransferLeadershipResponse> {
        let deadline = deadline::of(request.metadata());
        let to = cluster::successor(request.get_ref());
        self.led.here()?;
        let now = self.led.replica().hand_over(to, deadline).await;
        let now = now.map_err(|error| status::transfer(error, &self.led.leadership()))?;
        let leader = status::leader(&now);
        Ok(Response::new(v1::TransferLeadershipResponse { leader }))
    }
}

/// One topology stream.
struct TopologyWatch {
    replica: Replica,
    ending: CancellationToken,
    leadership: watch::Receiver<Leadership>,
    members: watch::Receiver<Vec<Member>>,
    group: Group,
    /// When the next message is due; `None` for at once.
    due: Option<Instant>,
}

impl TopologyWatch {
    fn new(replica: Replica, ending: CancellationToken) -> Self {
        let (leadership, members) = (replica.leadership(), replica.members());
        Self {
            replica,
            ending,
            leadership,
            members,
            group: Group::default(),
            due: None,
        }
    }

    async fn next(&mut self) -> Option<v1::Topology> {
        let regroup = match self.due {
            None => true,
            Some(due) => tokio::select! {
                biased;
                () = self.ending.cancelled() => return None,
                changed = self.leadership.changed() => { changed.ok()?; false }
                changed = self.members.changed() => { changed.ok()?; true }
                () = sleep_until(due) => true,
            },
        };
        // A change of leader does without: gathering a status costs more than everything else here. Not so while the
        // replica has not taken its place in the group: its members can be published a moment before that, and a stream
        // that was opened then would name no cluster, and clients would ignore it, until the next repetition.
        if regroup || !self.group.is_known() {
            self.members.mark_unchanged();
            self.group = Group::of(&self.replica.status());
        }
        self.due = Some(Instant::now() + REPEAT_EVERY);
        Some(self.group.topology(&self.leadership.borrow_and_update()))
    }
}
