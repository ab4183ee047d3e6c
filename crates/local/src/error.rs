//! Why a local cluster could not do what was asked.

use std::io;
use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The program could not be started.
    #[error("{} cannot be started", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A directory or a file of the cluster cannot be made.
    #[error("{} cannot be made", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// No free ports were found.
    #[error(
        "no {wanted} free ports were found on 127.0.0.1 between 15000 and 31999; stop some programs that listen there"
    )]
    Ports {
        /// How many were looked for.
        wanted: usize,
    },
    /// The replica runs already.
    #[error("replica {0} runs already")]
    Running(String),
    /// The replica does not run.
    #[error("replica {0} does not run")]
    NotRunning(String),
    /// A signal could not be sent.
    #[error("replica {name} cannot be signalled")]
    Signal {
        /// Whose process.
        name: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A replica ended while the cluster was to become ready.
    #[error("replica {name} ended ({how}); the end of its log {}:\n{tail}", .log.display())]
    Ended {
        /// Which.
        name: String,
        /// Its exit status.
        how: String,
        /// Where its log is.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// The cluster was not ready in time.
    #[error("the cluster was not ready after {after_ms} ms: {why}")]
    NotReady {
        /// How long was waited.
        after_ms: u128,
        /// What was missing.
        why: String,
    },
    /// The client refused its seeds.
    #[error(transparent)]
    Client(#[from] quorate_client::Error),
}
