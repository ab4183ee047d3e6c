//! Until when a token is good.
//!
//! Promises: as in etcd: five minutes from when it was given, and from each use; and, as there, a use counts at the replica that
//! it was seen at. What is remembered is bounded: when it is full, a token that is not remembered is good for five minutes from
//! when it was given. Left out on purpose: whether it is genuine.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::token::Token;
use crate::limits::{TOKEN_TTL, TOKENS_SEEN_MAX};

/// Between two searches for tokens that may be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Seen(Mutex<Uses>);

#[derive(Default)]
struct Uses {
    /// When each was used last.
    last: BTreeMap<u128, Instant>,
    forgotten: Option<Instant>,
}

impl Seen {
    /// Whether a token is still good at this moment, in which it is used.
    pub(super) fn is_good(&self, token: &Token, now_ms: u64, now: Instant) -> bool {
        // Nothing panics while it holds the lock.
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |used: &Instant| now.saturating_duration_since(*used) < TOKEN_TTL;
        // A clock that is ahead gave it just now.
        let age = Duration::from_millis(now_ms.saturating_sub(token.given_ms));
        let was_used = uses.last.get(&token.id).is_some_and(is_recent);
        if !was_used && age >= TOKEN_TTL {
            return false;
        }
        if was_used || uses.has_room(now) {
            uses.last.insert(token.id, now);
        }
        true
    }
}

impl Uses {
    fn has_room(&mut self, now: Instant) -> bool {
        if self.last.len() < TOKENS_SEEN_MAX {
            return true;
        }
        // Not at every call, when all of them are in use.
        let is_due = self
            .forgotten
            .is_none_or(|then| now.saturating_duration_since(then) >= FORGET_EVERY);
        if is_due {
            self.forgotten = Some(now);
            self.last
                .retain(|_, used| now.saturating_duration_since(*used) < TOKEN_TTL);
        }
        self.last.len() < TOKENS_SEEN_MAX
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::machine::KvCaller;

    use super::*;

    fn token(id: u128, given_ms: u64) -> Token {
        let by = KvCaller {
            user: "a".to_owned(),
            revision: 1,
        };
        Token { by, given_ms, id }
    }

    #[test]
    fn a_token_is_good_for_five_minutes_from_its_last_use() {
        let (seen, began) = (Seen::default(), Instant::now());
        let used = |id, at_s: u64| {
            let now = began + Duration::from_secs(at_s);
            seen.is_good(&token(id, 1_000_000), 1_000_000 + at_s * 1_000, now)
        };
        let uses = [
            (1, 299, true),
            (1, 598, true),
            (1, 897, true),
            (2, 300, false),
            (1, 1_197, false),
            (1, 1_198, false),
        ];
        for (id, at_s, want) in uses {
            assert_eq!(used(id, at_s), want, "{id} at {at_s}");
        }
        let ahead = token(3, 9_000_000);
        assert!(seen.is_good(&ahead, 1_000_000, began), "of a clock that is ahead");
    }

    #[test]
    fn when_it_is_full_others_are_good_for_five_minutes_all_the_same() {
        let (seen, began) = (Seen::default(), Instant::now());
        let full = u128::try_from(TOKENS_SEEN_MAX).expect("a small number");
        for id in 0..full {
            assert!(seen.is_good(&token(id, 0), 0, began));
        }
        let later = |s| began + Duration::from_secs(s);
        assert!(seen.is_good(&token(full, 0), 0, began));
        assert!(
            !seen.is_good(&token(full, 0), 300_000, later(299)),
            "it is not remembered"
        );
        assert!(seen.is_good(&token(0, 0), 300_000, later(299)), "this one is");
        // The others are forgotten by now.
        assert!(seen.is_good(&token(full, 301_000), 301_000, later(301)));
        assert!(seen.is_good(&token(full, 301_000), 700_000, later(600)));
    }
}
