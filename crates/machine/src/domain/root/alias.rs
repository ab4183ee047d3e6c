//! Aliases: second names of collections, which can be moved from one to another in one step.
//!
//! Milvus (`internal/rootcoord/meta_table.go`): aliases and collections share one space of names in a database; an alias
//! points at a collection, never at an alias; creating it again for the same collection is no error, for another it is;
//! dropping one that is not there is no error. Here the collection's row names its aliases, so that whoever watches the
//! collection sees them come and go; hence the limit on their number.

use quorate_types::limits::ALIASES_PER_COLLECTION_MAX;

use super::collection::{self, Collection};
use super::row::or_default;
use super::{database, name};
use crate::command::{AlterAlias, CreateAlias, DropAlias};
use crate::object_id::{CollectionId, DatabaseId};
use crate::page::{Page, PageRequest};
use crate::refusal::{NameKind, Refusal, shown};
use crate::reply::Reply;
use crate::table::{Rows, Table, TableTag, Under};
use crate::txn::Txn;

const ALIASES: Table<Under<DatabaseId>, Alias> = Table::new(TableTag::Alias);

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Unique among the collections and aliases of its database.
    pub name: String,
    /// The database it is in, with its collection.
    pub database_id: DatabaseId,
    /// The collection it points at.
    pub collection_id: CollectionId,
    /// That collection's name.
    pub collection_name: String,
}

pub(crate) fn create(txn: &mut Txn<'_>, command: &CreateAlias) -> Result<Reply, Refusal> {
    let (name, database) = (&command.alias, or_default(&command.database));
    name::check(NameKind::Alias, name)?;
    let database_id = database::find(txn, database)?;
    check_name(txn, database_id, database, name)?;
    let mut collection = collection::by_own_name(txn, database, &command.collection)?;
    match ALIASES.get(txn, (database_id, name)) {
        Some(alias) if alias.collection_id == collection.id => Ok(Reply::AliasCreated),
        Some(alias) => Err(Refusal::AliasExists {
            database: shown(database),
            name: shown(name),
            collection: shown(&alias.collection_name),
        }),
        None => {
            check_limit(&collection)?;
            attach(txn, &mut collection, name);
            txn.head.tally.aliases += 1;
            Ok(Reply::AliasCreated)
        }
    }
}

pub(crate) fn alter(txn: &mut Txn<'_>, command: &AlterAlias) -> Result<Reply, Refusal> {
    let (name, database) = (&command.alias, or_default(&command.database));
    name::check(NameKind::Alias, name)?;
    let database_id = database::find(txn, database)?;
    check_name(txn, database_id, database, name)?;
    let mut collection = collection::by_own_name(txn, database, &command.collection)?;
    let alias = describe(txn, database, name)?;
    if alias.collection_id == collection.id {
        return Ok(Reply::AliasAltered);
    }
    check_limit(&collection)?;
    detach(txn, &alias);
    attach(txn, &mut collection, name);
    Ok(Reply::AliasAltered)
}

pub(crate) fn drop_alias(txn: &mut Txn<'_>, command: &DropAlias) -> Result<Reply, Refusal> {
    let name = &command.alias;
    let database_id = database::find(txn, &command.database)?;
    let Some(alias) = ALIASES.get(txn, (database_id, name)) else {
        return Ok(Reply::AliasDropped { existed: false });
    };
    detach(txn, &alias);
    ALIASES.delete(txn, (database_id, name));
    txn.head.tally.aliases -= 1;
    Ok(Reply::AliasDropped { existed: true })
}

fn check_name(txn: &Txn<'_>, id: DatabaseId, database: &str, name: &str) -> Result<(), Refusal> {
    if collection::is_own_name(txn, id, name) {
        return Err(Refusal::AliasCollectionConflict {
            database: shown(database),
            name: shown(name),
        });
    }
    Ok(())
}

fn check_limit(collection: &Collection) -> Result<(), Refusal> {
    if collection.aliases.len() >= ALIASES_PER_COLLECTION_MAX {
        let collection = shown(&collection.name);
        return Err(Refusal::AliasLimit { collection });
    }
    Ok(())
}

/// Points an alias at a collection, and names it in the collection's row.
fn attach(txn: &mut Txn<'_>, collection: &mut Collection, name: &str) {
    let Err(place) = collection
        .aliases
        .binary_search_by(|alias| alias.as_str().cmp(name))
    else {
        return;
    };
    collection.aliases.insert(place, name.to_owned());
    ALIASES.put(txn, (collection.database_id, name), &alias_of(collection, name));
    collection::put(txn, collection);
}

/// Takes an alias out of its collection's row; the alias's own row is the caller's.
fn detach(txn: &mut Txn<'_>, alias: &Alias) {
    let mut collection =
        collection::by_id(txn, alias.collection_id).expect("a collection stands behind its alias");
    collection.aliases.retain(|name| *name != alias.name);
    collection::put(txn, &collection);
}

fn alias_of(collection: &Collection, name: &str) -> Alias {
    Alias {
        name: name.to_owned(),
        database_id: collection.database_id,
        collection_id: collection.id,
        collection_name: collection.name.clone(),
    }
}

/// Tells the aliases of a collection its new name.
pub(super) fn follow_rename(txn: &mut Txn<'_>, collection: &Collection) {
    for name in &collection.aliases {
        ALIASES.put(txn, (collection.database_id, name), &alias_of(collection, name));
    }
}

/// The collection that an alias points at.
pub(super) fn target(rows: &impl Rows, database: DatabaseId, name: &str) -> Option<CollectionId> {
    ALIASES
        .get(rows, (database, name))
        .map(|alias| alias.collection_id)
}

