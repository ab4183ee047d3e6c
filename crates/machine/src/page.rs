//! Listings in pages.
//!
//! Promises: a page resumes after the last row of the one before, whatever was created or dropped in between, at whatever
//! replica: the token holds the key to resume after and nothing else. A token is opaque to clients; one that is damaged,
//! of another listing, or made up is refused. It carries no secret: it can only point into the listing that it is given to.

use quorate_types::limits::{NAME_BYTES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use xxhash_rust::xxh3::xxh3_64;

use crate::refusal::{ParameterRule, Refusal, ShapeRule};
use crate::table::{Key, Rows, Table, Value};

/// First byte of a token; another layout gets another one.
const TOKEN_VERSION: u8 = 1;
/// Bytes of the checksum in a token.
const CHECK_BYTES: usize = 4;
/// Longest token, characters: version, checksum and the longest key, as hexadecimal digits.
const TOKEN_CHARS_MAX: usize = 2 * (1 + CHECK_BYTES + 1 + 8 + NAME_BYTES_MAX);

/// Which page is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows wanted; 0 means [`PAGE_ROWS_DEFAULT`], more than [`PAGE_ROWS_MAX`] is refused.
    pub rows: u32,
    /// Empty for the first page, otherwise as the page before gave it.
    pub token: String,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of the listing.
    pub items: Vec<T>,
    /// Empty when there is no more.
    pub next_token: String,
}

impl PageRequest {
    /// Reads a page of the rows of `table` whose keys start with `prefix`.
    pub(crate) fn read<K: Key, V: Value<K>, T>(
        &self,
        table: Table<K, V>,
        rows: &impl Rows,
        prefix: Vec<u8>,
        show: impl Fn(V) -> T,
    ) -> Result<Page<T>, Refusal> {
        let after = self.after(&prefix)?;
        let found = table.scan(rows, prefix, after.as_deref());
        self.collect(found.map(|(key, value)| (key.to_vec(), show(value))))
    }

    /// The key to resume after.
    pub(crate) fn after(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        if self.token.is_empty() {
            return Ok(None);
        }
        let key = decode(&self.token).filter(|key| key.starts_with(prefix));
        key.map(Some)
            .ok_or_else(|| Refusal::shape("page.token", ShapeRule::Token))
    }

    /// A page out of what follows the key to resume after.
    pub(crate) fn collect<T>(
        &self,
        mut found: impl Iterator<Item = (Vec<u8>, T)>,
    ) -> Result<Page<T>, Refusal> {
        let wanted = self.wanted()?;
        let mut items = Vec::new();
        let mut last = None;
        for (key, item) in found.by_ref().take(wanted) {
            items.push(item);
            last = Some(key);
        }
        let next_token = match (last, found.next()) {
            (Some(last), Some(_)) => encode(&last),
            _ => String::new(),
        };
        Ok(Page { items, next_token })
    }

    fn wanted(&self) -> Result<usize, Refusal> {
        let rows = match self.rows {
            0 => PAGE_ROWS_DEFAULT,
            rows => rows,
        };
        if rows > PAGE_ROWS_MAX {
            let rule = ParameterRule::Range {
                min: 0,
                max: PAGE_ROWS_MAX.into(),
            };
            return Err(Refusal::parameter("page.rows", rule));
        }
        Ok(rows as usize)
    }
}

fn checksum(key: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = xxh3_64(key).to_be_bytes();
    [a, b, c, d]
}

fn encode(key: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = [TOKEN_VERSION]
        .into_iter()
        .chain(checksum(key))
        .chain(key.iter().copied());
    bytes
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn decode(token: &str) -> Option<Vec<u8>> {
    if token.len() > TOKEN_CHARS_MAX || !token.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes: Option<Vec<u8>> = token
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect();
    let bytes = bytes?;
    let (&version, rest) = bytes.split_first()?;
    let (check, key) = rest.split_first_chunk::<CHECK_BYTES>()?;
    (version == TOKEN_VERSION && *check == checksum(key)).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: u32, token: &str, names: &[&str]) -> Result<Page<String>, Refusal> {
        let request = PageRequest {
            rows,
            token: token.to_owned(),
        };
        let after = request.after(b"t")?;
        let found = names
            .iter()
            .map(|name| (format!("t{name}").into_bytes(), (*name).to_owned()));
        request.collect(found.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)))
    }

    #[test]
    fn pages_resume_after_their_last_row_even_when_it_is_gone() {
        let first = page(2, "", &["a", "b", "c", "d"]).expect("a page");
        assert_eq!(first.items, ["a", "b"]);
        let second = page(2, &first.next_token, &["a", "bb", "c"]).expect("a page");
        assert_eq!(second.items, ["bb", "c"]);
        assert_eq!(second.next_token, "");
        assert_eq!(page(2, "", &[]).expect("a page").next_token, "");
    }

    #[test]
    fn the_number_of_rows_is_bounded() {
        let names: Vec<_> = (0..2000).map(|n| format!("{n:04}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(page(0, "", &names).expect("a page").items.len(), 100);
        assert_eq!(page(1000, "", &names).expect("a page").items.len(), 1000);
        for rows in [1001, u32::MAX] {
            let refusal = page(rows, "", &names).expect_err("too many");
            assert_eq!(
                refusal.to_string(),
                "the parameter page.rows must be from 0 to 1000"
            );
        }
    }

    #[test]
    fn hostile_tokens_are_refused() {
        let good = page(1, "", &["a", "b"]).expect("a page").next_token;
        assert!(page(1, &good, &["a", "b"]).is_ok());
        let mut flipped = good.clone().into_bytes();
        let last = flipped.len() - 1;
        flipped[last] = if flipped[last] == b'0' { b'1' } else { b'0' };
        let flipped = String::from_utf8(flipped).expect("digits");
        let tokens = [
            "0",
            "00",
            "zz",
            "é",
            "0102030405",
            &good[2..],
            &good[..good.len() - 2],
            &flipped,
            &encode(b"other listing"),
            &encode(b""),
            &"0".repeat(1 << 20),
        ];
        for token in tokens {
            let refusal = page(1, token, &["a"]).expect_err(token);
            let want = Refusal::shape("page.token", ShapeRule::Token);
            assert_eq!(refusal, want, "{token}");
        }
    }
}
