//! The open loop: one write is due each period, whether or not earlier ones have been answered.
//!
//! Promises: moments are computed from the start, so that a late one does not shift those after it; the timer is a thread
//! of its own, because a runtime that is busy with answers would ring late; and whoever is behind shows in the records.
//! Left out on purpose: priority. The client is a process like any other, and what it waits for the processor is
//! part of what a client sees.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};

use crate::clock::now_ns;
use crate::error::BenchError;
use crate::record::{End, Records, Write};

/// Ticks that wait for the runtime: about four seconds of a stalled process. Later ones are counted as skipped.
const TICKS_WAITING_MAX: usize = 4_096;

/// Where the writes of a round go.
pub trait Target: Send + Sync + 'static {
    /// Executes the write `sequence` and returns what the system gave for it, or why it failed for good.
    fn write(&self, sequence: u64) -> BoxFuture<'static, Result<u64, String>>;
}

/// When the writes of a loop are due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start_ns: u64,
    period_ns: u64,
}

impl Schedule {
    fn due_ns(self, sequence: u64) -> u64 {
        self.start_ns + sequence * self.period_ns
    }
}

struct Tick {
    sequence: u64,
    due_ns: u64,
}

/// A loop that is running.
pub struct OpenLoop {
    timer: Timer,
    dispatcher: tokio::task::JoinHandle<()>,
    records: Arc<Mutex<Records>>,
    changed: watch::Receiver<u64>,
}

