//! Every deterministic no: an answer that all replicas reach and that the caller can act on.
//!
//! Promises: a refusal says what is wrong and what to do; it is made of codes, names and numbers, because it is remembered
//! for clients that number their writes and therefore replicated state: two releases may word it differently, never
//! decide or store it differently. Names in it are cut to [`NAME_SHOWN_BYTES_MAX`], so that a hostile one is not kept.
//!
//! One variant for each reason of `error.proto`, which the server maps.

use quorate_types::limits::{
    ALIASES_PER_COLLECTION_MAX, ARRAY_CAPACITY_MAX, BINARY_DIMENSION_MAX, CLIENT_ANSWERS_MAX, CLIENTS_MAX,
    COLLECTIONS_MAX, DATABASES_MAX, DESCRIPTION_BYTES_MAX, DIMENSION_MAX, DIMENSION_MIN, FIELDS_MAX,
    GENERAL_CAPACITY_MAX, KV_LEASES_MAX, NAME_BYTES_MAX, PARTITIONS_PER_COLLECTION_MAX, SESSIONS_MAX,
    VARCHAR_BYTES_MAX, VECTOR_FIELDS_MAX,
};
use quorate_types::{ClientId, Epoch};

use crate::codes::codes;
use crate::object_id::{CollectionId, LeaseId};

/// Longest name in a refusal, bytes: every allowed name is shown whole.
pub const NAME_SHOWN_BYTES_MAX: usize = NAME_BYTES_MAX;

/// A name as a refusal shows it.
pub(crate) fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(NAME_SHOWN_BYTES_MAX)].to_owned()
}

codes! {
    /// What a name is the name of.
    NameKind {
        Database = 1 => "database",
        Collection = 2 => "collection",
        Partition = 3 => "partition",
        Alias = 4 => "alias",
        Field = 5 => "field",
    }
}

codes! {
    /// Why a name is none.
    NameRule {
        Empty = 1 => "is empty",
        TooLong = 2 => "is longer than 255 bytes",
        FirstCharacter = 3 => "must start with a letter or an underscore",
        Character = 4 => "may hold only letters, digits and underscores",
        PartitionFirstCharacter = 5 => "must start with a letter, a digit or an underscore",
        PartitionCharacter = 6 => "may hold only letters, digits, underscores and hyphens",
        Reserved = 7 => "is reserved by the system or a word of the query language; choose another",
    }
}

codes! {
    /// Why a schema is none.
    SchemaRule {
        NoFields = 1 => "it has no fields",
        TooManyFields = 2 => "it has too many fields",
        NoVector = 3 => "it has no vector field",
        TooManyVectors = 4 => "it has too many vector fields",
        DuplicateName = 5 => "two fields have this name",
        DescriptionTooLong = 6 => "its description is too long",
        NoPrimaryKey = 10 => "it has no primary key",
        SecondPrimaryKey = 11 => "it has a second primary key",
        PrimaryKeyType = 12 => "a primary key is an int64 or a varchar",
        PrimaryKeyNullable = 13 => "a primary key cannot be null",
        PrimaryKeyDefault = 14 => "a primary key has no default value",
        AutoIdNotPrimary = 15 => "only the primary key can have automatic ids",
        SecondPartitionKey = 20 => "it has a second partition key",
        PartitionKeyType = 21 => "a partition key is an int64 or a varchar",
        PartitionKeyPrimary = 22 => "the primary key cannot be the partition key",
        PartitionKeyNullable = 23 => "a partition key cannot be null",
        Dimension = 30 => "its dimension is out of range",
        BinaryDimension = 31 => "the dimension of a binary vector is a multiple of 8 and in range",
        DimensionStray = 32 => "only vectors other than sparse ones have a dimension",
        VectorNullable = 33 => "a vector cannot be null",
        MaxLength = 40 => "its max_length is missing or out of range",
        MaxLengthStray = 41 => "only a varchar, or an array of them, has a max_length",
        ElementType = 42 => "the elements of an array are a bool, an integer, a float, a double or a varchar",
        ElementTypeStray = 43 => "only an array has an element type",
        MaxCapacity = 44 => "its max_capacity is missing or out of range",
        MaxCapacityStray = 45 => "only an array has a max_capacity",
        DefaultNotAllowed = 50 => "a field of this type has no default value",
        DefaultType = 51 => "its default value is of another type",
        DefaultRange = 52 => "its default value does not fit its type",
        DefaultTooLong = 53 => "its default value is longer than its max_length",
        DefaultNotFinite = 54 => "its default value is not a finite number",
    }
}

