//! Whether the rows of a state fit together, by counting and indexing everything again the naive way.
//!
//! Promises: in a state that passes, every row decodes, every index row leads to its object and every object has its index
//! rows, and all counts are right; so the code that reads rows may rely on it. It runs when a snapshot is restored, since
//! those bytes came from a disk or a network, and in tests after every command. O(n log n).

use std::collections::BTreeMap;

use crate::domain::root::channel::ChannelUse;
use crate::domain::root::{Collection, alias, channel, collection, database, partition};
use crate::domain::session;
use crate::keyspace::{History, Keyspace};
use crate::lease;
use crate::object_id::{CollectionId, LeaseId};
use crate::state::{Head, State, Tally};
use crate::table::TableTag;

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A row is of no table, or does not decode.
    #[error("a row of {len} bytes under key {key:02x?} cannot be read")]
    Row {
        /// Its key.
        key: Vec<u8>,
        /// The length of its value.
        len: usize,
    },
    /// An index row leads elsewhere, or an object lacks its index row.
    #[error("the index row under key {key:02x?} does not fit its object")]
    Index {
        /// The index row's key.
        key: Vec<u8>,
    },
    /// An object counts or names its parts wrongly, or lives in something that is not there.
    #[error("{what} {id} does not fit its parts")]
    Object {
        /// What it is.
        what: &'static str,
        /// Its id.
        id: u64,
    },
    /// Counts or a digest that were kept up to date differ from those computed from scratch.
    #[error("the {what} kept up to date differs from the one computed again")]
    Sum {
        /// Which.
        what: &'static str,
    },
    /// An id or an epoch is above the counter that gives them out.
    #[error("the number {number} was never given out")]
    Counter {
        /// The id or epoch.
        number: u64,
    },
}

/// What the objects say, to be compared with what the rows say.
#[derive(Default)]
struct Audit {
    tally: Tally,
    /// Index rows that must be there, and the ids in them.
    wanted: BTreeMap<Vec<u8>, u64>,
    /// Index rows that are there.
    found: BTreeMap<Vec<u8>, u64>,
    collections: BTreeMap<CollectionId, Collection>,
    /// Partitions that were met, by collection.
    partitions: BTreeMap<CollectionId, u32>,
    databases: BTreeMap<u64, ()>,
    aliases: Vec<crate::Alias>,
    sessions: Vec<LeaseId>,
    leases: Vec<LeaseId>,
    last_id: u64,
    last_epoch: u64,
}

/// Checks everything that is kept up to date against what it follows from.
pub(crate) fn state(state: &State) -> Result<(), Damage> {
    let tally = rows(&state.meta, &state.head)?;
    history(state.meta.history())?;
    let sums = [
        ("counts", tally == state.head.tally),
        (
            "digest of the rows",
            state.meta.digest() == state.meta.recomputed_digest(),
        ),
        (
            "digest of the clients",
            state.clients.digest() == state.clients.recomputed_digest(),
        ),
    ];
    match sums.into_iter().find(|(_, right)| !right) {
        Some((what, _)) => Err(Damage::Sum { what }),
        None => Ok(()),
    }
}

/// Checks the rows of the meta keyspace, and counts them.
pub(crate) fn rows(meta: &Keyspace, head: &Head) -> Result<Tally, Damage> {
    let mut audit = Audit::default();
    for (key, row) in meta.scan(Vec::new(), None) {
        audit
            .meet(key, &row.value)
            .ok_or_else(|| damaged(key, &row.value))?;
    }
    audit.check_objects()?;
    audit.check_indexes()?;
    let mut used = ChannelUse::default();
    for collection in audit.collections.values() {
        used.add(&collection.shards);
    }
    if used != channel::in_use(meta) {
        let what = "channel use";
        return Err(Damage::Object { what, id: 0 });
    }
    for (number, last) in [(audit.last_id, head.last_id), (audit.last_epoch, head.last_epoch)] {
        if number > last {
            return Err(Damage::Counter { number });
        }
    }
    Ok(audit.tally)
}

