//! The immutable state for readers.
//!
//! Promises: an image never changes; any number of threads read it without locks; a describe or a has costs O(log n), a
//! page its rows. Left out on purpose: freshness. Whether an image is new enough to answer a reader is the business of
//! whoever handed it out.

use std::sync::Arc;

use bytes::Bytes;
use quorate_types::{ClientId, Epoch, Index, LogTime, Revision};

use crate::audit::{self, Damage};
use crate::clients::IdleClient;
use crate::domain::kv::{KvRange, KvRanged};
use crate::domain::root::{Alias, Collection, Database, Partition, alias, collection, database, partition};
use crate::domain::session::{self, Session, WorkerKind};
use crate::keyspace::{ChangeSet, Compacted, HistoryIter};
use crate::lease::{self, Lease};
use crate::object_id::{CollectionId, LeaseId};
use crate::page::{Page, PageRequest};
use crate::refusal::KvAuthRule;
use crate::refusal::Refusal;
use crate::reply::Outcome;
use crate::resource::{Resource, ResourceKind};
use crate::state::State;
use crate::user::{KvAuth, KvCaller, KvHash, KvLease, KvLeases, KvNeed};
use crate::{answer, digest, snapshot};

/// See the module. A clone costs the same whatever the size.
#[derive(Debug, Clone)]
pub struct Image {
    state: State,
}

/// How many of each there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Databases.
    pub databases: u64,
    /// Collections in all databases.
    pub collections: u64,
    /// Partitions of all collections.
    pub partitions: u64,
    /// Aliases in all databases.
    pub aliases: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Registered clients.
    pub clients: u64,
    /// Answers remembered for them.
    pub answers: u64,
    /// Rows of all tables, and etcd's keys.
    pub rows: u64,
    /// Bytes of all keys and values.
    pub row_bytes: u64,
    /// Changes kept for watchers.
    pub history_changes: u64,
    /// Bytes of keys and values in these changes, before and after each. What a row of now has as well is counted again.
    pub history_bytes: u64,
}

/// Where the image stands.
impl Image {
    pub(crate) fn new(state: State) -> Self {
        Self { state }
    }

    /// Index of the last entry that the image includes; `None` before the first.
    #[must_use]
    pub fn position(&self) -> Option<Index> {
        self.state.position
    }

    /// Revision of the metadata.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.meta.revision()
    }

    /// The running maximum of the proposers' stamps.
    #[must_use]
    pub fn log_time(&self) -> LogTime {
        self.state.log_time
    }

    /// The replicated feature level.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.state.head.feature_level
    }

    /// The digest of everything that replicas must agree on at this position. O(1).
    #[must_use]
    pub fn digest(&self) -> u128 {
        digest::state(&self.state)
    }

    /// The same without the place in the log and log time: a cluster that was restored from a backup has the backup's,
    /// until something changes. O(1).
    #[must_use]
    pub fn content_digest(&self) -> u128 {
        digest::content(&self.state)
    }

    /// Checks the state against itself, from scratch: every row decodes, indexes and objects fit, counts and digest are
    /// right. O(n log n): for tests, and for an operator who doubts a replica.
    ///
    /// # Errors
    /// [`Damage`] names the first thing that does not fit.
    pub fn audit(&self) -> Result<(), Damage> {
        audit::state(&self.state)
    }

    /// How many of each there are. O(1).
    #[must_use]
    pub fn counts(&self) -> Counts {
        let State {
            meta,
            user,
            head,
            clients,
            ..
        } = &self.state;
        Counts {
            databases: head.tally.databases,
            collections: head.tally.collections,
            partitions: head.tally.partitions,
            aliases: head.tally.aliases,
            sessions: head.tally.sessions,
            clients: clients.len() as u64,
            answers: clients.answers() as u64,
            rows: (meta.len() + user.rows().len()) as u64,
            row_bytes: meta.bytes() + user.rows().bytes(),
            history_changes: (meta.history().changes() + user.rows().history().changes()) as u64,
            history_bytes: (meta.history().bytes() + user.rows().history().bytes()) as u64,
        }
    }
}

/// The catalog. An empty database name stands for the default database.
impl Image {
    /// A database by its name.
    ///
    /// # Errors
    /// A refusal when there is none.
    pub fn describe_database(&self, name: &str) -> Result<Database, Refusal> {
        database::describe(&self.state.meta, name)
    }

