//! How long to wait before an address is dialled again.
//!
//! Promises: short while nobody leads, because whoever comes back may be the next leader; never longer than
//! [`DELAY_MAX`]; jittered, so that the clients of a dead replica do not come back together. An address that answers
//! and breaks at once is not dialled faster than one that refuses. Left out on purpose: the clock.

use std::time::Duration;

/// First delay while nobody leads.
const LEADERLESS: Duration = Duration::from_millis(2);
/// First delay otherwise: nothing waits for this replica.
const LED: Duration = Duration::from_millis(50);
/// Longest delay: a dead replica is asked this often.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(1);
/// A connection that lived this long was a good one: the next delay is a first one.
const GOOD_LIFE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after a connection that lived for `life`; `fraction` in `[0, 1)` is the jitter.
    pub(super) fn after(&mut self, life: Duration, leaderless: bool, fraction: f64) -> Duration {
        if life >= GOOD_LIFE {
            self.failures = 0;
        }
        let first = if leaderless { LEADERLESS } else { LED };
        let doubled = first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(DELAY_MAX).mul_f64(0.5 + fraction / 2.0)
    }

    /// The delay for who was told to hurry.
    pub(super) fn hurried(fraction: f64) -> Duration {
        LEADERLESS.mul_f64(fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn delays_in_milliseconds() {
        type Case<'a> = (&'a str, &'a [(Duration, bool, f64)], &'a [u128]);
        let cases: &[Case] = &[
            (
                "doubles while nobody leads, up to a second",
                &[(SHORT, true, 1.0); 12],
                &[2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000],
            ),
            (
                "starts later while somebody leads",
                &[(SHORT, false, 1.0); 6],
                &[50, 100, 200, 400, 800, 1000],
            ),
            ("jitter halves at most", &[(SHORT, false, 0.0)], &[25]),
            (
                "a good connection starts over, a short one does not",
                &[(LONG, false, 1.0), (SHORT, false, 1.0), (LONG, false, 1.0)],
                &[50, 100, 50],
            ),
        ];
        for (name, inputs, want) in cases {
            let mut backoff = Backoff::default();
            let got: Vec<u128> = inputs
                .iter()
                .map(|(life, leaderless, fraction)| backoff.after(*life, *leaderless, *fraction).as_millis())
                .collect();
            assert_eq!(&got, want, "{name}");
        }
    }
}
