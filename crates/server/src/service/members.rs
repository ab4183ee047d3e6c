//! `Members`: changing who is a member.

use quorate_api::v1;
use tonic::{Request, Response, Status};

use super::Answer;
use crate::convert::{cluster, member};
use crate::leader::Led;
use crate::{deadline, status};

pub(super) struct Members(pub(super) Led);

#[tonic::async_trait]
impl v1::members_server::Members for Members {
    async fn change(&self, request: Request<v1::ChangeMembersRequest>) -> Answer<v1::ChangeMembersResponse> {
        let deadline = deadline::of(request.metadata());
        let change = member::change(request.into_inner()).map_err(status::malformed)?;
        self.0.here()?;
        let changed = tokio::time::timeout_at(deadline, self.0.replica().change_members(change)).await;
        let changed = changed.map_err(|_| status::member_outcome_unknown())?;
        changed.map_err(|error| self.refused(&error))?;
        let members = cluster::members(&self.0.replica().status());
        Ok(Response::new(v1::ChangeMembersResponse { members }))
    }
}

impl Members {
    fn refused(&self, error: &quorate_replica::MemberError) -> Status {
        status::member(error, &self.0.leadership())
    }
}
