//! Commands: everything that can change the state. What they mean is decided in `domain`.
//!
//! An empty database name stands for the default database. How a command is written into an entry, and read back, is the
//! business of [`crate::entry`].

use bytes::Bytes;
use quorate_types::{ClientId, Epoch, Index};

use crate::clients::IdleClient;
use crate::domain::kv::KvTxn;
use crate::domain::root::{ConsistencyLevel, Properties, Schema};
use crate::domain::session::Worker;
use crate::entry;
use crate::feature::{self, FEATURE_LEVEL_MAX};
use crate::object_id::LeaseId;
use crate::user::{KvCaller, KvGrant, KvNeed, KvPassword, KvPermission, KvSecret};

/// A change that is proposed. Anything else cannot enter the log: a read is no command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Creates a database.
    CreateDatabase(CreateDatabase),
    /// Drops a database without collections.
    DropDatabase(DropDatabase),
    /// Changes a database's properties.
    AlterDatabase(AlterDatabase),
    /// Creates a collection, with its first partitions and its channels.
    CreateCollection(CreateCollection),
    /// Drops a collection without aliases, with all its partitions.
    DropCollection(DropCollection),
    /// Changes a collection's properties or description.
    AlterCollection(AlterCollection),
    /// Gives a collection another name, or another database, or both.
    RenameCollection(RenameCollection),
    /// Creates a partition.
    CreatePartition(CreatePartition),
    /// Drops a partition.
    DropPartition(DropPartition),
    /// Creates an alias.
    CreateAlias(CreateAlias),
    /// Drops an alias.
    DropAlias(DropAlias),
    /// Points an alias at another collection.
    AlterAlias(AlterAlias),
    /// Allocates consecutive ids.
    AllocateIds(AllocateIds),
    /// Opens a worker's session and fences its predecessor.
    OpenSession(OpenSession),
    /// Closes a session.
    CloseSession(CloseSession),
    /// Ends leases whose time is up at the leader.
    ExpireLeases {
        /// Unknown ones are skipped.
        ids: Vec<LeaseId>,
    },
    /// Makes a client known, so that its numbered writes happen once.
    RegisterClient {
        /// Chosen at random by the client.
        client: ClientId,
    },
    /// Forgets idle clients.
    EvictClients {
        /// Those that have written since are kept.
        clients: Vec<IdleClient>,
    },
    /// Raises the feature level.
    RaiseFeatureLevel {
        /// The level afterwards.
        level: u32,
    },
    /// A transaction on etcd's keyspace.
    Kv(KvTxn),
    /// Grants a lease of etcd's.
    GrantKvLease {
        /// Chosen by the client, or by whoever took its request; never 0.
        lease: i64,
        /// Its time to live, seconds.
        ttl_s: u64,
    },
    /// Ends a lease of etcd's and deletes its keys.
    RevokeKvLease {
        /// Which.
        lease: i64,
    },
    /// Ends leases of etcd's whose time is up at the leader, each in a revision of its own, and deletes their keys.
    ExpireKvLeases {
        /// Those that have ended since, or were granted again, are skipped.
        grants: Vec<KvGrant>,
    },
    /// Forgets the history of etcd's keyspace.
    CompactKv {
        /// The oldest revision that can still be read.
        revision: u64,
    },
    /// Changes etcd's users and roles.
    KvAuth(KvAuthChange),
    /// Another one, on behalf of one of etcd's users, who is asked for its permission when it is applied.
    By(KvCaller, Box<Command>),
}

/// See [`Command::KvAuth`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvAuthChange {
    Enable {
        /// New and at random: whoever proposes it makes it.
        secret: KvSecret,
    },
    Disable,
    AddUser {
        name: String,
        /// It cannot prove anything by a password.
        no_password: bool,
        /// `None`: none fits.
        password: Option<KvPassword>,
    },
    DeleteUser {
        name: String,
    },
    ChangePassword {
        name: String,
        /// `None`: none fits.
        password: Option<KvPassword>,
    },
    GrantRole {
        user: String,
        role: String,
    },
    RevokeRole {
        user: String,
        role: String,
    },
    AddRole {
        name: String,
    },
    DeleteRole {
        name: String,
    },
    GrantPermission {
        role: String,
        /// `None` is refused, in its place among the refusals.
        permission: Option<KvPermission>,
    },
    RevokePermission {
        role: String,
        key: Bytes,
        range_end: Bytes,
    },
}

/// Names one write of one client, so that it happens at most once however often it is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// A registered client.
    pub client: ClientId,
    /// The client's number for the write, from 1 upwards.
    pub sequence: u64,
    /// The client has the answers to all its requests below this sequence.
    pub floor: u64,
}

/// See [`Command::CreateDatabase`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct CreateDatabase {
    pub name: String,
    pub properties: Properties,
}

/// See [`Command::DropDatabase`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct DropDatabase {
    pub name: String,
}

