//! Every command of the catalog, on one replica.

use std::fs;

use serde_json::{Value, json};

use crate::house::House;

const COLLECTION: [&str; 2] = ["catalog", "collection"];

fn collection<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&COLLECTION, arguments].concat()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_collection() {
    let house = House::of(1).await;
    let create = collection(&[
        "create",
        "books",
        "--field",
        "id:int64,primary,auto_id",
        "--field",
        "title:varchar,max_length=64,nullable,default=\"a, \\\"b\\\"\"",
        "--field",
        "vec:float_vector,dim=8",
        "--shards",
        "2",
        "--description",
        "all of them",
        "--property",
        "ttl=60",
        "--consistency",
        "strong",
    ]);
    let created = house.works(&create);
    assert!(
        created.starts_with("collection books is created with id "),
        "{created}"
    );
    assert!(created.ends_with(" and 2 shards\n"), "{created}");
    // As in Milvus: the very same again is no error, another one of the same name is.
    assert_eq!(house.works(&create), created);
    let other = [&create[..], &["--dynamic-fields"]].concat();
    let refused = house.refused(&other);
    assert!(refused.contains("REASON_COLLECTION_EXISTS"), "{refused}");

    let described = house.json(&collection(&["describe", "books"]));
    let id = described["collection_id"].as_u64().unwrap();
    assert_eq!(described["description"], "all of them");
    assert_eq!(described["consistency_level"], "strong");
    assert_eq!(described["properties"], json!({"ttl": "60"}));
    assert_eq!(described["shards"].as_array().unwrap().len(), 2);
    assert_eq!(described["schema"]["fields"][1]["default_value"], "a, \"b\"");
    assert_eq!(described["schema"]["fields"][2]["dimension"], 8);
    assert_eq!(described["read"]["leader_contact_ms"], Value::Null);
    let by_id = house.json(&collection(&["describe", "--id", &id.to_string()]));
    assert_eq!(by_id["name"], "books");
    let table = house.works(&collection(&["describe", "books"]));
    assert!(
        table.contains("\n101  title  varchar       nullable,max_length=64,default=\"a, \\\"b\\\"\"\n"),
        "{table}"
    );

    // What describe shows can be given back.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("schema.json");
    fs::write(&file, described["schema"].to_string()).unwrap();
    let file = file.to_str().unwrap();
    let copy = house.json(&collection(&["create", "copies", "--schema", file]));
    assert!(copy["collection_id"].as_u64().unwrap() > id);
    let copied = house.json(&collection(&["describe", "copies"]));
    assert_eq!(copied["schema"], described["schema"]);

    house.works(&collection(&[
        "alter",
        "books",
        "--set",
        "a=b",
        "--remove",
        "ttl",
        "--description",
        "x\u{1b}[2J",
    ]));
    let altered = house.json(&collection(&["describe", "books"]));
    assert_eq!(altered["properties"], json!({"a": "b"}));
    assert_eq!(altered["description"], "x\u{1b}[2J");
    let raw = house.works(&collection(&["describe", "books", "--output", "json"]));
    let table = house.works(&collection(&["describe", "books"]));
    assert!(
        !raw.contains('\u{1b}') && !table.contains('\u{1b}'),
        "nothing that a terminal obeys"
    );
    assert!(table.contains("x\\u{1b}[2J"), "{table}");

    assert_eq!(house.works(&collection(&["has", "books"])), "true\n");
    assert_eq!(
        house.works(&collection(&["rename", "books", "novels"])),
        "collection books is now novels\n"
    );
    assert_eq!(house.works(&collection(&["has", "books"])), "false\n");
    assert_eq!(house.json(&collection(&["has", "novels"]))["exists"], true);
    let listed = house.works(&collection(&["list"]));
    assert!(listed.starts_with("NAME"), "{listed}");
    let listed = lines(&house.works(&collection(&["list", "--output", "json"])));
    let names: Vec<&Value> = listed.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["copies", "novels"]);

    assert_eq!(
        house.works(&collection(&["drop", "novels"])),
        "collection novels is dropped\n"
    );
    assert_eq!(
        house.works(&collection(&["drop", "novels"])),
        "collection novels was not there\n"
    );
    assert_eq!(
        house.json(&collection(&["drop", "copies"])),
        json!({"existed": true})
    );
    assert_eq!(house.works(&collection(&["list", "--output", "json"])), "");
    let missing = house.refused(&collection(&["describe", "novels"]));
    assert!(missing.contains("REASON_COLLECTION_NOT_FOUND"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_partitions_and_aliases() {
    let house = House::of(1).await;
    let created = house.works(&[
        "catalog",
        "database",
        "create",
        "library",
        "--property",
        "owner=me",
    ]);
    assert!(
        created.starts_with("database library is created with id "),
        "{created}"
    );
    house.works(&[
        "catalog",
        "database",
        "alter",
        "library",
        "--set",
        "owner=you",
        "--set",
        "note=",
    ]);
    let described = house.json(&["catalog", "database", "describe", "library"]);
    assert_eq!(described["properties"], json!({"note": "", "owner": "you"}));
    let table = house.works(&["catalog", "database", "list"]);
    assert_eq!(table.lines().count(), 3, "{table}");

    let fields = [
        "--field",
        "id:int64,primary",
        "--field",
        "vec:float_vector,dim=8",
        "--database",
        "library",
    ];
    for name in ["books", "novels"] {
        house.works(&[&collection(&["create", name])[..], &fields].concat());
    }
    let refused = house.refused(&["catalog", "database", "drop", "library"]);
    assert!(refused.contains("REASON_DATABASE_NOT_EMPTY"), "{refused}");
    // It moves.
    house.works(&collection(&[
        "rename",
        "novels",
        "novels",
        "--database",
        "library",
        "--to-database",
        "default",
    ]));
    assert_eq!(house.works(&collection(&["has", "novels"])), "true\n");

    let of = ["--collection", "books", "--database", "library"];
    let partition = |arguments: &[&'static str]| [&["catalog", "partition"], arguments, &of].concat();
    assert!(house.json(&partition(&["create", "y2026"]))["partition_id"].is_u64());
    assert_eq!(house.works(&partition(&["has", "y2026"])), "true\n");
    assert_eq!(house.works(&partition(&["has", "y2027"])), "false\n");
    let names: Vec<Value> = lines(&house.works(&partition(&["list", "--output", "json"])))
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["_default", "y2026"]);
    assert_eq!(
        house.works(&partition(&["drop", "y2026"])),
        "partition y2026 is dropped\n"
    );
    let fixed = house.refused(&partition(&["drop", "_default"]));
    assert!(fixed.contains("REASON_PARTITION_FIXED"), "{fixed}");

    let alias = |arguments: &[&'static str]| [&["catalog", "alias"], arguments].concat();
    house.works(&alias(&["create", "latest", "--collection", "novels"]));
    let described = house.json(&alias(&["describe", "latest"]));
    assert_eq!(described["collection"], "novels");
    house.works(&[&collection(&["create", "news"])[..], &fields[..4]].concat());
    house.works(&alias(&["alter", "latest", "--collection", "news"]));
    let listed = house.works(&alias(&["list", "--collection", "news"]));
    assert!(listed.contains("\nlatest  news"), "{listed}");
    assert_eq!(
        house.works(&alias(&["list", "--collection", "novels", "--output", "json"])),
        ""
    );
    assert_eq!(
        lines(&house.works(&alias(&["list", "--output", "json"]))).len(),
        1
    );
    assert_eq!(
        house.works(&alias(&["drop", "latest"])),
        "alias latest is dropped\n"
    );
    assert_eq!(
        house.works(&alias(&["drop", "latest"])),
        "alias latest was not there\n"
    );

    house.works(&collection(&["drop", "books", "--database", "library"]));
    assert_eq!(
        house.works(&["catalog", "database", "drop", "library"]),
        "database library is dropped\n"
    );
}
