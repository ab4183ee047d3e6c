//! `Lease`: keys that die with whoever keeps them.
//!
//! Promises: a keepalive is answered as renewed only behind the leader's barrier (`quorate-replica`); a lease that is not
//! there is told by a time to live of 0 or -1, as in etcd, not by an error; every replica answers for the leader. What etcd has
//! not is off unless [`LeasePolicy`] asks for it. Left out on purpose: how a lease's clock runs, which is the leader's business.

mod bindings;
mod breaks;
mod keep_alive;
mod keepers;
#[cfg(test)]
mod keepers_tests;
mod outbox;
pub(crate) mod policy;
#[cfg(test)]
mod tests;

use quorate_api::etcdserverpb::lease_server;
use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use quorate_host::{Connection, entropy};
use quorate_replica::machine::{Command, KvNeed, Reply};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{Credentials, Guard};
use crate::convert::lease as convert;
use crate::node::Node;
use crate::{deadline, error};
use keep_alive::{KeepAlives, Keeper};
use keepers::Keepers;
pub(crate) use policy::LeasePolicy;

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Lease<N> {
    node: N,
    guard: Guard,
    /// Streams end, so that they go on elsewhere.
    ending: CancellationToken,
    /// Longest time to live that is granted, seconds.
    ttl_max_s: Option<u64>,
    /// Absent when it does not matter which connection keeps a lease.
    keepers: Option<Keepers<N>>,
}

impl<N: Node> Lease<N> {
    pub(crate) fn new(node: N, guard: Guard, ending: CancellationToken, policy: &LeasePolicy) -> Self {
        Self {
            keepers: Keepers::new(node.clone(), policy),
            ttl_max_s: policy.ttl_max_s,
            node,
            guard,
            ending,
        }
    }

    /// What is to run for as long as the service does.
    pub(crate) fn work(&self) -> impl Future<Output = ()> + Send + use<N> {
        let (keepers, ending) = (self.keepers.clone(), self.ending.clone());
        async move {
            if let Some(keepers) = keepers {
                keepers.run(ending).await;
            }
        }
    }
}

#[tonic::async_trait]
impl<N: Node> lease_server::Lease for Lease<N> {
    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Answer<LeaseGrantResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let (lease, ttl_s, command) =
            convert::grant(request.get_ref(), entropy::random_u64(), self.ttl_max_s)
                .map_err(error::invalid)?;
        match self.guard.decide(&self.node, &shown, command, deadline).await? {
            Reply::KvLeaseGranted { revision } => {
                let header = self.node.stamp().header(revision);
                Ok(Response::new(convert::granted(header, lease, ttl_s)))
            }
            _ => Err(error::unexpected()),
        }
    }

    async fn lease_revoke(&self, request: Request<LeaseRevokeRequest>) -> Answer<LeaseRevokeResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let command = Command::RevokeKvLease {
            lease: request.into_inner().id,
        };
        match self.guard.decide(&self.node, &shown, command, deadline).await? {
            Reply::KvLeaseRevoked { revision } => {
                let header = self.node.stamp().header(revision);
                Ok(Response::new(convert::revoked(header)))
            }
            _ => Err(error::unexpected()),
        }
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Answer<KeepAlives> {
        let keeper = Keeper {
            node: self.node.clone(),
            guard: self.guard.clone(),
            shown: Credentials::of(request.metadata()),
        };
        // Whoever is not on a connection of the server's has none that could break.
        let connection = request.extensions().get::<Connection>().cloned();
        let keeping = self.keepers.as_ref().zip(connection);
        let keeping = keeping.map(|(keepers, connection)| keepers.opened(connection));
        let (requests, ending) = (request.into_inner(), self.ending.clone());
        Ok(Response::new(keep_alive::answers(
            keeper, requests, ending, keeping,
        )))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Answer<LeaseTimeToLiveResponse> {
        let shown = Credentials::of(request.metadata());
        let (deadline, request) = (deadline::of(request.metadata()), request.into_inner());
        let lease = request.id;
        let need = match request.keys {
            true => KvNeed::ReadLease(lease),
            false => KvNeed::Known,
        };
        let required = self.guard.require(&self.node, &shown, &need, deadline);
        required.await.map_err(error::denied)?;
        let unavailable = |unavailable| error::unavailable(&unavailable);
        let time = self.node.lease_time(lease, deadline).await.map_err(unavailable)?;
        let image = self.node.read(deadline).await.map_err(unavailable)?;
        // Again, on the state that says which keys there are.
        let image = self
            .guard
            .read(&self.node, image, &shown, &need, deadline)
            .await?;
        let keys = match time.is_some() && request.keys {
            true => image.kv_lease_keys(lease).cloned().collect(),
            false => Vec::new(),
        };
        let header = self.node.stamp().header(image.kv_revision());
        Ok(Response::new(convert::time_to_live(header, lease, time, keys)))
    }

    async fn lease_leases(&self, request: Request<LeaseLeasesRequest>) -> Answer<LeaseLeasesResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let image = self.node.read(deadline).await;
        let image = image.map_err(|unavailable| error::unavailable(&unavailable))?;
        let need = KvNeed::ReadLeases;
        let image = self
            .guard
            .read(&self.node, image, &shown, &need, deadline)
            .await?;
        let header = self.node.stamp().header(image.kv_revision());
        Ok(Response::new(convert::leases(header, &image.kv_leases())))
    }
}
