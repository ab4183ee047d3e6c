//! A store on a simulated disk, for simulation and tests.
//!
//! Promises: the same rules as the store on files, no threads, no real IO; writes become durable in call order after a
//! time on tokio's clock that is drawn from [`quorate_host::entropy`], so that a run under a paused clock is a
//! function of its seed. A crash loses what was not durable. Left out on purpose: damage (the store on files has the
//! tests for that) and bounds on memory.

mod disk;
mod snapshots;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_host::{BoxFuture, entropy};
use quorate_types::Position;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::error::{Fault, OpenError, StoreError};
use crate::facts::Facts;
use crate::identity::Identity;
use crate::intake::{Intake, Work};
use crate::snapshot::{Snapshot, SnapshotId, SnapshotInbox, SnapshotMeta, SnapshotReader, SnapshotWriter};
use crate::stats::StoreStats;
use crate::store::{Done, Entry, LogState, Store, Vote};

pub use disk::MemoryDisk;
use snapshots::Inboxes;

/// How long the simulated disk takes for one flush: drawn anew for each, between the two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLatency {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for MemoryLatency {
    /// What a good data-centre disk does.
    fn default() -> Self {
        Self {
            min: Duration::from_micros(100),
            max: Duration::from_millis(2),
        }
    }
}

/// See the module.
pub struct MemoryStore {
    machine: Machine,
    inboxes: Inboxes,
    flusher: JoinHandle<()>,
}

/// What the store and its handles share.
#[derive(Clone)]
struct Machine {
    disk: MemoryDisk,
    intake: Arc<Intake>,
    latency: MemoryLatency,
}

impl MemoryStore {
    /// Opens the disk; the boot is counted at once. Must run inside a tokio runtime, which runs the flushes.
    ///
    /// A store that is dropped without [`Store::close`] has crashed.
    ///
    /// # Errors
    /// [`OpenError::Locked`] while another store has it open.
    pub fn open(disk: &MemoryDisk, latency: MemoryLatency) -> Result<Self, OpenError> {
        let mut state = disk.lock();
        if state.user.is_some() {
            let path = disk::PATH.into();
            return Err(OpenError::Locked { path, pid: None });
        }
        state.durable.facts.boots += 1;
        let intake = Arc::new(Intake::new(state.durable.log.clone(), 0));
        state.user = Some(Arc::clone(&intake));
        drop(state);

        let machine = Machine {
            disk: disk.clone(),
            intake,
            latency,
        };
        let flusher = tokio::spawn(flush(machine.clone()));
        Ok(Self {
            machine,
            inboxes: Inboxes::default(),
            flusher,
        })
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.flusher.abort();
        if self.machine.disk.lock().is_used_by(&self.machine.intake) {
            self.machine.disk.crash();
        }
    }
}

impl Machine {
    /// Takes the time of one flush; then `write` makes something durable.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the machine crashed meanwhile, or was closed; or the first fault.
    async fn flush<T>(
        &self,
        write: impl FnOnce(&mut disk::DiskState) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.intake.check_open()?;
        self.pass_time().await;
        self.intake.check_open()?;
        let mut state = self.disk.lock();
        if !state.is_used_by(&self.intake) {
            return Err(StoreError::Closed);
        }
        write(&mut state)
    }

    async fn save_fact(
        &self,
        save: impl FnOnce(&mut Facts) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.flush(|state| match state.refusal(0) {
            None => save(&mut state.durable.facts),
            Some(cause) => {
                let fault = Fault::disk("writing facts", Path::new(disk::PATH), cause);
                Err(self.intake.fail(fault))
            }
        })
        .await
    }

    async fn pass_time(&self) {
        let span = self.latency.max.saturating_sub(self.latency.min);
        sleep(self.latency.min + span.mul_f64(entropy::random_fraction())).await;
        self.disk.ready(&self.intake).await;
    }
}

