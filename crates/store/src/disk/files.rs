//! The second thread of a store: snapshots and facts, so that a large snapshot never delays the log.
//!
//! Work comes as closures, which take the file they work on with them and bring it back: at any time a file belongs to
//! one side. The queue is bounded; a caller waits for room in it, and each handle has one piece of work in it at most.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::facts::DurableSled;
use super::snapshots::SnapshotFiles;
use crate::error::{Fault, StoreError};
use crate::facts::Facts;
use crate::intake::Intake;
use crate::snapshot::Snapshot;

const QUEUE: usize = 64;

/// What the thread owns.
pub(super) struct Owned {
    pub(super) sled: DurableSled,
    pub(super) snapshots: SnapshotFiles,
    /// The facts as they are on disk.
    pub(super) facts: Facts,
    pub(super) identity_path: PathBuf,
    pub(super) shared: Arc<Shared>,
}

impl Owned {
    /// These facts are durable now.
    pub(super) fn set_facts(&mut self, facts: Facts) {
        self.facts.clone_from(&facts);
        self.shared.set_facts(facts);
    }
}

/// What everybody may look at while the thread works.
#[derive(Default)]
pub(super) struct Shared {
    facts: Mutex<Facts>,
    newest: Mutex<Option<Snapshot>>,
}

impl Shared {
    pub(super) fn facts(&self) -> Facts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_facts(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    pub(super) fn newest(&self) -> Option<Snapshot> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_newest(&self, newest: Option<Snapshot>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = newest;
    }
}

type Job = Box<dyn FnOnce(&mut Owned) + Send>;

/// The way to the thread. Clones lead to the same one.
#[derive(Clone)]
pub(super) struct Files {
    /// `None` tells the thread to end, after everything that was sent before.
    sender: mpsc::Sender<Option<Job>>,
    intake: Arc<Intake>,
}

impl Files {
    pub(super) fn new(intake: Arc<Intake>) -> (Self, mpsc::Receiver<Option<Job>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, intake }, receiver)
    }

    /// Runs `work` on the thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Owned) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.intake.check_open()?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |owned| {
            // A caller that went away needs no answer.
            let _ = answer.send(work(owned));
        });
        let gone = || self.intake.check_open().err().unwrap_or(StoreError::Closed);
        self.sender.send(Some(job)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Drops `value` on the thread, for what touches files when it is dropped. When the queue is full it is dropped
    /// here instead.
    pub(super) fn discard<T: Send + 'static>(&self, value: T) {
        drop(self.sender.try_send(Some(Box::new(move |_| drop(value)))));
    }

    /// Stops the store.
    pub(super) fn fail(&self, doing: &str, path: &Path, error: std::io::Error) -> StoreError {
        self.intake.fail(Fault::disk(doing, path, error))
    }

    /// Stops the store because of what it read.
    pub(super) fn fail_damaged(&self, sentence: String, cause: Option<std::io::Error>) -> StoreError {
        self.intake.fail(Fault::damage(sentence, cause))
    }

    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        self.intake.check_open()
    }

    /// Tells the thread to end. Waits for room in its queue when there is none.
    pub(super) async fn end(&self) {
        // When the thread has ended already there is nobody to tell.
        let _ = self.sender.send(None).await;
    }

    /// As [`end`](Self::end), for a thread that may block.
    pub(super) fn end_blocking(&self) {
        let mut last = None;
        loop {
            match self.sender.try_send(last) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(back)) => {
                    last = back;
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// The thread: works until it is told to end.
pub(super) fn run(mut owned: Owned, mut jobs: mpsc::Receiver<Option<Job>>, intake: &Intake) {
    while let Some(Some(job)) = jobs.blocking_recv() {
        if catch_unwind(AssertUnwindSafe(|| job(&mut owned))).is_err() {
            intake.fail(Fault::invariant("the thread for snapshots and facts panicked"));
            return;
        }
    }
}
