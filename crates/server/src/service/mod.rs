//! One file for each service. A handler checks, converts, calls and maps; what takes more than that has a module of its own.

mod clients;
mod cluster;
mod health;
mod ids;
mod members;
mod root;
mod sessions;
mod snapshots;
mod stale_root;
mod watch;
mod writes;

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use futures_util::Stream;
use quorate_api::{DESCRIPTORS, v1};
use quorate_types::limits::REQUEST_BYTES_MAX;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Response, Status};
use tower::util::MapResponseLayer;

use crate::leader::Led;
use crate::session::attachments::Attachments;
use crate::status;

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;
/// Messages of a stream, until it ends.
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the services work with; cheap to clone.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) led: Led,
    pub(crate) attachments: Arc<Attachments>,
    /// Streams end: the replica is about to stop, or has stopped by a fault.
    pub(crate) ending: CancellationToken,
}

impl Services {
    /// All services, health and reflection among them, and those of other packages.
    pub(crate) fn routes(&self, beside: Routes) -> Routes {
        macro_rules! with_limit {
            ($module:ident::$server:ident($service:expr)) => {
                v1::$module::$server::new($service).max_decoding_message_size(REQUEST_BYTES_MAX)
            };
        }
        let (led, ending) = (&self.led, &self.ending);
        let sessions = sessions::Sessions {
            led: led.clone(),
            attachments: Arc::clone(&self.attachments),
            ending: ending.clone(),
        };
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the compiled protos are whole");
        let mut routes = Routes::builder();
        routes
            .add_service(with_limit!(clients_server::ClientsServer(clients::Clients(
                led.clone()
            ))))
            .add_service(with_limit!(cluster_server::ClusterServer(cluster::Cluster {
                led: led.clone(),
                ending: ending.clone(),
            })))
            .add_service(with_limit!(ids_server::IdsServer(ids::Ids(led.clone()))))
            .add_service(with_limit!(members_server::MembersServer(members::Members(
                led.clone()
            ))))
            .add_service(with_limit!(root_server::RootServer(root::Root(led.clone()))))
            .add_service(with_limit!(stale_root_server::StaleRootServer(
                stale_root::StaleRoot(led.clone())
            )))
            .add_service(with_limit!(sessions_server::SessionsServer(sessions)))
            .add_service(with_limit!(snapshots_server::SnapshotsServer(
                snapshots::Snapshots::new(led.clone(), ending.clone())
            )))
            .add_service(with_limit!(watch_server::WatchServer(watch::Watch {
                led: led.clone(),
                ending: ending.clone(),
            })))
            .add_service(with_limit!(writes_server::WritesServer(writes::Writes {
                led: led.clone(),
                ending: ending.clone(),
            })))
            .add_service(health::service(led.replica().clone(), ending.clone()))
            .add_service(reflection);
        // What tonic answers by itself is explained in the words of the package that was called.
        let ours = routes.routes().into_axum_router();
        let ours = ours.layer(MapResponseLayer::new(status::explained::<Body>));
        Routes::from(ours.merge(beside.into_axum_router().reset_fallback())).prepare()
    }
}
