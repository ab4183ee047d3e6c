//! The deterministic state machine of Quorate: commands in, replies and row changes out.
//!
//! Promises: what [`Machine::apply`] does is a function of the state and the entry, so that replicas which apply the same
//! log are the same: same answers, same rows, same digest. A refusal is an answer, a [`Fault`] stops the replica. Left out
//! on purpose: clocks, chance, threads, files, networks. Time arrives as the stamp of an entry and randomness as a field of
//! a command; a timer that runs out is a command that the leader proposes.
//!
//! Where things are: `machine` dispatches, `domain/*` decides, `txn` and `table` are what a decision may see and write,
//! `keyspace` holds rows and their history, `clients` makes numbered writes happen once, `image` is what readers get,
//! `snapshot` is what a new replica gets.

mod answer;
mod audit;
mod clients;
mod codes;
mod command;
mod digest;
mod domain;
mod entry;
mod fault;
mod feature;
#[cfg(test)]
mod fixture;
mod image;
mod keyspace;
mod lease;
mod machine;
mod object_id;
mod page;
mod refusal;
mod reply;
mod resource;
mod snapshot;
mod state;
mod table;
mod txn;
mod user;

pub use answer::{decode as decode_outcome, encode as encode_outcome};
pub use audit::Damage;
pub use clients::IdleClient;
pub use command::{
    AllocateIds, AlterAlias, AlterCollection, AlterDatabase, CloseSession, Command, CreateAlias,
    CreateCollection, CreateDatabase, CreatePartition, DropAlias, DropCollection, DropDatabase,
    DropPartition, KvAuthChange, OpenSession, RenameCollection, RequestId,
};
pub use domain::kv::{
    KV_NESTING_MAX, KeyRow, KvCompare, KvDelete, KvOp, KvOperand, KvOrder, KvPut, KvRange, KvRanged,
    KvRelation, KvReply, KvResult, KvResultKind, KvTarget, KvTxn, KvTxnResult,
};
pub use domain::root::{
    Alias, Collection, ConsistencyLevel, DEFAULT_DATABASE, DEFAULT_PARTITION, DataType, Database,
    DefaultValue, Field, Partition, Properties, Schema, Shard,
};
pub use domain::session::{Session, Worker, WorkerKind};
pub use fault::Fault;
pub use feature::FEATURE_LEVEL_MAX;
pub use image::{Counts, Image};
pub use keyspace::{Change, ChangeSet, Compacted, HistoryIter, Row};
pub use lease::Lease;
pub use machine::{Applied, Machine};
pub use object_id::{CollectionId, DatabaseId, LeaseId, PartitionId};
pub use page::{Page, PageRequest};
pub use refusal::{
    AliasConflict, FixedPartition, KvAuthRule, NAME_SHOWN_BYTES_MAX, NameKind, NameRule, ParameterRule,
    Refusal, SchemaRule, ShapeRule,
};
pub use reply::{Outcome, Reply};
pub use resource::{Resource, ResourceKind};
pub use snapshot::RestoreError;
pub use user::{
    KV_ROOT, KvAccess, KvAuth, KvCaller, KvGrant, KvHash, KvLease, KvLeaseNews, KvLeases, KvNeed, KvPassword,
    KvPasswordKind, KvPermission, KvSecret, KvUser,
};
