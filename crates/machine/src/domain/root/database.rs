//! Databases: the spaces in which collections and aliases have their names.
//!
//! Milvus (`internal/rootcoord/meta_table.go`): at most 64; the default one is always there; one with collections cannot
//! be dropped; dropping one that is not there is no error.

use quorate_types::LogTime;
use quorate_types::limits::DATABASES_MAX;

use super::properties::{self, Properties};
use super::row::or_default;
use super::{collection, name};
use crate::command::{AlterDatabase, CreateDatabase, DropDatabase};
use crate::object_id::DatabaseId;
use crate::page::{Page, PageRequest};
use crate::refusal::{NameKind, Refusal, shown};
use crate::reply::Reply;
use crate::table::{Rows, Table, TableTag};
use crate::txn::Txn;

const DATABASES: Table<DatabaseId, Database> = Table::new(TableTag::Database);
const BY_NAME: Table<String, DatabaseId> = Table::new(TableTag::DatabaseName);

/// The database that is always there, and that an empty name stands for.
pub const DEFAULT_DATABASE: &str = "default";

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its id; the default database's is 1.
    pub id: DatabaseId,
    /// Unique in the cluster.
    pub name: String,
    /// What its owner noted on it.
    pub properties: Properties,
    /// Log time of its creation.
    pub created_at: LogTime,
}

/// The first write of a cluster.
pub(crate) fn create_default(txn: &mut Txn<'_>) {
    insert(txn, DEFAULT_DATABASE, Properties::new());
}

pub(crate) fn create(txn: &mut Txn<'_>, command: &CreateDatabase) -> Result<Reply, Refusal> {
    let CreateDatabase { name, properties } = command;
    name::check(NameKind::Database, name)?;
    properties::check("properties", properties)?;
    if BY_NAME.has(txn, name) {
        return Err(Refusal::DatabaseExists { name: shown(name) });
    }
    if txn.head.tally.databases >= DATABASES_MAX as u64 {
        return Err(Refusal::DatabaseLimit);
    }
    Ok(Reply::DatabaseCreated {
        id: insert(txn, name, properties.clone()),
    })
}

pub(crate) fn drop_database(txn: &mut Txn<'_>, command: &DropDatabase) -> Result<Reply, Refusal> {
    let name = or_default(&command.name);
    if name == DEFAULT_DATABASE {
        return Err(Refusal::DatabaseIsDefault);
    }
    let Some(id) = BY_NAME.get(txn, name) else {
        return Ok(Reply::DatabaseDropped { existed: false });
    };
    if collection::any_in(txn, id) {
        return Err(Refusal::DatabaseNotEmpty { name: shown(name) });
    }
    DATABASES.delete(txn, id);
    BY_NAME.delete(txn, name);
    txn.head.tally.databases -= 1;
    Ok(Reply::DatabaseDropped { existed: true })
}

pub(crate) fn alter(txn: &mut Txn<'_>, command: &AlterDatabase) -> Result<Reply, Refusal> {
    let mut database = describe(txn, &command.name)?;
    database.properties = properties::merge(&database.properties, &command.set, &command.remove)?;
    properties::check("set", &database.properties)?;
    DATABASES.put(txn, database.id, &database);
    Ok(Reply::DatabaseAltered)
}

fn insert(txn: &mut Txn<'_>, name: &str, properties: Properties) -> DatabaseId {
    let database = Database {
        id: DatabaseId(txn.next_id()),
        name: name.to_owned(),
        properties,
        created_at: txn.log_time,
    };
    DATABASES.put(txn, database.id, &database);
    BY_NAME.put(txn, name, &database.id);
    txn.head.tally.databases += 1;
    database.id
}

/// The id behind a name; an empty one stands for the default database.
pub(super) fn find(rows: &impl Rows, name: &str) -> Result<DatabaseId, Refusal> {
    let name = or_default(name);
    BY_NAME
        .get(rows, name)
        .ok_or_else(|| Refusal::DatabaseNotFound { name: shown(name) })
}

pub(crate) fn describe(rows: &impl Rows, name: &str) -> Result<Database, Refusal> {
    let id = find(rows, name)?;
    Ok(DATABASES
        .get(rows, id)
        .expect("a database stands behind its name's row"))
}

