//! openraft's state machine on ours: committed entries in, answers out, images published.
//!
//! Promises: a batch of committed entries is applied as a whole, then the new image is published, then the proposers
//! are answered, then the watchers are woken, in that order, so that nobody sees an answer before its effect. An entry that
//! cannot be applied is a fault: the replica stops rather than guess. A snapshot is taken from an immutable image while
//! entries go on being applied.
//!
//! Left out on purpose: what commands mean (`quorate-machine`), and where bytes go (`quorate-store`).

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use quorate_machine::{Image, Machine};
use quorate_store::{SnapshotReader, Store, StoreError};
use quorate_types::Index;
use tokio::sync::watch;

use super::membership;
use super::types::{self, Applied, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::digests::Digests;
use crate::failover::Reign;
use crate::fault::{Fault, Faults, chain};
use crate::published::Published;

/// Entries that are applied before an image is published. A restart applies many thousands; readers need not see each.
const BATCH_MAX: usize = 1_024;
/// Records that are handed to the store at once.
const RECORDS_PER_WRITE: usize = 256;

/// Bytes that are copied at once when a snapshot is not in the store yet.
const COPY_BYTES: usize = 1024 * 1024;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Box<dyn SnapshotReader>>;

/// See the module. Owned by openraft's state machine task.
pub(crate) struct StateMachine {
    machine: Machine,
    applied: Option<LogId>,
    membership: StoredMembership,
    store: Arc<dyn Store>,
    published: Published,
    digests: Arc<Digests>,
    /// The newest reign whose first entry is applied.
    applied_reign: watch::Sender<Option<Reign>>,
    faults: Faults,
}

impl StateMachine {
    pub(crate) fn new(
        machine: Machine,
        store: Arc<dyn Store>,
        published: Published,
        digests: Arc<Digests>,
        applied_reign: watch::Sender<Option<Reign>>,
        faults: Faults,
    ) -> Self {
        let membership = StoredMembership::default();
        Self {
            machine,
            applied: None,
            membership,
            store,
            published,
            digests,
            applied_reign,
            faults,
        }
    }

    /// Raises a fault and words it for openraft, which then stops.
    fn stop(&self, fault: Fault) -> io::Error {
        let text = chain(&fault);
        self.faults.raise(fault);
        io::Error::other(text)
    }

    async fn apply_entry(&mut self, entry: Entry) -> Result<Applied, io::Error> {
        let index = Index(entry.log_id.index);
        let fault = |cause| Fault::Machine { index, cause };
        let outcome = match entry.payload {
            EntryPayload::Normal(command) => match self.machine.apply(index, &command.0) {
                Ok(applied) => Some(applied.outcome),
                Err(cause) => return Err(self.stop(fault(cause))),
            },
            EntryPayload::Blank => {
                self.machine
                    .skip(index)
                    .map_err(|cause| self.stop(fault(cause)))?;
                let reign = Reign::of(entry.log_id.committed_leader_id());
                self.applied_reign.send_replace(Some(reign));
                None
            }
            EntryPayload::Membership(membership) => {
                self.machine
                    .skip(index)
                    .map_err(|cause| self.stop(fault(cause)))?;
                let position = types::position(&entry.log_id);
                let saved = self
                    .store
                    .save_membership(position, membership::encode(&membership))
                    .await;
                saved.map_err(|error| self.stop(Fault::Store(error)))?;
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                None
            }
        };
        self.applied = Some(entry.log_id);
        // An image costs the same whatever the size: a clone of persistent maps.
        let image = self.machine.image();
        self.digests.note(index, || image.digest());
        Ok(Applied {
            outcome,
            revision: image.revision(),
            index,
        })
    }

    async fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> Result<(), io::Error> {
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Applied)> = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            let applied = self.apply_entry(entry).await?;
            answers.extend(responder.map(|responder| (responder, applied)));
        }
        self.published.publish(self.machine.image());
        for (responder, applied) in answers {
            responder.send(applied);
        }
        self.published.announce();
        Ok(())
    }

    async fn restore(
        &mut self,
        meta: &SnapshotMeta,
        mut reader: Box<dyn SnapshotReader>,
    ) -> Result<(), Fault> {
        let mut records = Vec::new();
        while let Some(more) = reader.next().await.map_err(Fault::Store)? {
            records.extend(more);
        }
        let records = records.into_iter().map(Ok::<_, std::convert::Infallible>);
        self.machine = Machine::restore(records).map_err(|error| Fault::Snapshot { why: chain(&error) })?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published.publish(self.machine.image());
        self.published.announce();
        Ok(())
    }
}

