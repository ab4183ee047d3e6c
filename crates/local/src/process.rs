//! One replica as a process.
//!
//! Promises: it is signalled through a descriptor of the process, never through its number, so that a signal after its
//! death reaches nobody; its end is known at once ([`Process::state`]); its log is one file over all its lives.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_types::NodeId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::Command;
use tokio::sync::watch;

use crate::error::LocalError;

/// Bytes of a log that an error shows at most.
const TAIL_BYTES: u64 = 4_096;
/// Lines of a log that an error shows at most.
const TAIL_LINES: usize = 12;

/// What a process is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It was paused and not resumed.
    Paused,
    /// It ended, or was never started: its exit status in words.
    Exited(String),
}

/// One replica. All methods take `&self`; two threads may signal it at once.
#[derive(Debug)]
pub struct Process {
    pub(crate) name: String,
    pub(crate) node: NodeId,
    pub(crate) ports: Ports,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
    life: Mutex<Option<Life>>,
    state: Arc<watch::Sender<State>>,
}

/// The four ports of a replica on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) peer: u16,
    pub(crate) liveness: u16,
    pub(crate) http: u16,
}

/// A process that was started and not replaced yet.
#[derive(Debug)]
struct Life {
    pid: Pid,
    handle: OwnedFd,
    /// SIGKILL was sent: its end is certain, even before it is seen, and no later signal means anything.
    is_doomed: bool,
}

impl Process {
    pub(crate) fn new(
        name: String,
        node: NodeId,
        ports: Ports,
        program: PathBuf,
        arguments: Vec<String>,
        directory: PathBuf,
    ) -> Self {
        let state = Arc::new(watch::Sender::new(State::Exited("not started".to_owned())));
        Self {
            name,
            node,
            ports,
            program,
            arguments,
            directory,
            life: Mutex::new(None),
            state,
        }
    }

    /// Its name: `a`, `b`, ...
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id in the group that it forms; 0 when it joins one, which gives it an id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where clients reach it.
    #[must_use]
    pub fn client_address(&self) -> String {
        address(self.ports.client)
    }

    /// Where its peers reach it.
    #[must_use]
    pub fn peer_address(&self) -> String {
        address(self.ports.peer)
    }

    /// Where its liveness links end.
    #[must_use]
    pub fn liveness_address(&self) -> String {
        address(self.ports.liveness)
    }

