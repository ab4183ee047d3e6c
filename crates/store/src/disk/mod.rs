//! A store on files: a log of raft-log's, snapshots, and facts in sled and in a text file.
//!
//! Two threads: one owns the log, one the snapshots and facts. Opening happens on the first of them, so that nothing
//! here blocks its caller.

mod boot;
mod directory;
mod facts;
mod files;
mod inspect;
mod log;
mod offline;
mod record;
mod snapshots;
mod staging;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use quorate_host::BoxFuture;
use quorate_types::Position;
use tokio::sync::{oneshot, watch};

use crate::error::{Fault, OpenError, StoreError};
use crate::facts::Facts;
use crate::identity::Identity;
use crate::intake::Intake;
use crate::snapshot::{Snapshot, SnapshotId, SnapshotInbox, SnapshotMeta, SnapshotReader, SnapshotWriter};
use crate::stats::StoreStats;
use crate::store::{Done, Entry, LogState, Store, Vote};

use boot::{Booted, boot};
use files::{Files, Shared};

pub use offline::{DirectoryContents, OfflineDirectory};
pub use staging::NewDirectory;

/// Sizes that tests make small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOptions {
    /// A chunk of the log is closed when it has so many bytes. Space is freed in chunks.
    pub chunk_bytes: usize,
    /// Bytes of the newest entries that stay in memory; at least a chunk.
    pub tail_bytes: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            chunk_bytes: 8 * 1024 * 1024,
            tail_bytes: 32 * 1024 * 1024,
        }
    }
}

/// See the module. Dropping it without [`Store::close`] does the same, and blocks while it does.
pub struct DiskStore {
    intake: Arc<Intake>,
    files: Files,
    shared: Arc<Shared>,
    /// Taken when they are joined.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Never changes; closed when both threads have ended.
    ended: watch::Receiver<()>,
}

impl DiskStore {
    /// Opens the data directory at `path`, or makes it.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do; nothing was changed then.
    pub async fn open(path: &Path, options: DiskOptions) -> Result<Self, OpenError> {
        let (sender, receiver) = oneshot::channel();
        let path = path.to_owned();
        let on_thread = path.clone();
        let log_thread = thread::Builder::new()
            .name("quorate-log".to_owned())
            .spawn(move || match boot(&on_thread, options) {
                Err(error) => drop(sender.send(Err(error))),
                Ok(booted) => serve(booted, |opened| sender.send(opened).is_ok()),
            })
            .map_err(|error| OpenError::io("starting a thread for", &path, error))?;
        match receiver.await {
            Ok(opened) => {
                let (mut store, files_thread) = opened?;
                let threads = store.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
                threads.extend([files_thread, log_thread]);
                Ok(store)
            }
            Err(_) => {
                let error = std::io::Error::other("the thread that opened it panicked");
                Err(OpenError::io("opening", &path, error))
            }
        }
    }

    /// Joins the threads, which have been told to end.
    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A callback may own the store, and drop it on the very thread that called it.
            if thread.thread().id() == thread::current().id() {
                continue;
            }
            // Their panics are caught inside and have become faults.
            let _ = thread.join();
        }
    }
}

type Opened = Result<(DiskStore, JoinHandle<()>), OpenError>;

/// Hands the store to its opener, then is its log thread.
fn serve(booted: Booted, hand_over: impl FnOnce(Opened) -> bool) {
    let Booted {
        lock,
        view,
        log,
        owned,
    } = booted;
    let lock = Arc::new(lock);
    let intake = Arc::new(Intake::new(view, log.bytes()));
    let shared = Arc::clone(&owned.shared);
    let (files, jobs) = Files::new(Arc::clone(&intake));

    let (running, ended) = watch::channel(());
    let (for_files, theirs) = (Arc::clone(&intake), (Arc::clone(&lock), running.clone()));
    let spawned = thread::Builder::new()
        .name("quorate-files".to_owned())
        .spawn(move || {
            files::run(owned, jobs, &for_files);
            drop(theirs);
        });
    let handed_over = match spawned {
        Ok(thread) => hand_over(Ok((
            DiskStore {
                intake: Arc::clone(&intake),
                files,
                shared,
                threads: Mutex::new(Vec::new()),
                ended,
            },
            thread,
        ))),
        Err(error) => {
            let error = OpenError::io("starting a thread for", Path::new("the store"), error);
            hand_over(Err(error));
            false
        }
    };
    if handed_over && catch_unwind(AssertUnwindSafe(|| log.run(&intake))).is_err() {
        intake.fail(Fault::invariant("the log's thread panicked"));
    }
    // In this order: who waits for the end finds the directory free.
    drop((lock, running));
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.intake.begin_closing();
        self.files.end_blocking();
        self.join();
    }
}

