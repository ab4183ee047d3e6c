//! Backups: the leader's state as the bytes of one file.
//!
//! Promises: the first chunk comes from a replica that led when it was asked; a stream that breaks is an error, never an
//! end. Left out on purpose: going on elsewhere, because another replica's file of the same state has other bytes, and
//! checking the file, which its reader does.

use futures_util::FutureExt;
use quorate_api::v1;
use quorate_api::v1::save_snapshot_response::Part;
use tokio::time::timeout;
use tonic::{Response, Streaming};

use crate::call::{Effect, Plan, Target, words};
use crate::client::Client;
use crate::error::{Error, Outcome};

/// The `Snapshots` service.
#[derive(Debug, Clone)]
pub struct Snapshots {
    client: Client,
}

/// A backup on its way.
#[derive(Debug)]
pub struct Saving {
    /// Held, so that the connection lives on.
    client: Client,
    summary: v1::SnapshotSummary,
    stream: Streaming<v1::SaveSnapshotResponse>,
}

impl Snapshots {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Begins a backup of the present state. The client's deadline is for its beginning, and then for each chunk.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn save(&self) -> Result<Saving, Error> {
        let plan = Plan::new("Save", Target::Leader, Effect::None, self.client.patience());
        let answer = self
            .client
            .core()
            .call(plan, v1::SaveSnapshotRequest {}, |wire, request| {
                async move {
                    v1::snapshots_client::SnapshotsClient::new(wire)
                        .save(request)
                        .await
                }
                .boxed()
            });
        let answer: Response<Streaming<v1::SaveSnapshotResponse>> = answer.await?;
        let mut saving = Saving {
            client: self.client.clone(),
            summary: v1::SnapshotSummary::default(),
            stream: answer.into_inner(),
        };
        match saving.part().await? {
            Some(Part::Summary(summary)) => saving.summary = summary,
            _ => return Err(Error::protocol("a backup does not begin with its summary")),
        }
        Ok(saving)
    }
}

impl Saving {
    /// What it will hold.
    #[must_use]
    pub fn summary(&self) -> &v1::SnapshotSummary {
        &self.summary
    }

    /// The next bytes of the file; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the replica went away or fell silent: what came is of no use then.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.part().await? {
            Some(Part::Chunk(chunk)) => Ok(Some(chunk)),
            Some(Part::Summary(_)) => Err(Error::protocol("a backup has its summary in the middle")),
            None => Ok(None),
        }
    }

    async fn part(&mut self) -> Result<Option<Part>, Error> {
        let broken = |why: String| Error::Unavailable {
            outcome: Outcome::NotExecuted,
            why: format!("the backup broke off: {why}"),
        };
        let patience = self.client.patience();
        match timeout(patience, self.stream.message()).await {
            Ok(Ok(Some(message))) => match message.part {
                Some(part) => Ok(Some(part)),
                None => Err(Error::protocol(
                    "a backup has a part that this client does not know",
                )),
            },
            Ok(Ok(None)) => Ok(None),
            Ok(Err(status)) => Err(broken(words(&status))),
            Err(_) => Err(broken(format!("nothing came for {patience:?}"))),
        }
    }
}
