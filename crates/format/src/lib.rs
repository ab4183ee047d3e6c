//! What Quorate writes down: the messages of `proto/quorate/format/v1`, openraft's small values, and the envelope around
//! both.
//!
//! Promises: equal values have equal bytes; what a build wrote, every later build reads (`tests/pinned.rs` holds the
//! bytes); bytes that are no such value are an error that says why, never a panic. Left out on purpose: meaning, which is
//! `quorate-machine`'s, and files and checksums, which are `quorate-store`'s. The API never imports this crate, so that
//! a request cannot become a log entry by accident.

pub mod envelope;
pub mod raft;

/// The durable messages of package `quorate.format.v1`. What each field means stands in the protos.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/quorate.format.v1.rs"));
}
