//! The state of the machine as one value. Cloning it costs the same whatever its size: the large parts are persistent
//! maps that share everything that did not change.

use quorate_types::{Index, LogTime, Revision};

use crate::clients::Clients;
use crate::feature;
use crate::keyspace::{Keyspace, KeyspaceTag};
use crate::user::User;

/// Everything that a replica's log has decided.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Typed rows.
    pub(crate) meta: Keyspace,
    /// etcd's keys. Empty below their feature level.
    pub(crate) user: User,
    /// What transactions count beside the rows.
    pub(crate) head: Head,
    /// Clients that number their writes.
    pub(crate) clients: Clients,
    /// The running maximum of the stamps.
    pub(crate) log_time: LogTime,
    /// Index of the last entry; `None` before the first.
    pub(crate) position: Option<Index>,
}

/// Counters beside the rows: a transaction stages them with its writes, but they neither move the revision nor wake
/// watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last id that was given out, to whatever kind of object.
    pub(crate) last_id: u64,
    /// The last epoch that was given out.
    pub(crate) last_epoch: u64,
    /// The replicated feature level.
    pub(crate) feature_level: u32,
    /// How many of each there are.
    pub(crate) tally: Tally,
}

/// How many objects there are. It follows from the rows: a snapshot does not hold it, restoring counts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) databases: u64,
    pub(crate) collections: u64,
    pub(crate) partitions: u64,
    pub(crate) aliases: u64,
    pub(crate) sessions: u64,
    /// Sum over all collections of shards times partitions.
    pub(crate) capacity: u64,
}

impl State {
    /// Without rows, not even the default database.
    pub(crate) fn empty() -> Self {
        Self {
            meta: Keyspace::new(KeyspaceTag::Meta, Revision(0), Revision(1)),
            user: User::new(),
            head: Head {
                last_id: 0,
                last_epoch: 0,
                feature_level: feature::FIRST,
                tally: Tally::default(),
            },
            clients: Clients::default(),
            log_time: LogTime(0),
            position: None,
        }
    }

    /// The index that the next entry must have.
    pub(crate) fn next_index(&self) -> Index {
        self.position.map_or(Index(0), |last| Index(last.0 + 1))
    }
}
