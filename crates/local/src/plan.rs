//! What a local cluster should be.

use std::path::{Path, PathBuf};

/// Settings of a [`Cluster`](crate::Cluster).
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `Cluster::start`"]
pub struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) replicas: usize,
    pub(crate) arguments: Vec<String>,
}

impl Plan {
    /// Three replicas of `program` (a `quorate` binary), with their data and logs under `directory`.
    pub fn new(program: impl AsRef<Path>, directory: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            directory: directory.as_ref().to_owned(),
            replicas: 3,
            arguments: Vec::new(),
        }
    }

    /// How many replicas: one, three or five.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// The timeouts: `lan`, `zone` or `region`.
    pub fn profile(self, profile: &str) -> Self {
        self.argument("--profile").argument(profile)
    }

    /// The filter of the replicas' logs.
    pub fn log(self, filter: &str) -> Self {
        self.argument("--log").argument(filter)
    }

    /// One more argument of `serve`, at every replica.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }
}
