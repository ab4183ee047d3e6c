//! Whether the rows of a state fit together, by counting and indexing everything again the naive way.
//!
//! Promises: in a state that passes, every row decodes, every index row leads to its object and every object has its index
//! rows, and all counts are right; so the code that reads rows may rely on it. It runs when a snapshot is restored, since
//! those bytes came from a disk or a network, and in tests after every command. O(n log n). Left out on purpose: the
//! history. Nothing relies on its rows: what cannot be read there is a change without a kind.

use crate::domain::root::channel::ChannelUse;
use crate::domain::root::{Alias, Collection, alias, channel, collection, database, partition};
use crate::domain::session;
use crate::keyspace::Keyspace;
use crate::lease;
use crate::object_id::{CollectionId, DatabaseId, LeaseId};
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

/// What the objects say, to be compared with what the rows say. Rows come in the order of their keys, so what is collected
/// of one table is sorted by id.
#[derive(Default)]
struct Audit {
    tally: Tally,
    /// Index rows that must be there, with the ids in them.
    wanted: Vec<(Vec<u8>, u64)>,
    /// Index rows that are there.
    found: Vec<(Vec<u8>, u64)>,
    databases: Vec<DatabaseId>,
    collections: Vec<Collection>,
    partitions: Vec<CollectionId>,
    aliases: Vec<Alias>,
    sessions: Vec<LeaseId>,
    leases: Vec<LeaseId>,
    last_id: u64,
    last_epoch: u64,
}

/// Checks everything that is kept up to date against what it follows from.
pub(crate) fn state(state: &State) -> Result<(), Damage> {
    let tally = rows(&state.meta, &state.head)?;
    let (meta, clients) = (&state.meta, &state.clients);
    let sums = [
        ("counts", tally == state.head.tally),
        ("digest of the rows", meta.digest() == meta.recomputed_digest()),
        (
            "digest of etcd's rows",
            state.user.rows().digest() == state.user.rows().recomputed_digest(),
        ),
        ("leases of etcd's keys", state.user.leases_fit()),
        ("users of etcd's keys", state.user.auth_fits()),
        (
            "digest of the clients",
            clients.digest() == clients.recomputed_digest(),
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
        audit.meet(key, &row.value).ok_or_else(|| Damage::Row {
            key: key.to_vec(),
            len: row.value.len(),
        })?;
    }
    audit.check_collections()?;
    audit.check_indexes()?;
    audit.check_channels(meta)?;
    // Both are in the order of their ids.
    if audit.sessions != audit.leases {
        let id = audit.leases.len() as u64;
        let what = "a session or lease among";
        return Err(Damage::Object { what, id });
    }
    for (number, last) in [(audit.last_id, head.last_id), (audit.last_epoch, head.last_epoch)] {
        if number > last {
            return Err(Damage::Counter { number });
        }
    }
    Ok(audit.tally)
}

impl Audit {
    /// Takes note of a row. `None` when it cannot be read.
    fn meet(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match TableTag::of(key)? {
            TableTag::Database => {
                let database = database::read(key, value)?;
                self.tally.databases += 1;
                self.databases.push(database.id);
                self.want(database::name_key(&database), database.id.0);
            }
            TableTag::Collection => {
                let collection = collection::read(key, value)?;
                self.tally.collections += 1;
                self.tally.capacity += collection.shards.len() as u64 * u64::from(collection.partitions);
                self.want(collection::name_key(&collection), collection.id.0);
                self.collections.push(collection);
            }
            TableTag::Partition => {
                let partition = partition::read(key, value)?;
                self.tally.partitions += 1;
                self.partitions.push(partition.collection_id);
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
        self.wanted.push((key, id));
    }

    fn find(&mut self, key: &[u8], id: u64) {
        self.found.push((key.to_vec(), id));
    }

    /// Each collection has the partitions and aliases that it says, and each of those has its collection.
    fn check_collections(&mut self) -> Result<(), Damage> {
        let object = |what, id: CollectionId| Err(Damage::Object { what, id: id.0 });
        // Aliases come by database and name; here they are wanted by collection and name.
        self.aliases
            .sort_by(|a, b| (a.collection_id, &a.name).cmp(&(b.collection_id, &b.name)));
        let mut aliases = self.aliases.iter().peekable();
        let mut partitions = self.partitions.iter().peekable();
        for collection in &self.collections {
            let id = collection.id;
            for name in &collection.aliases {
                let alias = aliases.next_if(|alias| {
                    (alias.collection_id, &alias.name) == (id, name)
                        && (alias.database_id, &alias.collection_name)
                            == (collection.database_id, &collection.name)
                });
                if alias.is_none() {
                    return object("an alias of collection", id);
                }
            }
            let mut count = 0;
            while partitions.next_if(|of| **of == id).is_some() {
                count += 1;
            }
            if count != collection.partitions {
                return object("a partition of collection", id);
            }
            if self.databases.binary_search(&collection.database_id).is_err() {
                return object("the database of collection", id);
            }
        }
        if let Some(alias) = aliases.next() {
            return object("an alias of collection", alias.collection_id);
        }
        match partitions.next() {
            Some(of) => object("a partition of collection", *of),
            None => Ok(()),
        }
    }

    fn check_indexes(&mut self) -> Result<(), Damage> {
        self.wanted.sort_unstable();
        let found = self.found.iter();
        let pairs = self.wanted.iter().zip(found.clone());
        if let Some((wanted, _)) = pairs.into_iter().find(|(wanted, found)| wanted != found) {
            let key = wanted.0.clone();
            return Err(Damage::Index { key });
        }
        let longer = self
            .wanted
            .iter()
            .skip(found.len())
            .chain(found.skip(self.wanted.len()));
        match longer.into_iter().next() {
            Some((key, _)) => Err(Damage::Index { key: key.clone() }),
            None => Ok(()),
        }
    }

    fn check_channels(&self, meta: &Keyspace) -> Result<(), Damage> {
        let mut used = ChannelUse::default();
        for collection in &self.collections {
            used.add(&collection.shards);
        }
        if used != channel::in_use(meta) {
            let what = "channel use";
            return Err(Damage::Object { what, id: 0 });
        }
        Ok(())
    }
}
