//! Values as people write them.
//!
//! Left out on purpose: numbers and paths, which flags and the file read by themselves; what a value is for.

use std::time::Duration;

/// Characters of a wrong value that an error repeats at most.
const SHOWN: usize = 40;

/// The beginning of a value that may be of any length.
pub(super) fn short(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// A time as `1h30m`: whole numbers with h, m, s or ms behind each.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut all = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|letter: char| letter.is_ascii_digit());
        let (unit, next) = behind.split_at(letters.unwrap_or(behind.len()));
        let ms = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        let ms = number.parse::<u64>().ok()?.checked_mul(ms)?;
        all = all.checked_add(Duration::from_millis(ms))?;
        rest = next;
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("800ms", Some(800)),
            ("1s", Some(1_000)),
            ("1h30m5s", Some(5_405_000)),
            ("0s", Some(0)),
            ("", None),
            ("1000", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1 s", None),
            ("5x", None),
            ("1h5", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ];
        for (text, want) in cases {
            assert_eq!(duration(text), want.map(Duration::from_millis), "{text:?}");
        }
    }
}