impl SchemaRule {
    /// The limits behind the rule, in words.
    fn limits(self) -> String {
        match self {
            Self::TooManyFields => format!(": at most {FIELDS_MAX}"),
            Self::TooManyVectors => format!(": at most {VECTOR_FIELDS_MAX}"),
            Self::DescriptionTooLong => format!(": at most {DESCRIPTION_BYTES_MAX} bytes"),
            Self::Dimension => format!(": {DIMENSION_MIN} to {DIMENSION_MAX}"),
            Self::BinaryDimension => format!(": 8 to {BINARY_DIMENSION_MAX}"),
            Self::MaxLength => format!(": 1 to {VARCHAR_BYTES_MAX}"),
            Self::MaxCapacity => format!(": 1 to {ARRAY_CAPACITY_MAX}"),
            _ => String::new(),
        }
    }
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterRule {
    /// A number out of range.
    Range {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A text longer than `max` bytes.
    TooLong {
        /// The longest allowed, bytes.
        max: u64,
    },
    /// More than `max` of something.
    TooMany {
        /// The most allowed.
        max: u64,
    },
    /// Another rule.
    Shape(ShapeRule),
}

codes! {
    /// A rule without numbers.
    ShapeRule {
        Empty = 1 => "is empty",
        Characters = 2 => "may hold only visible ASCII characters, no spaces",
        Address = 3 => "is not host:port",
        SetAndRemoved = 4 => "is both set and removed; do one of them",
        Boolean = 5 => "is neither true nor false",
        Integer = 6 => "is not a whole number in range",
        OnlyWithPartitionKey = 7 => "needs a schema with a partition key",
        Unchanged = 8 => "is the name that it has already",
        Token = 9 => "is not a token of this listing; start again without one",
        AboveSequence = 10 => "lies above the request's own sequence",
    }
}

impl std::fmt::Display for ParameterRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range { min, max } => write!(f, "must be from {min} to {max}"),
            Self::TooLong { max } => write!(f, "is longer than {max} bytes"),
            Self::TooMany { max } => write!(f, "has more than {max} entries"),
            Self::Shape(rule) => rule.fmt(f),
        }
    }
}

codes! {
    /// How a collection and an alias are in each other's way.
    AliasConflict {
        NameTaken = 1 => "an alias has the name; choose another or drop the alias",
        IsAlias = 2 => "the name is an alias; use the collection's own name",
        HasAliases = 3 => "aliases point at the collection; drop or alter them first",
    }
}

codes! {
    /// Why somebody may not do something with etcd's keys, or users and roles stay as they are.
    KvAuthRule {
        RootUserNotFound = 1 => "there is no user root; add it first",
        RootRoleNotGranted = 2 => "the user root does not have the role root; grant it first",
        UserExists = 3 => "there is a user of this name already",
        UserEmpty = 4 => "this takes a user; prove to be one",
        UserNotFound = 5 => "there is no user of this name",
        RoleExists = 6 => "there is a role of this name already",
        RoleEmpty = 7 => "a role needs a name",
        RoleNotFound = 8 => "there is no role of this name",
        PermissionNotGiven = 9 => "no permission is given",
        PermissionDenied = 10 => "the user may not do this",
        RoleNotGranted = 11 => "the user does not have this role",
        PermissionNotGranted = 12 => "the role has no permission on this very range",
        OldRevision = 13 => "what the user has proved counts no more; prove it again",
        InvalidManagement = 14 => "this cannot be done to root while authentication is enabled, or the range is none",
        Limit = 15 => "a limit on users, roles, permissions or the length of names is reached",
    }
}