    /// Databases by id.
    ///
    /// # Errors
    /// A refusal of the page.
    pub fn list_databases(&self, page: &PageRequest) -> Result<Page<Database>, Refusal> {
        database::list(&self.state.meta, page)
    }

    /// A collection by its name or an alias.
    ///
    /// # Errors
    /// A refusal when there is none.
    pub fn describe_collection(&self, database: &str, name: &str) -> Result<Collection, Refusal> {
        collection::describe(&self.state.meta, database, name)
    }

    /// A collection by its id, in whatever database.
    ///
    /// # Errors
    /// A refusal when there is none.
    pub fn describe_collection_by_id(&self, id: CollectionId) -> Result<Collection, Refusal> {
        collection::by_id(&self.state.meta, id).ok_or(Refusal::CollectionIdNotFound { id })
    }

    /// Whether there is a collection or an alias of the name; no when there is no such database either.
    #[must_use]
    pub fn has_collection(&self, database: &str, name: &str) -> bool {
        collection::has(&self.state.meta, database, name)
    }

    /// Collections of a database by name.
    ///
    /// # Errors
    /// A refusal of the page, or when there is no such database.
    pub fn list_collections(&self, database: &str, page: &PageRequest) -> Result<Page<Collection>, Refusal> {
        collection::list(&self.state.meta, database, page)
    }

    /// Whether a collection has a partition of the name.
    ///
    /// # Errors
    /// A refusal when there is no such collection.
    pub fn has_partition(&self, database: &str, collection: &str, name: &str) -> Result<bool, Refusal> {
        partition::has(&self.state.meta, database, collection, name)
    }

    /// Partitions of a collection by id.
    ///
    /// # Errors
    /// A refusal of the page, or when there is no such collection.
    pub fn list_partitions(
        &self,
        database: &str,
        collection: &str,
        page: &PageRequest,
    ) -> Result<Page<Partition>, Refusal> {
        partition::list(&self.state.meta, database, collection, page)
    }

    /// An alias by its name.
    ///
    /// # Errors
    /// A refusal when there is none.
    pub fn describe_alias(&self, database: &str, name: &str) -> Result<Alias, Refusal> {
        alias::describe(&self.state.meta, database, name)
    }

    /// Aliases by name: of one collection, or, when its name is empty, of all in the database.
    ///
    /// # Errors
    /// A refusal of the page, or when there is no such database or collection.
    pub fn list_aliases(
        &self,
        database: &str,
        collection: &str,
        page: &PageRequest,
    ) -> Result<Page<Alias>, Refusal> {
        alias::list(&self.state.meta, database, collection, page)
    }
}

/// Sessions, leases, clients.
impl Image {
    /// A live session by its id.
    #[must_use]
    pub fn session(&self, id: LeaseId) -> Option<Session> {
        session::get(&self.state.meta, id)
    }

    /// Whether orders under this session and epoch still count.
    #[must_use]
    pub fn session_is_live(&self, id: LeaseId, epoch: Epoch) -> bool {
        session::is_live(&self.state.meta, id, epoch)
    }

    /// Sessions of a kind, or of all, by kind and name.
    ///
    /// # Errors
    /// A refusal of the page.
    pub fn list_sessions(
        &self,
        kind: Option<WorkerKind>,
        page: &PageRequest,
    ) -> Result<Page<Session>, Refusal> {
        session::list(&self.state.meta, kind, page)
    }

    /// A lease by its id.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        lease::get(&self.state.meta, id)
    }

    /// All leases by id: what a new leader has to keep.
    pub fn leases(&self) -> impl Iterator<Item = Lease> + use<'_> {
        lease::all(&self.state.meta)
    }

    /// Whether a client is registered.
    #[must_use]
    pub fn is_registered(&self, client: ClientId) -> bool {
        self.state.clients.get(client).is_some()
    }

    /// The remembered answer to a numbered write; `None` when there is none, or its client has acknowledged it.
    #[must_use]
    pub fn remembered(&self, client: ClientId, sequence: u64) -> Option<Outcome> {
        answer::decode(self.state.clients.get(client)?.answers.get(&sequence)?)
    }

    /// Clients that the leader should evict: idle for too long by log time, and the least recently used above the limit.
    /// At most as many as one command may evict. O(clients), so not for every entry.
    #[must_use]
    pub fn clients_to_evict(&self) -> Vec<IdleClient> {
        self.state.clients.to_evict(self.state.log_time)
    }
}

