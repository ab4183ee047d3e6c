//! openraft's own suite for logs and state machines, over both stores.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use openraft::{OptionalSend, StorageError};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use quorate_machine::Machine;
use quorate_store::{MemoryDisk, MemoryLatency, MemoryStore, SnapshotReader, Store};
use quorate_types::Index;
use tokio::sync::watch;

use super::log::RaftLog;
use super::state::{Builder, StateMachine};
use super::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::digests::Digests;
use crate::fault::Faults;
use crate::published::Published;

/// The state machine under test. The suite begins at indexes above 0, which no group does and which ours calls a
/// fault, so what is left out in front is skipped first.
struct Suited(StateMachine);

fn state_machine(store: Arc<dyn Store>) -> Suited {
    let machine = Machine::genesis();
    let published = Published::new(machine.image());
    let (applied_reign, _) = watch::channel(None);
    let digests = Arc::new(Digests::default());
    Suited(StateMachine::new(machine, store, published, digests, applied_reign, Faults::new()))
}

impl RaftStateMachine<TypeConfig> for Suited {
    type SnapshotData = Box<dyn SnapshotReader>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.0.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let entries: Vec<_> = entries.try_collect().await?;
        if let Some((first, _)) = entries.first() {
            self.0.skip_to(Index(first.index()));
        }
        self.0.apply(stream::iter(entries).map(Ok)).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.0.get_snapshot_builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<dyn SnapshotReader>,
    ) -> Result<(), io::Error> {
        self.0.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<TypeConfig, Box<dyn SnapshotReader>>>, io::Error> {
        self.0.get_current_snapshot().await
    }
}

struct InMemory;

impl StoreBuilder<TypeConfig, RaftLog, Suited> for InMemory {
    async fn build(&self) -> Result<((), RaftLog, Suited), StorageError<TypeConfig>> {
        let store = MemoryStore::open(&MemoryDisk::new(), MemoryLatency::default()).expect("a fresh disk opens");
        let store: Arc<dyn Store> = Arc::new(store);
        Ok(((), RaftLog::new(Arc::clone(&store)), state_machine(store)))
    }
}

#[tokio::test]
async fn the_simulated_disk_passes_openrafts_suite() {
    Suite::test_all(InMemory).await.expect("the suite passes");
}
