//! What the user types, on a thread of its own: keys on a terminal, lines otherwise.
//!
//! Promises: the thread ends soon after [`Input::finish`], also while nobody types; a line is bounded, the rest of a
//! longer one is ignored. A queue that is full drops keys and holds lines back.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::event::{Event as Terminal, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::verbs::{self, Verb};

/// Inputs that wait.
const QUEUE: usize = 64;
/// The thread looks whether it should end this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 1_024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Something to do.
    Verb(Verb),
    /// A line that means nothing, and what would.
    Wrong(String),
    /// The terminal has another size.
    Resized,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Input {
    receiver: mpsc::Receiver<Typed>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Input {
    /// Keys from the terminal.
    pub(super) fn keys() -> Self {
        Self::new(read_keys)
    }

    /// Lines from standard input. Its end is not told: a script that is over does not end the cluster.
    pub(super) fn lines() -> Self {
        Self::new(read_lines)
    }

    fn new(read: impl FnOnce(&mpsc::Sender<Typed>, &AtomicBool) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let ends = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ends);
        let thread = std::thread::spawn(move || read(&sender, &flag));
        Self {
            receiver,
            ends,
            thread: Some(thread),
        }
    }

    /// The next one. Pends for ever once there is no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Typed {
        match self.receiver.recv().await {
            Some(typed) => typed,
            None => std::future::pending().await,
        }
    }

    /// Ends and joins the thread.
    pub(super) fn finish(mut self) {
        self.ends.store(true, Ordering::Release);
        self.receiver.close();
        if let Some(thread) = self.thread.take() {
            // Its panic was told by the hook.
            let _ = thread.join();
        }
    }
}

fn read_keys(sender: &mpsc::Sender<Typed>, ends: &AtomicBool) {
    while !ends.load(Ordering::Acquire) {
        let typed = match crossterm::event::poll(LOOK_EVERY) {
            Ok(false) => continue,
            Ok(true) => match crossterm::event::read() {
                Ok(Terminal::Key(key)) if key.kind != KeyEventKind::Release => {
                    verbs::key(key.code, key.modifiers).map(Typed::Verb)
                }
                Ok(Terminal::Resize(..)) => Some(Typed::Resized),
                Ok(_) => None,
                Err(_) => return,
            },
            Err(_) => return,
        };
        if let Some(typed) = typed {
            // Keys that pile up are those of someone who pressed too often.
            let _ = sender.try_send(typed);
        }
    }
}

fn read_lines(sender: &mpsc::Sender<Typed>, ends: &AtomicBool) {
    let stdin = std::io::stdin();
    let mut lines = Lines::default();
    let mut bytes = [0; 4_096];
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(LOOK_EVERY.subsec_nanos()),
    };
    while !ends.load(Ordering::Acquire) {
        // A read that blocks could not be ended; so it is asked first.
        match poll(&mut [PollFd::new(&stdin.as_fd(), PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        // Not through the standard library's buffer: what it holds, poll does not see.
        let read = match rustix::io::read(&stdin, &mut bytes) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        };
        let whole = if read == 0 {
            lines.rest()
        } else {
            lines.take(&bytes[..read])
        };
        for line in whole {
            let typed = match verbs::line(&line) {
                Ok(None) => continue,
                Ok(Some(verb)) => Typed::Verb(verb),
                Err(help) => Typed::Wrong(help),
            };
            if sender.blocking_send(typed).is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// Bytes to lines. Pure.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                whole.push(String::from_utf8_lossy(&self.begun).into_owned());
                self.begun.clear();
            } else if self.begun.len() < LINE_BYTES_MAX {
                self.begun.push(*byte);
            }
        }
        whole
    }

    /// The last line, when nothing ended it.
    fn rest(&mut self) -> Vec<String> {
        self.take(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines() {
        let mut unended = Lines::default();
        assert!(unended.take(b"quit").is_empty());
        assert_eq!(unended.rest(), ["quit"]);

        let mut lines = Lines::default();
        assert_eq!(lines.take(b"kill a\npau"), ["kill a"]);
        assert_eq!(lines.take(b"se b\n\n\xff\n"), ["pause b", "", "\u{fffd}"]);
        let long = vec![b'x'; 5_000];
        assert!(lines.take(&long).is_empty());
        assert_eq!(lines.take(b"\n"), ["x".repeat(LINE_BYTES_MAX)]);
    }
}
