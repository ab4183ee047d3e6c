//! Until when a call is worth working on.
//!
//! Promises: a call is held for no longer than its caller waits, and no longer than etcd would hold it; its answer leaves a
//! little before, so that the caller is told why rather than left to guess.

use std::time::Duration;

use quorate_api::timeout_of;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// However long the caller would wait: what etcd gives a request with its default timeouts.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_secs(7);
/// The answer's way back gets a tenth of the time, at most this.
const WAY_BACK_MAX: Duration = Duration::from_millis(100);

/// The deadline of a call that arrives now.
pub(crate) fn of(metadata: &MetadataMap) -> Instant {
    Instant::now() + patience(timeout_of(metadata))
}

fn patience(waits: Option<Duration>) -> Duration {
    let Some(waits) = waits else {
        return PATIENCE_MAX;
    };
    waits
        .saturating_sub((waits / 10).min(WAY_BACK_MAX))
        .min(PATIENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_held_for_as_long_as_the_caller_waits_and_no_longer_than_etcd_would() {
        let ms = Duration::from_millis;
        let cases = [
            (None, ms(7_000)),
            (Some(ms(2_000)), ms(1_900)),
            (Some(ms(500)), ms(450)),
            (Some(ms(0)), ms(0)),
            (Some(ms(7_050)), ms(6_950)),
            (Some(ms(60_000)), ms(7_000)),
            (Some(Duration::MAX), ms(7_000)),
        ];
        for (waits, want) in cases {
            assert_eq!(patience(waits), want, "{waits:?}");
        }
    }
}
