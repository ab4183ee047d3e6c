//! How a command ends when it does not end well: one line for people, one number for scripts.

use std::fmt;
use std::process::ExitCode;

/// Why a command failed. The line says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The operation failed or the cluster refused it.
    Failed(String),
    /// The command line, the environment or a file is wrong; nothing was done.
    Usage(String),
    /// No answer of the cluster within the deadline.
    Unavailable(String),
    /// A fault stopped the replica.
    Fault(String),
}

impl Failure {
    /// The exit code; documented in `quorate --help`.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unavailable(_) => 3,
            Self::Fault(_) => 4,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(line) | Self::Usage(line) | Self::Unavailable(line) | Self::Fault(line)) = self;
        f.write_str(line)
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.code())
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    quorate::chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_code() {
        let line = || "why".to_owned();
        let cases = [
            (Failure::Failed(line()), 1),
            (Failure::Usage(line()), 2),
            (Failure::Unavailable(line()), 3),
            (Failure::Fault(line()), 4),
        ];
        for (failure, code) in cases {
            assert_eq!(failure.code(), code);
            assert_eq!(failure.to_string(), "why");
        }
    }
}