codes! {
    /// Why a partition stays as it is.
    FixedPartition {
        Default = 1 => "the default partition cannot be dropped",
        PartitionKey = 2 => "the partitions of a collection with a partition key cannot be created or dropped by hand",
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The messages say what the names are.
pub enum Refusal {
    #[error("the {kind} name {name:?} {rule}")]
    InvalidName {
        kind: NameKind,
        name: String,
        rule: NameRule,
    },
    /// `field` is empty when the rule is about the schema as a whole.
    #[error("the schema is not valid{}: {rule}{}", of_field(field), rule.limits())]
    InvalidSchema { field: String, rule: SchemaRule },
    /// `parameter` is a path in the request.
    #[error("the parameter {parameter} {rule}")]
    InvalidParameter { parameter: String, rule: ParameterRule },

    #[error("there is no database {name:?}")]
    DatabaseNotFound { name: String },
    #[error("there is a database {name:?} already")]
    DatabaseExists { name: String },
    #[error("the database {name:?} still has collections; drop or move them first")]
    DatabaseNotEmpty { name: String },
    #[error("the default database cannot be dropped")]
    DatabaseIsDefault,
    #[error("there are {DATABASES_MAX} databases, which is the limit; drop one first")]
    DatabaseLimit,

    #[error("there is no collection {name:?} in database {database:?}")]
    CollectionNotFound { database: String, name: String },
    #[error("there is no collection with id {id}")]
    CollectionIdNotFound { id: CollectionId },
    #[error("there is a collection {name:?} in database {database:?} already, and it is not the same")]
    CollectionExists { database: String, name: String },
    #[error("there are {COLLECTIONS_MAX} collections, which is the limit; drop one first")]
    CollectionLimit,
    #[error("collection {name:?} in database {database:?}: {why}")]
    CollectionAliasConflict {
        database: String,
        name: String,
        why: AliasConflict,
    },

    #[error(
        "collection {collection:?} has {PARTITIONS_PER_COLLECTION_MAX} partitions, which is the limit; drop one first"
    )]
    PartitionLimit { collection: String },
    #[error("partition {name:?} of collection {collection:?}: {why}")]
    PartitionFixed {
        collection: String,
        name: String,
        why: FixedPartition,
    },
    /// The limit on shards times partitions.
    #[error(
        "shards times partitions of all collections would pass {GENERAL_CAPACITY_MAX}, which is the limit; drop some \
         first or use fewer"
    )]
    CapacityLimit,

    #[error("there is no alias {name:?} in database {database:?}")]
    AliasNotFound { database: String, name: String },
    #[error(
        "the alias {name:?} in database {database:?} points at collection {collection:?}; alter it to move it"
    )]
    AliasExists {
        database: String,
        name: String,
        collection: String,
    },
    #[error("a collection in database {database:?} has the name {name:?}; choose another alias")]
    AliasCollectionConflict { database: String, name: String },
    #[error(
        "collection {collection:?} has {ALIASES_PER_COLLECTION_MAX} aliases, which is the limit; drop one first"
    )]
    AliasLimit { collection: String },

    #[error("there is no session {session} with epoch {epoch}")]
    SessionNotFound { session: LeaseId, epoch: Epoch },
    #[error(
        "session {session} with epoch {epoch} is over: it expired, was closed, or another took over; open a new one"
    )]
    SessionFenced { session: LeaseId, epoch: Epoch },
    #[error("there are {SESSIONS_MAX} sessions, which is the limit; close one first")]
    SessionLimit,

    #[error(
        "client {client} is not registered, or was evicted: whether the request was executed earlier cannot be told; \
         register under a new random id"
    )]
    ClientUnknown { client: ClientId },
    #[error(
        "request {sequence} lies below the floor {floor} that its client has acknowledged; its answer is forgotten"
    )]
    RequestForgotten { sequence: u64, floor: u64 },
    #[error(
        "client has {CLIENT_ANSWERS_MAX} unacknowledged answers, which is the limit; nothing was executed: raise the \
         floor and send the request again"
    )]
    ClientAnswersLimit,
    #[error("there are far more than {CLIENTS_MAX} clients; register again when some were evicted")]
    ClientLimit,

    #[error("this needs feature level {needs}, and the cluster is at {has}")]
    FeatureLevel { needs: u32, has: u32 },

    #[error("the revision is compacted; the oldest that can be read is {floor}")]
    KvCompacted { floor: u64 },

    #[error("revision {revision} is a future one; read without a revision to get the present one")]
    KvFutureRevision { revision: u64 },

    #[error("the key does not exist, so there is nothing to keep; put it with a value and a lease")]
    KvKeyNotFound,

    #[error("there is no lease {lease:016x}; grant it first")]
    KvLeaseNotFound { lease: i64 },

    #[error("there is a lease {lease:016x} already; choose another id, or let the server choose")]
    KvLeaseExists { lease: i64 },

    #[error("there are {KV_LEASES_MAX} leases, which is the limit; revoke some first")]
    KvLeaseLimit,

    #[error("{rule}")]
    KvAuth { rule: KvAuthRule },
}

fn of_field(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!(", field {field:?}")
    }
}

