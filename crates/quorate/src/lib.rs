//! A whole coordinator replica in your process: what `quorate serve` runs, without the command line.
//!
//! Promises: [`Builder::start`] either gives a replica that answers its peers and its clients, or one clear error and
//! nothing left behind; [`Coordinator::shutdown`] stops in an order in which no client's call fails while another replica
//! can take over. Nothing here is global: several coordinators run in one process. Left out on purpose: flags, files of
//! configuration, signals, logging, and what to do after a fault (end the process, most likely; see [`Coordinator::fault`]).
//!
//! ```no_run
//! use quorate::{Coordinator, Listed, MemberName};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let replica = |name: &str| Listed {
//!     name: MemberName::new(name).expect("a good name"),
//!     client_address: format!("{name}.quorate:2379"),
//!     peer_address: format!("{name}.quorate:2380"),
//!     liveness_address: format!("{name}.quorate:2382"),
//! };
//! let coordinator = Coordinator::builder()
//!     .name("quorate-0")
//!     .replicas(["quorate-0", "quorate-1", "quorate-2"].map(replica))
//!     .data_dir("/var/lib/quorate")
//!     .http("0.0.0.0:9091")
//!     .start()
//!     .await?;
//! coordinator.ready().await?;
//! // ... until it is time to go:
//! coordinator.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod builder;
mod coordinator;
mod error;
mod leading;
mod listen;

pub use builder::Builder;
pub use coordinator::Coordinator;
pub use error::StartError;
pub use leading::{LeaderGuard, NotLeading};

/// Backups as files, and new clusters out of them; a running replica takes one with [`Replica::backup`].
pub mod backup {
    pub use quorate_replica::machine::Counts;
    pub use quorate_replica::{Backup, BackupContents, BackupError, Restored, inspect, restore};
}

/// A new cluster of one out of a surviving replica's directory, when the quorum is lost for good.
pub mod recovery {
    pub use quorate_replica::{RecoverError, Recovered, Recovery};
    pub use quorate_store::{Identity, LogState};
}

pub use quorate_etcd::{LeasePolicy, LeasePolicyError};
pub use quorate_host::{Clock, Network, SystemClock, Tcp};
pub use quorate_replica::{
    AutoCompaction, ConfigError, Fault, Leader, LeaderChange, Leadership, Listed, MemberChange, MemberError,
    Profile, Readiness, Replica, Role, SnapshotEvery, Status, Unavailable, UnknownProfile, chain,
};
pub use quorate_store::{MemoryDisk, MemoryLatency, MemoryStore, OpenError, Store};
pub use quorate_tls::{ReplicaFiles as TlsFiles, TlsError};
pub use quorate_types::{
    AddressError, ClusterId, Index, LogTime, Member, MemberName, NameError, NodeId, Position, Revision, Term,
};