/// openraft's words for a snapshot of the store.
pub(crate) fn meta(meta: &quorate_store::SnapshotMeta) -> Result<SnapshotMeta, membership::MembershipError> {
    let membership = match meta.membership.is_empty() {
        true => StoredMembership::default(),
        false => {
            let position = meta.membership_position.map(types::log_id);
            StoredMembership::new(position, membership::decode(&meta.membership)?)
        }
    };
    Ok(SnapshotMeta {
        last_log_id: meta.last.map(types::log_id),
        last_membership: membership,
    })
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Box<dyn SnapshotReader>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH_MAX);
        while let Some(batch) = batches.next().await {
            let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
            self.apply_batch(batch).await?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            image: self.machine.image(),
            applied: self.applied,
            membership: self.membership.clone(),
            store: Arc::clone(&self.store),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<dyn SnapshotReader>,
    ) -> Result<(), io::Error> {
        let kept = keep(&*self.store, snapshot)
            .await
            .map_err(|error| self.stop(Fault::Store(error)))?;
        self.restore(meta, kept).await.map_err(|fault| self.stop(fault))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        current(&*self.store).await
    }
}

/// Sees to it that the store has the snapshot: it has when the peer service received it, and after a restart.
async fn keep(
    store: &dyn Store,
    mut snapshot: Box<dyn SnapshotReader>,
) -> Result<Box<dyn SnapshotReader>, StoreError> {
    let id = snapshot.snapshot().id;
    if store.snapshot().is_some_and(|kept| kept.id == id) {
        return Ok(snapshot);
    }
    let mut inbox = store.receive_snapshot(id).await?;
    let mut offset = inbox.offset();
    while offset < id.bytes {
        let bytes = snapshot.read_range(offset, COPY_BYTES).await?;
        offset = inbox.write(offset, bytes).await?;
    }
    inbox.finish().await?;
    Ok(snapshot)
}

async fn current(store: &dyn Store) -> Result<Option<Snapshot>, io::Error> {
    let Some(reader) = store.open_snapshot().await.map_err(io::Error::other)? else {
        return Ok(None);
    };
    let meta = meta(&reader.snapshot().meta).map_err(io::Error::other)?;
    Ok(Some(Snapshot {
        meta,
        snapshot: reader,
    }))
}

/// Writes one snapshot, of one moment.
pub(crate) struct Builder {
    image: Image,
    applied: Option<LogId>,
    membership: StoredMembership,
    store: Arc<dyn Store>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Box<dyn SnapshotReader>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let meta = quorate_store::SnapshotMeta {
            last: self.applied.as_ref().map(types::position),
            membership_position: self.membership.log_id().as_ref().map(types::position),
            membership: membership::encode(self.membership.membership()),
        };
        let mut writer = self.store.create_snapshot(meta).await.map_err(io::Error::other)?;
        let mut records = self.image.snapshot_records();
        loop {
            let some: Vec<_> = records.by_ref().take(RECORDS_PER_WRITE).collect();
            if some.is_empty() {
                break;
            }
            writer.write(some).await.map_err(io::Error::other)?;
        }
        let written = writer.finish(None).await.map_err(io::Error::other)?;
        tracing::info!(
            records = written.records,
            bytes = written.id.bytes,
            "took a snapshot"
        );
        current(&*self.store)
            .await?
            .ok_or_else(|| io::Error::other("the snapshot that was just taken is gone"))
    }
}

#[cfg(test)]
impl StateMachine {
    /// Skips what lies before `index`, as no group ever does; see [`super::suite`].
    pub(crate) fn skip_to(&mut self, index: Index) {
        let next = self.machine.image().position().map_or(0, |last| last.0 + 1);
        for skipped in next..index.0 {
            self.machine
                .skip(Index(skipped))
                .expect("indexes follow one another");
        }
    }
}
