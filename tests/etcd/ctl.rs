//! etcdctl, as its users run it: what it prints, what it complains of, and how it ends.
//!
//! Promises: nothing of the environment reaches it; the addresses of the servers, and the log of its own that it mixes into
//! its complaints, are not part of the answer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::answer::{Answer, Line, json};

/// Nothing here takes this long; a call that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(20);

/// etcdctl against one server.
#[derive(Debug, Clone)]
pub(crate) struct Ctl {
    program: PathBuf,
    address: String,
}

impl Ctl {
    pub(crate) fn new(programs: &Path, address: &str) -> Self {
        Self {
            program: programs.join("etcdctl"),
            address: address.to_owned(),
        }
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--endpoints", &self.address])
            .args(arguments)
            .env_clear()
            // Threads of a program that does one call cost more than they bring.
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, arguments: &[String], input: &str) -> Answer {
        let running = async {
            let mut child = self.command(arguments).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // It need not read.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = match timeout(PATIENCE, running).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => {
                return Answer::new(vec![Line::new("etcdctl", format!("does not run: {error}"))]);
            }
            Err(_) => return Answer::new(vec![Line::new("etcdctl", "does not end")]),
        };
        let code = output
            .status
            .code()
            .map_or("a signal".to_owned(), |code| code.to_string());
        let mut lines = vec![Line::new("exit", code)];
        printed(&String::from_utf8_lossy(&output.stdout), &mut lines);
        let complaints = String::from_utf8_lossy(&output.stderr);
        let complaints = complaints.lines().filter(|line| !line.starts_with('{'));
        lines.extend(complaints.map(|line| Line::new("stderr", line)));
        self.without_address(lines)
    }

    /// Runs it until it has printed so many lines.
    pub(crate) async fn follow(&self, count: usize, arguments: &[String]) -> Answer {
        let mut lines = Vec::new();
        let mut child = match self.command(arguments).spawn() {
            Ok(child) => child,
            Err(error) => return Answer::new(vec![Line::new("etcdctl", format!("does not run: {error}"))]),
        };
        if let Some(stdout) = child.stdout.take() {
            let mut printed = BufReader::new(stdout).lines();
            while lines.len() < count {
                match timeout(PATIENCE, printed.next_line()).await {
                    Ok(Ok(Some(line))) => lines.push(Line::new("stdout", line)),
                    Ok(_) => break,
                    Err(_) => {
                        lines.push(Line::new("missing", (count - lines.len()).to_string()));
                        break;
                    }
                }
            }
        }
        // It may have ended by itself.
        let _ = child.kill().await;
        self.without_address(lines)
    }

    fn without_address(&self, lines: Vec<Line>) -> Answer {
        let mut answer = Answer::new(lines);
        answer.replace(&self.address, "ADDRESS");
        answer
    }
}

/// What it prints is JSON, or lines.
fn printed(text: &str, lines: &mut Vec<Line>) {
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    match values {
        Ok(values) if text.starts_with(['{', '[']) => {
            for value in values {
                json("stdout", &value, lines);
            }
        }
        _ => lines.extend(text.lines().map(line_of)),
    }
}

/// A line of text, or a field of `-w fields`.
fn line_of(line: &str) -> Line {
    let field = line.strip_prefix('"').and_then(|line| line.split_once("\" : "));
    match field {
        Some((name, value)) => Line::new(format!("stdout.{name}"), value),
        None => Line::new("stdout", line),
    }
}
