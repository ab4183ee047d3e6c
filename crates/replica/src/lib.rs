//! One running member of a Quorate group: consensus, failover, proposals, reads, watches, the leader's duties.
//!
//! Promises, through a few verbs on [`Replica`]:
//!
//! - [`Replica::propose`]: an accepted command is on the disks of a majority before the answer, and is executed once for
//!   each request id; when no answer can be given, [`Unavailable`] says whether the command can have been executed.
//! - [`Replica::read`]: a state that includes everything acknowledged anywhere before the call. [`Replica::read_stale`]
//!   is another method with another name.
//! - [`Replica::propose_anywhere`] and [`Replica::read_anywhere`]: the same at any replica, forwarded to the leader; so are
//!   changes of members by [`Replica::change_members_anywhere`].
//! - [`Replica::watch`]: every accepted change, once, in order, resumable on any replica.
//! - [`Replica::leadership`]: who leads. When a leader's process dies, another leads within milliseconds; see
//!   [`failover`](self) in ARCHITECTURE.md for how, and for why that cannot cost data.
//!
//! Left out on purpose: the public gRPC interface (`quorate-server`), what commands mean (`quorate-machine`), and files
//! (`quorate-store`). A replica is handed its sockets, its clock and its store, so that several run in one process and a
//! whole group runs in a simulation.

mod backup;
mod barrier;
mod config;
mod digests;
mod duties;
mod ending;
mod failover;
mod fault;
mod formation;
mod forward;
mod group;
mod leadership;
mod liveness;
mod membership;
mod metrics;
mod peer;
mod profile;
mod proposer;
mod published;
mod raft;
mod recover;
mod replica;
mod room;
mod start;
mod status;
mod unavailable;
mod watch;

pub use quorate_machine as machine;

pub use backup::{Backup, BackupContents, BackupError, Restored, SealedBackup, inspect, restore};
pub use config::{AutoCompaction, ConfigError, Listed, Listeners, ReplicaConfig, Surroundings};
pub use duties::kv_leases::{KeeperNews, KeeperNewsKind, KvLeaseTime};
pub use duties::sessions::{Grant, Sessions};
pub use failover::timeline::Step;
pub use failover::transfer::TransferError;
pub use fault::{Fault, chain};
pub use leadership::{ChangeReason, Leader, LeaderChange, Leadership};
pub use membership::{MemberChange, MemberError};
pub use profile::{Profile, Timing, UnknownProfile};
pub use proposer::Decided;
pub use raft::config::SnapshotEvery;
pub use recover::{RecoverError, Recovered, Recovery};
pub use replica::{Replica, Stale};
pub use status::{PeerStatus, Readiness, Role, Status};
pub use unavailable::Unavailable;
pub use watch::{Cancelled, Watcher};
