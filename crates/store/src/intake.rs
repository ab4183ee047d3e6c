//! Where writes to the log are accepted, in call order, and wait for the disk.
//!
//! Promises: one queue for all writes, so that the order of the calls is the order on disk; a callback runs exactly
//! once, in that order, outside every lock; the first fault fails everything that waits and everything that comes.
//! Left out on purpose: the disk. Its owner, a thread or a task, takes a [`Batch`], makes it durable with one flush,
//! and says so.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_types::Position;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::error::{Fault, StoreError};
use crate::limits::{QUEUE_BYTES_HARD, QUEUE_BYTES_SOFT};
use crate::stats::{Flushes, StoreStats};
use crate::store::{Done, Entry, LogState};
use crate::view::{LogView, Lookup, Violation, Write};

/// A batch takes at most this much, so that the first callback does not wait for ever.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// See [`BATCH_BYTES_MAX`].
const BATCH_JOBS_MAX: usize = 4096;

/// A write and whom to tell.
pub(crate) struct Request {
    pub(crate) sequence: u64,
    at: Instant,
    /// `None` when there was nothing to do but to keep the order of the callbacks.
    pub(crate) write: Option<Write>,
    pub(crate) done: Done,
}

/// A read of entries that the tail no longer holds.
pub(crate) struct ReadRequest {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes_max: usize,
    pub(crate) answer: oneshot::Sender<Result<Vec<Entry>, StoreError>>,
}

pub(crate) enum Job {
    Write(Request),
    Read(ReadRequest),
}

/// What is made durable with one flush.
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Job>,
    /// How far the log is committed; to be written after the jobs.
    pub(crate) committed: Option<Position>,
    bytes: usize,
}

/// What the owner of the disk does next.
pub(crate) enum Work {
    Batch(Batch),
    /// Write this down, flush, and end.
    Close(Option<Position>),
    /// End at once: a fault, or the machine is gone.
    Stop,
}

struct State {
    view: LogView,
    queue: VecDeque<Job>,
    /// Of the queue and of the batch in work.
    queue_bytes: usize,
    sequence: u64,
    committed: Option<Position>,
    /// Since when the oldest write of the batch in work has waited.
    in_work_since: Option<Instant>,
    flushes: Flushes,
    log_bytes: u64,
    closing: bool,
    stopped: Option<StoreError>,
}

/// See the module.
pub(crate) struct Intake {
    state: Mutex<State>,
    /// For an owner that is a thread.
    work_thread: Condvar,
    /// For an owner that is a task.
    work_task: Notify,
    /// Something was finished, or all is over.
    settled: Notify,
    fault: watch::Sender<Option<Arc<Fault>>>,
}

impl Intake {
    pub(crate) fn new(view: LogView, log_bytes: u64) -> Self {
        Self {
            state: Mutex::new(State {
                view,
                queue: VecDeque::new(),
                queue_bytes: 0,
                sequence: 0,
                committed: None,
                in_work_since: None,
                flushes: Flushes::default(),
                log_bytes,
                closing: false,
                stopped: None,
            }),
            work_thread: Condvar::new(),
            work_task: Notify::new(),
            settled: Notify::new(),
            fault: watch::Sender::new(None),
        }
    }

    // The lock is held for memory operations only, and nothing in there leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a write against the view and queues it.
    pub(crate) fn submit(
        &self,
        done: Done,
        check: impl FnOnce(&mut LogView, u64) -> Result<Option<Write>, Violation>,
    ) {
        let mut state = self.lock();
        if let Err(error) = state.open() {
            drop(state);
            return done(Err(error));
        }
        let sequence = state.sequence + 1;
        let checked = check(&mut state.view, sequence).and_then(|write| {
            let bytes = write.as_ref().map_or(0, Write::bytes);
            if state.queue_bytes.saturating_add(bytes) > QUEUE_BYTES_HARD && state.queue_bytes > 0 {
                return Err(format!(
                    "{} bytes of writes wait for the disk and more came",
                    state.queue_bytes
                ));
            }
            Ok((write, bytes))
        });
        match checked {
            Ok((write, bytes)) => {
                state.sequence = sequence;
                state.queue_bytes += bytes;
                let at = Instant::now();
                state.queue.push_back(Job::Write(Request {
                    sequence,
                    at,
                    write,
                    done,
                }));
                drop(state);
                self.wake_owner();
            }
            Err(violation) => {
                drop(state);
                done(Err(self.fail(Fault::invariant(&violation))));
            }
        }
    }

