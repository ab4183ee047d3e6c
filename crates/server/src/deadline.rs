//! Until when a call is worth working on.
//!
//! Promises: a call is never held for longer than [`PATIENCE_MAX`], and its answer leaves a little before the caller stops
//! waiting, so that a caller is told why rather than left to guess. A `grpc-timeout` that cannot be read counts as none.

use std::time::Duration;

use quorate_api::timeout_of;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// Without a `grpc-timeout`.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);
/// However long the caller would wait.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// The answer's way back gets a tenth of the time, at most this.
const WAY_BACK_MAX: Duration = Duration::from_millis(100);

/// The deadline of a call that arrives now.
pub(crate) fn of(metadata: &MetadataMap) -> Instant {
    Instant::now() + patience(timeout_of(metadata))
}

fn patience(waits: Option<Duration>) -> Duration {
    let Some(waits) = waits else {
        return PATIENCE_DEFAULT;
    };
    waits
        .saturating_sub((waits / 10).min(WAY_BACK_MAX))
        .min(PATIENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_held_for_as_long_as_the_caller_waits_and_no_longer_than_a_minute() {
        let ms = Duration::from_millis;
        let cases = [
            (None, ms(10_000)),
            (Some(ms(2_000)), ms(1_900)),
            (Some(ms(500)), ms(450)),
            (Some(ms(1)), Duration::from_micros(900)),
            (Some(ms(0)), ms(0)),
            (Some(ms(60_000)), ms(59_900)),
            (Some(ms(120_000)), ms(60_000)),
            (Some(Duration::MAX), ms(60_000)),
        ];
        for (waits, want) in cases {
            assert_eq!(patience(waits), want, "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_header_is_found() {
        let mut metadata = MetadataMap::new();
        assert_eq!(of(&metadata), Instant::now() + PATIENCE_DEFAULT);
        metadata.insert("grpc-timeout", "1S".parse().expect("a value"));
        assert_eq!(of(&metadata), Instant::now() + Duration::from_millis(900));
    }
}