impl Refusal {
    pub(crate) fn parameter(parameter: impl Into<String>, rule: ParameterRule) -> Self {
        let parameter = shown(&parameter.into());
        Self::InvalidParameter { parameter, rule }
    }

    pub(crate) fn shape(parameter: impl Into<String>, rule: ShapeRule) -> Self {
        Self::parameter(parameter, ParameterRule::Shape(rule))
    }

    /// The code that Milvus uses for this meaning (`pkg/util/merr/errors.go`); 0 when it has none.
    #[must_use]
    pub fn milvus_code(&self) -> u32 {
        match self {
            Self::CollectionNotFound { .. } | Self::CollectionIdNotFound { .. } => 100,
            Self::CollectionLimit => 102,
            Self::CapacityLimit => 250,
            Self::DatabaseNotFound { .. } => 800,
            Self::DatabaseLimit => 801,
            Self::InvalidName {
                kind: NameKind::Database,
                ..
            } => 802,
            Self::InvalidName {
                kind: NameKind::Field,
                ..
            } => 1701,
            // Milvus says "create duplicate collection with different parameters" under the same code.
            Self::InvalidName { .. }
            | Self::InvalidSchema { .. }
            | Self::InvalidParameter { .. }
            | Self::CollectionExists { .. } => 1100,
            Self::AliasNotFound { .. } => 1600,
            Self::AliasCollectionConflict { .. }
            | Self::CollectionAliasConflict {
                why: AliasConflict::NameTaken,
                ..
            } => 1601,
            Self::AliasExists { .. } => 1602,
            Self::DatabaseExists { .. }
            | Self::DatabaseNotEmpty { .. }
            | Self::DatabaseIsDefault
            | Self::CollectionAliasConflict { .. }
            | Self::PartitionLimit { .. }
            | Self::PartitionFixed { .. }
            | Self::AliasLimit { .. }
            | Self::SessionNotFound { .. }
            | Self::SessionFenced { .. }
            | Self::SessionLimit
            | Self::ClientUnknown { .. }
            | Self::RequestForgotten { .. }
            | Self::ClientAnswersLimit
            | Self::ClientLimit
            | Self::FeatureLevel { .. }
            | Self::KvCompacted { .. }
            | Self::KvFutureRevision { .. }
            | Self::KvKeyNotFound
            | Self::KvLeaseNotFound { .. }
            | Self::KvLeaseExists { .. }
            | Self::KvLeaseLimit
            | Self::KvAuth { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let cases: &[(Refusal, u32, &str)] = &[
            (
                Refusal::InvalidName {
                    kind: NameKind::Database,
                    name: "1a".into(),
                    rule: NameRule::FirstCharacter,
                },
                802,
                "the database name \"1a\" must start with a letter or an underscore",
            ),
            (
                Refusal::InvalidSchema {
                    field: "vec".into(),
                    rule: SchemaRule::Dimension,
                },
                1100,
                "the schema is not valid, field \"vec\": its dimension is out of range: 2 to 32768",
            ),
            (
                Refusal::InvalidSchema {
                    field: String::new(),
                    rule: SchemaRule::NoVector,
                },
                1100,
                "the schema is not valid: it has no vector field",
            ),
            (
                Refusal::parameter("ttl_ms", ParameterRule::Range { min: 1, max: 9 }),
                1100,
                "the parameter ttl_ms must be from 1 to 9",
            ),
            (
                Refusal::shape("page.token", ShapeRule::Token),
                1100,
                "the parameter page.token is not a token of this listing; start again without one",
            ),
            (
                Refusal::CollectionAliasConflict {
                    database: "default".into(),
                    name: "a".into(),
                    why: AliasConflict::HasAliases,
                },
                0,
                "collection \"a\" in database \"default\": aliases point at the collection; drop or alter them first",
            ),
        ];
        for (refusal, code, words) in cases {
            assert_eq!(refusal.to_string(), *words);
            assert_eq!(refusal.milvus_code(), *code, "{words}");
        }
    }

    #[test]
    fn hostile_names_are_cut_at_a_character() {
        assert_eq!(shown("books"), "books");
        assert_eq!(shown(&"a".repeat(300)).len(), 255);
        assert_eq!(shown(&"é".repeat(300)).len(), 254);
    }

    #[test]
    fn codes_have_one_number_each() {
        for rule in SchemaRule::ALL {
            assert_eq!(SchemaRule::from_number(rule.number()), Some(*rule));
        }
        assert_eq!(SchemaRule::from_number(0), None);
        assert_eq!(NameRule::from_number(99), None);
    }
}
