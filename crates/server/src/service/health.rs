//! gRPC health: a service is `SERVING` while the replica is ready, which is what `/readyz` says.
//!
//! Promises: a check is answered from the replica's readiness at that moment. Left out on purpose: liveness. A replica that
//! is not ready must not be restarted for it; see `/livez`.

use std::time::Duration;

use futures_util::stream;
use quorate_replica::{Readiness, Replica};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{Answer, Messages};

/// Readiness is not announced, so a watch looks this often. Nothing on the failover path hangs on it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The services that can be asked for; an empty name stands for all.
const SERVICES: [&str; 17] = [
    "",
    "etcdserverpb.Cluster",
    "etcdserverpb.KV",
    "etcdserverpb.Lease",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Watch",
    "quorate.v1.Clients",
    "quorate.v1.Cluster",
    "quorate.v1.Ids",
    "quorate.v1.Root",
    "quorate.v1.Sessions",
    "quorate.v1.Snapshots",
    "quorate.v1.StaleRoot",
    "quorate.v1.Watch",
    "quorate.v1.Writes",
    "v3electionpb.Election",
    "v3lockpb.Lock",
];

pub(super) fn service(replica: Replica, ending: CancellationToken) -> HealthServer<impl Health> {
    HealthServer::new(OfReplica { replica, ending })
}

struct OfReplica {
    replica: Replica,
    ending: CancellationToken,
}

fn serving(replica: &Replica) -> ServingStatus {
    match replica.readiness() {
        Readiness::Ready => ServingStatus::Serving,
        Readiness::NotReady { .. } => ServingStatus::NotServing,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for OfReplica {
    type WatchStream = Messages<HealthCheckResponse>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        if SERVICES.contains(&request.get_ref().service.as_str()) {
            Ok(Response::new(answer(serving(&self.replica))))
        } else {
            Err(Status::not_found("there is no such service"))
        }
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Answer<Self::WatchStream> {
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        let (replica, ending) = (self.replica.clone(), self.ending.clone());
        let told: Option<ServingStatus> = None;
        let messages = stream::unfold(
            (replica, ending, told),
            move |(replica, ending, told)| async move {
                loop {
                    // A watch of an unknown service waits for it to appear, as the protocol wants; here none ever does.
                    let now = if known {
                        serving(&replica)
                    } else {
                        ServingStatus::ServiceUnknown
                    };
                    if told != Some(now) {
                        return Some((Ok(answer(now)), (replica, ending, Some(now))));
                    }
                    tokio::select! {
                        () = sleep(LOOK_EVERY) => {}
                        () = ending.cancelled() => return None,
                    }
                }
            },
        );
        Ok(Response::new(Box::pin(messages)))
    }
}
