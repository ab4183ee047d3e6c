//! Collections.
//!
//! Milvus (`internal/rootcoord/create_collection_task.go`, `drop_collection_task.go`, `meta_table.go`,
//! `ddl_callbacks_rename_collection.go`): creating one that is there and the same answers with its id, and properties do
//! not count for that; dropping one that is not there is no error; neither dropping nor renaming goes by alias; one with
//! aliases is not dropped and does not move to another database. Milvus also compares partitions that were added by hand
//! when it decides whether two collections are the same; here they do not count, so that a retry stays a retry.

use quorate_types::LogTime;
use quorate_types::limits::{
    COLLECTIONS_MAX, GENERAL_CAPACITY_MAX, PARTITIONS_PER_COLLECTION_MAX, PARTITIONS_WITH_KEY_DEFAULT,
    SHARDS_MAX,
};

use super::properties::{self, Properties, check_description};
use super::row::or_default;
use super::{Schema, Shard, alias, channel, database, name, partition};
use crate::codes::codes;
use crate::command::{AlterCollection, CreateCollection, DropCollection, RenameCollection};
use crate::object_id::{CollectionId, DatabaseId};
use crate::page::{Page, PageRequest};
use crate::refusal::{AliasConflict, NameKind, ParameterRule, Refusal, ShapeRule, shown};
use crate::reply::Reply;
use crate::table::{Rows, Table, TableTag, Under};
use crate::txn::Txn;

const COLLECTIONS: Table<CollectionId, Collection> = Table::new(TableTag::Collection);
const BY_NAME: Table<Under<DatabaseId>, CollectionId> = Table::new(TableTag::CollectionName);

const STANDS_BEHIND: &str = "a collection stands behind its name's row";

codes! {
    /// How fresh a search wants its data to be, unless it says otherwise.
    ConsistencyLevel {
        Strong = 1 => "strong",
        Session = 2 => "session",
        Bounded = 3 => "bounded",
        Eventually = 4 => "eventually",
    }
}

/// A collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    /// Its id.
    pub id: CollectionId,
    /// The database it is in.
    pub database_id: DatabaseId,
    /// Unique among the collections and aliases of its database.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// Its fields.
    pub schema: Schema,
    /// Its shards, in their order.
    pub shards: Vec<Shard>,
    /// How fresh a search wants its data to be, unless it says otherwise.
    pub consistency_level: ConsistencyLevel,
    /// What its owner noted on it.
    pub properties: Properties,
    /// Log time of its creation.
    pub created_at: LogTime,
    /// How many partitions it has.
    pub partitions: u32,
    /// The aliases that point at it, sorted.
    pub aliases: Vec<String>,
}

/// How many shards and partitions a command asks for, defaults filled in.
struct Sizes {
    shards: u32,
    partitions: u32,
}

impl Sizes {
    fn of(command: &CreateCollection) -> Result<Self, Refusal> {
        let in_range = |parameter: &str, number: u32, default: u32, max: u32| match number {
            0 => Ok(default),
            number if number <= max => Ok(number),
            _ => {
                let max = max.into();
                Err(Refusal::parameter(
                    parameter,
                    ParameterRule::Range { min: 1, max },
                ))
            }
        };
        let partitions = if command.schema.has_partition_key() {
            let max = PARTITIONS_PER_COLLECTION_MAX as u32;
            in_range("partitions", command.partitions, PARTITIONS_WITH_KEY_DEFAULT, max)?
        } else if command.partitions == 0 {
            1
        } else {
            return Err(Refusal::shape("partitions", ShapeRule::OnlyWithPartitionKey));
        };
        Ok(Self {
            shards: in_range("shards", command.shards, 1, SHARDS_MAX)?,
            partitions,
        })
    }

    fn capacity(&self) -> u64 {
        u64::from(self.shards) * u64::from(self.partitions)
    }
}

impl Collection {
    /// Whether it is what a command would create.
    fn is_same(&self, command: &CreateCollection, sizes: &Sizes) -> bool {
        self.description == command.description
            && self.consistency_level == command.consistency_level
            && self.shards.len() == sizes.shards as usize
            && (!self.schema.has_partition_key() || self.partitions == sizes.partitions)
            && self.schema == command.schema.numbered()
    }

    fn conflict(&self, database: &str, why: AliasConflict) -> Refusal {
        alias_conflict(database, &self.name, why)
    }
}

