//! `Ids`: ids that are never given twice.

use quorate_api::v1;
use tonic::Request;

use super::Answer;
use crate::leader::Led;

pub(super) struct Ids(pub(super) Led);

#[tonic::async_trait]
impl v1::ids_server::Ids for Ids {
    async fn allocate(&self, request: Request<v1::AllocateIdsRequest>) -> Answer<v1::AllocateIdsResponse> {
        self.0.write(request).await
    }
}
