//! Until when a call is worth working on.
//!
//! Promises: a call is never held for longer than [`PATIENCE_MAX`], and its answer leaves a little before the caller stops
//! waiting, so that a caller is told why rather than left to guess. A `grpc-timeout` that cannot be read counts as none.

use std::time::Duration;

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
    let header = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok());
    Instant::now() + patience(header)
}

fn patience(header: Option<&str>) -> Duration {
    let Some(waits) = header.and_then(read) else {
        return PATIENCE_DEFAULT;
    };
    waits
        .saturating_sub((waits / 10).min(WAY_BACK_MAX))
        .min(PATIENCE_MAX)
}

/// At most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn read(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_held_for_as_long_as_the_caller_waits_and_no_longer_than_a_minute() {
        let (ms, us) = (Duration::from_millis, Duration::from_micros);
        let cases = [
            (None, ms(10_000)),
            (Some("2S"), ms(1_900)),
            (Some("500m"), ms(450)),
            (Some("1000u"), us(900)),
            (Some("99999999n"), Duration::from_nanos(90_000_000)),
            (Some("0S"), ms(0)),
            (Some("1M"), ms(59_900)),
            (Some("2M"), ms(60_000)),
            (Some("99999999H"), ms(60_000)),
            (Some(""), ms(10_000)),
            (Some("S"), ms(10_000)),
            (Some("5"), ms(10_000)),
            (Some("-5S"), ms(10_000)),
            (Some("5s"), ms(10_000)),
            (Some("123456789S"), ms(10_000)),
            (Some("1.5S"), ms(10_000)),
            (Some("5é"), ms(10_000)),
        ];
        for (header, want) in cases {
            assert_eq!(patience(header), want.min(PATIENCE_MAX), "{header:?}");
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
