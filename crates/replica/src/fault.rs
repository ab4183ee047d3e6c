//! Our own failures: a disk, a broken invariant, a state that differs. They stop the replica rather than let it diverge.
//!
//! Promises: the first fault is kept and told, with its causes; later ones add nothing. A replica with a fault takes no
//! proposals and serves no reads; its process should end, so that its peers know at once.

use std::sync::Arc;

use quorate_store::StoreError;
use quorate_types::{Index, NodeId};
use tokio::sync::watch;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The durable side failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// A committed entry cannot be applied.
    #[error("the entry at index {index} cannot be applied")]
    Machine {
        /// The entry.
        index: Index,
        /// Why not.
        #[source]
        cause: quorate_machine::Fault,
    },
    /// A snapshot cannot be restored.
    #[error("a snapshot cannot be restored: {why}")]
    Snapshot {
        /// Why not.
        why: String,
    },
    /// A majority of the group has another state at this index.
    #[error(
        "this replica's state differs from that of a majority at index {index}: its memory, disk or binary is faulty; \
         wipe its data directory and let it join anew"
    )]
    Diverged {
        /// The index of the comparison.
        index: Index,
    },
    /// The consensus stopped.
    #[error("the consensus stopped: {why}")]
    Raft {
        /// openraft's words.
        why: String,
    },
    /// The group goes on without this replica.
    #[error(
        "this replica was removed from its cluster, where it was node {node}, an id that is never used again; leave it \
         stopped, or delete its data directory to let it join as a new member"
    )]
    Removed {
        /// What it was.
        node: NodeId,
    },
    /// This replica cannot be part of the group it finds.
    #[error("{why}")]
    Formation {
        /// What is wrong and what to do.
        why: String,
    },
}

/// Where faults are raised and heard; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Faults(watch::Sender<Option<Arc<Fault>>>);

impl Faults {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Raises `fault`, unless there is one already.
    pub(crate) fn raise(&self, fault: Fault) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(Arc::new(fault));
            }
            is_first
        });
    }

    /// Tells of the first fault.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Fault>>> {
        self.0.subscribe()
    }
}

/// A fault and all its causes in one line, for logs and for people.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
