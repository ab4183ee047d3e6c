//! Limits that etcd's clients meet, as etcd has them by default.

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

/// Shortest time to live of a lease, seconds; what is asked for below it gets it. One and a half of etcd's default election
/// timeout, rounded up.
pub const LEASE_TTL_S_MIN: u64 = 2;
/// Keepalives of one stream that wait for their answer; more are not read until some have it.
pub const KEEPALIVES_IN_FLIGHT_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// prost's bound on nested messages. A transaction costs two in a request, in a command and in an answer, which have
    /// at most four around it.
    const NESTED_MESSAGES_MAX: usize = 100;
    const _: () = assert!(4 + 2 * TXN_DEPTH_MAX + 2 < NESTED_MESSAGES_MAX);
}
