//! Why a call gave no answer of the kind that was asked for.
//!
//! Promises: a [`Error::Refused`] is the cluster's decision, an [`Error::Unavailable`] says whether the request may
//! have been executed, and every message says what to do or what was tried. Left out on purpose: anything that a
//! retry before the deadline would have cured; that never reaches a caller.

use std::fmt;

use quorate_api::v1;

/// What a call can end with instead of an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cluster's answer is no. Every replica agrees, and the same request will be refused again until the state
    /// changes.
    #[error("{message} ({})", reason.as_str_name())]
    Refused {
        /// Why, for programs.
        reason: v1::Reason,
        /// Why, for people.
        message: String,
        /// The code that Milvus uses for this meaning (merr), 0 when it has none.
        milvus_code: u32,
    },
    /// No answer before the deadline.
    #[error("{why}; {outcome}")]
    Unavailable {
        /// Whether the request may have been executed.
        outcome: Outcome,
        /// What was waited for, which addresses were asked and what each said at last.
        why: String,
    },
    /// The request is malformed. Nothing was executed; correct the field.
    #[error("{field}: {message}")]
    Invalid {
        /// The field, as a path in the request.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The other side does not speak this protocol as this client knows it: another program, or another version.
    #[error("{message}")]
    Protocol {
        /// Who answered what.
        message: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Whether a request that was not answered may have been executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not and will not be: whoever needs it can ask again. Reads always have this outcome.
    NotExecuted,
    /// It may have been executed, or may yet be. Look before asking again.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotExecuted => "nothing was executed",
            Self::Unknown => "whether it was executed is not known",
        })
    }
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::Protocol {
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn closed(outcome: Outcome) -> Self {
        Self::Unavailable {
            outcome,
            why: "the client was closed".to_owned(),
        }
    }

    /// The cluster's reason, when it refused.
    #[must_use]
    pub fn reason(&self) -> Option<v1::Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            Self::Unavailable { .. } | Self::Invalid { .. } | Self::Protocol { .. } => None,
        }
    }
}