    /// Its probes, metrics and status page.
    #[must_use]
    pub fn http_address(&self) -> String {
        address(self.ports.http)
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What it wrote to its standard error, over all its lives.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Its process id while it runs or is paused.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let life = self.life();
        let pid = life
            .as_ref()
            .map(|life| life.pid.as_raw_nonzero().get().unsigned_abs());
        pid.filter(|_| !matches!(*self.state.borrow(), State::Exited(_)))
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Starts it, with the ports and the data that it had.
    ///
    /// The process dies with the *thread* that calls this (that is how Linux tells of a parent's death), so call it from
    /// one that lives as long as the program: the main thread or a worker of the runtime.
    ///
    /// # Errors
    /// [`LocalError::Running`]; [`LocalError::Spawn`] and [`LocalError::File`] when the system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(&self) -> Result<(), LocalError> {
        let mut life = self.life();
        if !matches!(*self.state.borrow(), State::Exited(_)) {
            return Err(LocalError::Running(self.name.clone()));
        }
        let log = self.log()?;
        let spawn_error = |cause| LocalError::Spawn {
            program: self.program.clone(),
            cause,
        };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            // Set where a replica runs, they would leave these ones half configured: the plan says what they are.
            .env_remove("QUORATE_TLS_CERT")
            .env_remove("QUORATE_TLS_KEY")
            .env_remove("QUORATE_TLS_CA")
            .env_remove("QUORATE_TLS_CLIENT_CA")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            // A key on the owner's terminal is meant for the owner, who ends its replicas in its own order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn_error)?;
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let pid =
            id.ok_or_else(|| spawn_error(std::io::Error::other("the process ended before it was known")))?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| spawn_error(errno.into()))?;
        *life = Some(Life {
            pid,
            handle,
            is_doomed: false,
        });
        self.state.send_replace(State::Running);
        let state = Arc::clone(&self.state);
        // Ends with the process, which is killed when the runtime drops this task.
        tokio::spawn(async move {
            let how = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("its end was not seen: {error}"),
            };
            state.send_replace(State::Exited(how));
        });
        Ok(())
    }

    /// Ends it at once: SIGKILL. From then on it counts as not running for every signal.
    ///
    /// # Errors
    /// [`LocalError::NotRunning`], [`LocalError::Signal`]; the others of this kind alike.
    pub fn kill(&self) -> Result<(), LocalError> {
        self.signal(Signal::KILL, None)
    }

    /// Asks it to end in order: SIGTERM.
    ///
    /// # Errors
    /// See [`Self::kill`].
    pub fn terminate(&self) -> Result<(), LocalError> {
        self.signal(Signal::TERM, None)
    }

    /// Stops it where it stands: SIGSTOP.
    ///
    /// # Errors
    /// See [`Self::kill`].
    pub fn pause(&self) -> Result<(), LocalError> {
        self.signal(Signal::STOP, Some(State::Paused))
    }

    /// Lets it go on after [`Self::pause`]: SIGCONT.
    ///
    /// # Errors
    /// See [`Self::kill`].
    pub fn resume(&self) -> Result<(), LocalError> {
        self.signal(Signal::CONT, Some(State::Running))
    }

    /// Waits until it has ended.
    pub async fn exited(&self) {
        let mut states = self.state.subscribe();
        // The sender lives in self.
        let _ = states.wait_for(|state| matches!(state, State::Exited(_))).await;
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path()).unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
    }

    fn signal(&self, signal: Signal, then: Option<State>) -> Result<(), LocalError> {
        let mut life = self.life();
        let not_running = || LocalError::NotRunning(self.name.clone());
        let life = life
            .as_mut()
            .filter(|life| !life.is_doomed && !matches!(*self.state.borrow(), State::Exited(_)))
            .ok_or_else(not_running)?;
        match pidfd_send_signal(life.handle.as_fd(), signal) {
            Ok(()) => life.is_doomed = signal == Signal::KILL,
            Err(rustix::io::Errno::SRCH) => return Err(not_running()),
            Err(errno) => {
                return Err(LocalError::Signal {
                    name: self.name.clone(),
                    cause: errno.into(),
                });
            }
        }
        if let Some(then) = then {
            // An end that was seen meanwhile is final.
            self.state.send_if_modified(|state| {
                let alive = !matches!(state, State::Exited(_));
                if alive {
                    *state = then;
                }
                alive
            });
        }
        Ok(())
    }

    fn log(&self) -> Result<File, LocalError> {
        let path = self.log_path();
        let failed = |cause| LocalError::File {
            path: path.clone(),
            cause,
        };
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(directory: &Path, program: &str, arguments: &[&str]) -> Process {
        let ports = Ports {
            client: 1,
            peer: 2,
            liveness: 3,
            http: 4,
        };
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Process::new(
            "a".to_owned(),
            NodeId(1),
            ports,
            program.into(),
            arguments,
            directory.to_owned(),
        )
    }

    #[tokio::test]
    async fn a_process_is_paused_resumed_killed_and_started_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let process = process(directory.path(), "sleep", &["1000"]);
        assert!(matches!(process.kill(), Err(LocalError::NotRunning(_))));
        for _ in 0..2 {
            process.start().expect("starts");
            assert!(matches!(process.start(), Err(LocalError::Running(_))));
            assert!(process.pid().is_some());
            process.pause().expect("pauses");
            assert_eq!(process.state(), State::Paused);
            process.resume().expect("resumes");
            assert_eq!(process.state(), State::Running);
            process.pause().expect("pauses");
            process.kill().expect("a paused process can be killed");
            // Whether or not its end has been seen by now.
            assert!(matches!(process.resume(), Err(LocalError::NotRunning(_))));
            process.exited().await;
            assert!(matches!(process.state(), State::Exited(how) if how.contains("signal")));
            assert_eq!(process.pid(), None);
            assert!(matches!(process.resume(), Err(LocalError::NotRunning(_))));
        }
    }

    #[tokio::test]
    async fn keys_of_the_owner_s_terminal_do_not_reach_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let process = process(directory.path(), "sleep", &["1000"]);
        process.start().expect("starts");
        let pid = process
            .pid()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        assert_eq!(rustix::process::getpgid(pid).ok(), pid);
        process.kill().expect("is killed");
        process.exited().await;
    }

    #[tokio::test]
    async fn the_log_is_kept_and_its_end_is_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let process = process(directory.path(), "sh", &["-c", "seq 1 20 >&2; exit 3"]);
        process.start().expect("starts");
        process.exited().await;
        assert!(matches!(process.state(), State::Exited(how) if how.contains('3')));
        assert_eq!(process.log_tail().lines().next(), Some("9"));
        assert_eq!(process.log_tail().lines().last(), Some("20"));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = process(directory.path(), "/no/such/program", &[])
            .start()
            .expect_err("cannot start");
        assert_eq!(error.to_string(), "/no/such/program cannot be started");
    }
}