/// The timer's thread; it ends when this is dropped.
struct Timer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl OpenLoop {
    /// Starts it: the first write is due at once.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(target: Arc<dyn Target>, period: Duration) -> Result<Self, BenchError> {
        let (ticks, due) = mpsc::channel(TICKS_WAITING_MAX);
        let timer = Timer::start(period, ticks)?;
        let records = Arc::new(Mutex::new(Records::default()));
        let (changes, changed) = watch::channel(0);
        let dispatcher = tokio::spawn(dispatch(target, due, Arc::clone(&records), changes));
        Ok(Self {
            timer,
            dispatcher,
            records,
            changed,
        })
    }

    /// Waits until `found` finds something in the records of writes that have ended.
    pub async fn wait_for<T>(&self, mut found: impl FnMut(&Records) -> Option<T>) -> Option<T> {
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            if let Some(found) = found(&self.lock()) {
                return Some(found);
            }
            changed.changed().await.ok()?;
        }
    }

    /// A copy of what has ended so far.
    #[must_use]
    pub fn so_far(&self) -> Records {
        self.lock().clone()
    }

    /// Sends no more, waits for the end of all writes under way, and hands out all records.
    ///
    /// # Errors
    /// When the timer or the dispatcher panicked.
    pub async fn finish(mut self) -> Result<Records, BenchError> {
        let skipped = self.timer.join().await?;
        (&mut self.dispatcher)
            .await
            .map_err(|error| BenchError::Broken(error.to_string()))?;
        let mut records = std::mem::take(&mut *self.lock());
        records.skip(skipped);
        Ok(records)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenLoop {
    fn drop(&mut self) {
        // After `finish` it has ended; otherwise the round is given up, and its writes with it.
        self.dispatcher.abort();
    }
}

impl Timer {
    fn start(period: Duration, ticks: mpsc::Sender<Tick>) -> Result<Self, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let thread = std::thread::Builder::new()
            .name("bench-timer".to_owned())
            .spawn(move || {
                ring(
                    Schedule {
                        start_ns: now_ns(),
                        period_ns,
                    },
                    &stopped,
                    &ticks,
                )
            })
            .map_err(|source| BenchError::io("start the timer's thread", source))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Stops the thread; returns the number of writes that were due and could not be handed over.
    async fn join(&mut self) -> Result<u64, BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(0);
        };
        let joined = spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(skipped)) => Ok(skipped),
            _ => Err(BenchError::Broken("the timer's thread panicked".to_owned())),
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Rings once for each write that is due, until `stop`. Returns how many could not be handed over.
fn ring(schedule: Schedule, stop: &AtomicBool, ticks: &mpsc::Sender<Tick>) -> u64 {
    let mut skipped = 0;
    for sequence in 0.. {
        let due_ns = schedule.due_ns(sequence);
        let now_ns = now_ns();
        if due_ns > now_ns {
            std::thread::sleep(Duration::from_nanos(due_ns - now_ns));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match ticks.try_send(Tick { sequence, due_ns }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => skipped += 1,
            Err(TrySendError::Closed(_)) => break,
        }
    }
    skipped
}

/// Starts a task for each write that is due. They are joined here.
async fn dispatch(
    target: Arc<dyn Target>,
    mut due: mpsc::Receiver<Tick>,
    records: Arc<Mutex<Records>>,
    changes: watch::Sender<u64>,
) {
    let mut writes = JoinSet::new();
    let note = |write: Write| {
        records.lock().unwrap_or_else(PoisonError::into_inner).add(write);
        changes.send_modify(|ended| *ended += 1);
    };
    loop {
        tokio::select! {
            biased;
            Some(ended) = writes.join_next() => if let Ok(write) = ended { note(write) },
            tick = due.recv() => match tick {
                Some(tick) => drop(writes.spawn(execute(Arc::clone(&target), tick))),
                None => break,
            },
        }
    }
    while let Some(ended) = writes.join_next().await {
        if let Ok(write) = ended {
            note(write);
        }
    }
}

async fn execute(target: Arc<dyn Target>, tick: Tick) -> Write {
    let sent_ns = now_ns();
    let answer = target.write(tick.sequence).await;
    let at_ns = now_ns();
    let end = match answer {
        Ok(receipt) => End::Acked { at_ns, receipt },
        Err(why) => End::Failed { why },
    };
    Write {
        sequence: tick.sequence,
        due_ns: tick.due_ns,
        sent_ns,
        end,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Answers each write with its sequence, fails every seventh, and never answers before it has been asked.
    struct Echo;

    impl Target for Echo {
        fn write(&self, sequence: u64) -> BoxFuture<'static, Result<u64, String>> {
            async move {
                tokio::task::yield_now().await;
                if sequence % 7 == 3 {
                    Err("a seventh".to_owned())
                } else {
                    Ok(sequence)
                }
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn every_write_that_was_due_is_in_the_records() {
        let open = OpenLoop::start(Arc::new(Echo), Duration::from_micros(100)).expect("a thread");
        let ended = open
            .wait_for(|records| (records.writes().len() >= 50).then_some(()))
            .await;
        assert_eq!(ended, Some(()));
        let records = open.finish().await.expect("all joined");
        let mut sequences: Vec<u64> = records.writes().iter().map(|write| write.sequence).collect();
        sequences.sort_unstable();
        assert!(
            sequences
                .iter()
                .enumerate()
                .all(|(place, sequence)| place as u64 == *sequence)
        );
        assert!(
            records
                .acked()
                .all(|(sequence, receipt)| sequence == receipt && sequence % 7 != 3)
        );
        assert!(
            records
                .failed()
                .all(|(sequence, why)| sequence % 7 == 3 && why == "a seventh")
        );
        assert!(records.writes().iter().all(|write| write.sent_ns >= write.due_ns));
        assert!(
            records
                .writes()
                .iter()
                .all(|write| write.acked_ns().is_none_or(|at_ns| at_ns >= write.sent_ns))
        );
    }

    #[test]
    fn moments_do_not_drift() {
        let schedule = Schedule {
            start_ns: 7,
            period_ns: 1_000,
        };
        for (sequence, due_ns) in [(0, 7), (1, 1_007), (1_000, 1_000_007)] {
            assert_eq!(schedule.due_ns(sequence), due_ns);
        }
    }
}