/// Makes batch after batch durable until the store is closed, fails or crashes.
async fn flush(machine: Machine) {
    let Machine { disk, intake, .. } = &machine;
    loop {
        match intake.work().await {
            Work::Stop => return,
            Work::Close(committed) => {
                let mut state = disk.lock();
                if state.is_used_by(intake) {
                    state.durable.log.save_committed(committed);
                    state.user = None;
                }
                drop(state);
                return intake.closed();
            }
            Work::Batch(batch) => {
                let began = Instant::now();
                disk.lock().in_work = Some(batch);
                machine.pass_time().await;
                let mut state = disk.lock();
                // A crash took it.
                let Some(batch) = state.in_work.take() else {
                    return;
                };
                let written = state.write(&batch);
                let log_bytes = state.durable.log.tail_bytes();
                drop(state);
                match written {
                    Ok(()) => {
                        let log_bytes = u64::try_from(log_bytes).unwrap_or(u64::MAX);
                        intake.settle(batch, began.elapsed(), log_bytes);
                    }
                    Err(fault) => intake.fail_batch(batch, fault),
                }
            }
        }
    }
}

impl Store for MemoryStore {
    fn append(&self, entries: Vec<Entry>, done: Done) {
        self.machine
            .intake
            .submit(done, |view, sequence| view.append(entries, sequence).map(Some));
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.machine.intake.room())
    }

    fn save_vote(&self, vote: Vote, done: Done) {
        self.machine
            .intake
            .submit(done, |view, _| view.save_vote(vote).map(Some));
    }

    fn save_committed(&self, committed: Option<Position>) {
        self.machine.intake.save_committed(committed);
    }

    fn truncate_after(&self, last: Option<Position>, done: Done) {
        self.machine
            .intake
            .submit(done, |view, _| view.truncate_after(last));
    }

    fn purge_upto(&self, position: Position, done: Done) {
        self.machine
            .intake
            .submit(done, |view, _| view.purge_upto(position));
    }

    fn log_state(&self) -> LogState {
        self.machine.intake.log_state()
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(async move {
            match self.machine.intake.read(from, to, bytes_max)? {
                Ok(entries) => Ok(entries),
                Err(_) => unreachable!("the simulated disk's tail holds every entry"),
            }
        })
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let state = self.machine.disk.lock();
        state
            .durable
            .snapshot
            .as_ref()
            .map(|(snapshot, _)| snapshot.clone())
    }

    fn create_snapshot(
        &self,
        meta: SnapshotMeta,
    ) -> BoxFuture<'_, Result<Box<dyn SnapshotWriter>, StoreError>> {
        Box::pin(async move {
            self.machine.intake.check_open()?;
            Ok(snapshots::writer(self.machine.clone(), meta))
        })
    }

    fn open_snapshot(&self) -> BoxFuture<'_, Result<Option<Box<dyn SnapshotReader>>, StoreError>> {
        Box::pin(async move {
            self.machine.intake.check_open()?;
            let newest = self.machine.disk.lock().durable.snapshot.clone();
            Ok(newest.map(|(snapshot, bytes)| snapshots::reader(self.machine.clone(), snapshot, bytes)))
        })
    }

    fn receive_snapshot(&self, id: SnapshotId) -> BoxFuture<'_, Result<Box<dyn SnapshotInbox>, StoreError>> {
        Box::pin(async move {
            self.machine.intake.check_open()?;
            Ok(self.inboxes.open(self.machine.clone(), id))
        })
    }

    fn facts(&self) -> Facts {
        self.machine.disk.lock().durable.facts.clone()
    }

    fn save_identity(&self, identity: Identity) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(
            self.machine
                .save_fact(move |facts| facts.take_identity(identity).map(drop)),
        )
    }

    fn save_membership(
        &self,
        position: Position,
        membership: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(
            self.machine
                .save_fact(move |facts| facts.add_membership(position, membership)),
        )
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            snapshot_bytes: self.snapshot().map_or(0, |snapshot| snapshot.id.bytes),
            ..self.machine.intake.stats()
        }
    }

    fn fault(&self) -> watch::Receiver<Option<Arc<Fault>>> {
        self.machine.intake.fault()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.machine.intake.close())
    }
}
