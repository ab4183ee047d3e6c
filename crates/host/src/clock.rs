//! The time of day, which proposers stamp on log entries, and a machine-wide clock for timelines. Every timeout lives
//! on tokio's clock instead.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. It may jump in either direction; log time absorbs that.
    fn unix_ms(&self) -> u64;

    /// Nanoseconds of a clock that never goes back and that all processes of this machine share
    /// (`CLOCK_MONOTONIC`): for timelines that several processes write, never for timeouts.
    fn monotonic_ns(&self) -> u64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
        seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
    }
}