pub(super) fn exists(rows: &impl Rows, database: DatabaseId, name: &str) -> bool {
    ALIASES.has(rows, (database, name))
}

pub(crate) fn describe(rows: &impl Rows, database: &str, name: &str) -> Result<Alias, Refusal> {
    let id = database::find(rows, database)?;
    ALIASES
        .get(rows, (id, name))
        .ok_or_else(|| Refusal::AliasNotFound {
            database: shown(or_default(database)),
            name: shown(name),
        })
}

/// Aliases by name: of one collection, or, when its name is empty, of all in the database.
pub(crate) fn list(
    rows: &impl Rows,
    database: &str,
    collection: &str,
    page: &PageRequest,
) -> Result<Page<Alias>, Refusal> {
    let database_id = database::find(rows, database)?;
    let prefix = ALIASES.prefix(database_id);
    if collection.is_empty() {
        return page.read(ALIASES, rows, prefix, |alias| alias);
    }
    let collection = collection::describe(rows, database, collection)?;
    let after = page.after(&prefix)?;
    let keyed = collection.aliases.iter().map(|name| {
        let key = ALIASES.key((database_id, name));
        (key, alias_of(&collection, name))
    });
    page.collect(keyed.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)))
}

/// A row as the alias that it is.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Alias> {
    ALIASES.decode(key, value)
}

#[cfg(test)]
mod tests {
    use crate::command::Command;
    use crate::fixture::{Log, check, create, create_alias, create_database, words};
    use crate::{AlterAlias, DropAlias, PageRequest};

    fn alter(alias: &str, collection: &str) -> Command {
        Command::AlterAlias(AlterAlias {
            alias: alias.into(),
            collection: collection.into(),
            ..AlterAlias::default()
        })
    }

    fn drop(database: &str, alias: &str) -> Command {
        Command::DropAlias(DropAlias {
            database: database.into(),
            alias: alias.into(),
        })
    }

    #[test]
    fn an_alias_is_a_second_name_of_one_collection() {
        let two = || vec![create("books"), create("films"), create_alias("a", "books")];
        check(vec![
            (
                "new",
                vec![create("books")],
                create_alias("a", "books"),
                "AliasCreated",
            ),
            ("again", two(), create_alias("a", "books"), "AliasCreated"),
            (
                "for another",
                two(),
                create_alias("a", "films"),
                "the alias \"a\" in database \"default\" points at collection \"books\"; alter it to move it",
            ),
            (
                "a collection's name",
                two(),
                create_alias("films", "books"),
                "a collection in database \"default\" has the name \"films\"; choose another alias",
            ),
            (
                "its own collection's name",
                two(),
                create_alias("books", "books"),
                "a collection in database \"default\" has the name \"books\"; choose another alias",
            ),
            (
                "of an alias",
                two(),
                create_alias("b", "a"),
                "collection \"a\" in database \"default\": the name is an alias; use the collection's own name",
            ),
            (
                "of nothing",
                vec![],
                create_alias("a", "books"),
                "there is no collection \"books\" in database \"default\"",
            ),
            (
                "a bad name",
                two(),
                create_alias("a-b", "books"),
                "the alias name \"a-b\" may hold only letters, digits and underscores",
            ),
            ("moved", two(), alter("a", "films"), "AliasAltered"),
            ("moved to where it is", two(), alter("a", "books"), "AliasAltered"),
            (
                "moved, but not there",
                two(),
                alter("b", "films"),
                "there is no alias \"b\" in database \"default\"",
            ),
            (
                "moved to nothing",
                two(),
                alter("a", "maps"),
                "there is no collection \"maps\" in database \"default\"",
            ),
            ("dropped", two(), drop("", "a"), "AliasDropped { existed: true }"),
            (
                "dropped, but not there",
                two(),
                drop("", "b"),
                "AliasDropped { existed: false }",
            ),
            (
                "dropped from no database",
                two(),
                drop("db", "a"),
                "there is no database \"db\"",
            ),
            (
                "dropped from another database",
                vec![create("books"), create_alias("a", "books"), create_database("db")],
                drop("db", "a"),
                "AliasDropped { existed: false }",
            ),
        ]);
    }

    #[test]
    fn the_collection_knows_its_aliases() {
        let mut log = Log::new();
        for command in [
            create("books"),
            create("films"),
            create_alias("z", "books"),
            create_alias("a", "books"),
        ] {
            assert!(log.apply(&command).is_ok());
        }
        let aliases = |log: &Log, name: &str| {
            let image = log.machine.image();
            image.describe_collection("", name).expect("there").aliases
        };
        assert_eq!(aliases(&log, "a"), ["a", "z"]);
        assert!(log.apply(&alter("z", "films")).is_ok());
        assert_eq!(
            (aliases(&log, "books"), aliases(&log, "z")),
            (vec!["a".into()], vec!["z".into()])
        );
        let image = log.machine.image();
        let alias = image.describe_alias("", "z").expect("there");
        assert_eq!(alias.collection_name, "films");
        let page = image
            .list_aliases("", "films", &PageRequest::default())
            .expect("there");
        assert_eq!(page.items, [alias]);
    }

    #[test]
    fn a_collection_has_at_most_256() {
        let mut log = Log::new();
        assert!(log.apply(&create("books")).is_ok() && log.apply(&create("films")).is_ok());
        for number in 0..256 {
            assert!(log.apply(&create_alias(&format!("a{number}"), "books")).is_ok());
        }
        let limit = "collection \"books\" has 256 aliases, which is the limit; drop one first";
        assert_eq!(words(log.apply(&create_alias("b", "books"))), limit);
        assert!(log.apply(&create_alias("b", "films")).is_ok());
        assert_eq!(words(log.apply(&alter("b", "books"))), limit);
    }
}