/// etcd's keyspace.
impl Image {
    /// Answers a range, at the present or at an older revision.
    ///
    /// # Errors
    /// A refusal when the revision is compacted or a future one.
    pub fn kv_range(&self, range: &KvRange) -> Result<KvRanged, Refusal> {
        self.state.user.range(range)
    }

    /// Begins the hash of the keys as they stood at `revision`; 0 stands for the present one.
    ///
    /// # Errors
    /// A refusal when the revision is compacted or a future one.
    pub fn kv_hash(&self, revision: u64) -> Result<KvHash, Refusal> {
        self.state.user.hash(revision)
    }

    /// Its revision.
    #[must_use]
    pub fn kv_revision(&self) -> Revision {
        self.state.user.revision()
    }

    /// Its leases. What is handed out keeps nothing else of the image in memory.
    #[must_use]
    pub fn kv_leases(&self) -> KvLeases {
        self.state.user.lease_table().clone()
    }

    /// The revision of its leases, which moves whenever one is granted or ends.
    #[must_use]
    pub fn kv_lease_revision(&self) -> Revision {
        self.state.user.lease_table().revision()
    }

    /// A lease by its id.
    #[must_use]
    pub fn kv_lease(&self, lease: i64) -> Option<KvLease> {
        self.state.user.lease_table().get(lease)
    }

    /// The keys that die with a lease, ascending.
    pub fn kv_lease_keys(&self, lease: i64) -> impl Iterator<Item = &Bytes> + use<'_> {
        self.state.user.lease_keys(lease)
    }

    /// Its users and roles.
    #[must_use]
    pub fn kv_auth(&self) -> &KvAuth {
        self.state.user.auth()
    }

    /// Whether somebody, or nobody in particular, may do something. Everybody may while authentication is off.
    ///
    /// # Errors
    /// Why not.
    pub fn kv_permits(&self, by: Option<&KvCaller>, need: &KvNeed<'_>) -> Result<(), KvAuthRule> {
        self.state.user.permits(by, need)
    }

    /// The oldest revision that can be read; 0 while nothing was compacted.
    #[must_use]
    pub fn kv_compacted(&self) -> Revision {
        self.state.user.compacted()
    }

    /// The first revision whose changes can be had: at most the one after [`Self::kv_compacted`], and below it for as long as
    /// this replica still has what a compaction has forgotten, which makes up for watchers that were about to read it.
    #[must_use]
    pub fn kv_history_floor(&self) -> Revision {
        self.state.user.history_floor()
    }

    /// All changes from `from` on, in order; none when it lies ahead. The iterator owns what it reads.
    ///
    /// # Errors
    /// [`Compacted`] names [`Self::kv_history_floor`] when `from` lies below it.
    pub fn kv_history(
        &self,
        from: Revision,
    ) -> Result<impl Iterator<Item = Arc<ChangeSet>> + Send + use<>, Compacted> {
        self.state.user.history(from)
    }
}

/// Watching and copying.
impl Image {
    /// All changes from `from` on; none when it lies ahead. The iterator owns what it reads.
    ///
    /// # Errors
    /// [`Compacted`] names the floor when `from` lies below it.
    pub fn history(&self, from: Revision) -> Result<HistoryIter, Compacted> {
        self.state.meta.history().since(from)
    }

    /// The first revision whose changes are kept.
    #[must_use]
    pub fn history_floor(&self) -> Revision {
        self.state.meta.history().floor()
    }

    /// The present resources of a kind, each with the revision that changed it last, in the order of their keys. The
    /// iterator owns what it reads.
    pub fn resources(&self, kind: ResourceKind) -> impl Iterator<Item = (Revision, Resource)> + Send + use<> {
        let rows = self.state.meta.cursor(kind.prefix());
        rows.filter_map(|(key, row)| Some((row.mod_revision, Resource::read(&key, &row.value)?)))
    }

    /// The whole state as records for [`Machine::restore`](crate::Machine::restore): each an envelope with one protobuf
    /// message, of a bounded size unless a single row is larger. Whoever stores or sends them frames them. The iterator owns
    /// what it reads.
    pub fn snapshot_records(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        snapshot::write(&self.state)
    }
}
