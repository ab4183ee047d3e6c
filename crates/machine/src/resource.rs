//! Rows as watchers see them: the objects of the catalog and the sessions. Rows of internal tables (indexes, leases,
//! channel use) are changes like all others, but have no kind.

use crate::domain::root::{Alias, Collection, Database, Partition, alias, collection, database, partition};
use crate::domain::session::{self, Session};
use crate::keyspace::{Change, Row};
use crate::table::TableTag;

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // The names say it.
pub enum ResourceKind {
    Database,
    Collection,
    Partition,
    Alias,
    Session,
}

impl ResourceKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Database,
        Self::Collection,
        Self::Partition,
        Self::Alias,
        Self::Session,
    ];

    /// The kind of what stands under a key.
    fn of(key: &[u8]) -> Option<Self> {
        match TableTag::of(key)? {
            TableTag::Database => Some(Self::Database),
            TableTag::Collection => Some(Self::Collection),
            TableTag::Partition => Some(Self::Partition),
            TableTag::Alias => Some(Self::Alias),
            TableTag::Session => Some(Self::Session),
            TableTag::DatabaseName
            | TableTag::CollectionName
            | TableTag::PartitionName
            | TableTag::ChannelUse
            | TableTag::Lease
            | TableTag::SessionWorker => None,
        }
    }

    /// The start of the keys of all resources of the kind.
    pub(crate) fn prefix(self) -> Vec<u8> {
        let tag = match self {
            Self::Database => TableTag::Database,
            Self::Collection => TableTag::Collection,
            Self::Partition => TableTag::Partition,
            Self::Alias => TableTag::Alias,
            Self::Session => TableTag::Session,
        };
        vec![tag as u8]
    }
}

/// An object as it stands, or stood, in its row.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The names say it.
pub enum Resource {
    Database(Database),
    Collection(Collection),
    Partition(Partition),
    Alias(Alias),
    Session(Session),
}

impl Resource {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Database(_) => ResourceKind::Database,
            Self::Collection(_) => ResourceKind::Collection,
            Self::Partition(_) => ResourceKind::Partition,
            Self::Alias(_) => ResourceKind::Alias,
            Self::Session(_) => ResourceKind::Session,
        }
    }

    /// A row as the object that it is; `None` for internal tables.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        match ResourceKind::of(key)? {
            ResourceKind::Database => database::read(key, value).map(Self::Database),
            ResourceKind::Collection => collection::read(key, value).map(Self::Collection),
            ResourceKind::Partition => partition::read(key, value).map(Self::Partition),
            ResourceKind::Alias => alias::read(key, value).map(Self::Alias),
            ResourceKind::Session => session::read(key, value).map(Self::Session),
        }
    }
}

impl Change {
    /// The kind of the object that changed; `None` for internal tables.
    #[must_use]
    pub fn kind(&self) -> Option<ResourceKind> {
        ResourceKind::of(&self.key)
    }

    /// The object before the change; `None` when it was created, and for internal tables.
    #[must_use]
    pub fn resource_before(&self) -> Option<Resource> {
        self.resource(self.before.as_deref())
    }

    /// The object after the change; `None` when it was deleted, and for internal tables.
    #[must_use]
    pub fn resource_after(&self) -> Option<Resource> {
        self.resource(self.after.as_deref())
    }

    fn resource(&self, row: Option<&Row>) -> Option<Resource> {
        Resource::read(&self.key, &row?.value)
    }
}
