//! Standard output on a thread of its own, so that a terminal or a pipe that takes nothing holds up nobody.
//!
//! Promises: what was accepted is written in order; a closed output is told by [`Output::is_closed`]. What does not fit
//! the queue is dropped: the next frame repeats a screen anyway, and [`Output::text`] says how many lines it lost.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Pieces that wait to be written.
const QUEUE: usize = 1_024;
/// Screens are not queued: one is being written, one waits.
const FRAMES: usize = 1;
/// At the end, this long is waited for an output that takes nothing.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Output {
    sender: SyncSender<Vec<u8>>,
    done: Receiver<()>,
    closed: Arc<AtomicBool>,
    lost: u64,
}

impl Output {
    /// For lines.
    pub(super) fn lines() -> Self {
        Self::new(QUEUE)
    }

    /// For screens.
    pub(super) fn frames() -> Self {
        Self::new(FRAMES)
    }

    fn new(queue: usize) -> Self {
        let (sender, receiver) = sync_channel::<Vec<u8>>(queue);
        let (finished, done) = sync_channel(1);
        let closed = Arc::new(AtomicBool::new(false));
        let writer_closed = Arc::clone(&closed);
        // Owned through `done`. It is not joined when it hangs in a write that nobody will ever take.
        std::thread::spawn(move || {
            for piece in receiver {
                let mut stdout = std::io::stdout().lock();
                if stdout.write_all(&piece).and_then(|()| stdout.flush()).is_err() {
                    writer_closed.store(true, Ordering::Release);
                    break;
                }
            }
            // The owner may have stopped waiting.
            let _ = finished.send(());
        });
        Self {
            sender,
            done,
            closed,
            lost: 0,
        }
    }

    /// Nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Writes a line.
    pub(super) fn text(&mut self, line: &str) {
        let line = match self.lost {
            0 => format!("{line}\n"),
            lost => format!("({lost} lines were lost: nobody read them)\n{line}\n"),
        };
        match self.sender.try_send(line.into_bytes()) {
            Ok(()) => self.lost = 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }

    /// Writes a screen, unless the one before it is still being written.
    pub(super) fn frame(&self, frame: Vec<u8>) {
        // Dropped on purpose: see the module.
        let _ = self.sender.try_send(frame);
    }

    /// Waits until all is written.
    pub(super) fn finish(self) {
        let Self { sender, done, .. } = self;
        drop(sender);
        // An output that hangs is given up; the thread ends with the process.
        let _ = done.recv_timeout(FLUSH_WITHIN);
    }
}
