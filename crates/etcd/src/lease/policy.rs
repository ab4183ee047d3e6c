//! The lease policy: what etcd has not. Off by default, and then leases are exactly etcd's.
//!
//! Promises: settings that would cost living clients their leases are refused. The same at all replicas: the grace that counts
//! is the leader's.

use std::time::Duration;

use quorate_types::limits::KV_LEASE_TTL_S_MAX;

use crate::limits::LEASE_TTL_S_MIN;

/// Shortest grace: etcd's Go client waits 500 ms before it opens its keepalive again, and then it has to arrive.
pub const ORPHAN_GRACE_MIN: Duration = Duration::from_millis(800);
/// Longest grace, and longest wait for a silent client; longer than any lease should wait.
const ORPHAN_GRACE_MAX: Duration = Duration::from_secs(600);
/// Shortest wait for a silent client: what a network may be away for without anybody's being dead.
const SILENT_AFTER_MIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// A lease whose keeper's connection broke is revoked after this, unless there is a sign of life; `None`: never before its
    /// time to live is up, as in etcd.
    pub orphan_grace: Option<Duration>,
    /// A client that does not answer pings is taken for gone after this; then the grace begins.
    pub silent_after: Duration,
    /// Longest time to live that is granted, seconds; the answer states it, and clients keep to that. `None`: as asked for.
    pub ttl_max_s: Option<u64>,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            orphan_grace: None,
            silent_after: Duration::from_secs(10),
            ttl_max_s: None,
        }
    }
}

/// What is wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasePolicyError {
    /// The grace.
    OrphanGrace(Duration),
    /// The wait for a silent client.
    SilentAfter(Duration),
    /// The longest time to live.
    TtlMax(u64),
}

impl std::fmt::Display for LeasePolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) = (ORPHAN_GRACE_MIN.as_millis(), ORPHAN_GRACE_MAX.as_secs());
        match self {
            Self::OrphanGrace(grace) if *grace < ORPHAN_GRACE_MIN => write!(
                f,
                "lease.orphan_grace: {} ms is too short; give off, or at least {min} ms: etcd's Go client waits 500 ms before it \
                 opens its keepalive again",
                grace.as_millis()
            ),
            Self::OrphanGrace(grace) => write!(
                f,
                "lease.orphan_grace: {} s is too long; give off, or at most {max} s",
                grace.as_secs()
            ),
            Self::SilentAfter(after) => write!(
                f,
                "lease.silent_after: {} ms is out of range; give {} s to {max} s",
                after.as_millis(),
                SILENT_AFTER_MIN.as_secs()
            ),
            Self::TtlMax(ttl_s) => write!(
                f,
                "lease.ttl_max_s: {ttl_s} is out of range; give {LEASE_TTL_S_MIN} to {KV_LEASE_TTL_S_MAX}, or leave it out"
            ),
        }
    }
}

impl std::error::Error for LeasePolicyError {}

impl LeasePolicy {
    /// Checks the policy.
    ///
    /// # Errors
    /// [`LeasePolicyError`] says what to change.
    pub fn checked(self) -> Result<Self, LeasePolicyError> {
        if let Some(grace) = self.orphan_grace
            && !(ORPHAN_GRACE_MIN..=ORPHAN_GRACE_MAX).contains(&grace)
        {
            return Err(LeasePolicyError::OrphanGrace(grace));
        }
        if !(SILENT_AFTER_MIN..=ORPHAN_GRACE_MAX).contains(&self.silent_after) {
            return Err(LeasePolicyError::SilentAfter(self.silent_after));
        }
        match self.ttl_max_s {
            Some(ttl_s) if !(LEASE_TTL_S_MIN..=KV_LEASE_TTL_S_MAX).contains(&ttl_s) => {
                Err(LeasePolicyError::TtlMax(ttl_s))
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_would_do_harm_are_refused() {
        let ms = Duration::from_millis;
        let off = LeasePolicy::default();
        let grace = |grace| LeasePolicy {
            orphan_grace: Some(ms(grace)),
            ..off
        };
        let silent = |after| LeasePolicy {
            silent_after: ms(after),
            ..off
        };
        let capped = |ttl_s| LeasePolicy {
            ttl_max_s: Some(ttl_s),
            ..off
        };
        let cases = [
            ("off", off, None),
            ("the shortest grace", grace(800), None),
            (
                "too short",
                grace(799),
                Some(
                    "lease.orphan_grace: 799 ms is too short; give off, or at least 800 ms: etcd's Go client waits 500 ms",
                ),
            ),
            (
                "none at all",
                grace(0),
                Some("lease.orphan_grace: 0 ms is too short"),
            ),
            (
                "too long",
                grace(600_001),
                Some("lease.orphan_grace: 600 s is too long"),
            ),
            ("a short silence", silent(1_000), None),
            (
                "too short a silence",
                silent(999),
                Some("lease.silent_after: 999 ms is out of range; give 1 s to 600 s"),
            ),
            ("the shortest time to live", capped(2), None),
            (
                "shorter than any",
                capped(1),
                Some("lease.ttl_max_s: 1 is out of range; give 2 to"),
            ),
            ("none", capped(0), Some("lease.ttl_max_s: 0 is out of range")),
        ];
        for (name, policy, want) in cases {
            let said = policy.checked().err().map(|error| error.to_string());
            match want {
                None => assert_eq!(said, None, "{name}"),
                Some(want) => assert!(said.is_some_and(|said| said.starts_with(want)), "{name}"),
            }
        }
    }
}
