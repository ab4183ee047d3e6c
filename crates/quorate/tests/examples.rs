//! The examples do what they say: programs that embed Quorate, run as a user would run them.
#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Nothing here takes this long; a test that hangs should say so.
const LONG: Duration = Duration::from_secs(60);

/// Cargo builds a package's examples before its tests, beside them.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} is not built; `cargo test -p quorate` builds it",
        path.display()
    );
    path
}

/// A running example and what it prints.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(name: &str, arguments: &[&str], directory: &Path) -> Self {
        let mut child = Command::new(example(name))
            .args(arguments)
            .env("TMPDIR", directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that has `part`.
    async fn until(&mut self, part: &str) -> String {
        let mut seen = Vec::new();
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(part) {
                    return line;
                }
                seen.push(line);
            }
            panic!("it ended without saying {part:?}; it said {seen:#?}");
        };
        timeout(LONG, found).await.expect("it says so in time")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn ended(&mut self) -> Option<i32> {
        timeout(LONG, self.child.wait()).await.unwrap().unwrap().code()
    }
}

/// The fencing number at the end of a line, or before a comma.
fn fencing_number(line: &str) -> u64 {
    let number = line.split("fencing number ").nth(1).unwrap();
    number.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn three_in_one_hands_its_leaders_work_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Running::start("three_in_one", &[], directory.path());
    program.until("the group is ready").await;
    let first = program.until("fencing number").await;
    program.until("stopping ").await;
    let second = program.until("fencing number").await;
    assert!(
        fencing_number(&second) > fencing_number(&first),
        "{first}, then {second}"
    );
    assert_ne!(first.split(' ').next(), second.split(' ').next());
    assert_eq!(program.ended().await, Some(0));
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn one_per_process_survives_the_death_of_its_leader() {
    let directory = tempfile::tempdir().unwrap();
    let start = |number| Running::start("one_per_process", &[number], directory.path());
    let mut programs = vec![start("0"), start("1"), start("2")];
    let (line, _, _) = {
        let working = programs
            .iter_mut()
            .map(|program| Box::pin(program.until("fencing number")));
        timeout(LONG, futures_util::future::select_all(working))
            .await
            .expect("somebody leads")
    };
    let leader = usize::from(line.as_bytes()["process-".len()] - b'0');
    let mut dead = programs.remove(leader);
    dead.signal(Signal::KILL);
    assert_eq!(dead.ended().await, None);
    let (next, _, _) = {
        let working = programs
            .iter_mut()
            .map(|program| Box::pin(program.until("fencing number")));
        timeout(LONG, futures_util::future::select_all(working))
            .await
            .expect("another takes over")
    };
    assert!(
        fencing_number(&next) > fencing_number(&line),
        "{line}, then {next}"
    );
    for program in &mut programs {
        program.signal(Signal::INT);
        assert_eq!(program.ended().await, Some(0));
    }
}
