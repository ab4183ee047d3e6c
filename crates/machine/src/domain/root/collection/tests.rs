use super::*;
use crate::command::{Command, CreateAlias};
use crate::fixture::{
    Log, check, create, create_alias, create_database, create_partition, create_with, drop, keyed_schema,
    words,
};

fn rename(from: (&str, &str), to: (&str, &str)) -> Command {
    Command::RenameCollection(RenameCollection {
        database: from.0.into(),
        name: from.1.into(),
        new_database: to.0.into(),
        new_name: to.1.into(),
    })
}

#[test]
fn a_collection_is_created_once() {
    let same = "CollectionCreated { id: CollectionId(2), shards: [Shard { virtual_channel: \"q-dml_0_2v0\", \
                physical_channel: \"q-dml_0\" }] }";
    let exists = "there is a collection \"books\" in database \"default\" already, and it is not the same";
    let books = || vec![create("books")];
    let other = |change: fn(&mut CreateCollection)| create_with("books", change);
    check(vec![
        ("new", vec![], create("books"), same),
        ("the same again", books(), create("books"), same),
        (
            "defaults spelled out",
            books(),
            other(|c| (c.shards, c.database) = (1, "default".into())),
            same,
        ),
        (
            "properties do not count",
            books(),
            other(|c| c.properties = [("k".into(), "v".into())].into()),
            same,
        ),
        (
            "nor do partitions made by hand",
            vec![create("books"), create_partition("books", "p")],
            create("books"),
            same,
        ),
        (
            "another description",
            books(),
            other(|c| c.description = "d".into()),
            exists,
        ),
        (
            "another schema",
            books(),
            other(|c| c.schema.dynamic_fields = true),
            exists,
        ),
        ("other shards", books(), other(|c| c.shards = 2), exists),
        (
            "another consistency",
            books(),
            other(|c| c.consistency_level = ConsistencyLevel::Strong),
            exists,
        ),
        (
            "an alias has the name",
            vec![create("books"), create_alias("b", "books")],
            create("b"),
            "collection \"b\" in database \"default\": an alias has the name; choose another or drop the alias",
        ),
    ]);
}

#[test]
fn sizes_are_checked() {
    let keyed = |partitions| {
        create_with("k", move |create| {
            create.schema = keyed_schema();
            create.partitions = partitions;
        })
    };
    check(vec![
        (
            "too many shards",
            vec![],
            create_with("c", |c| c.shards = 17),
            "the parameter shards must be from 1 to 16",
        ),
        (
            "partitions without a key",
            vec![],
            create_with("c", |c| c.partitions = 1),
            "the parameter partitions needs a schema with a partition key",
        ),
        (
            "too many partitions",
            vec![],
            keyed(4097),
            "the parameter partitions must be from 1 to 4096",
        ),
        (
            "too many shards times partitions",
            (0..15)
                .map(|n| {
                    create_with(&format!("c{n}"), |create| {
                        create.schema = keyed_schema();
                        create.partitions = 4096;
                    })
                })
                .collect(),
            create_with("c", |create| {
                create.schema = keyed_schema();
                (create.partitions, create.shards) = (4096, 2);
            }),
            "shards times partitions of all collections would pass 65536, which is the limit; drop some first or \
             use fewer",
        ),
    ]);
}

#[test]
fn a_partition_key_brings_its_partitions() {
    let mut log = Log::new();
    let keyed = create_with("k", |create| create.schema = keyed_schema());
    assert!(log.apply(&keyed).is_ok());
    let image = log.machine.image();
    let partitions = image
        .list_partitions("", "k", &PageRequest::default())
        .expect("there");
    let names: Vec<_> = partitions
        .items
        .iter()
        .map(|partition| partition.name.as_str())
        .collect();
    assert_eq!(
        (names.len(), names[0], names[15]),
        (16, "_default_0", "_default_15")
    );
    assert!(log.apply(&keyed).is_ok(), "the same again");
    let fewer = create_with("k", |create| {
        create.schema = keyed_schema();
        create.partitions = 8;
    });
    assert!(
        log.apply(&fewer).is_err(),
        "another number of partitions is another collection"
    );
}

#[test]
fn dropping_goes_by_name_and_after_the_aliases() {
    let aliased = || vec![create("books"), create_alias("b", "books")];
    check(vec![
        (
            "dropped",
            vec![create("books"), create_partition("books", "p")],
            drop("books"),
            "CollectionDropped { existed: true }",
        ),
        (
            "not there",
            vec![],
            drop("books"),
            "CollectionDropped { existed: false }",
        ),
        (
            "no such database",
            vec![],
            Command::DropCollection(DropCollection {
                database: "db".into(),
                name: "books".into(),
            }),
            "CollectionDropped { existed: false }",
        ),
        (
            "by alias",
            aliased(),
            drop("b"),
            "collection \"b\" in database \"default\": the name is an alias; use the collection's own name",
        ),
        (
            "with aliases",
            aliased(),
            drop("books"),
            "collection \"books\" in database \"default\": aliases point at the collection; drop or alter them \
             first",
        ),
    ]);
}