/// Checks that the rows in the history can be read.
pub(crate) fn history(history: &History) -> Result<(), Damage> {
    for set in history.all() {
        for change in &set.changes {
            for row in [&change.before, &change.after].into_iter().flatten() {
                let known = Audit::default().meet(&change.key, &row.value);
                known.ok_or_else(|| damaged(&change.key, &row.value))?;
            }
        }
    }
    Ok(())
}

fn damaged(key: &[u8], value: &[u8]) -> Damage {
    Damage::Row {
        key: key.to_vec(),
        len: value.len(),
    }
}

impl Audit {
    /// Takes note of a row. `None` when it cannot be read.
    fn meet(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match TableTag::of(key)? {
            TableTag::Database => {
                let database = database::read(key, value)?;
                self.tally.databases += 1;
                self.databases.insert(database.id.0, ());
                self.want(database::name_key(&database), database.id.0);
            }
            TableTag::Collection => {
                let collection = collection::read(key, value)?;
                self.tally.collections += 1;
                self.tally.capacity += collection.shards.len() as u64 * u64::from(collection.partitions);
                self.want(collection::name_key(&collection), collection.id.0);
                self.collections.insert(collection.id, collection);
            }
            TableTag::Partition => {
                let partition = partition::read(key, value)?;
                self.tally.partitions += 1;
                *self.partitions.entry(partition.collection_id).or_default() += 1;
                self.want(partition::name_key(&partition), partition.id.0);
            }
            TableTag::Alias => {
                self.tally.aliases += 1;
                self.aliases.push(alias::read(key, value)?);
            }
            TableTag::Session => {
                let session = session::read(key, value)?;
                self.tally.sessions += 1;
                self.sessions.push(session.id);
                self.last_epoch = self.last_epoch.max(session.epoch.0);
                self.want(session::worker_key(&session), session.id.0);
            }
            TableTag::Lease => self.leases.push(lease::read(key, value)?.id),
            TableTag::ChannelUse => channel::check(key, value).then_some(())?,
            TableTag::DatabaseName => self.find(key, database::read_name(key, value)?.0),
            TableTag::CollectionName => self.find(key, collection::read_name(key, value)?.0),
            TableTag::PartitionName => self.find(key, partition::read_name(key, value)?.0),
            TableTag::SessionWorker => self.find(key, session::read_worker(key, value)?.0),
        }
        Some(())
    }

    fn want(&mut self, key: Vec<u8>, id: u64) {
        self.last_id = self.last_id.max(id);
        self.wanted.insert(key, id);
    }

    fn find(&mut self, key: &[u8], id: u64) {
        self.found.insert(key.to_vec(), id);
    }

    fn check_objects(&self) -> Result<(), Damage> {
        let object = |what, id| Err(Damage::Object { what, id });
        let mut named: BTreeMap<CollectionId, Vec<&str>> = BTreeMap::new();
        for alias in &self.aliases {
            let collection = self.collections.get(&alias.collection_id);
            let fits = collection.is_some_and(|collection| {
                (collection.database_id, &collection.name) == (alias.database_id, &alias.collection_name)
            });
            if !fits {
                return object("the alias of collection", alias.collection_id.0);
            }
            named.entry(alias.collection_id).or_default().push(&alias.name);
        }
        for (id, collection) in &self.collections {
            let aliases = named.remove(id).unwrap_or_default();
            let partitions = self.partitions.get(id).copied().unwrap_or_default();
            if !self.databases.contains_key(&collection.database_id.0)
                || collection.partitions != partitions
                || collection.aliases != aliases
            {
                return object("collection", id.0);
            }
        }
        let strays = self
            .partitions
            .keys()
            .find(|id| !self.collections.contains_key(id));
        if let Some(id) = strays {
            return object("a partition of collection", id.0);
        }
        // Both are in the order of their ids.
        if self.sessions != self.leases {
            return object("a session or lease among", self.leases.len() as u64);
        }
        Ok(())
    }

    fn check_indexes(&self) -> Result<(), Damage> {
        let wrong = |key: &Vec<u8>| self.wanted.get(key) != self.found.get(key);
        match self.wanted.keys().chain(self.found.keys()).find(|key| wrong(key)) {
            None => Ok(()),
            Some(key) => Err(Damage::Index { key: key.clone() }),
        }
    }
}
