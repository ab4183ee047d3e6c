//! What is done to the leader, and what counts as the gap that a client sees.

use std::fmt;
use std::str::FromStr;

/// What happens to the leader in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL: the process is gone without a word.
    Kill,
    /// SIGTERM: an orderly shutdown, as in a rolling restart.
    Term,
    /// SIGSTOP: the process is there, its sockets too, and nothing answers.
    Stop,
    /// Leadership is handed over on request; nobody stops.
    Transfer,
}

/// How the gap of a round is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapRule {
    /// From the fault to the first acknowledgement of a write that was sent after it. The old leader cannot answer
    /// such a write.
    FaultToAnswer,
    /// The longest time between two consecutive acknowledgements: the old leader may still answer after the fault.
    LongestSilence,
}

impl Fault {
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 4] = [Self::Kill, Self::Term, Self::Stop, Self::Transfer];

    /// The word on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Stop => "stop",
            Self::Transfer => "transfer",
        }
    }

    pub(crate) fn gap_rule(self) -> GapRule {
        match self {
            Self::Kill | Self::Stop => GapRule::FaultToAnswer,
            Self::Term | Self::Transfer => GapRule::LongestSilence,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault; take kill, term, stop or transfer")]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(word: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == word);
        found.ok_or_else(|| UnknownFault(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let error = "crash".parse::<Fault>().expect_err("no such fault");
        assert_eq!(
            error.to_string(),
            "\"crash\" is no fault; take kill, term, stop or transfer"
        );
    }
}