fn alias_conflict(database: &str, name: &str, why: AliasConflict) -> Refusal {
    Refusal::CollectionAliasConflict {
        database: shown(database),
        name: shown(name),
        why,
    }
}

fn not_found(database: &str, name: &str) -> Refusal {
    Refusal::CollectionNotFound {
        database: shown(or_default(database)),
        name: shown(name),
    }
}

pub(crate) fn create(txn: &mut Txn<'_>, command: &CreateCollection) -> Result<Reply, Refusal> {
    let (name, database) = (&command.name, or_default(&command.database));
    name::check(NameKind::Collection, name)?;
    check_description("description", &command.description)?;
    command.schema.check()?;
    let sizes = Sizes::of(command)?;
    let has_partition_key = command.schema.has_partition_key();
    properties::check_collection("properties", &command.properties, has_partition_key)?;
    let database_id = database::find(txn, database)?;
    if alias::exists(txn, database_id, name) {
        return Err(alias_conflict(database, name, AliasConflict::NameTaken));
    }
    if let Some(id) = BY_NAME.get(txn, (database_id, name)) {
        let existing = COLLECTIONS.get(txn, id).expect(STANDS_BEHIND);
        if existing.is_same(command, &sizes) {
            let shards = existing.shards;
            return Ok(Reply::CollectionCreated { id, shards });
        }
        return Err(Refusal::CollectionExists {
            database: shown(database),
            name: shown(name),
        });
    }
    if txn.head.tally.collections >= COLLECTIONS_MAX as u64 {
        return Err(Refusal::CollectionLimit);
    }
    if txn.head.tally.capacity + sizes.capacity() > GENERAL_CAPACITY_MAX {
        return Err(Refusal::CapacityLimit);
    }
    let collection = insert(txn, command, database_id, &sizes);
    Ok(Reply::CollectionCreated {
        id: collection.id,
        shards: collection.shards,
    })
}

fn insert(
    txn: &mut Txn<'_>,
    command: &CreateCollection,
    database_id: DatabaseId,
    sizes: &Sizes,
) -> Collection {
    let id = CollectionId(txn.next_id());
    let collection = Collection {
        id,
        database_id,
        name: command.name.clone(),
        description: command.description.clone(),
        schema: command.schema.numbered(),
        shards: channel::take(txn, id, sizes.shards),
        consistency_level: command.consistency_level,
        properties: command.properties.clone(),
        created_at: txn.log_time,
        partitions: sizes.partitions,
        aliases: Vec::new(),
    };
    put(txn, &collection);
    BY_NAME.put(txn, (database_id, &collection.name), &id);
    partition::create_first(txn, &collection);
    txn.head.tally.collections += 1;
    collection
}

pub(crate) fn drop_collection(txn: &mut Txn<'_>, command: &DropCollection) -> Result<Reply, Refusal> {
    let (name, database) = (&command.name, or_default(&command.database));
    let Ok(database_id) = database::find(txn, database) else {
        return Ok(Reply::CollectionDropped { existed: false });
    };
    if alias::exists(txn, database_id, name) {
        return Err(alias_conflict(database, name, AliasConflict::IsAlias));
    }
    let Some(id) = BY_NAME.get(txn, (database_id, name)) else {
        return Ok(Reply::CollectionDropped { existed: false });
    };
    let collection = COLLECTIONS.get(txn, id).expect(STANDS_BEHIND);
    if !collection.aliases.is_empty() {
        return Err(collection.conflict(database, AliasConflict::HasAliases));
    }
    partition::drop_all(txn, &collection);
    channel::give_back(txn, &collection.shards);
    BY_NAME.delete(txn, (database_id, name));
    COLLECTIONS.delete(txn, id);
    txn.head.tally.collections -= 1;
    Ok(Reply::CollectionDropped { existed: true })
}

pub(crate) fn alter(txn: &mut Txn<'_>, command: &AlterCollection) -> Result<Reply, Refusal> {
    let mut collection = describe(txn, &command.database, &command.name)?;
    if let Some(description) = &command.description {
        check_description("description", description)?;
        collection.description.clone_from(description);
    }
    collection.properties = properties::merge(&collection.properties, &command.set, &command.remove)?;
    let has_partition_key = collection.schema.has_partition_key();
    properties::check_collection("set", &collection.properties, has_partition_key)?;
    put(txn, &collection);
    Ok(Reply::CollectionAltered)
}

