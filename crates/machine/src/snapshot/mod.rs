//! Snapshots: the whole state as a stream of records, and back.
//!
//! Promises: a stream that was cut, reordered, damaged or put together from two is refused; what is restored has the digest
//! of what was written. Each record is an envelope with one protobuf message, and bounded: many small things share a
//! record, and large ones are spread over several; only a single row can be larger than [`RECORD_BYTES`]. Left out on
//! purpose: files, framing, positions of Raft.
//!
//! Order: header; rows; changes; clients; answers; retired clients; trailer.

mod read;
mod record;
mod write;

pub use read::RestoreError;
pub(crate) use read::read;
pub(crate) use write::write;

/// Bytes of keys and values after which a record is full.
const RECORD_BYTES: usize = 64 * 1024;
