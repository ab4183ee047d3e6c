//! The etcd v3 API over a replica, so that etcd's clients run on Quorate by changing one address.
//!
//! Promises: messages, checks, their order, codes, texts and headers are etcd's, because its clients tell errors apart by
//! their texts; every replica answers every call, since etcd's clients know no redirect; a request is checked before it is
//! proposed. Left out on purpose: what a transaction does (`quorate-machine`), consensus and forwarding
//! (`quorate-replica`), listeners and TLS (`quorate-server`, `quorate-tls`).
//!
//! Where things are: `kv`, `watch`, `lease`, `lock`, `election`, `auth`, `cluster` and `maintenance` are the services, `contest` is
//! what locks and elections have in common, `convert` takes messages apart and puts
//! them together, `error` is the one table of errors, `node` and `group` are what the services need of a replica, `deadline`
//! says how long a call is held.
//!
//! # Where it differs from etcd
//!
//! - Transactions nest at most [`limits::TXN_DEPTH_MAX`] deep; deeper ones are refused as having too many operations. In
//!   etcd the number of operations alone bounds the depth.
//! - A range inside a transaction reads the present one for a negative revision, as a range outside of one does; etcd says
//!   there that such a revision is compacted, once anything was.
//! - Leases are listed by their ids; etcd lists them by when they run out. The list includes every acknowledged grant; etcd's is
//!   what the member that is asked knows.
//! - A watch that begins at the compacted revision gets all events of that revision for as long as this replica still has
//!   what the compaction has forgotten, as etcd since 3.5.16; after a restart out of a snapshot it gets the keys that stand,
//!   in their order, and no deletions, as etcd before.
//! - Events have the key as it was, for a watch that wants it, also when that is compacted by now.
//! - A watch of the past that comes in several responses is told in the head of each how far it is; etcd names the present
//!   revision in all of them.
//! - A watch that was cancelled has no further events; etcd may send some that were under way.
//! - A request for progress while some watch of the stream is behind is answered as soon as none is; etcd does not answer.
//! - A stream that wants a leader is given three seconds to find one when it is opened, too; etcd refuses it at once.
//! - Watches, their streams and the bytes of their keys are bounded, see [`limits`].
//! - Who waits for a lock or for leadership and loses its key is told so at once, also in a campaign; etcd says so when its turn
//!   would have been, and lets a candidate without a key win. A campaign that fails leaves no key, nor does a call whose client
//!   went away while its key was being written.
//! - An observer that reads so slowly that what it wants is forgotten goes on with the present leader; etcd ends the stream.
//! - A call without a leader is held and then answered "no leader"; etcd says "request timed out" of most of them.
//! - A member is not added before it is started: a replica that is started with an empty directory joins by itself, as a
//!   learner. `MemberAdd` then confirms it, or promotes it when it is to vote; of a replica that has not joined it says
//!   what to do. The addresses of a member never change (`MemberUpdate`). Names are there from the first moment, and a
//!   member has one peer URL.
//! - At most seven members vote; there is no bound on learners. A learner answers every call.
//! - `MoveLeader` to a member that does not take over at once ends with another leader and "leader transfer took too long";
//!   in etcd the old leader goes on.
//! - `Status` states a release of etcd, because clients compare it with the one that a call came with; Quorate's own is shown
//!   by `quorate status`. Sizes are of keys, values and kept history, in memory; none of it is ever free, and `Defragment`
//!   has nothing to do. There is no quota, and there are no alarms.
//! - `HashKV` is of the keys as they stood at a revision, so it is the same whatever was compacted; it is not etcd's hash of
//!   the same keys. `Hash` is of everything, the catalog too.
//! - `Snapshot` is a backup of Quorate's, of everything acknowledged before, behind which zeros and a SHA-256 stand as
//!   etcdctl wants it; `quorate snapshot` inspects and restores the file, `etcdutl` does not. Without a leader there is none.
//! - A lease policy may cap times to live and revoke leases whose keeper's connection broke; it is off by default.
//! - `Downgrade` goes nowhere.
//! - A token is signed and says whose it is, so that every replica knows every token; etcd's members remember theirs, and forget
//!   them when they end. It is good for five minutes from when it was given and from each use at the same replica, as in etcd. It
//!   outlives changes of roles and permissions, which count at once, and not its user's password.
//! - What is permitted is what stands where a call is decided, so "revision of auth store is old" is hardly ever said: a write
//!   whose user was changed while it was under way is judged again, and refused only when it has to be.
//! - What later releases of etcd check, and 3.5.1 does not, is checked: nested transactions, what puts of a transaction read
//!   and the leases they name, who grants, renews, lists and ends leases, keys of leases, `Compact`, `MemberList`, `Status`, `Alarm`,
//!   `MoveLeader`, `Downgrade`; a watch to the end of all keys takes the permission for all of them; a permission is on some key.
//!   Nobody's calls are refused, also where there is nothing to permit. While authentication is off nobody looks at tokens.
//! - Nobody is asked for what a replica does of its own accord: ends of leases, by time or by policy, and compaction by itself.
//! - A permission that is granted again on the same range takes the place of the first one; etcd may keep both.
//! - Passwords are kept as PBKDF2 makes them, not as bcrypt does, so a ready-made hash is not taken. Users, roles, permissions
//!   and names are bounded. The common name of a client's certificate is not taken for a user, and there are no JSON web tokens.

