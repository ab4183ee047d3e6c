//! How a command ends when it does not end well: one line for people, one number for scripts.
//!
//! Promises: a reader that has enough of the output (`quorate ... | head`) is no failure; whatever a server put into a
//! message, its line stays one line and a terminal obeys nothing in it.

use std::fmt;
use std::io;
use std::process::ExitCode;

use quorate_client::{Error, Outcome};

use crate::output::text::plain;

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
    /// Whoever read the output went away: the command ends, and all is well.
    ReaderGone,
}

impl Failure {
    /// The exit code; documented in `quorate --help`.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unavailable(_) => 3,
            Self::Fault(_) => 4,
            Self::ReaderGone => 0,
        }
    }

    /// Says on standard error why the command ends.
    pub(crate) fn tell(&self) {
        if *self != Self::ReaderGone {
            eprintln!("quorate: {}", plain(&self.to_string()));
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(line) | Self::Usage(line) | Self::Unavailable(line) | Self::Fault(line) => {
                f.write_str(line)
            }
            Self::ReaderGone => f.write_str("the reader of the output is gone"),
        }
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.code())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Unavailable { outcome, .. } => Self::Unavailable(match outcome {
                Outcome::NotExecuted => format!(
                    "{message}; name replicas that run with --seeds, or allow more time with --deadline-ms"
                ),
                Outcome::Unknown => format!("{message}; look whether it happened before you repeat it"),
            }),
            Error::Protocol { source, .. } => {
                let cause = source.map(|source| format!(": {source}")).unwrap_or_default();
                Self::Failed(format!(
                    "{message}{cause}; check that --seeds name replicas of Quorate, of this version"
                ))
            }
            _ => Self::Failed(message),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::Failed(format!("the output cannot be written: {error}"))
        }
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    quorate::chain(error)
}

#[cfg(test)]
mod tests {
    use quorate_client::v1;

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

    #[test]
    fn errors_of_the_client_have_their_codes() {
        let unavailable = |outcome| Error::Unavailable {
            outcome,
            why: "nobody answered".to_owned(),
        };
        let cases: [(&str, Error, fn(String) -> Failure, &str); 5] = [
            (
                "refused",
                Error::Refused {
                    reason: v1::Reason::CollectionExists,
                    message: "collection \"a\" exists".to_owned(),
                    milvus_code: 65_535,
                },
                Failure::Failed,
                "collection \"a\" exists (REASON_COLLECTION_EXISTS)",
            ),
            (
                "malformed",
                Error::Invalid {
                    field: "name".to_owned(),
                    message: "is too long".to_owned(),
                },
                Failure::Failed,
                "name: is too long",
            ),
            (
                "not executed",
                unavailable(Outcome::NotExecuted),
                Failure::Unavailable,
                "nobody answered; nothing was executed; name replicas that run with --seeds, or allow more time with \
                 --deadline-ms",
            ),
            (
                "unknown",
                unavailable(Outcome::Unknown),
                Failure::Unavailable,
                "nobody answered; whether it was executed is not known; look whether it happened before you repeat it",
            ),
            (
                "another program",
                Error::Protocol {
                    message: "Unimplemented".to_owned(),
                    source: Some("what?".into()),
                },
                Failure::Failed,
                "Unimplemented: what?; check that --seeds name replicas of Quorate, of this version",
            ),
        ];
        for (name, error, code, message) in cases {
            let message = message.to_owned();
            assert_eq!(Failure::from(error), code(message), "{name}");
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::from(gone), Failure::ReaderGone);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Failure::from(full), Failure::Failed(_)));
    }
}
