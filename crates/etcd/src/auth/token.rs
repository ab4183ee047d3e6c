//! Tokens: what a user shows instead of its password.
//!
//! Promises: only who knows the group's secret can make one, every replica can check one by itself, and none can be changed
//! unnoticed. In etcd a simple token is a number that every member has to remember; this one says itself whose it is, which
//! auth revision the user had proved itself at and when that was, so that neither a new leader nor a replica that was away
//! costs anybody a login. Left out on purpose: until when a token is good ([`super::seen`]), and whether its user is still there,
//! which is asked of the state it is used on.
//!
//! A token is hexadecimal, because it travels in the head of calls: one byte of format (1), when it was given (8 bytes,
//! big-endian, Unix milliseconds), the auth revision (8 bytes, big-endian), the user's name, and HMAC-SHA-256 of all that.

use quorate_replica::machine::{KvCaller, KvSecret};
use ring::hmac;

const FORMAT: u8 = 1;
/// In front of the name.
const HEAD_BYTES: usize = 17;
const MAC_BYTES: usize = 32;

/// A token that is the group's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) by: KvCaller,
    pub(super) given_ms: u64,
    /// Tells tokens apart.
    pub(super) id: u128,
}

fn key(secret: &KvSecret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &secret.0)
}

/// A new one.
pub(super) fn give(secret: &KvSecret, by: &KvCaller, now_ms: u64) -> String {
    let mut token = Vec::with_capacity(HEAD_BYTES + by.user.len() + MAC_BYTES);
    token.push(FORMAT);
    token.extend_from_slice(&now_ms.to_be_bytes());
    token.extend_from_slice(&by.revision.to_be_bytes());
    token.extend_from_slice(by.user.as_bytes());
    let mac = hmac::sign(&key(secret), &token);
    token.extend_from_slice(mac.as_ref());
    hex(&token)
}

/// What a token says; `None` when it is none of this secret.
pub(super) fn read(secret: &KvSecret, token: &str) -> Option<Token> {
    let token = unhex(token)?;
    let (said, mac) = token.split_at_checked(token.len().checked_sub(MAC_BYTES)?)?;
    hmac::verify(&key(secret), said, mac).ok()?;
    let (head, user) = said.split_at_checked(HEAD_BYTES)?;
    let (format, numbers) = head.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let (given_ms, revision) = numbers.split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some(Token {
        by: KvCaller {
            user: String::from_utf8(user.to_vec()).ok()?,
            revision: number(revision)?,
        },
        given_ms: number(given_ms)?,
        id: u128::from_be_bytes(mac.get(..16)?.try_into().ok()?),
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some((half(*high)? << 4) | half(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn secret(byte: u8) -> KvSecret {
        KvSecret(Bytes::from(vec![byte; 32]))
    }

    fn by(user: &str) -> KvCaller {
        let user = user.to_owned();
        KvCaller { user, revision: 9 }
    }

    #[test]
    fn what_is_given_is_read_back() {
        for user in ["root", "", "é"] {
            let token = give(&secret(1), &by(user), 1_234);
            assert!(token.is_ascii(), "{token}");
            let read = read(&secret(1), &token).expect("its own");
            assert_eq!((read.by, read.given_ms), (by(user), 1_234));
        }
        let id = |now_ms| read(&secret(1), &give(&secret(1), &by("a"), now_ms)).map(|token| token.id);
        assert_ne!(id(1), id(2));
    }

    #[test]
    fn what_was_changed_or_is_of_another_secret_is_none() {
        let token = give(&secret(1), &by("root"), 1_234);
        assert_eq!(read(&secret(2), &token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("digits");
            assert_eq!(read(&secret(1), &changed), None, "{at}");
            assert_eq!(read(&secret(1), &token[..at]), None, "{at}");
        }
        for other in ["", "0", "zz", "AbCdEfGhIjKlMnOp.7", &token.to_uppercase()] {
            assert_eq!(read(&secret(1), other), None, "{other}");
        }
    }
}
