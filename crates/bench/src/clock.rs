//! The bench's clock: the machine's monotonic one, which the replicas' phases use as well.

use quorate_host::{Clock, SystemClock};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now_ns() -> u64 {
    SystemClock.monotonic_ns()
}
