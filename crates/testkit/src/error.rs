//! Why a test could not be set up or carried on: one line each.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// See the module. A failure of the kit, not a verdict on the cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// A command of the system failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// With its arguments.
        command: String,
        /// What it said, or why it did not run.
        said: String,
    },
    /// A file or directory of the test cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A process cannot be started or signalled.
    #[error("replica {name}: {why}")]
    Process {
        /// Whose.
        name: String,
        /// Why.
        why: String,
    },
    /// The namespace cannot be entered.
    #[error("the network namespace {name} cannot be entered: {cause}")]
    Namespace {
        /// Which.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A call that the kit itself needs was not answered.
    #[error("a call of the test itself failed")]
    Client(#[from] quorate_client::Error),
    /// A condition did not come true.
    #[error("waited {patience:?} in vain until {what}: {last}")]
    Waited {
        /// The condition.
        what: String,
        /// How long.
        patience: Duration,
        /// How things stood at last.
        last: String,
    },
    /// The watch that collects the history broke its promise.
    #[error("the watch that collects the history: {0}")]
    Watch(String),
}

impl KitError {
    pub(crate) fn file(path: impl Into<PathBuf>, cause: io::Error) -> Self {
        Self::File {
            path: path.into(),
            cause,
        }
    }

    pub(crate) fn waited(what: impl Into<String>, patience: Duration, last: impl Into<String>) -> Self {
        Self::Waited {
            what: what.into(),
            patience,
            last: last.into(),
        }
    }
}
