//! What became of a call's attempts so far: whether one may have been executed, and what was said.
//!
//! Promises: [`Trail::outcome`] is `NotExecuted` only when every attempt was answered "not executed" by a replica, or
//! none was made. Left out on purpose: deciding on the next attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Outcome};

/// Addresses whose words are kept; a group has fewer.
const ADDRESSES_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Whether the call changes anything at all.
    effect: bool,
    in_flight: bool,
    may_be_executed: bool,
    said: BTreeMap<String, (u32, String)>,
}

impl Trail {
    pub(crate) fn new(effect: bool) -> Self {
        Self {
            effect,
            in_flight: false,
            may_be_executed: false,
            said: BTreeMap::new(),
        }
    }

    /// An attempt leaves.
    pub(crate) fn departed(&mut self) {
        self.in_flight = true;
    }

    /// The attempt ended without an answer.
    pub(crate) fn failed(&mut self, address: &str, words: String, may_be_executed: bool) {
        self.in_flight = false;
        self.may_be_executed |= may_be_executed;
        if self.said.len() < ADDRESSES_MAX || self.said.contains_key(address) {
            let (times, last) = self.said.entry(address.to_owned()).or_default();
            *times += 1;
            *last = words;
        }
    }

    /// Whether an attempt that has ended may have been executed.
    pub(crate) fn may_be_executed(&self) -> bool {
        self.effect && self.may_be_executed
    }

    /// What can be told to a caller who waits no longer.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.effect && (self.in_flight || self.may_be_executed) {
            Outcome::Unknown
        } else {
            Outcome::NotExecuted
        }
    }

    /// The error for a call that waited for `waited`; `replicas` says what is known of them now.
    pub(crate) fn given_up(&self, call: &str, waited: Duration, replicas: &str) -> Error {
        let mut why = format!("{call} got no answer within {waited:?}");
        for (address, (times, words)) in &self.said {
            why.push_str(&format!(
                "; {address} was asked {times} times and said at last: {words}"
            ));
        }
        if self.in_flight {
            why.push_str("; the last attempt is still on its way");
        }
        why.push_str(&format!("; now {replicas}"));
        Error::Unavailable {
            outcome: self.outcome(),
            why,
        }
    }

    /// The error for a call that must not be sent again.
    pub(crate) fn ended(&self, call: &str, why: &str) -> Error {
        Error::Unavailable {
            outcome: self.outcome(),
            why: format!("{call} was not answered and cannot be repeated safely: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_known_only_when_every_attempt_is() {
        use Outcome::{NotExecuted, Unknown};
        // Some(true): an attempt that may have been executed; Some(false): one that was not; None: still on its way.
        let cases: &[(&str, bool, &[Option<bool>], Outcome)] = &[
            ("no attempt", true, &[], NotExecuted),
            (
                "all answered, none executed",
                true,
                &[Some(false), Some(false)],
                NotExecuted,
            ),
            (
                "the first may have been",
                true,
                &[Some(true), Some(false)],
                Unknown,
            ),
            ("one on its way", true, &[Some(false), None], Unknown),
            ("a read has no effect", false, &[Some(true), None], NotExecuted),
        ];
        for (name, effect, attempts, want) in cases {
            let mut trail = Trail::new(*effect);
            for attempt in *attempts {
                trail.departed();
                if let Some(may_be_executed) = attempt {
                    trail.failed("a:1", "no".to_owned(), *may_be_executed);
                }
            }
            assert_eq!(trail.outcome(), *want, "{name}");
        }
    }

    #[test]
    fn the_message_says_who_was_asked_and_what_they_said() {
        let mut trail = Trail::new(true);
        for words in ["first", "connection refused"] {
            trail.departed();
            trail.failed("a:1", words.to_owned(), false);
        }
        let error = trail.given_up(
            "CreateDatabase",
            Duration::from_secs(10),
            "b:2 has not answered yet",
        );
        assert_eq!(
            error.to_string(),
            "CreateDatabase got no answer within 10s; a:1 was asked 2 times and said at last: connection refused; \
             now b:2 has not answered yet; nothing was executed"
        );
        for address in 0..1000 {
            trail.failed(&address.to_string(), String::new(), true);
        }
        assert_eq!(trail.said.len(), ADDRESSES_MAX);
    }
}
