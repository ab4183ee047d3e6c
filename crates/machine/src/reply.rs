//! What an accepted command answers.

use quorate_types::{Epoch, Revision};

use crate::domain::kv::KvReply;
use crate::domain::root::Shard;
use crate::object_id::{CollectionId, DatabaseId, LeaseId, PartitionId};
use crate::refusal::Refusal;

/// A command's answer: every replica reaches the same one.
pub type Outcome = Result<Reply, Refusal>;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum Reply {
    DatabaseCreated {
        id: DatabaseId,
    },
    DatabaseDropped {
        existed: bool,
    },
    DatabaseAltered,
    /// Created, or there already and the same.
    CollectionCreated {
        id: CollectionId,
        shards: Vec<Shard>,
    },
    CollectionDropped {
        existed: bool,
    },
    CollectionAltered,
    CollectionRenamed,
    /// Created, or there already.
    PartitionCreated {
        id: PartitionId,
    },
    PartitionDropped {
        existed: bool,
    },
    AliasCreated,
    AliasDropped {
        existed: bool,
    },
    AliasAltered,
    /// `first`, `first + 1`, ..., `first + count - 1`.
    IdsAllocated {
        first: u64,
        count: u64,
    },
    SessionOpened {
        session: LeaseId,
        epoch: Epoch,
        /// The session of the same worker that this one replaced and fenced.
        replaced: Option<LeaseId>,
    },
    SessionClosed,
    /// How many of the named leases there were.
    LeasesExpired {
        count: u64,
    },
    ClientRegistered,
    /// How many of the named clients were idle still.
    ClientsEvicted {
        count: u64,
    },
    FeatureLevelRaised {
        level: u32,
    },
    Kv(KvReply),
    /// The oldest revision that can be read now.
    KvCompacted {
        revision: u64,
    },
    /// The revision of etcd's keyspace, which a grant does not move.
    KvLeaseGranted {
        revision: Revision,
    },
    /// The revision of etcd's keyspace afterwards.
    KvLeaseRevoked {
        revision: Revision,
    },
    /// The revision of etcd's keyspace, which a change of users and roles does not move.
    KvAuthChanged {
        revision: Revision,
    },
}
