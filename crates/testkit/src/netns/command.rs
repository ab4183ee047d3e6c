//! Commands of the system, and what they say when they fail.

use std::process::{Command, Stdio};

use crate::error::KitError;

/// Runs a command to its end.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<(), KitError> {
    output(program, arguments).map(drop)
}

/// `ip` of iproute2.
pub(super) fn ip(arguments: &[&str]) -> Result<(), KitError> {
    run("ip", arguments)
}

/// Runs a command to its end, and gives what it printed.
pub(super) fn output(program: &str, arguments: &[&str]) -> Result<String, KitError> {
    let failed = |said: String| KitError::Command {
        command: format!("{program} {}", arguments.join(" ")),
        said,
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().map(str::trim).collect::<Vec<_>>().join(" ")))
}
