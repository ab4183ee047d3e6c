//! A replica's process, started by a test itself because it needs surroundings of its own.
//!
//! Promises: what the process writes goes to one log file, appended over restarts; dropping a [`Process`] kills and
//! reaps it. Left out on purpose: what it listens on; see [`crate::netns`].

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use crate::error::KitError;

/// How a process is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// It was started and has not ended.
    Running,
    /// It ended with this exit code; `None` when a signal ended it.
    Exited(Option<i32>),
    /// It was never started.
    New,
}

/// See the module.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    child: Option<Child>,
    state: ProcessState,
}

impl Process {
    pub(crate) fn new(name: &str, program: PathBuf, arguments: Vec<OsString>, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments,
            log,
            running: Mutex::new(Running {
                child: None,
                state: ProcessState::New,
            }),
        }
    }

    /// The replica's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All that it has written so far; empty when there is nothing to read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// Starts it, for the first time or again. It dies with the thread that starts it.
    ///
    /// # Errors
    /// [`KitError::Process`] when it runs already or cannot be started.
    pub fn start(&self) -> Result<(), KitError> {
        let mut running = self.running();
        if running.look() == ProcessState::Running {
            return Err(self.error("it runs already"));
        }
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|cause| KitError::file(&self.log, cause))?;
        let again = log
            .try_clone()
            .map_err(|cause| KitError::file(&self.log, cause))?;
        // Tells the runs of one log apart; a log that cannot be written shows at the process itself.
        let _ = writeln!(log, "--- start");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(again)
            .stderr(log)
            .spawn()
            .map_err(|cause| self.error(format!("{} does not start: {cause}", self.program.display())))?;
        running.child = Some(child);
        running.state = ProcessState::Running;
        Ok(())
    }

    /// How it is doing now.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        self.running().look()
    }

    /// SIGKILL, and waits until the process is reaped.
    ///
    /// # Errors
    /// [`KitError::Process`] when it does not run.
    pub fn kill(&self) -> Result<(), KitError> {
        self.signal(Signal::KILL)?;
        let mut running = self.running();
        if let Some(mut child) = running.child.take() {
            let ended = child
                .wait()
                .map_err(|cause| self.error(format!("it cannot be waited for: {cause}")))?;
            running.state = ProcessState::Exited(ended.code());
        }
        Ok(())
    }

    /// SIGTERM: asks it to stop in order.
    ///
    /// # Errors
    /// [`KitError::Process`] when it does not run.
    pub fn terminate(&self) -> Result<(), KitError> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: it hangs.
    ///
    /// # Errors
    /// [`KitError::Process`] when it does not run.
    pub fn pause(&self) -> Result<(), KitError> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// [`KitError::Process`] when it does not run.
    pub fn resume(&self) -> Result<(), KitError> {
        self.signal(Signal::CONT)
    }

    /// Waits until it has ended, and gives its exit code.
    ///
    /// # Errors
    /// [`KitError::Waited`] when it goes on longer than `patience`.
    pub async fn exited(&self, patience: Duration) -> Result<Option<i32>, KitError> {
        let ended = async {
            loop {
                match self.state() {
                    ProcessState::Exited(code) => return code,
                    ProcessState::Running | ProcessState::New => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let what = format!("the process of replica {} ends", self.name);
        timeout(patience, ended)
            .await
            .map_err(|_| KitError::waited(what, patience, "it runs"))
    }

    fn signal(&self, signal: Signal) -> Result<(), KitError> {
        let running = self.running();
        let pid = running
            .child
            .as_ref()
            .and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        // The child is not reaped while the lock is held, so the id is its own.
        let pid = pid.ok_or_else(|| self.error("it does not run"))?;
        kill_process(pid, signal).map_err(|error| self.error(format!("it cannot be signalled: {error}")))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, why: impl Into<String>) -> KitError {
        KitError::Process {
            name: self.name.clone(),
            why: why.into(),
        }
    }
}

impl Running {
    fn look(&mut self) -> ProcessState {
        if let Some(child) = &mut self.child
            && let Ok(Some(ended)) = child.try_wait()
        {
            self.child = None;
            self.state = ProcessState::Exited(ended.code());
        }
        self.state.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = &mut running.child {
            // It may have ended meanwhile; either way nothing is left.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().expect("a directory");
        let arguments = vec!["-c".into(), script.into()];
        let process = Process::new("x", "/bin/sh".into(), arguments, dir.path().join("log"));
        (dir, process)
    }

    #[tokio::test]
    async fn a_process_is_started_again_and_its_log_goes_on() {
        let (_dir, process) = shell("echo one; exit 3");
        assert_eq!(process.state(), ProcessState::New);
        for _ in 0..2 {
            process.start().expect("started");
            assert_eq!(
                process.exited(Duration::from_secs(20)).await.expect("ended"),
                Some(3)
            );
        }
        assert_eq!(process.log(), "--- start\none\n--- start\none\n");
        assert!(process.terminate().is_err(), "nobody is there");
    }

    #[tokio::test]
    async fn signals_arrive() {
        let (_dir, process) = shell("exec sleep 1000");
        process.start().expect("started");
        assert!(process.start().is_err(), "it runs already");
        process.pause().expect("paused");
        process.resume().expect("resumed");
        process.kill().expect("killed");
        assert_eq!(process.state(), ProcessState::Exited(None));
        process.start().expect("started again");
        process.terminate().expect("told to stop");
        assert_eq!(
            process.exited(Duration::from_secs(20)).await.expect("ended"),
            None
        );
    }
}
