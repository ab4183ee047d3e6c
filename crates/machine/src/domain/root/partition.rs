//! Partitions: the parts of a collection that are loaded and dropped by themselves.
//!
//! Milvus (`internal/rootcoord/{create,drop}_partition_task.go`, the proxy's tasks of the same names): a collection has
//! its default partition, which stays, and others that come and go; with a partition key it has a fixed number of them
//! instead. Creating one that is there and dropping one that is not are no errors.

use quorate_types::LogTime;
use quorate_types::limits::{GENERAL_CAPACITY_MAX, PARTITIONS_PER_COLLECTION_MAX};

use super::collection::{self, Collection};
use super::name;
use crate::command::{CreatePartition, DropPartition};
use crate::object_id::{CollectionId, PartitionId};
use crate::page::{Page, PageRequest};
use crate::refusal::{FixedPartition, NameKind, Refusal, shown};
use crate::reply::Reply;
use crate::table::{Rows, Table, TableTag, Under};
use crate::txn::Txn;

const PARTITIONS: Table<(CollectionId, PartitionId), Partition> = Table::new(TableTag::Partition);
const BY_NAME: Table<Under<CollectionId>, PartitionId> = Table::new(TableTag::PartitionName);

/// The partition that a collection without a partition key always has.
pub const DEFAULT_PARTITION: &str = "_default";

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its id.
    pub id: PartitionId,
    /// The collection it is a part of.
    pub collection_id: CollectionId,
    /// Unique in its collection.
    pub name: String,
    /// Log time of its creation.
    pub created_at: LogTime,
}

pub(crate) fn create(txn: &mut Txn<'_>, command: &CreatePartition) -> Result<Reply, Refusal> {
    let name = &command.name;
    name::check(NameKind::Partition, name)?;
    let mut collection = collection::describe(txn, &command.database, &command.collection)?;
    check_manual(&collection, name)?;
    if let Some(id) = BY_NAME.get(txn, (collection.id, name)) {
        return Ok(Reply::PartitionCreated { id });
    }
    if collection.partitions as usize >= PARTITIONS_PER_COLLECTION_MAX {
        let collection = shown(&collection.name);
        return Err(Refusal::PartitionLimit { collection });
    }
    if txn.head.tally.capacity + collection.shards.len() as u64 > GENERAL_CAPACITY_MAX {
        return Err(Refusal::CapacityLimit);
    }
    let id = insert(txn, collection.id, name);
    collection.partitions += 1;
    count(txn, &collection, 1);
    collection::put(txn, &collection);
    Ok(Reply::PartitionCreated { id })
}

pub(crate) fn drop_partition(txn: &mut Txn<'_>, command: &DropPartition) -> Result<Reply, Refusal> {
    let name = &command.name;
    let mut collection = collection::describe(txn, &command.database, &command.collection)?;
    check_manual(&collection, name)?;
    if name == DEFAULT_PARTITION {
        return Err(Refusal::PartitionFixed {
            collection: shown(&collection.name),
            name: shown(name),
            why: FixedPartition::Default,
        });
    }
    let Some(id) = BY_NAME.get(txn, (collection.id, name)) else {
        return Ok(Reply::PartitionDropped { existed: false });
    };
    PARTITIONS.delete(txn, (collection.id, id));
    BY_NAME.delete(txn, (collection.id, name));
    collection.partitions -= 1;
    count(txn, &collection, -1);
    collection::put(txn, &collection);
    Ok(Reply::PartitionDropped { existed: true })
}

fn check_manual(collection: &Collection, name: &str) -> Result<(), Refusal> {
    if collection.schema.has_partition_key() {
        return Err(Refusal::PartitionFixed {
            collection: shown(&collection.name),
            name: shown(name),
            why: FixedPartition::PartitionKey,
        });
    }
    Ok(())
}

/// Keeps the counts of partitions and of shards times partitions.
fn count(txn: &mut Txn<'_>, collection: &Collection, partitions: i64) {
    let tally = &mut txn.head.tally;
    tally.partitions = tally.partitions.wrapping_add_signed(partitions);
    let capacity = partitions * collection.shards.len() as i64;
    tally.capacity = tally.capacity.wrapping_add_signed(capacity);
}

/// Gives a new collection, whose row has its number of partitions already, these partitions.
pub(super) fn create_first(txn: &mut Txn<'_>, collection: &Collection) {
    if collection.schema.has_partition_key() {
        for number in 0..collection.partitions {
            insert(txn, collection.id, &format!("{DEFAULT_PARTITION}_{number}"));
        }
    } else {
        insert(txn, collection.id, DEFAULT_PARTITION);
    }
    count(txn, collection, collection.partitions.into());
}

