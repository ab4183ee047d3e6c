//! `Cluster`: who is a member, and changing that. What may be changed stands with the membership of the replica.
//!
//! A change is made at the leader, wherever it is asked for; an answer lists the members after it. One at a time as etcd's
//! clients change them, members may vote in even numbers for a while, which `quorate member` has to be forced to.

use std::collections::BTreeSet;

use quorate_api::etcdserverpb::cluster_server;
use quorate_api::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, ResponseHeader,
};
use quorate_replica::MemberChange;
use quorate_replica::machine::KvNeed;
use quorate_types::Revision;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::auth::{Credentials, Guard};
use crate::convert::member::{self, Addition, Scheme};
use crate::group::{Group, Roster};
use crate::{deadline, error};

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Cluster<N> {
    pub(crate) node: N,
    pub(crate) guard: Guard,
    /// Of the members' URLs.
    pub(crate) scheme: Scheme,
}

impl<N: Group> Cluster<N> {
    /// The members as this replica knows them.
    async fn known(&self) -> Result<Roster, Status> {
        let known = self.node.roster().await;
        known.map_err(|unavailable| error::unavailable(&unavailable))
    }

    /// The members of now.
    async fn now(&self, deadline: Instant) -> Result<Roster, Status> {
        let read = self.node.read(deadline).await;
        read.map_err(|unavailable| error::unavailable(&unavailable))?;
        self.known().await
    }

    /// Whether whoever calls may.
    async fn require(&self, shown: &Credentials, need: KvNeed<'_>, deadline: Instant) -> Result<(), Status> {
        let required = self.guard.require(&self.node, shown, &need, deadline);
        required.await.map_err(error::denied)
    }

    /// Changes members, and gives those after it.
    async fn change(&self, change: MemberChange, deadline: Instant) -> Result<Roster, Status> {
        let changed = self.node.change_members(change, deadline).await;
        changed.map_err(|error| error::member(&error))
    }

    /// etcd leaves the revision out of these.
    fn header(&self) -> ResponseHeader {
        self.node.stamp().header(Revision(0))
    }
}

#[tonic::async_trait]
impl<N: Group> cluster_server::Cluster for Cluster<N> {
    async fn member_add(&self, request: Request<MemberAddRequest>) -> Answer<MemberAddResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        let addresses = member::addresses(&request.peer_ur_ls).map_err(error::invalid)?;
        self.require(&shown, KvNeed::Root, deadline).await?;
        let roster = self.now(deadline).await?;
        let addition = member::addition(&addresses, request.is_learner, &roster);
        let (node, roster) = match addition.map_err(error::declined)? {
            Addition::Joined(node) => (node, roster),
            Addition::Promote(node) => (node, self.change(member::promotes(node), deadline).await?),
        };
        let members = member::listed(&roster, self.scheme);
        Ok(Response::new(MemberAddResponse {
            header: Some(self.header()),
            member: members.iter().find(|member| member.id == node.0).cloned(),
            members,
        }))
    }

    async fn member_remove(&self, request: Request<MemberRemoveRequest>) -> Answer<MemberRemoveResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        self.require(&shown, KvNeed::Root, deadline).await?;
        let roster = self.now(deadline).await?;
        let change = member::removal(request.id, &roster).map_err(error::declined)?;
        let roster = self.change(change, deadline).await?;
        Ok(Response::new(MemberRemoveResponse {
            header: Some(self.header()),
            members: member::listed(&roster, self.scheme),
        }))
    }

    async fn member_update(&self, request: Request<MemberUpdateRequest>) -> Answer<MemberUpdateResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        self.require(&shown, KvNeed::Root, deadline).await?;
        let roster = self.now(deadline).await?;
        let id = member::known(request.id, &roster).map_err(error::declined)?;
        let addresses: BTreeSet<String> = member::addresses(&request.peer_ur_ls).map_err(error::invalid)?;
        member::update(id, &addresses, &roster).map_err(error::declined)?;
        Ok(Response::new(MemberUpdateResponse {
            header: Some(self.header()),
            members: member::listed(&roster, self.scheme),
        }))
    }

    async fn member_list(&self, request: Request<MemberListRequest>) -> Answer<MemberListResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        self.require(&shown, KvNeed::Known, deadline).await?;
        let roster = match request.linearizable {
            true => self.now(deadline).await?,
            false => self.known().await?,
        };
        Ok(Response::new(MemberListResponse {
            header: Some(self.header()),
            members: member::listed(&roster, self.scheme),
        }))
    }

    async fn member_promote(&self, request: Request<MemberPromoteRequest>) -> Answer<MemberPromoteResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        self.require(&shown, KvNeed::Root, deadline).await?;
        let roster = self.now(deadline).await?;
        let change = member::promotion(request.id, &roster).map_err(error::declined)?;
        let roster = self.change(change, deadline).await?;
        Ok(Response::new(MemberPromoteResponse {
            header: Some(self.header()),
            members: member::listed(&roster, self.scheme),
        }))
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
