//! The trait that a replica sees, and the plain values that cross it.

use std::sync::Arc;

use bytes::Bytes;
use quorate_host::BoxFuture;
use quorate_types::{NodeId, Position, Term};
use tokio::sync::watch;

use crate::error::{Fault, StoreError};
use crate::facts::Facts;
use crate::identity::Identity;
use crate::snapshot::{Snapshot, SnapshotId, SnapshotInbox, SnapshotMeta, SnapshotReader, SnapshotWriter};
use crate::stats::StoreStats;

/// Bounds of what a store takes.
pub mod limits {
    /// Largest payload of one entry, bytes. Larger than the largest command with its envelope by an order of
    /// magnitude, small enough that a length read from a damaged disk cannot ask for all memory.
    pub const ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Largest record of a snapshot, bytes.
    pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Largest encoded membership, bytes: nine members with the longest names and addresses need 8 KiB.
    pub const MEMBERSHIP_BYTES_MAX: usize = 48 * 1024;
    /// Memberships that the store remembers; the oldest is forgotten.
    pub const MEMBERSHIPS_KEPT: usize = 32;
    /// Bytes of writes that may wait before [`Store::room`](super::Store::room) holds callers back.
    pub const QUEUE_BYTES_SOFT: usize = 64 * 1024 * 1024;
    /// Bytes of writes that may wait at all. A caller that ignores `room` and passes it stops the store.
    pub const QUEUE_BYTES_HARD: usize = 256 * 1024 * 1024;
}

/// Called once, on any thread, when the write is durable or has failed.
///
/// It must be quick and must not call back into the store.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A vote: the highest term that a replica has seen, the candidate it voted for in it, and whether that candidate
/// was elected.
///
/// The order is Raft's, made total: term, then candidate, then "elected" above "voted for". A vote never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The term.
    pub term: Term,
    /// The candidate.
    pub node: NodeId,
    /// Whether a quorum granted it, so that the candidate is the leader of the term.
    pub committed: bool,
}

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A command for the state machine.
    Command,
    /// A membership of the group.
    Membership,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// What its payload is.
    pub kind: EntryKind,
    /// Opaque to the store; at most [`limits::ENTRY_BYTES_MAX`].
    pub payload: Bytes,
}

/// Where the log stands, including what is accepted but not yet durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last saved vote.
    pub vote: Option<Vote>,
    /// The last saved commit position. After a crash it may be older than what was saved, never newer than `last`.
    pub committed: Option<Position>,
    /// The last entry that was removed from the front; a snapshot covers it.
    pub purged: Option<Position>,
    /// The last entry, or `purged` when no entry is left.
    pub last: Option<Position>,
}

/// The durable side of one replica.
///
/// All writes to the log (entries, votes, truncation, purge) become durable in the order of the calls, and their
/// callbacks run in that order. No method blocks the caller's thread.
///
/// After the first [`Fault`] every write fails with it: a failed flush is never tried again, because the kernel may
/// have dropped the pages it could not write.
pub trait Store: Send + Sync + 'static {
    /// Adds entries to the end of the log: readable when this returns, durable when `done` is called with `Ok`.
    ///
    /// Positions must continue the log without a hole; an empty log takes any first index. Await
    /// [`room`](Self::room) before.
    fn append(&self, entries: Vec<Entry>, done: Done);

    /// Resolves when writes may be queued: at once, unless the disk has fallen behind by
    /// [`limits::QUEUE_BYTES_SOFT`], or the store has stopped.
    fn room(&self) -> BoxFuture<'_, ()>;

    /// Saves the vote. A vote below the saved one is a broken invariant and stops the store.
    fn save_vote(&self, vote: Vote, done: Done);

    /// Remembers how far the log is committed. It rides with the next flush and causes none of its own.
    ///
    /// A position below the saved one or beyond the end of the log is ignored.
    fn save_committed(&self, committed: Option<Position>);

    /// Removes all entries after `last`. Does nothing when the log ends there or before.
    ///
    /// Removing a committed or purged entry is a broken invariant and stops the store.
    fn truncate_after(&self, last: Option<Position>, done: Done);

    /// Removes all entries up to and including `position` from the front. A position beyond the end, as after a
    /// snapshot was installed, empties the log, which then continues after it.
    ///
    /// The caller has a durable snapshot that reaches at least as far; without one the directory does not open again.
    fn purge_upto(&self, position: Position, done: Done);

    /// Where the log stands. Cheap.
    fn log_state(&self) -> LogState;

    /// The entries in `[from, to)` that the log holds, oldest first, until `bytes_max` of payload, but at least one
    /// when there is one. It may stop earlier: ask again from where it stopped.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when an entry cannot be read back, or the store has stopped.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// The newest complete snapshot. Cheap.
    fn snapshot(&self) -> Option<Snapshot>;

    /// Starts writing a snapshot; nothing of it counts before its `finish`.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`] when its file cannot be made; the store goes on.
    fn create_snapshot(
        &self,
        meta: SnapshotMeta,
    ) -> BoxFuture<'_, Result<Box<dyn SnapshotWriter>, StoreError>>;

    /// Opens the newest complete snapshot for reading or shipping; it stays readable when a newer one replaces it.
    ///
    /// # Errors
    /// [`StoreError::Fault`] when it cannot be opened.
    fn open_snapshot(&self) -> BoxFuture<'_, Result<Option<Box<dyn SnapshotReader>>, StoreError>>;

    /// Opens the inbox for a snapshot that another replica ships, where an earlier transfer of the same id stopped.
    /// There is one inbox: an earlier handle, or a transfer of another id, is superseded.
    ///
    /// # Errors
    /// [`StoreError::Snapshot`] when its file cannot be made; the store goes on.
    fn receive_snapshot(&self, id: SnapshotId) -> BoxFuture<'_, Result<Box<dyn SnapshotInbox>, StoreError>>;

    /// What is known about the data directory. Cheap.
    fn facts(&self) -> Facts;

    /// Gives the directory its identity, once; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::IdentityTaken`] when it has another one already.
    fn save_identity(&self, identity: Identity) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Adds a membership to the history; durable when this returns. Memberships after it in the log (of a truncated
    /// tail) are forgotten.
    ///
    /// # Errors
    /// [`StoreError::MembershipTooLarge`] beyond [`limits::MEMBERSHIP_BYTES_MAX`].
    fn save_membership(&self, position: Position, membership: Bytes)
    -> BoxFuture<'_, Result<(), StoreError>>;

    /// How the disk does.
    fn stats(&self) -> StoreStats;

    /// Turns to the first fault when it happens, and stays there.
    fn fault(&self) -> watch::Receiver<Option<Arc<Fault>>>;

    /// Makes durable what was accepted, and ends the store's threads. Later calls fail with [`StoreError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_ordered_by_term_then_candidate_then_election() {
        let vote = |term, node, committed| Vote {
            term: Term(term),
            node: NodeId(node),
            committed,
        };
        let ascending = [
            vote(1, 1, false),
            vote(1, 1, true),
            vote(1, 2, false),
            vote(2, 0, false),
            vote(2, 0, true),
        ];
        for pair in ascending.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }
}