/// Drops all partitions of a collection that goes.
pub(super) fn drop_all(txn: &mut Txn<'_>, collection: &Collection) {
    let all: Vec<_> = PARTITIONS
        .scan(txn, PARTITIONS.prefix(collection.id), None)
        .map(|(_, partition)| partition)
        .collect();
    for partition in all {
        PARTITIONS.delete(txn, (collection.id, partition.id));
        BY_NAME.delete(txn, (collection.id, &partition.name));
    }
    count(txn, collection, -i64::from(collection.partitions));
}

fn insert(txn: &mut Txn<'_>, collection_id: CollectionId, name: &str) -> PartitionId {
    let partition = Partition {
        id: PartitionId(txn.next_id()),
        collection_id,
        name: name.to_owned(),
        created_at: txn.log_time,
    };
    PARTITIONS.put(txn, (collection_id, partition.id), &partition);
    BY_NAME.put(txn, (collection_id, name), &partition.id);
    partition.id
}

pub(crate) fn has(rows: &impl Rows, database: &str, collection: &str, name: &str) -> Result<bool, Refusal> {
    let collection = collection::find(rows, database, collection)?;
    Ok(BY_NAME.has(rows, (collection, name)))
}

/// Partitions by id, which is the order of their creation.
pub(crate) fn list(
    rows: &impl Rows,
    database: &str,
    collection: &str,
    page: &PageRequest,
) -> Result<Page<Partition>, Refusal> {
    let collection = collection::find(rows, database, collection)?;
    page.read(PARTITIONS, rows, PARTITIONS.prefix(collection), |partition| {
        partition
    })
}

/// A row as the partition that it is.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Partition> {
    PARTITIONS.decode(key, value)
}

/// A row of the index, as the id in it.
pub(crate) fn read_name(key: &[u8], value: &[u8]) -> Option<PartitionId> {
    BY_NAME.decode(key, value)
}

/// The key that the index has for a partition.
pub(crate) fn name_key(partition: &Partition) -> Vec<u8> {
    BY_NAME.key((partition.collection_id, &partition.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::fixture::{
        Log, check, create, create_alias, create_partition, create_with, keyed_schema, words,
    };

    fn drop(collection: &str, name: &str) -> Command {
        Command::DropPartition(DropPartition {
            collection: collection.into(),
            name: name.into(),
            ..DropPartition::default()
        })
    }

    #[test]
    fn partitions_come_and_go_but_fixed_ones_stay() {
        let books = || vec![create("books"), create_partition("books", "p")];
        let keyed = || vec![create_with("k", |create| create.schema = keyed_schema())];
        let by_key =
            "the partitions of a collection with a partition key cannot be created or dropped by hand";
        check(vec![
            (
                "new",
                vec![create("books")],
                create_partition("books", "p"),
                "PartitionCreated { id: PartitionId(4) }",
            ),
            (
                "again",
                books(),
                create_partition("books", "p"),
                "PartitionCreated { id: PartitionId(4) }",
            ),
            (
                "by alias",
                vec![create("books"), create_alias("b", "books")],
                create_partition("b", "p"),
                "PartitionCreated { id: PartitionId(4) }",
            ),
            (
                "of nothing",
                vec![],
                create_partition("books", "p"),
                "there is no collection \"books\" in database \"default\"",
            ),
            (
                "a bad name",
                books(),
                create_partition("books", "p/q"),
                "the partition name \"p/q\" may hold only letters, digits, underscores and hyphens",
            ),
            (
                "with a key",
                keyed(),
                create_partition("k", "p"),
                &format!("partition \"p\" of collection \"k\": {by_key}"),
            ),
            (
                "dropped",
                books(),
                drop("books", "p"),
                "PartitionDropped { existed: true }",
            ),
            (
                "not there",
                books(),
                drop("books", "q"),
                "PartitionDropped { existed: false }",
            ),
            (
                "the default one",
                books(),
                drop("books", "_default"),
                "partition \"_default\" of collection \"books\": the default partition cannot be dropped",
            ),
            (
                "dropped with a key",
                keyed(),
                drop("k", "_default_0"),
                &format!("partition \"_default_0\" of collection \"k\": {by_key}"),
            ),
            (
                "dropped of nothing",
                vec![],
                drop("books", "p"),
                "there is no collection \"books\" in database \"default\"",
            ),
        ]);
    }

    #[test]
    fn a_collection_has_at_most_4096() {
        let mut log = Log::new();
        assert!(log.apply(&create("books")).is_ok());
        for number in 1..PARTITIONS_PER_COLLECTION_MAX {
            assert!(log.apply(&create_partition("books", &number.to_string())).is_ok());
        }
        let refused = log.apply(&create_partition("books", "p"));
        assert_eq!(
            words(refused),
            "collection \"books\" has 4096 partitions, which is the limit; drop one first"
        );
        assert!(log.apply(&drop("books", "7")).is_ok());
        assert!(log.apply(&create_partition("books", "p")).is_ok());
        log.machine.image().audit().expect("a state that fits together");
    }
}