    pub(crate) fn save_committed(&self, committed: Option<Position>) {
        let mut state = self.lock();
        if state.open().is_ok() && state.view.save_committed(committed) {
            state.committed = committed;
        }
    }

    pub(crate) fn log_state(&self) -> LogState {
        self.lock().view.state()
    }

    /// Entries from the tail, or the answer of the disk's owner to come.
    #[expect(clippy::type_complexity, reason = "either the answer or where it will come")]
    pub(crate) fn read(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Result<Vec<Entry>, oneshot::Receiver<Result<Vec<Entry>, StoreError>>>, StoreError> {
        let mut state = self.lock();
        state.open()?;
        match state.view.read(from, to, bytes_max) {
            Lookup::Here(entries) => Ok(Ok(entries)),
            Lookup::OnDisk { from, to } => {
                let (answer, receiver) = oneshot::channel();
                state.queue.push_back(Job::Read(ReadRequest {
                    from,
                    to,
                    bytes_max,
                    answer,
                }));
                drop(state);
                self.wake_owner();
                Ok(Err(receiver))
            }
        }
    }

    /// Resolves when writes may be queued, or when all is over.
    pub(crate) async fn room(&self) {
        self.wait_until(|state| state.queue_bytes < QUEUE_BYTES_SOFT || state.open().is_err())
            .await;
    }

    /// Refuses what comes from here on; resolves when the owner has ended.
    pub(crate) async fn close(&self) {
        self.lock().closing = true;
        self.wake_owner();
        self.wait_until(|state| state.stopped.is_some()).await;
    }

    async fn wait_until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            // Registered before the check, so that no wake-up between the two is lost.
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if holds(&self.lock()) {
                return;
            }
            settled.await;
        }
    }

    /// Waits for work on the owner's thread.
    pub(crate) fn work_blocking(&self) -> Work {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.work() {
                return work;
            }
            state = self
                .work_thread
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for work in the owner's task.
    pub(crate) async fn work(&self) -> Work {
        loop {
            if let Some(work) = self.lock().work() {
                return work;
            }
            // `notify_one` leaves a permit when nobody waits yet, and there is one owner.
            self.work_task.notified().await;
        }
    }

    /// The batch is durable: the callbacks of its writes, to be called in this order.
    pub(crate) fn settle(&self, batch: Batch, took: Duration, log_bytes: u64) {
        let writes = batch.jobs.into_iter().filter_map(|job| match job {
            Job::Write(request) => Some(request),
            Job::Read(_) => None,
        });
        let (mut dones, mut entries, mut sequence) = (Vec::new(), 0, 0);
        for request in writes {
            entries += request.write.as_ref().map_or(0, Write::entries);
            sequence = request.sequence;
            dones.push(request.done);
        }
        let mut state = self.lock();
        state.view.durable(sequence);
        state.queue_bytes -= batch.bytes;
        state.in_work_since = None;
        state.log_bytes = log_bytes;
        if !dones.is_empty() {
            state.flushes.record(took, entries);
        }
        drop(state);
        for done in dones {
            done(Ok(()));
        }
        self.settled.notify_waiters();
    }

    /// The batch, everything that waits and everything that comes fails with this fault, or with an earlier one.
    pub(crate) fn fail_batch(&self, batch: Batch, fault: Fault) {
        let error = self.fail(fault);
        fail_jobs(batch.jobs, &error);
    }

    /// See [`fail_batch`](Self::fail_batch).
    pub(crate) fn fail(&self, fault: Fault) -> StoreError {
        let fault = Arc::new(fault);
        let error = StoreError::Fault(Arc::clone(&fault));
        let first = self.stop(error);
        self.fault.send_if_modified(|seen| {
            let is_first = seen.is_none() && matches!(&first, StoreError::Fault(f) if Arc::ptr_eq(f, &fault));
            if is_first {
                *seen = Some(fault);
            }
            is_first
        });
        first
    }

    /// The owner has ended in good order.
    pub(crate) fn closed(&self) {
        self.stop(StoreError::Closed);
    }

    /// Stops with `error` unless it has stopped already; what waits fails with the error that counts.
    fn stop(&self, error: StoreError) -> StoreError {
        let mut state = self.lock();
        let error = state.stopped.get_or_insert(error).clone();
        let jobs = std::mem::take(&mut state.queue);
        drop(state);
        fail_jobs(jobs, &error);
        self.wake_owner();
        self.settled.notify_waiters();
        error
    }

    /// The machine is gone: nobody is told anything. Gives what was on its way to the disk.
    pub(crate) fn abandon(&self) -> (VecDeque<Job>, Option<Position>) {
        let mut state = self.lock();
        state.stopped.get_or_insert(StoreError::Closed);
        let left = (std::mem::take(&mut state.queue), state.committed.take());
        drop(state);
        self.wake_owner();
        self.settled.notify_waiters();
        left
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().stopped.is_some()
    }

    /// Fails when no call is taken any more.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        self.lock().open()
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let state = self.lock();
        let oldest = state.in_work_since.or_else(|| oldest_write(&state.queue));
        StoreStats {
            oldest_unfinished: oldest.map(|at| at.elapsed()),
            queue_bytes: state.queue_bytes,
            log_bytes: state.log_bytes,
            ..state.flushes.stats()
        }
    }

    pub(crate) fn fault(&self) -> watch::Receiver<Option<Arc<Fault>>> {
        self.fault.subscribe()
    }

    pub(crate) fn wake_owner(&self) {
        self.work_thread.notify_one();
        self.work_task.notify_one();
    }
}

