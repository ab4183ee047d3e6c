//! `Clients`: clients that number their writes make themselves known.

use quorate_api::v1;
use tonic::Request;

use super::Answer;
use crate::leader::Led;

pub(super) struct Clients(pub(super) Led);

#[tonic::async_trait]
impl v1::clients_server::Clients for Clients {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Answer<v1::RegisterResponse> {
        self.0.write(request).await
    }
}
