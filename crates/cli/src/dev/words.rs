//! Numbers and durations as people read them. Pure.

use std::time::Duration;

/// A duration in the unit that fits it: `1.2 ms`, `340 ms`, `2.5 s`, `3:20`.
pub(super) fn short(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 99.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 99_950.0 {
        format!("{:.1} s", ms / 1e3)
    } else {
        clock(duration)
    }
}

/// Minutes and seconds, with hours when there are any.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A count with a comma between thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_unit_that_fits() {
        let cases = [
            (0, "0.0 ms"),
            (1_249, "1.2 ms"),
            (99_940, "99.9 ms"),
            (99_960, "100 ms"),
            (999_400, "999 ms"),
            (999_600, "1.0 s"),
            (99_900_000, "99.9 s"),
            (99_960_000, "1:39"),
            (3_725_000_000, "1:02:05"),
        ];
        for (us, want) in cases {
            assert_eq!(short(Duration::from_micros(us)), want, "{us} us");
        }
    }

    #[test]
    fn counts_are_grouped() {
        for (number, want) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(count(number), want);
        }
    }
}
