//! Moments of the clock that all processes of this machine share.
//!
//! Promises: a moment here and a phase in a replica's status can be subtracted. Left out on purpose: the time of day.

use std::time::Duration;

use quorate_host::{Clock, SystemClock};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// The present one.
    pub(super) fn now() -> Self {
        Self(SystemClock.monotonic_ns())
    }

    /// How long after `earlier`; zero when it was not after it.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment that long after this one.
    pub(super) fn after(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(by))
    }

    /// The moment that long before this one.
    pub(super) fn before(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(by))
    }
}
