//! Every limit that a caller can meet, with its unit. A limit's error names the limit and what to do.

/// Longest name of a replica, bytes: what a DNS label holds.
pub const MEMBER_NAME_BYTES_MAX: usize = 63;
/// Longest `host:port`, bytes: a DNS name of 253, a colon, a port.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// Replicas that may form a group at first: one for a laptop, three or five for work.
pub const GROUP_SIZES: [usize; 3] = [1, 3, 5];
/// Voters at most: each write waits for a majority of them.
pub const VOTERS_MAX: usize = 7;

/// Largest command in the log, bytes, encoded. etcd's default request limit.
pub const COMMAND_BYTES_MAX: usize = 1_572_864;
/// Largest gRPC message that clients may send, bytes: a command and its envelope.
pub const REQUEST_BYTES_MAX: usize = COMMAND_BYTES_MAX + 65_536;
/// Largest gRPC message between replicas, bytes: several commands travel in one.
pub const PEER_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Entries that one append message carries at most, bytes, unless a single entry is larger.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Proposals that wait for their outcome at one replica; more are refused as overloaded.
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 16_384;
/// Bytes of proposals that wait for their outcome at one replica; more are refused as overloaded.
pub const PROPOSAL_BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;
/// Clients of the machine that one replica is at most, to number the writes that it passes on for clients which know no
/// redirect. Each bears almost [`CLIENT_ANSWERS_MAX`] writes in flight.
pub const FORWARDING_CLIENTS_MAX: usize = 16;
/// Reads that wait for one barrier at one replica; more are refused as overloaded.
pub const READS_WAITING_MAX: usize = 65_536;

/// Watchers at one replica.
pub const WATCHERS_MAX: usize = 10_000;
/// Batches of events that wait for one watcher; a watcher whose queue is full reads history instead.
pub const WATCH_QUEUE_BATCHES: usize = 256;
/// Changes of a keyspace that are kept for watchers that resume; older ones are compacted.
pub const WATCH_HISTORY_CHANGES: usize = 65_536;
/// Bytes of keys and values that these changes hold at most; older changes are compacted. It bounds what a few huge
/// objects, altered again and again, can keep in memory.
pub const WATCH_HISTORY_BYTES: usize = 64 * 1024 * 1024;

/// Clients that number their writes; the least recently used are evicted beyond it.
pub const CLIENTS_MAX: usize = 16_384;
/// Clients above [`CLIENTS_MAX`] that may register before the leader has evicted others; more are refused.
pub const CLIENTS_OVERSHOOT_MAX: usize = 1_024;
/// Clients that one command may evict.
pub const EVICTIONS_PER_COMMAND_MAX: usize = 256;
/// Answers that are kept for one client above the floor that it has acknowledged.
pub const CLIENT_ANSWERS_MAX: usize = 1_024;
/// A client that has not written for this long may be evicted, milliseconds of log time.
pub const CLIENT_IDLE_MS: u64 = 3_600_000;

/// Sessions of workers.
pub const SESSIONS_MAX: usize = 65_536;
/// Shortest time to live of a session, milliseconds.
pub const SESSION_TTL_MS_MIN: u64 = 1_000;
/// Longest time to live of a session, milliseconds: one day.
pub const SESSION_TTL_MS_MAX: u64 = 86_400_000;
/// Longest name, zone, resource group or unit of capacity of a worker, bytes.
pub const WORKER_TEXT_BYTES_MAX: usize = 255;
/// Units of capacity that a worker may name.
pub const WORKER_CAPACITIES_MAX: usize = 64;
/// Leases of etcd's clients.
pub const KV_LEASES_MAX: usize = 1_048_576;
/// Renewals of leases, and questions about them, that wait at one replica; more are refused as overloaded.
pub const LEASE_QUESTIONS_MAX: usize = 65_536;
/// Longest time to live of a lease of etcd's, seconds: as etcd has it.
pub const KV_LEASE_TTL_S_MAX: u64 = 9_000_000_000;
/// Longest name of a user or role of etcd's, bytes. Tokens carry it in the head of every call.
pub const KV_AUTH_NAME_BYTES_MAX: usize = 1_024;
/// Users of etcd's keys.
pub const KV_USERS_MAX: usize = 10_000;
/// Roles of etcd's users.
pub const KV_ROLES_MAX: usize = 10_000;
/// Roles that one of these users has: each is looked at when it asks for a key.
pub const KV_ROLES_PER_USER_MAX: usize = 1_000;
/// Permissions of one of these roles. They are one row, which is written anew with every change.
pub const KV_PERMISSIONS_PER_ROLE_MAX: usize = 10_000;
/// Bytes of the keys in the permissions of one role: they are one row, which has to fit into messages and snapshots.
pub const KV_PERMISSION_BYTES_PER_ROLE_MAX: usize = 1_048_576;
/// Ids that one request may allocate.
pub const IDS_PER_REQUEST_MAX: u64 = 1_000_000;
/// Rows in one page of a listing.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows in one page of a listing when the caller does not say.
pub const PAGE_ROWS_DEFAULT: u32 = 100;