#[test]
fn a_collection_that_is_created_again_has_a_new_id_and_no_leftovers() {
    let mut log = Log::new();
    for command in [
        create("books"),
        create_partition("books", "p"),
        drop("books"),
        create("books"),
    ] {
        assert!(log.apply(&command).is_ok());
    }
    let image = log.machine.image();
    let books = image.describe_collection("", "books").expect("there");
    assert!(books.id > CollectionId(2));
    assert_eq!(
        (books.partitions, image.has_partition("", "books", "p")),
        (1, Ok(false))
    );
    assert_eq!(image.counts().partitions, 1);
}

#[test]
fn renaming_moves_the_name_and_nothing_else() {
    let two = || vec![create("books"), create("films"), create_database("db")];
    let aliased = || vec![create("books"), create_alias("b", "books"), create_database("db")];
    check(vec![
        (
            "another name",
            two(),
            rename(("", "books"), ("", "tomes")),
            "CollectionRenamed",
        ),
        (
            "another database",
            two(),
            rename(("", "books"), ("db", "books")),
            "CollectionRenamed",
        ),
        (
            "the same name",
            two(),
            rename(("", "books"), ("default", "books")),
            "the parameter new_name is the name that it has already",
        ),
        (
            "a taken name",
            two(),
            rename(("", "books"), ("", "films")),
            "there is a collection \"films\" in database \"default\" already, and it is not the same",
        ),
        (
            "a bad name",
            two(),
            rename(("", "books"), ("", "1")),
            "the collection name \"1\" must start with a letter or an underscore",
        ),
        (
            "from nowhere",
            two(),
            rename(("", "maps"), ("", "charts")),
            "there is no collection \"maps\" in database \"default\"",
        ),
        (
            "to nowhere",
            two(),
            rename(("", "books"), ("nowhere", "books")),
            "there is no database \"nowhere\"",
        ),
        (
            "by alias",
            aliased(),
            rename(("", "b"), ("", "c")),
            "collection \"b\" in database \"default\": the name is an alias; use the collection's own name",
        ),
        (
            "to an alias",
            aliased(),
            rename(("", "books"), ("", "b")),
            "collection \"b\" in database \"default\": an alias has the name; choose another or drop the alias",
        ),
        (
            "aliases stay in their database",
            aliased(),
            rename(("", "books"), ("db", "books")),
            "collection \"books\" in database \"default\": aliases point at the collection; drop or alter them \
             first",
        ),
        (
            "aliases follow within it",
            aliased(),
            rename(("", "books"), ("", "tomes")),
            "CollectionRenamed",
        ),
    ]);
}

#[test]
fn altering_changes_properties_and_description() {
    let alter = |change: fn(&mut AlterCollection)| {
        let mut alter = AlterCollection {
            name: "books".into(),
            ..AlterCollection::default()
        };
        change(&mut alter);
        Command::AlterCollection(alter)
    };
    let books = || vec![create("books")];
    check(vec![
        ("nothing", books(), alter(|_| ()), "CollectionAltered"),
        (
            "a description",
            books(),
            alter(|a| a.description = Some("d".into())),
            "CollectionAltered",
        ),
        (
            "a long one",
            books(),
            alter(|a| a.description = Some("d".repeat(1025))),
            "the parameter description is longer than 1024 bytes",
        ),
        (
            "by alias",
            vec![create("books"), create_alias("b", "books")],
            alter(|a| a.name = "b".into()),
            "CollectionAltered",
        ),
        (
            "what is not there",
            vec![],
            alter(|_| ()),
            "there is no collection \"books\" in database \"default\"",
        ),
        (
            "isolation without a key",
            books(),
            alter(|a| a.set = [("partitionkey.isolation".into(), "true".into())].into()),
            "the parameter set.partitionkey.isolation needs a schema with a partition key",
        ),
    ]);
}

#[test]
fn hostile_names_are_refused_and_not_kept() {
    let mut log = Log::new();
    let huge = "x".repeat(1 << 20);
    for command in [
        create(&huge),
        rename(("", &huge), ("", "b")),
        Command::CreateAlias(CreateAlias {
            database: huge.clone(),
            collection: huge.clone(),
            alias: "a".into(),
        }),
    ] {
        let refusal = words(log.apply(&command));
        assert!(refusal.len() < 700, "{} bytes", refusal.len());
    }
}