pub(crate) fn rename(txn: &mut Txn<'_>, command: &RenameCollection) -> Result<Reply, Refusal> {
    let (name, database) = (&command.name, or_default(&command.database));
    let new_name = &command.new_name;
    let new_database = match command.new_database.as_str() {
        "" => database,
        other => other,
    };
    name::check(NameKind::Collection, new_name)?;
    if (name, database) == (new_name, new_database) {
        return Err(Refusal::shape("new_name", ShapeRule::Unchanged));
    }
    let new_database_id = database::find(txn, new_database)?;
    let mut collection = by_own_name(txn, database, name)?;
    if alias::exists(txn, new_database_id, new_name) {
        return Err(alias_conflict(new_database, new_name, AliasConflict::NameTaken));
    }
    if BY_NAME.has(txn, (new_database_id, new_name)) {
        return Err(Refusal::CollectionExists {
            database: shown(new_database),
            name: shown(new_name),
        });
    }
    if new_database_id != collection.database_id && !collection.aliases.is_empty() {
        return Err(collection.conflict(database, AliasConflict::HasAliases));
    }

    BY_NAME.delete(txn, (collection.database_id, name));
    collection.name.clone_from(new_name);
    collection.database_id = new_database_id;
    put(txn, &collection);
    BY_NAME.put(txn, (new_database_id, new_name), &collection.id);
    alias::follow_rename(txn, &collection);
    Ok(Reply::CollectionRenamed)
}

/// Writes a collection's row.
pub(super) fn put(txn: &mut Txn<'_>, collection: &Collection) {
    COLLECTIONS.put(txn, collection.id, collection);
}

/// Whether a database has collections.
pub(super) fn any_in(rows: &impl Rows, database: DatabaseId) -> bool {
    BY_NAME
        .scan(rows, BY_NAME.prefix(database), None)
        .next()
        .is_some()
}

/// Whether a collection has the name itself, not by alias.
pub(super) fn is_own_name(rows: &impl Rows, database: DatabaseId, name: &str) -> bool {
    BY_NAME.has(rows, (database, name))
}

/// A collection by its own name; an alias is refused.
pub(super) fn by_own_name(rows: &impl Rows, database: &str, name: &str) -> Result<Collection, Refusal> {
    let database_id = database::find(rows, database)?;
    if alias::exists(rows, database_id, name) {
        return Err(alias_conflict(or_default(database), name, AliasConflict::IsAlias));
    }
    let id = BY_NAME.get(rows, (database_id, name));
    let id = id.ok_or_else(|| not_found(database, name))?;
    Ok(COLLECTIONS.get(rows, id).expect(STANDS_BEHIND))
}

/// A collection's id by its name or an alias.
pub(super) fn find(rows: &impl Rows, database: &str, name: &str) -> Result<CollectionId, Refusal> {
    let database_id = database::find(rows, database)?;
    BY_NAME
        .get(rows, (database_id, name))
        .or_else(|| alias::target(rows, database_id, name))
        .ok_or_else(|| not_found(database, name))
}

/// A collection by its id.
pub(crate) fn by_id(rows: &impl Rows, id: CollectionId) -> Option<Collection> {
    COLLECTIONS.get(rows, id)
}

/// A collection by its name or an alias.
pub(crate) fn describe(rows: &impl Rows, database: &str, name: &str) -> Result<Collection, Refusal> {
    let id = find(rows, database, name)?;
    Ok(COLLECTIONS.get(rows, id).expect(STANDS_BEHIND))
}

/// Whether there is a collection or an alias of the name. Without the database there is none, as in Milvus.
pub(crate) fn has(rows: &impl Rows, database: &str, name: &str) -> bool {
    find(rows, database, name).is_ok()
}

/// Collections of a database by name.
pub(crate) fn list(
    rows: &impl Rows,
    database: &str,
    page: &PageRequest,
) -> Result<Page<Collection>, Refusal> {
    let database_id = database::find(rows, database)?;
    page.read(BY_NAME, rows, BY_NAME.prefix(database_id), |id| {
        COLLECTIONS.get(rows, id).expect(STANDS_BEHIND)
    })
}

/// A row as the collection that it is.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Collection> {
    COLLECTIONS.decode(key, value)
}

/// A row of the index, as the id in it.
pub(crate) fn read_name(key: &[u8], value: &[u8]) -> Option<CollectionId> {
    BY_NAME.decode(key, value)
}

/// The key that the index has for a collection.
pub(crate) fn name_key(collection: &Collection) -> Vec<u8> {
    BY_NAME.key((collection.database_id, &collection.name))
}

#[cfg(test)]
mod tests;
