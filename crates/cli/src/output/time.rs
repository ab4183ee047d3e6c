//! Moments and durations for people.
//!
//! Promises: any number gives a short text. Left out on purpose: time zones; every moment is shown in UTC.

/// Last millisecond of the year 9999; later ones are no dates that a server means.
const LAST_MS: u64 = 253_402_300_799_999;

/// A Unix time, as `2026-11-21 07:03:42Z`.
pub(crate) fn utc(unix_ms: u64) -> String {
    if unix_ms > LAST_MS {
        return format!("{unix_ms} ms");
    }
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// The date that many days after 1970-01-01. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms":
/// years are counted from March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// A duration in microseconds, in the unit that suits it.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => millis(us / 1_000),
    }
}

/// A duration in milliseconds, in the unit that suits it.
pub(crate) fn millis(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{seconds}.{} s", ms % 1_000 / 100),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let cases = [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399_999, "2000-02-28 23:59:59Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (951_868_800_000, "2000-03-01 00:00:00Z"),
            (1_795_244_622_123, "2026-11-21 07:03:42Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00Z"),
            (LAST_MS, "9999-12-31 23:59:59Z"),
            (LAST_MS + 1, "253402300800000 ms"),
            (u64::MAX, "18446744073709551615 ms"),
        ];
        for (unix_ms, want) in cases {
            assert_eq!(utc(unix_ms), want);
        }
    }

    #[test]
    fn durations() {
        let cases = [
            (0, "0 us"),
            (999, "999 us"),
            (9_149, "9.1 ms"),
            (10_000, "10 ms"),
            (999_999, "999 ms"),
            (1_250_000, "1.2 s"),
            (59_000_000, "59 s"),
            (121_000_000, "2 min"),
            (7_200_000_000, "2 h"),
            (172_800_000_000, "2 d"),
            (u64::MAX, "213503982 d"),
        ];
        for (us, want) in cases {
            assert_eq!(micros(us), want);
        }
        assert_eq!(millis(20), "20 ms");
    }
}