mod auth;
mod cluster;
mod contest;
mod convert;
mod deadline;
mod election;
mod error;
mod group;
mod kv;
mod lease;
pub mod limits;
mod lock;
mod maintenance;
mod node;
#[cfg(test)]
mod testing;
mod watch;

pub use convert::member::Scheme;
pub use group::{Group, Progress, Roster, StateFile};
pub use lease::policy::{LeasePolicy, LeasePolicyError, ORPHAN_GRACE_MIN};
pub use node::{Node, Stamp};

use std::sync::Arc;

use axum::body::Body;
use quorate_api::etcdserverpb::auth_server::AuthServer;
use quorate_api::etcdserverpb::cluster_server::ClusterServer;
use quorate_api::etcdserverpb::kv_server::KvServer;
use quorate_api::etcdserverpb::lease_server::LeaseServer;
use quorate_api::etcdserverpb::maintenance_server::MaintenanceServer;
use quorate_api::etcdserverpb::watch_server::WatchServer;
use quorate_api::v3electionpb::election_server::ElectionServer;
use quorate_api::v3lockpb::lock_server::LockServer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::util::MapResponseLayer;

/// All services, over `node`, whose group has URLs of this scheme, with leases under this policy. Streams end with `ending`, and so
/// do the tasks that they lean on, which are left to `tasks`. Must be called in a tokio runtime.
pub fn routes<N: Group>(
    node: N,
    scheme: Scheme,
    leases: &LeasePolicy,
    ending: &CancellationToken,
    tasks: &TaskTracker,
) -> Routes {
    let bytes_max = limits::MESSAGE_BYTES_MAX;
    let guard = auth::Guard::new();
    let watch = Arc::new(watch::Watch::new(node.clone(), guard.clone(), ending.clone()));
    tasks.spawn(watch.work());
    let lease = lease::Lease::new(node.clone(), guard.clone(), ending.clone(), leases);
    let lease = Arc::new(lease);
    tasks.spawn(lease.work());
    let kv = || kv::Kv(node.clone(), guard.clone());
    let contests = contest::Contests::new(
        kv(),
        Arc::clone(&lease),
        Arc::clone(&watch),
        ending.clone(),
        tasks.clone(),
    );
    let contests = Arc::new(contests);
    let cluster = cluster::Cluster {
        node: node.clone(),
        guard: guard.clone(),
        scheme,
    };
    let maintenance = maintenance::Maintenance::new(node.clone(), guard.clone());
    let auth = auth::Auth::new(node.clone(), guard.clone(), tasks.clone());
    let lock = lock::Lock(Arc::clone(&contests));
    let election = election::Election(contests);
    let routes = Routes::new(KvServer::new(kv()).max_decoding_message_size(bytes_max))
        .add_service(AuthServer::new(auth).max_decoding_message_size(bytes_max))
        .add_service(WatchServer::from_arc(watch).max_decoding_message_size(bytes_max))
        .add_service(LeaseServer::from_arc(lease).max_decoding_message_size(bytes_max))
        .add_service(LockServer::new(lock).max_decoding_message_size(bytes_max))
        .add_service(ElectionServer::new(election).max_decoding_message_size(bytes_max))
        .add_service(ClusterServer::new(cluster).max_decoding_message_size(bytes_max))
        .add_service(MaintenanceServer::new(maintenance).max_decoding_message_size(bytes_max));
    let explained = MapResponseLayer::new(error::explained::<Body>);
    Routes::from(routes.into_axum_router().layer(explained))
}