/// See [`Command::AlterDatabase`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct AlterDatabase {
    pub name: String,
    pub set: Properties,
    pub remove: Vec<String>,
}

/// See [`Command::CreateCollection`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The names say it.
pub struct CreateCollection {
    pub database: String,
    pub name: String,
    pub description: String,
    /// The ids of its fields do not count; they are given out.
    pub schema: Schema,
    /// 0 means one.
    pub shards: u32,
    pub consistency_level: ConsistencyLevel,
    pub properties: Properties,
    /// Only with a partition key; 0 means sixteen then.
    pub partitions: u32,
}

impl CreateCollection {
    /// A collection with defaults for all but its name and schema.
    #[must_use]
    pub fn new(name: impl Into<String>, schema: Schema) -> Self {
        Self {
            database: String::new(),
            name: name.into(),
            description: String::new(),
            schema,
            shards: 0,
            consistency_level: ConsistencyLevel::Bounded,
            properties: Properties::new(),
            partitions: 0,
        }
    }
}

/// See [`Command::DropCollection`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct DropCollection {
    pub database: String,
    /// Not an alias.
    pub name: String,
}

/// See [`Command::AlterCollection`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct AlterCollection {
    pub database: String,
    /// Or an alias.
    pub name: String,
    pub set: Properties,
    pub remove: Vec<String>,
    /// `None` leaves it as it is.
    pub description: Option<String>,
}

/// See [`Command::RenameCollection`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct RenameCollection {
    pub database: String,
    /// Not an alias.
    pub name: String,
    pub new_name: String,
    /// Empty leaves it where it is.
    pub new_database: String,
}

/// See [`Command::CreatePartition`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct CreatePartition {
    pub database: String,
    /// Or an alias.
    pub collection: String,
    pub name: String,
}

/// See [`Command::DropPartition`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct DropPartition {
    pub database: String,
    /// Or an alias.
    pub collection: String,
    pub name: String,
}

/// See [`Command::CreateAlias`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct CreateAlias {
    pub database: String,
    /// Not an alias.
    pub collection: String,
    pub alias: String,
}

/// See [`Command::DropAlias`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct DropAlias {
    pub database: String,
    pub alias: String,
}

/// See [`Command::AlterAlias`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct AlterAlias {
    pub database: String,
    /// Where it points afterwards; not an alias.
    pub collection: String,
    pub alias: String,
}

/// See [`Command::AllocateIds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct AllocateIds {
    pub count: u64,
}

/// See [`Command::OpenSession`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct OpenSession {
    pub worker: Worker,
    pub ttl_ms: u64,
}

/// See [`Command::CloseSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub struct CloseSession {
    pub session: LeaseId,
    pub epoch: Epoch,
}

impl Command {
    /// The bytes of a log entry: the command with its proposer's clock and, for numbered writes, its request id. Whether
    /// they are too many for the log is the proposer's to check.
    #[must_use]
    pub fn encode(&self, stamp_ms: u64, request: Option<RequestId>) -> Bytes {
        entry::encode(self, stamp_ms, request)
    }

    /// Reads back what [`Self::encode`] wrote, but for the stamp. `None` when the bytes are no entry, or one that this
    /// build cannot apply: in the log it would stop the replica.
    #[must_use]
    pub fn decode(entry: &[u8]) -> Option<(Self, Option<RequestId>)> {
        let entry = entry::decode(Index(0), entry, FEATURE_LEVEL_MAX).ok()?;
        let raises_too_far =
            matches!(entry.command, Self::RaiseFeatureLevel { level } if level > FEATURE_LEVEL_MAX);
        (!raises_too_far).then_some((entry.command, entry.request))
    }

    /// What it takes to have this executed; `None` for what is not about etcd's keys, and for what the cluster does of its
    /// own accord.
    #[must_use]
    pub fn need(&self) -> Option<KvNeed<'_>> {
        match self {
            Self::Kv(txn) => Some(KvNeed::Txn(txn)),
            Self::GrantKvLease { .. } => Some(KvNeed::Known),
            Self::RevokeKvLease { lease } => Some(KvNeed::WriteLease(*lease)),
            Self::KvAuth(_) => Some(KvNeed::Root),
            Self::By(_, command) => command.need(),
            _ => None,
        }
    }

    /// The feature level that gives the command its meaning.
    pub(crate) fn feature_level(&self) -> u32 {
        match self {
            Self::KvAuth(_) => feature::KV_AUTH,
            Self::By(_, command) => command.feature_level().max(feature::KV_AUTH),
            Self::Kv(_) | Self::CompactKv { .. } => feature::KV,
            Self::GrantKvLease { .. } | Self::RevokeKvLease { .. } | Self::ExpireKvLeases { .. } => {
                feature::KV_LEASES
            }
            _ => feature::FIRST,
        }
    }
}
