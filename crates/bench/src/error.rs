//! Why a bench ended before its time.

use std::io;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// What was asked for cannot be done; nothing was started.
    #[error("{0}")]
    Usage(String),
    /// The replicas could not be started, signalled, or did not get ready.
    #[error(transparent)]
    Local(#[from] quorate_local::LocalError),
    /// A call that prepares or checks a round failed.
    #[error("{what}")]
    Call {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        #[source]
        cause: quorate_client::Error,
    },
    /// A system did not come to rest after a fault.
    #[error("{system} did not settle within {after_s} s: {why}")]
    Unsettled {
        /// Which.
        system: String,
        /// How long was waited.
        after_s: u64,
        /// What was missing.
        why: String,
    },
    /// The etcd to compare with failed.
    #[error("etcd: {0}")]
    Etcd(String),
    /// A file, a directory or a thread.
    #[error("cannot {what}")]
    Io {
        /// What was to be done.
        what: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The bench itself is broken.
    #[error("the bench is broken: {0}; please report it")]
    Broken(String),
}

impl BenchError {
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            cause,
        }
    }

    pub(crate) fn call(what: &'static str) -> impl FnOnce(quorate_client::Error) -> Self {
        move |cause| Self::Call { what, cause }
    }
}

/// An error and its causes, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
