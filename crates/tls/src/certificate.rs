//! What people want to know of a certificate: whose it is, which one, and until when.
//!
//! Promises: any bytes are read without harm; what cannot be read is `None`. Left out on purpose: any judgement of trust.
//! That is rustls's, which reads the certificate by itself.

use std::fmt;

/// Longest name that is shown.
const NAME_CHARS_MAX: usize = 64;
/// Common name and organization, as DER writes the object identifiers 2.5.4.3 and 2.5.4.10.
const NAMES: [&[u8]; 2] = [&[0x55, 4, 3], &[0x55, 4, 10]];

const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Common name or organization of the subject.
    pub(crate) subject: String,
    /// In hexadecimal.
    pub(crate) serial: String,
    pub(crate) not_before: Moment,
    pub(crate) not_after: Moment,
}

/// A second, as a certificate writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) unix_s: i64,
    /// Year, month, day, hour, minute, second.
    civil: [u16; 6],
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.civil;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl Facts {
    /// Reads a certificate (RFC 5280, section 4.1).
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut outer = Reader(Reader(der).take(SEQUENCE)?);
        let mut fields = Reader(outer.take(SEQUENCE)?);
        if fields.next_is(VERSION) {
            fields.take(VERSION)?;
        }
        let serial = fields.take(INTEGER)?;
        fields.take(SEQUENCE)?; // algorithm of the signature
        fields.take(SEQUENCE)?; // issuer
        let mut validity = Reader(fields.take(SEQUENCE)?);
        let (not_before, not_after) = (validity.moment()?, validity.moment()?);
        let subject = fields.take(SEQUENCE)?;
        Some(Self {
            subject: name(subject).unwrap_or_else(|| "without a name".to_owned()),
            serial: serial.iter().take(20).map(|byte| format!("{byte:02x}")).collect(),
            not_before,
            not_after,
        })
    }
}

/// The first common name of a subject, or else its organization.
fn name(subject: &[u8]) -> Option<String> {
    NAMES.iter().find_map(|wanted| {
        let mut parts = Reader(subject);
        while let Some(part) = parts.take(SET) {
            let mut attribute = Reader(Reader(part).take(SEQUENCE)?);
            if attribute.take(OBJECT_IDENTIFIER)? == *wanted {
                let (_, text) = attribute.any()?;
                let text = String::from_utf8_lossy(text);
                let shown = text.chars().take(NAME_CHARS_MAX);
                return Some(shown.map(|c| if c.is_control() { '?' } else { c }).collect());
            }
        }
        None
    })
}

/// Reads DER: a tag, a length, a content.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if !self.next_is(tag) {
            return None;
        }
        self.any().map(|(_, content)| content)
    }

    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| (length << 8) | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn moment(&mut self) -> Option<Moment> {
        let (tag, text) = self.any()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: u16 = number(year)?;
                (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        if rest.len() != 10 {
            return None;
        }
        let part = |at: usize| number(rest.get(at..at + 2)?);
        let civil = [year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?];
        let [_, month, day, hour, minute, second] = civil;
        let is_real = (1..=12).contains(&month) && (1..=31).contains(&day);
        (is_real && hour < 24 && minute < 60 && second < 61).then(|| Moment {
            unix_s: unix_s(civil),
            civil,
        })
    }
}

fn number(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Seconds since the Unix epoch, in the proleptic Gregorian calendar.
fn unix_s([year, month, day, hour, minute, second]: [u16; 6]) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let (year, month) = (
        i64::from(year) - i64::from(month < 3),
        (i64::from(month) + 9) % 12,
    );
    let day_of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap_days + day_of_year - 719_468;
    days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second)
}

#[cfg(test)]
mod tests {
    use quorate_testkit::certificates::{Authority, Wanted};

    use super::*;

    fn issued(name: &str) -> Vec<u8> {
        let wanted = Wanted {
            name,
            ..Wanted::LOOPBACK
        };
        Authority::new("house").issue(&wanted).der
    }

    fn moment(tag: u8, text: &str) -> Option<Moment> {
        let length = u8::try_from(text.len()).expect("short");
        Reader(&[&[tag, length], text.as_bytes()].concat()).moment()
    }

    #[test]
    fn moments() {
        let cases = [
            (UTC_TIME, "700101000000Z", Some((0, "1970-01-01T00:00:00Z"))),
            (
                UTC_TIME,
                "000229120000Z",
                Some((951_825_600, "2000-02-29T12:00:00Z")),
            ),
            (
                UTC_TIME,
                "491231235959Z",
                Some((2_524_607_999, "2049-12-31T23:59:59Z")),
            ),
            (
                UTC_TIME,
                "500101000000Z",
                Some((-631_152_000, "1950-01-01T00:00:00Z")),
            ),
            (
                GENERALIZED_TIME,
                "20500301000000Z",
                Some((2_529_705_600, "2050-03-01T00:00:00Z")),
            ),
            (
                GENERALIZED_TIME,
                "99991231235959Z",
                Some((253_402_300_799, "9999-12-31T23:59:59Z")),
            ),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "700101000000", None),
            (UTC_TIME, "+00101000000Z", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "äöü01000000Z", None),
            (UTC_TIME, "", None),
            (INTEGER, "700101000000Z", None),
        ];
        for (tag, text, want) in cases {
            let got = moment(tag, text).map(|moment| (moment.unix_s, moment.to_string()));
            let want = want.map(|(unix_s, shown): (i64, &str)| (unix_s, shown.to_owned()));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn a_certificate_is_read_and_any_part_of_it_does_no_harm() {
        let der = issued("replica a");
        let facts = Facts::read(&der).expect("a certificate");
        assert_eq!(facts.subject, "replica a");
        assert!(facts.not_before.unix_s < facts.not_after.unix_s);
        assert!(!facts.serial.is_empty());
        for end in 0..der.len() {
            assert_eq!(Facts::read(&der[..end]), None, "cut off at {end}");
        }
        for at in 0..der.len() {
            for flip in [0xff, 0x80, 0x01] {
                let mut bad = der.clone();
                bad[at] ^= flip;
                let _ = Facts::read(&bad);
            }
        }
    }

    #[test]
    fn a_hostile_name_is_short_and_obeys_nothing() {
        let long = format!("\u{1b}[2J{}", "x".repeat(1_000));
        let facts = Facts::read(&issued(&long)).expect("a certificate");
        assert!(facts.subject.starts_with("?[2Jxxx"), "{}", facts.subject);
        assert_eq!(facts.subject.chars().count(), NAME_CHARS_MAX);
    }
}
