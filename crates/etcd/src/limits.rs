//! Limits that etcd's clients meet, as etcd has them by default.

use std::time::Duration;

use quorate_replica::machine::KV_NESTING_MAX;
use quorate_types::limits::COMMAND_BYTES_MAX;

/// Largest request that writes, bytes, encoded.
pub const REQUEST_BYTES_MAX: usize = COMMAND_BYTES_MAX;
/// Largest message that is read at all, bytes. Between the two, a request is refused in etcd's own words.
pub const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 512 * 1024;
/// Compares, operations for success and operations for failure of a transaction, each; a nested transaction has what the
/// longest of the three leaves to it.
pub const TXN_OPS_MAX: usize = 128;
/// Transactions within transactions, the outermost counted. Replicas decode commands and answers with a bound on how deep
/// messages nest, and a command that was logged but cannot be read would stop them; this stays far below it.
pub const TXN_DEPTH_MAX: usize = KV_NESTING_MAX;
/// Hashes of all keys that are computed at once; a further one is refused. Each takes the processor for as long as the keys
/// are many.
pub const HASHES_MAX: usize = 2;
/// Snapshots that are sent at once; a further one is refused. Each holds on to a state of its moment, so a client that stops
/// reading costs memory until it goes.
pub const SNAPSHOTS_MAX: usize = 2;

/// Passwords that are derived from at once; others wait. Each takes a processor for about a tenth of a second.
pub const PASSWORDS_AT_ONCE: usize = 2;
/// Passwords that wait for that; a further one is refused as too many requests.
pub const PASSWORDS_WAITING_MAX: usize = 256;
/// A token that was neither given nor used at a replica for this long is none there any more, as in etcd.
pub const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Tokens of which a replica remembers when they were used; what is above it is good for [`TOKEN_TTL`] from when it was given.
pub const TOKENS_SEEN_MAX: usize = 65_536;

/// Shortest time to live of a lease, seconds; what is asked for below it gets it. One and a half of etcd's default election
/// timeout, rounded up.
pub const LEASE_TTL_S_MIN: u64 = 2;
/// Keepalives of one stream that wait for their answer; more are not read until some have it.
pub const KEEPALIVES_IN_FLIGHT_MAX: usize = 1_024;
/// Leases that are bound to connections at one replica, where the lease policy asks for it; a further one is not bound, and lives
/// until its time to live is up.
pub const LEASES_BOUND_MAX: usize = 65_536;
/// News of keepers of leases that wait at one replica to be told to the leader; further ones are lost, and such leases live until
/// their time to live is up.
pub const KEEPER_NEWS_MAX: usize = 2 * LEASES_BOUND_MAX;
/// News that are told at once.
pub const KEEPER_NEWS_IN_FLIGHT_MAX: usize = 4_096;
/// Streams of watches at one replica; a further one is refused as too many requests.
pub const WATCH_STREAMS_MAX: usize = 65_536;
/// Watches on one stream; a further one is not created, and told so.
pub const WATCHES_PER_STREAM_MAX: usize = 65_536;
/// Watches at one replica; a further one is not created, and told so.
pub const WATCHES_MAX: usize = 262_144;
/// Bytes of the keys that the watches at one replica are on; a watch above it is not created, and told so.
pub const WATCH_KEY_BYTES_MAX: usize = 64 << 20;
/// Revisions that wait for one stream to read them; above it, the stream reads them in the history later.
pub const WATCH_QUEUE_SETS: usize = 128;
/// Bytes that these revisions may have, unless it is a single one.
pub const WATCH_QUEUE_BYTES: usize = 1 << 20;
/// Revisions that one response to a watch of the past has at most.
pub const WATCH_RESPONSE_REVISIONS: usize = 1_000;
/// Bytes of keys and values above which such a response takes no further revision.
pub const WATCH_RESPONSE_BYTES: usize = 1 << 20;
/// Between two words on how far a watch is that has no events, for watches that want it; up to a tenth more by chance.
pub const WATCH_PROGRESS_EVERY: Duration = Duration::from_secs(600);

/// Calls at one replica that wait for a lock or for leadership, or observe an election; a further one is refused as too many
/// requests.
pub const CONTESTANTS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    /// prost's bound on nested messages. A transaction costs two in a request, in a command and in an answer, which have
    /// at most four around it.
    const NESTED_MESSAGES_MAX: usize = 100;
    const _: () = assert!(4 + 2 * TXN_DEPTH_MAX + 2 < NESTED_MESSAGES_MAX);
    // Responses that were gathered stay below what is split.
    const _: () = assert!(WATCH_RESPONSE_BYTES < MESSAGE_BYTES_MAX);
}
