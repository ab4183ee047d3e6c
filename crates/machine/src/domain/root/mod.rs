//! The catalog: databases, collections, partitions, aliases, channels, with Milvus's rules and meanings.
//!
//! The rules were read in Milvus's source (2.5 and 2.6: `internal/proxy/{util,task}.go`, `internal/rootcoord/*.go`,
//! `pkg/common`, `configs/milvus.yaml`) and are told here in our own words. Where the two releases differ, the file says
//! which one is followed. Left out on purpose: functions, struct fields, clustering keys, adding fields.

pub(crate) mod alias;
pub(crate) mod channel;
pub(crate) mod collection;
pub(crate) mod database;
mod name;
pub(crate) mod partition;
mod properties;
mod row;
mod schema;

pub use alias::Alias;
pub use channel::Shard;
pub use collection::{Collection, ConsistencyLevel};
pub use database::{DEFAULT_DATABASE, Database};
pub use partition::{DEFAULT_PARTITION, Partition};
pub use properties::Properties;
pub use schema::{DataType, DefaultValue, Field, Schema};
