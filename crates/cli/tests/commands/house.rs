//! A cluster of real replicas, and commands run against it.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use quorate_local::{Cluster, Plan};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up; far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const DEADLINE_MS: &str = "60000";

/// A cluster, and where it lives.
pub(crate) struct House {
    pub(crate) cluster: Cluster,
    _directory: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl House {
    /// A cluster of so many replicas, with a leader.
    pub(crate) async fn of(replicas: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan::new(env!("CARGO_BIN_EXE_quorate"), directory.path()).replicas(replicas);
        let cluster = Cluster::start(plan).await.unwrap();
        cluster.ready(PATIENCE).await.unwrap();
        Self {
            cluster,
            _directory: directory,
        }
    }

    /// Runs a command against all replicas, with time enough for a slow machine.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        run(self.command(arguments))
    }

    /// Runs a command that has to work without a word on standard error; gives its standard output.
    pub(crate) fn works(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        assert_eq!(
            (said.code, said.err.as_str()),
            (Some(0), ""),
            "{arguments:?}: {said:?}"
        );
        said.out
    }

    /// The JSON that such a command prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--output", "json"]);
        let out = self.works(&arguments);
        assert_eq!(out.lines().count(), 1, "one object on one line: {out}");
        serde_json::from_str(&out).unwrap()
    }

    /// Runs a command that has to be refused; gives its one line on standard error.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let said = self.say(arguments);
        said.assert_failed(1, arguments);
        said.err
    }

    /// A command against all replicas.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quorate(arguments);
        let seeds = self.cluster.seeds().join(",");
        command.args(["--seeds", &seeds]);
        if !arguments.contains(&"--deadline-ms") {
            command.args(["--deadline-ms", DEADLINE_MS]);
        }
        command
    }
}

impl Said {
    /// One line on standard error, this exit code, and nothing that a terminal obeys anywhere.
    pub(crate) fn assert_failed(&self, code: i32, arguments: &[&str]) {
        assert_eq!(self.code, Some(code), "{arguments:?}: {self:?}");
        assert_eq!(self.err.lines().count(), 1, "{arguments:?}: {self:?}");
        assert!(self.err.starts_with("quorate: "), "{arguments:?}: {self:?}");
        let controls = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(
            !controls(&self.out) && !controls(&self.err),
            "{arguments:?}: {self:?}"
        );
    }
}

/// The binary with these arguments and without settings from outside.
pub(crate) fn quorate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command
        .args(arguments)
        .env_remove("QUORATE_SEEDS")
        .env_remove("QUORATE_TLS_CA")
        .env_remove("QUORATE_TLS_CERT")
        .env_remove("QUORATE_TLS_KEY")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    Said {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
