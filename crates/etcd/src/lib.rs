//! The etcd v3 API over a replica, so that etcd's clients run on Quorate by changing one address.
//!
//! Promises: messages, checks, their order, codes, texts and headers are etcd's, because its clients tell errors apart by
//! their texts; every replica answers every call, since etcd's clients know no redirect; a request is checked before it is
//! proposed. Left out on purpose: what a transaction does (`quorate-machine`), consensus and forwarding
//! (`quorate-replica`), listeners and TLS (`quorate-server`, `quorate-tls`).
//!
//! Where things are: `kv` and `lease` are the services, `convert` takes messages apart and puts them together, `error` is the one table
//! of errors, `node` is what the services need of a replica, `deadline` says how long a call is held.
//!
//! # Where it differs from etcd
//!
//! - Transactions nest at most [`limits::TXN_DEPTH_MAX`] deep; deeper ones are refused as having too many operations. In
//!   etcd the number of operations alone bounds the depth.
//! - A range inside a transaction reads the present one for a negative revision, as a range outside of one does; etcd says
//!   there that such a revision is compacted, once anything was.
//! - Leases are listed by their ids; etcd lists them by when they run out. The list includes every acknowledged grant; etcd's is
//!   what the member that is asked knows.
//! - A call without a leader is held and then answered "no leader"; etcd says "request timed out" of most of them.

mod convert;
mod deadline;
mod error;
mod kv;
mod lease;
pub mod limits;
mod node;
#[cfg(test)]
mod testing;

pub use node::{Node, Stamp};

use axum::body::Body;
use quorate_api::etcdserverpb::kv_server::KvServer;
use quorate_api::etcdserverpb::lease_server::LeaseServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::util::MapResponseLayer;

/// All services, over `node`. Their streams end once `ending` is cancelled.
pub fn routes<N: Node>(node: N, ending: &CancellationToken) -> Routes {
    let kv = KvServer::new(kv::Kv(node.clone())).max_decoding_message_size(limits::MESSAGE_BYTES_MAX);
    let ending = ending.clone();
    let lease = LeaseServer::new(lease::Lease { node, ending });
    let explained = MapResponseLayer::new(error::explained::<Body>);
    let services = Routes::new(kv).add_service(lease);
    Routes::from(services.into_axum_router().layer(explained))
}
