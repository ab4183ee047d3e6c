//! How long a caller waits for its answer.
//!
//! Promises: a `grpc-timeout` that cannot be read counts as none. Left out on purpose: what a server makes of it.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The call's `grpc-timeout`, if it has one.
#[must_use]
pub fn timeout_of(metadata: &MetadataMap) -> Option<Duration> {
    metadata.get("grpc-timeout")?.to_str().ok().and_then(read)
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
    fn timeouts_are_read_as_grpc_writes_them() {
        let (ms, us) = (Duration::from_millis, Duration::from_micros);
        let cases = [
            ("2S", Some(ms(2_000))),
            ("500m", Some(ms(500))),
            ("1000u", Some(us(1_000))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(ms(0))),
            ("1M", Some(ms(60_000))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
            ("123456789S", None),
            ("1.5S", None),
        ];
        for (header, want) in cases {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", header.parse().expect("a value"));
            assert_eq!(timeout_of(&metadata), want, "{header:?}");
        }
        assert_eq!(timeout_of(&MetadataMap::new()), None);
        assert_eq!(read("5é"), None);
    }
}
