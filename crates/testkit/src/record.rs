//! What clients asked for and what they were told, with the moments of both.
//!
//! Promises: plain data, so that a history can be written down in a test of the judge as well as recorded from a
//! cluster. Moments are nanoseconds of one monotonic clock, taken just before a call is made and just after it has
//! returned. Left out on purpose: who sent what over which connection.

use std::ops::Range;
use std::time::Duration;

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Every write that was tried.
    pub writes: Vec<Written>,
    /// Every linearizable read that was answered.
    pub reads: Vec<Shown>,
    /// Ids that were given out.
    pub ids: Vec<Range<u64>>,
    /// Reads and allocations that were not answered, in their words. A lost read harms nobody.
    pub unanswered: Vec<String>,
}

/// The span of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Just before it was made.
    pub called_ns: u64,
    /// Just after it returned.
    pub returned_ns: u64,
}

/// A write: `value` under `key`. No value is written twice in one record.
#[derive(Debug, Clone)]
pub struct Written {
    /// Where.
    pub key: String,
    /// What.
    pub value: String,
    /// When.
    pub span: Span,
    /// What the client was told.
    pub fate: Fate,
}

/// What a client was told about its write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was executed.
    Acknowledged,
    /// It was not and will not be executed.
    NotExecuted(String),
    /// Nobody can tell.
    Unknown(String),
    /// The cluster's answer is no.
    Refused(String),
}

/// A read and its answer.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Where.
    pub key: String,
    /// What was there.
    pub value: Option<String>,
    /// The revision that the answer shows.
    pub revision: u64,
    /// When.
    pub span: Span,
}

/// One change in the cluster's own history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its revision.
    pub revision: u64,
    /// Where.
    pub key: String,
    /// What stands there since.
    pub value: String,
}

impl Record {
    /// Writes that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let done = |write: &&Written| write.fate == Fate::Acknowledged;
        self.writes.iter().filter(done).count()
    }

    /// The longest time without an acknowledgement of a write, between the first and the last of them.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        let acknowledged = self
            .writes
            .iter()
            .filter(|write| write.fate == Fate::Acknowledged);
        let mut at: Vec<u64> = acknowledged.map(|write| write.span.returned_ns).collect();
        at.sort_unstable();
        let pauses = at.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_nanos(pauses.max().unwrap_or(0))
    }

    /// Calls of any kind that ended without an answer, in their words.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        let words = self.writes.iter().filter_map(|write| match &write.fate {
            Fate::Acknowledged => None,
            Fate::NotExecuted(why) | Fate::Unknown(why) | Fate::Refused(why) => {
                Some(format!("write of {}: {why}", write.value))
            }
        });
        words.chain(self.unanswered.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_between_acknowledgements() {
        let write = |returned_ns, fate| Written {
            key: String::new(),
            value: String::new(),
            span: Span {
                called_ns: 0,
                returned_ns,
            },
            fate,
        };
        let lost = || Fate::Unknown("lost".to_owned());
        let cases = [
            ("nothing", vec![], 0),
            ("one", vec![write(5, Fate::Acknowledged)], 0),
            (
                "in any order",
                vec![
                    write(9, Fate::Acknowledged),
                    write(2, Fate::Acknowledged),
                    write(4, Fate::Acknowledged),
                ],
                5,
            ),
            (
                "an answer that is none",
                vec![
                    write(1, Fate::Acknowledged),
                    write(5, lost()),
                    write(9, Fate::Acknowledged),
                ],
                8,
            ),
        ];
        for (case, writes, want) in cases {
            let record = Record {
                writes,
                ..Record::default()
            };
            assert_eq!(record.longest_pause(), Duration::from_nanos(want), "{case}");
        }
    }
}