impl Store for DiskStore {
    fn append(&self, entries: Vec<Entry>, done: Done) {
        self.intake
            .submit(done, |view, sequence| view.append(entries, sequence).map(Some));
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.intake.room())
    }

    fn save_vote(&self, vote: Vote, done: Done) {
        self.intake.submit(done, |view, _| view.save_vote(vote).map(Some));
    }

    fn save_committed(&self, committed: Option<Position>) {
        self.intake.save_committed(committed);
    }

    fn truncate_after(&self, last: Option<Position>, done: Done) {
        self.intake.submit(done, |view, _| view.truncate_after(last));
    }

    fn purge_upto(&self, position: Position, done: Done) {
        self.intake.submit(done, |view, _| view.purge_upto(position));
    }

    fn log_state(&self) -> LogState {
        self.intake.log_state()
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(async move {
            match self.intake.read(from, to, bytes_max)? {
                Ok(entries) => Ok(entries),
                Err(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
            }
        })
    }

    fn snapshot(&self) -> Option<Snapshot> {
        self.shared.newest()
    }

    fn create_snapshot(
        &self,
        meta: SnapshotMeta,
    ) -> BoxFuture<'_, Result<Box<dyn SnapshotWriter>, StoreError>> {
        Box::pin(async move {
            let writer = snapshots::Writer::create(self.files.clone(), meta).await?;
            Ok(Box::new(writer) as Box<dyn SnapshotWriter>)
        })
    }

    fn open_snapshot(&self) -> BoxFuture<'_, Result<Option<Box<dyn SnapshotReader>>, StoreError>> {
        Box::pin(async move {
            let reader = snapshots::Reader::open(self.files.clone()).await?;
            Ok(reader.map(|reader| Box::new(reader) as Box<dyn SnapshotReader>))
        })
    }

    fn receive_snapshot(&self, id: SnapshotId) -> BoxFuture<'_, Result<Box<dyn SnapshotInbox>, StoreError>> {
        Box::pin(async move {
            let inbox = snapshots::Inbox::open(self.files.clone(), id).await?;
            Ok(Box::new(inbox) as Box<dyn SnapshotInbox>)
        })
    }

    fn facts(&self) -> Facts {
        self.shared.facts()
    }

    fn save_identity(&self, identity: Identity) -> BoxFuture<'_, Result<(), StoreError>> {
        let files = self.files.clone();
        Box::pin(self.files.run(move |owned| {
            let mut facts = owned.facts.clone();
            if facts.take_identity(identity)? {
                boot::write_identity(&owned.identity_path, &owned.sled, &facts)
                    .map_err(|error| files.fail("writing", &owned.identity_path, error))?;
                owned.set_facts(facts);
            }
            Ok(())
        }))
    }

    fn save_membership(
        &self,
        position: Position,
        membership: Bytes,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let files = self.files.clone();
        Box::pin(self.files.run(move |owned| {
            let mut facts = owned.facts.clone();
            facts.add_membership(position, membership)?;
            let batch = facts::encode_memberships(&owned.facts.memberships, &facts.memberships);
            let written = owned.sled.write(batch);
            written.map_err(|error| files.fail("writing facts", &owned.identity_path, error))?;
            owned.set_facts(facts);
            Ok(())
        }))
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            snapshot_bytes: self.snapshot().map_or(0, |snapshot| snapshot.id.bytes),
            ..self.intake.stats()
        }
    }

    fn fault(&self) -> watch::Receiver<Option<Arc<Fault>>> {
        self.intake.fault()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.intake.begin_closing();
            self.files.end().await;
            let mut ended = self.ended.clone();
            while ended.changed().await.is_ok() {}
            self.join();
        })
    }
}
