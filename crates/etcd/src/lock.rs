//! `Lock`: whoever has waited for longest holds the lock, for as long as its key is there.
//!
//! Promises: what `contest` promises; letting go is deleting the key, as etcd does, whoever asks for it.

use std::sync::Arc;

use quorate_api::v3lockpb::lock_server;
use quorate_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tonic::{Request, Response, Status};

use crate::contest::{Contests, Entry};
use crate::node::Node;

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Lock<N>(pub(crate) Arc<Contests<N>>);

#[tonic::async_trait]
impl<N: Node> lock_server::Lock for Lock<N> {
    async fn lock(&self, request: Request<LockRequest>) -> Answer<LockResponse> {
        let (call, _, LockRequest { name, lease }) = request.into_parts();
        let says = None;
        let won = self.0.enter(call, Entry { name, lease, says }).await?;
        Ok(Response::new(LockResponse {
            header: Some(won.header),
            key: won.place.key,
        }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        let (call, _, UnlockRequest { key }) = request.into_parts();
        let header = self.0.delete(&call, key).await?.header;
        Ok(Response::new(UnlockResponse { header }))
    }
}
