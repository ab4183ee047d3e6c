//! The simulated disk: what is durable, who uses it, and what can be done to it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::Fault;
use crate::facts::Facts;
use crate::intake::{Batch, Intake, Job};
use crate::snapshot::Snapshot;
use crate::store::LogState;
use crate::view::{LogView, Write};

/// A disk that outlives the store on it: give it to [`MemoryStore::open`](super::MemoryStore::open) again after a
/// crash. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<DiskState>>,
    changed: Arc<Notify>,
}

/// What errors call it.
pub(super) const PATH: &str = "/simulated";

/// What a crash leaves.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) log: LogView,
    pub(super) snapshot: Option<(Snapshot, Bytes)>,
    pub(super) facts: Facts,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            log: LogView::new(LogState::default(), 0, Vec::new(), usize::MAX),
            snapshot: None,
            facts: Facts::default(),
        }
    }
}

#[derive(Default)]
pub(super) struct DiskState {
    pub(super) durable: Image,
    /// The store that has it open.
    pub(super) user: Option<Arc<Intake>>,
    /// What is being flushed right now.
    pub(super) in_work: Option<Batch>,
    stalled: bool,
    failing: bool,
    bytes_max: Option<u64>,
}

impl MemoryDisk {
    /// An empty disk that works.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine loses power: the store on this disk ends without a word, and what was not durable is gone,
    /// partially received snapshots included.
    pub fn crash(&self) {
        self.crash_keeping(|_| 0);
    }

    /// As [`crash`](Self::crash), but a random part of what was on its way, from its beginning, did reach the disk.
    /// Nobody was told that it did.
    pub fn crash_in_flight(&self) {
        self.crash_keeping(|waiting| {
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            usize::try_from(quorate_host::entropy::random_u64() % (waiting + 1)).unwrap_or(0)
        });
    }

    fn crash_keeping(&self, choose: impl Fn(usize) -> usize) {
        let mut state = self.lock();
        if let Some(user) = state.user.take() {
            let in_work = state.in_work.take();
            let (queued, committed) = user.abandon();
            let committed = committed.or(in_work.as_ref().and_then(|batch| batch.committed));
            let jobs: Vec<Job> = in_work
                .into_iter()
                .flat_map(|batch| batch.jobs)
                .chain(queued)
                .collect();
            let kept = choose(jobs.len());
            for job in jobs.iter().take(kept) {
                state.durable.log.apply_job(job);
            }
            if kept == jobs.len() {
                state.durable.log.save_committed(committed);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// While stalled, nothing becomes durable and nothing fails.
    pub fn stall(&self, stalled: bool) {
        self.lock().stalled = stalled;
        self.changed.notify_waiters();
    }

    /// While failing, each attempt to write is an IO error.
    pub fn fail_writes(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// Beyond so many bytes of entries and snapshots the disk is full; `None` is endless.
    pub fn limit_bytes(&self, bytes_max: Option<u64>) {
        self.lock().bytes_max = bytes_max;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the disk is not stalled, or when `user` no longer has it.
    pub(super) async fn ready(&self, user: &Arc<Intake>) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.lock();
                if !state.stalled || !state.is_used_by(user) {
                    return;
                }
            }
            changed.await;
        }
    }
}

impl DiskState {
    pub(super) fn is_used_by(&self, user: &Arc<Intake>) -> bool {
        self.user
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, user))
    }

    /// Why `more` bytes cannot be written now.
    pub(super) fn refusal(&self, more: usize) -> Option<std::io::Error> {
        if self.failing {
            return Some(std::io::Error::other("the simulated disk fails writes"));
        }
        let bytes_max = self.bytes_max?;
        let snapshot = self.durable.snapshot.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let used = self.durable.log.tail_bytes() + snapshot + more;
        (u64::try_from(used).unwrap_or(u64::MAX) > bytes_max).then(|| std::io::ErrorKind::StorageFull.into())
    }

    /// Makes a batch durable as a whole.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let bytes = batch.jobs.iter().map(job_bytes).sum();
        if let Some(cause) = self.refusal(bytes) {
            return Err(Fault::disk("writing the log", Path::new(PATH), cause));
        }
        for job in &batch.jobs {
            self.durable.log.apply_job(job);
        }
        self.durable.log.save_committed(batch.committed);
        Ok(())
    }
}

impl LogView {
    /// Repeats a write that another view found legal.
    fn apply_job(&mut self, job: &Job) {
        let Job::Write(request) = job else { return };
        let repeated = match &request.write {
            None => Ok(()),
            Some(Write::Append(entries)) => self.append(entries.clone(), 0).map(drop),
            Some(Write::Vote(vote)) => self.save_vote(*vote).map(drop),
            Some(Write::Truncate(keep)) => self.truncate_after(*keep).map(drop),
            Some(Write::Purge(upto) | Write::Restart { at: upto, .. }) => self.purge_upto(*upto).map(drop),
        };
        repeated.expect("what was legal in call order is legal when repeated in that order");
    }
}

fn job_bytes(job: &Job) -> usize {
    match job {
        Job::Write(request) => match &request.write {
            Some(write @ Write::Append(_)) => write.bytes(),
            _ => 0,
        },
        Job::Read(_) => 0,
    }
}