impl State {
    fn open(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(error) => Err(error.clone()),
            None if self.closing => Err(StoreError::Closed),
            None => Ok(()),
        }
    }

    fn work(&mut self) -> Option<Work> {
        if self.stopped.is_some() {
            return Some(Work::Stop);
        }
        if self.queue.is_empty() {
            return self.closing.then(|| Work::Close(self.committed.take()));
        }
        let mut batch = Batch {
            jobs: Vec::new(),
            committed: None,
            bytes: 0,
        };
        self.in_work_since = oldest_write(&self.queue);
        while batch.bytes < BATCH_BYTES_MAX && batch.jobs.len() < BATCH_JOBS_MAX {
            let Some(job) = self.queue.pop_front() else {
                break;
            };
            if let Job::Write(request) = &job {
                batch.bytes += request.write.as_ref().map_or(0, Write::bytes);
            }
            batch.jobs.push(job);
        }
        // It may name an entry that is still in the queue behind this batch, which must come first.
        if self.queue.is_empty() && batch.writes() {
            batch.committed = self.committed.take();
        }
        Some(Work::Batch(batch))
    }
}

impl Batch {
    /// Whether anything in it needs a flush.
    pub(crate) fn writes(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Write(_)))
    }
}

fn oldest_write(queue: &VecDeque<Job>) -> Option<Instant> {
    queue.iter().find_map(|job| match job {
        Job::Write(request) => Some(request.at),
        Job::Read(_) => None,
    })
}

fn fail_jobs(jobs: impl IntoIterator<Item = Job>, error: &StoreError) {
    for job in jobs {
        match job {
            Job::Write(request) => (request.done)(Err(error.clone())),
            // A reader that went away needs no answer.
            Job::Read(request) => drop(request.answer.send(Err(error.clone()))),
        }
    }
}