/// Longest name of a database, collection, partition, alias or field, bytes (Milvus: 255).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest description of a collection or field, bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// Databases (Milvus `rootCoord.maxDatabaseNum`).
pub const DATABASES_MAX: usize = 64;
/// Collections in all databases together (Milvus `quotaAndLimits.limits.maxCollectionNum`).
pub const COLLECTIONS_MAX: usize = 65_536;
/// Partitions of a collection (Milvus `rootCoord.maxPartitionNum`).
pub const PARTITIONS_PER_COLLECTION_MAX: usize = 4_096;
/// Partitions of a collection with a partition key when the caller does not say (Milvus: 16).
pub const PARTITIONS_WITH_KEY_DEFAULT: u32 = 16;
/// Sum over all collections of shards times partitions (Milvus `rootCoord.maxGeneralCapacity`).
pub const GENERAL_CAPACITY_MAX: u64 = 65_536;
/// Aliases of a collection. Milvus has no limit; here a collection's row names its aliases, so there is one.
pub const ALIASES_PER_COLLECTION_MAX: usize = 256;
/// Shards of a collection (Milvus `proxy.maxShardNum`).
pub const SHARDS_MAX: u32 = 16;
/// Fields of a collection (Milvus `proxy.maxFieldNum`).
pub const FIELDS_MAX: usize = 64;
/// Vector fields of a collection (Milvus `proxy.maxVectorFieldNum`).
pub const VECTOR_FIELDS_MAX: usize = 4;
/// Fewest dimensions of a vector (Milvus: 2).
pub const DIMENSION_MIN: u32 = 2;
/// Dimensions of a vector (Milvus `proxy.maxDimension`).
pub const DIMENSION_MAX: u32 = 32_768;
/// Dimensions, which are bits, of a binary vector (Milvus: eight times `proxy.maxDimension`).
pub const BINARY_DIMENSION_MAX: u32 = 8 * DIMENSION_MAX;
/// Longest value of a varchar field, bytes (Milvus `proxy.maxVarCharLength`).
pub const VARCHAR_BYTES_MAX: u32 = 65_535;
/// Elements of an array field (Milvus: 4096).
pub const ARRAY_CAPACITY_MAX: u32 = 4_096;
/// Id of the first field of a schema; those below are the system's (Milvus: 100).
pub const FIELD_ID_FIRST: u64 = 100;
/// Physical channels that collections share (Milvus `rootCoord.dmlChannelNum`).
pub const PHYSICAL_CHANNELS: u32 = 16;
/// Properties of one object.
pub const PROPERTIES_MAX: usize = 64;
/// Longest key of a property, bytes.
pub const PROPERTY_KEY_BYTES_MAX: usize = 255;
/// Longest value of a property, bytes.
pub const PROPERTY_VALUE_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    // Limits lean on one another; a change of one must not break its neighbour.
    const _: () = assert!(COMMAND_BYTES_MAX < APPEND_BYTES_MAX);
    const _: () = assert!(APPEND_BYTES_MAX + COMMAND_BYTES_MAX < PEER_MESSAGE_BYTES_MAX);
    const _: () = assert!(PAGE_ROWS_DEFAULT <= PAGE_ROWS_MAX);
    const _: () = assert!(SHARDS_MAX <= PHYSICAL_CHANNELS);
    const _: () = assert!(COMMAND_BYTES_MAX < WATCH_HISTORY_BYTES);
}
