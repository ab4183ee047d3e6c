//! openraft's log on our store.
//!
//! Promises: what openraft asks of a log (see its `RaftLogStorage`): entries are readable when `append` returns and on
//! disk when its callback runs; a vote is on disk when `save_vote` returns, with one exception that is safe (below);
//! all writes keep their order. Left out on purpose: files, which are the store's.
//!
//! # The vote that is not flushed on its own
//!
//! A leader and its followers save the vote of one election twice: as a candidate's, and again as "committed" once a
//! quorum has granted it. The second save sits on the critical path of every failover. Only its order matters, not that it is
//! on disk at once: a replica that crashes between the two comes back with the candidate's vote of the same (term,
//! node), which still refuses every lower vote, and the mark "committed" only says who leads, which nobody may be after
//! a restart anyway (`enable_leader_restore` is off). Entries of that leader come later in the same stream, so they are
//! never on disk without it. So a save that only adds the mark is queued and not waited for.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use quorate_store::{EntryKind, Store, StoreError};
use quorate_types::limits::APPEND_BYTES_MAX;
use tokio::sync::oneshot;

use super::membership;
use super::types::{self, CommandBytes, Entry, LogId, TypeConfig, Vote};

/// The adapter; openraft clones it for each replication stream.
#[derive(Clone)]
pub(crate) struct RaftLog {
    store: Arc<dyn Store>,
}

impl RaftLog {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Entries of `[from, to)`, at least one if there is one, and about [`APPEND_BYTES_MAX`] of payload at most.
    async fn page(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let entries = self
            .store
            .read(from, to, APPEND_BYTES_MAX)
            .await
            .map_err(io::Error::other)?;
        entries.into_iter().map(from_stored).collect()
    }
}

fn to_stored(entry: Entry) -> quorate_store::Entry {
    let position = types::position(&entry.log_id);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, bytes::Bytes::new()),
        EntryPayload::Normal(CommandBytes(bytes)) => (EntryKind::Command, bytes),
        EntryPayload::Membership(membership) => (EntryKind::Membership, membership::encode(&membership)),
    };
    quorate_store::Entry {
        position,
        kind,
        payload,
    }
}

fn from_stored(entry: quorate_store::Entry) -> io::Result<Entry> {
    let payload = match entry.kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Command => EntryPayload::Normal(CommandBytes(entry.payload)),
        EntryKind::Membership => {
            EntryPayload::Membership(membership::decode(&entry.payload).map_err(io::Error::other)?)
        }
    };
    Ok(Entry {
        log_id: types::log_id(entry.position),
        payload,
    })
}

fn to_stored_vote(vote: &Vote) -> quorate_store::Vote {
    quorate_store::Vote {
        term: quorate_types::Term(vote.leader_id.term),
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

fn from_stored_vote(vote: quorate_store::Vote) -> Vote {
    types::vote(vote.term, vote.node, vote.committed)
}

/// First and past-the-last index of a range.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

/// A callback and the future that it resolves.
fn awaited() -> (quorate_store::Done, impl Future<Output = io::Result<()>>) {
    let (sender, receiver) = oneshot::channel::<Result<(), StoreError>>();
    let done: quorate_store::Done = Box::new(move |result| {
        // openraft may have been dropped meanwhile.
        let _ = sender.send(result);
    });
    let wait = async move {
        match receiver.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the store dropped a write")),
        }
    };
    (done, wait)
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (mut from, to) = bounds(&range);
        let mut entries = Vec::new();
        while from < to {
            let page = self.page(from, to).await?;
            let Some(last) = page.last() else { break };
            from = last.index() + 1;
            entries.extend(page);
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Page by page: a restart may apply a hundred thousand entries, which need not all be in memory at once.
        let (from, to) = bounds(&range);
        let log = self.clone();
        let pages = stream::unfold(Some(from), move |from| {
            let log = log.clone();
            async move {
                let from = from.filter(|from| *from < to)?;
                match log.page(from, to).await {
                    Ok(page) => {
                        let next = page.last().map(|last| last.index() + 1)?;
                        Some((page.into_iter().map(Ok).collect::<Vec<_>>(), Some(next)))
                    }
                    Err(error) => Some((vec![Err(error)], None)),
                }
            }
        });
        Box::pin(pages.flat_map(stream::iter))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.store.log_state().vote.map(from_stored_vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.page(start, end).await
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.store.log_state();
        let last_purged_log_id = state.purged.map(types::log_id);
        Ok(LogState {
            last_purged_log_id,
            last_log_id: state.last.map(types::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = to_stored_vote(vote);
        let only_marks = self.store.log_state().vote
            == Some(quorate_store::Vote {
                committed: false,
                ..vote
            });
        let (done, durable) = awaited();
        self.store.save_vote(vote, done);
        if vote.committed && only_marks {
            // See the module: the order is kept, and that is all that matters here.
            return Ok(());
        }
        durable.await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.store
            .save_committed(committed.map(|committed| types::position(&committed)));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.store.log_state().committed.map(types::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().map(to_stored).collect();
        // Holds Raft back while the disk is far behind: proposals then wait in their own bounded queue.
        self.store.room().await;
        self.store.append(
            entries,
            Box::new(move |result| callback.io_completed(result.map_err(io::Error::other))),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let (done, durable) = awaited();
        self.store
            .truncate_after(last.map(|last| types::position(&last)), done);
        durable.await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let (done, _) = awaited();
        self.store.purge_upto(types::position(&upto), done);
        // Nobody waits: purged entries that are still on disk after a crash are purged again.
        Ok(())
    }
}