/// Databases by id, which is the order of their creation.
pub(crate) fn list(rows: &impl Rows, page: &PageRequest) -> Result<Page<Database>, Refusal> {
    page.read(DATABASES, rows, DATABASES.start(), |database| database)
}

/// A row as the database that it is.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Database> {
    DATABASES.decode(key, value)
}

/// A row of the index, as the id in it.
pub(crate) fn read_name(key: &[u8], value: &[u8]) -> Option<DatabaseId> {
    BY_NAME.decode(key, value)
}

/// The key that the index has for a database.
pub(crate) fn name_key(database: &Database) -> Vec<u8> {
    BY_NAME.key(&database.name)
}

#[cfg(test)]
mod tests {
    use crate::command::Command;
    use crate::fixture::{Log, check, create, create_database, create_with, words};
    use crate::{AlterDatabase, DropDatabase, PageRequest};

    fn drop(name: &str) -> Command {
        Command::DropDatabase(DropDatabase { name: name.into() })
    }

    fn alter(name: &str, set: &[(&str, &str)], remove: &[&str]) -> Command {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Command::AlterDatabase(AlterDatabase {
            name: name.into(),
            set: set.iter().map(owned).collect(),
            remove: remove.iter().map(|key| (*key).to_owned()).collect(),
        })
    }

    #[test]
    fn databases_come_and_go_but_the_default_one_stays() {
        let in_db = || create_with("books", |create| create.database = "db".into());
        check(vec![
            (
                "a name is taken once",
                vec![create_database("db")],
                create_database("db"),
                "there is a database \"db\" already",
            ),
            (
                "the default one is there",
                vec![],
                create_database("default"),
                "there is a database \"default\" already",
            ),
            (
                "a name has a shape",
                vec![],
                create_database("d b"),
                "the database name \"d b\" may hold only letters, digits and underscores",
            ),
            (
                "an empty one is dropped",
                vec![create_database("db")],
                drop("db"),
                "DatabaseDropped { existed: true }",
            ),
            (
                "one that is not there is no error",
                vec![],
                drop("db"),
                "DatabaseDropped { existed: false }",
            ),
            (
                "one with collections stays",
                vec![create_database("db"), in_db()],
                drop("db"),
                "the database \"db\" still has collections; drop or move them first",
            ),
            (
                "the default one stays",
                vec![],
                drop("default"),
                "the default database cannot be dropped",
            ),
            (
                "an empty name is the default one",
                vec![],
                drop(""),
                "the default database cannot be dropped",
            ),
            (
                "what is not there is not altered",
                vec![],
                alter("db", &[], &[]),
                "there is no database \"db\"",
            ),
            (
                "the default one is altered",
                vec![],
                alter("", &[("k", "v")], &["x"]),
                "DatabaseAltered",
            ),
            (
                "a key is set or removed",
                vec![],
                alter("", &[("k", "v")], &["k"]),
                "the parameter remove.k is both set and removed; do one of them",
            ),
            (
                "a collection needs its database",
                vec![],
                in_db(),
                "there is no database \"db\"",
            ),
        ]);
    }

    #[test]
    fn there_are_at_most_sixty_four() {
        let mut log = Log::new();
        for number in 1..64 {
            assert!(log.apply(&create_database(&format!("db{number}"))).is_ok());
        }
        let outcome = log.apply(&create_database("one_more"));
        assert_eq!(
            words(outcome),
            "there are 64 databases, which is the limit; drop one first"
        );
        assert!(log.apply(&drop("db7")).is_ok());
        assert!(log.apply(&create_database("one_more")).is_ok());
    }

    #[test]
    fn properties_are_merged_and_an_unchanged_database_makes_no_revision() {
        let mut log = Log::new();
        assert!(log.apply(&alter("", &[("a", "1"), ("b", "2")], &[])).is_ok());
        assert!(log.apply(&alter("", &[("b", "3")], &["a"])).is_ok());
        let image = log.machine.image();
        let database = image.describe_database("").expect("always there");
        assert_eq!(database.properties, [("b".to_owned(), "3".to_owned())].into());
        assert!(log.apply(&alter("", &[("b", "3")], &["a"])).is_ok());
        assert_eq!(log.machine.image().revision(), image.revision());
        let page = image.list_databases(&PageRequest::default()).expect("a page");
        assert_eq!(page.items, [database]);
        assert!(log.apply(&create("books")).is_ok());
    }
}
