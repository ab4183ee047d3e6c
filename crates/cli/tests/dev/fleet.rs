//! A running `quorate dev --plain`, its lines, and what it leaves behind.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes this long; a test that hangs should say so.
const LONG: Duration = Duration::from_secs(120);

/// See the module.
pub struct Fleet {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Everything it has said.
    pub said: Vec<String>,
    /// Where temporary directories are made.
    pub temporary: tempfile::TempDir,
}

impl Fleet {
    /// Starts it with these flags, in a temporary directory of its own.
    pub fn start(flags: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["dev", "--plain"])
            .args(flags)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            stdin,
            lines,
            said: Vec::new(),
            temporary,
        }
    }

    /// Starts it and waits until everything runs.
    pub fn running(flags: &[&str]) -> Self {
        let mut fleet = Self::start(flags);
        fleet.until("running; try");
        fleet
    }

    /// Writes a line to it.
    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its input ends.
    pub fn hush(&mut self) {
        drop(self.stdin.take());
    }

    /// Closes the other end of its output, and makes it say something until it has noticed.
    pub fn look_away(&mut self) {
        // The reader sees this at the next line.
        let (_, nothing) = channel();
        self.lines = nothing;
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < LONG, "it talks to nobody");
            // It may end meanwhile.
            let _ = writeln!(self.stdin.as_mut().unwrap(), "help");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a line that contains `text`, beyond those that were read, and returns it.
    pub fn until(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(LONG.saturating_sub(began.elapsed())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("never said {text:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("ended before it said {text:?}")),
            }
        }
    }

    /// Sends a signal to the command itself.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.said.extend(self.lines.iter());
                return status;
            }
            if began.elapsed() > LONG {
                self.fail("did not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It ends well, and nothing is left of it.
    pub fn ends_clean(&mut self) {
        let pids = self.pids();
        assert!(!pids.is_empty());
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.said.join("\n"));
        assert_eq!(
            alive(&pids),
            Vec::<u32>::new(),
            "processes are left\n{}",
            self.said.join("\n")
        );
        let left: Vec<PathBuf> = entries(self.temporary.path());
        assert_eq!(left, Vec::<PathBuf>::new(), "files are left");
    }

    /// Process ids of replicas that it has told so far.
    pub fn pids(&self) -> Vec<u32> {
        let told = self.said.iter().filter_map(|line| line.split_once("runs, pid "));
        told.map(|(_, pid)| pid.trim().parse().unwrap()).collect()
    }

    fn fail(&mut self, why: &str) -> ! {
        let _ = self.child.kill();
        panic!("{why}; it said:\n{}", self.said.join("\n"));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which of these are processes of ours that run, or are stopped. A number may have been used again by another program.
pub fn alive(pids: &[u32]) -> Vec<u32> {
    let is_ours = |pid: &&u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        command.starts_with(env!("CARGO_BIN_EXE_quorate"))
    };
    pids.iter().filter(is_ours).copied().collect()
}

pub fn entries(path: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// The name after `leader ` in a line such as `leader b, term 2 (was a)`.
pub fn leader(line: &str) -> String {
    let (_, rest) = line.split_once("leader ").unwrap();
    rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}
