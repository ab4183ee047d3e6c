//! `Election`: of all candidates, whoever has stood for longest leads, and says something.
//!
//! Promises: what `contest` promises; only who leads, by the key and the revision that it shows, says something else or
//! resigns; observers see what leaders say ([`observe`]).

mod observe;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use quorate_api::v3electionpb::election_server;
use quorate_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use tonic::{Request, Response, Status};

use crate::contest::queue::{Place, Queue};
use crate::contest::{Contests, Entry};
use crate::error::{self, Lost};
use crate::node::Node;

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Election<N>(pub(crate) Arc<Contests<N>>);

#[tonic::async_trait]
impl<N: Node> election_server::Election for Election<N> {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn campaign(&self, request: Request<CampaignRequest>) -> Answer<CampaignResponse> {
        let (call, _, CampaignRequest { name, lease, value }) = request.into_parts();
        let entry = Entry {
            name: name.clone(),
            lease,
            says: Some(value),
        };
        let won = self.0.enter(call, entry).await?;
        let leader = LeaderKey {
            name,
            key: won.place.key,
            rev: won.place.created,
            lease: won.lease,
        };
        Ok(Response::new(CampaignResponse {
            // etcd's is of the moment at which the candidate stood up, too.
            header: Some(won.entered),
            leader: Some(leader),
        }))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Answer<ProclaimResponse> {
        let (call, _, ProclaimRequest { leader, value }) = request.into_parts();
        let (place, lease) = claimed(leader)?;
        let (lease, _) = self.0.session(&call, lease).await?;
        let header = self.0.say(&call, &place, &value, lease).await?;
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Answer<LeaderResponse> {
        let (call, _, LeaderRequest { name }) = request.into_parts();
        let first = self.0.range(&call, Queue::of(&name).first()).await?;
        let header = first.header;
        let kv = first.kvs.into_iter().next();
        let kv = kv.ok_or_else(|| error::lost(Lost::NoLeader))?;
        Ok(Response::new(LeaderResponse { header, kv: Some(kv) }))
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Answer<Self::ObserveStream> {
        let (call, _, LeaderRequest { name }) = request.into_parts();
        let seat = self.0.seat()?;
        let responses = observe::responses(Arc::clone(&self.0), call, Queue::of(&name), seat);
        Ok(Response::new(Box::pin(responses)))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Answer<ResignResponse> {
        let (call, _, ResignRequest { leader }) = request.into_parts();
        let (place, _) = claimed(leader)?;
        let header = self.0.txn(&call, place.give_up()).await?.header;
        Ok(Response::new(ResignResponse { header }))
    }
}

/// The place that a caller says it has, and its lease.
fn claimed(leader: Option<LeaderKey>) -> Result<(Place, i64), Status> {
    let leader = leader.ok_or_else(|| error::lost(Lost::LeaderMissing))?;
    let place = Place {
        queue: Queue::of(&leader.name),
        key: leader.key,
        created: leader.rev,
    };
    Ok((place, leader.lease))
}
