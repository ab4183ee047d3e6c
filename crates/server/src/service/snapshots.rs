//! `Snapshots`: backups of the leader's state, streamed.
//!
//! Promises: the state includes everything acknowledged before the call; chunks are made when HTTP/2 has room for them,
//! out of an immutable image, so that a slow reader makes nobody wait; at most [`BACKUPS_MAX`] are taken at once. A
//! stream ends early only with an error.

use std::sync::Arc;

use futures_util::stream;
use quorate_api::v1;
use quorate_api::v1::save_snapshot_response::Part;
use quorate_replica::{Backup, Unavailable};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Answer, Messages};
use crate::convert::cluster;
use crate::leader::Led;
use crate::limits::BACKUPS_MAX;
use crate::{deadline, status};

pub(super) struct Snapshots {
    led: Led,
    ending: CancellationToken,
    turns: Arc<Semaphore>,
}

impl Snapshots {
    pub(super) fn new(led: Led, ending: CancellationToken) -> Self {
        Self {
            led,
            ending,
            turns: Arc::new(Semaphore::new(BACKUPS_MAX)),
        }
    }

    async fn begin(&self, deadline: tokio::time::Instant) -> Result<Saving, Unavailable> {
        let full = |_| Unavailable::Overloaded { what: "backups" };
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(full)?;
        let backup = self.led.replica().backup(deadline).await?;
        Ok(Saving {
            summary: Some(cluster::summary(&backup)),
            backup,
            ending: self.ending.clone(),
            over: false,
            _turn: turn,
        })
    }
}

#[tonic::async_trait]
impl v1::snapshots_server::Snapshots for Snapshots {
    type SaveStream = Messages<v1::SaveSnapshotResponse>;

    async fn save(&self, request: Request<v1::SaveSnapshotRequest>) -> Answer<Self::SaveStream> {
        self.led.here()?;
        let saving = self.begin(deadline::of(request.metadata())).await;
        let saving = saving.map_err(|unavailable| status::unavailable(&unavailable))?;
        let messages = stream::unfold(saving, |mut saving| async move {
            let message = saving.next().await?;
            Some((message, saving))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// One backup on its way.
struct Saving {
    /// Until it is told.
    summary: Option<v1::SnapshotSummary>,
    backup: Backup,
    ending: CancellationToken,
    over: bool,
    _turn: OwnedSemaphorePermit,
}

impl Saving {
    /// The next message; `None` after the last.
    async fn next(&mut self) -> Option<Result<v1::SaveSnapshotResponse, Status>> {
        if self.over {
            return None;
        }
        if self.ending.is_cancelled() {
            self.over = true;
            return Some(Err(status::unavailable(&Unavailable::Stopped)));
        }
        let part = match self.summary.take() {
            Some(summary) => Part::Summary(summary),
            None => {
                // Encoding a chunk takes a while; others get their turn on this thread in between.
                tokio::task::yield_now().await;
                Part::Chunk(self.backup.next()?.into())
            }
        };
        Some(Ok(v1::SaveSnapshotResponse { part: Some(part) }))
    }
}
