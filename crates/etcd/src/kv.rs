//! `KV`: keys and their values. What the calls mean stands with the transactions of the machine.
//!
//! A transaction that only reads is proposed like any other, so it costs an entry of the log; etcd reads at the replica.

use quorate_api::etcdserverpb::kv_server;
use quorate_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use quorate_replica::machine::{Command, Image, KvNeed, KvReply, Reply};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::auth::{Credentials, Guard};
use crate::convert::{answer, request as convert};
use crate::node::{Node, decide};
use crate::{deadline, error};

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Kv<N>(pub(crate) N, pub(crate) Guard);

impl<N: Node> Kv<N> {
    /// The state to read: this replica's own, or one that includes everything acknowledged.
    async fn image(&self, is_serializable: bool, deadline: Instant) -> Result<Image, Status> {
        let image = match is_serializable {
            true => self.0.read_stale(),
            false => self.0.read(deadline).await,
        };
        image.map_err(|unavailable| error::unavailable(&unavailable))
    }

    /// Proposes a transaction.
    async fn transact(
        &self,
        shown: &Credentials,
        command: Command,
        deadline: Instant,
    ) -> Result<KvReply, Status> {
        match self.1.decide(&self.0, shown, command, deadline).await? {
            Reply::Kv(reply) => Ok(reply),
            _ => Err(error::unexpected()),
        }
    }
}

#[tonic::async_trait]
impl<N: Node> kv_server::Kv for Kv<N> {
    async fn range(&self, request: Request<RangeRequest>) -> Answer<RangeResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        let is_serializable = request.serializable;
        let range = convert::range(request).map_err(error::invalid)?;
        let image = self.image(is_serializable, deadline).await?;
        let need = KvNeed::Read {
            key: &range.key,
            range_end: &range.range_end,
        };
        let image = self.1.read(&self.0, image, &shown, &need, deadline).await?;
        let ranged = image
            .kv_range(&range)
            .map_err(|refusal| error::refused(&refusal))?;
        let header = self.0.stamp().header(image.kv_revision());
        Ok(Response::new(answer::range(header, ranged)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Answer<PutResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let command = convert::put(request.into_inner()).map_err(error::invalid)?;
        let reply = self.transact(&shown, command, deadline).await?;
        let answer = answer::put(&self.0.stamp(), reply);
        answer.map(Response::new).ok_or_else(error::unexpected)
    }

    async fn delete_range(&self, request: Request<DeleteRangeRequest>) -> Answer<DeleteRangeResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let command = convert::delete(request.into_inner()).map_err(error::invalid)?;
        let reply = self.transact(&shown, command, deadline).await?;
        let answer = answer::delete(&self.0.stamp(), reply);
        answer.map(Response::new).ok_or_else(error::unexpected)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Answer<TxnResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let command = convert::txn(request.into_inner()).map_err(error::invalid)?;
        let reply = self.transact(&shown, command, deadline).await?;
        Ok(Response::new(answer::txn(&self.0.stamp(), reply)))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Answer<CompactionResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let required = self.1.require(&self.0, &shown, &KvNeed::Root, deadline);
        required.await.map_err(error::denied)?;
        let command = convert::compaction(request.into_inner()).map_err(error::invalid)?;
        decide(&self.0, command, deadline).await?;
        // The head has the keyspace's revision, and this replica has applied what it answers.
        let image = self.image(true, deadline).await?;
        let header = self.0.stamp().header(image.kv_revision());
        Ok(Response::new(answer::compaction(header)))
    }
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
