//! Listings of several pages, to their end and cut off by their reader; stale reads; refusals of the cluster.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use futures_util::future::try_join_all;
use quorate_client::v1;

use crate::house::House;

/// More than a page.
const ALIASES: usize = 250;
const COLLECTIONS: usize = 1_100;

fn request(name: String) -> v1::CreateCollectionRequest {
    let mut id = v1::Field {
        name: "id".to_owned(),
        primary_key: true,
        ..Default::default()
    };
    id.set_data_type(v1::DataType::Int64);
    let mut vec = v1::Field {
        name: "vec".to_owned(),
        dimension: 8,
        ..Default::default()
    };
    vec.set_data_type(v1::DataType::FloatVector);
    v1::CreateCollectionRequest {
        name,
        schema: Some(v1::Schema {
            fields: vec![id, vec],
            dynamic_fields: false,
        }),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_many_pages() {
    let house = House::of(1).await;
    let client = house
        .cluster
        .client()
        .unwrap()
        .with_deadline(crate::house::PATIENCE);
    let root = client.root();
    let created = (0..COLLECTIONS).map(|index| root.create_collection(request(format!("c{index:05}"))));
    try_join_all(created).await.unwrap();
    let aliased = (0..ALIASES).map(|index| {
        root.create_alias(v1::CreateAliasRequest {
            collection: "c00000".to_owned(),
            alias: format!("a{index:05}"),
            ..Default::default()
        })
    });
    try_join_all(aliased).await.unwrap();
    client.close().await;

    for stale in [&[][..], &["--stale"]] {
        let list = [&["catalog", "collection", "list"], stale].concat();
        let said = house.say(&list);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(
            said.err.contains("a stale answer: revision "),
            !stale.is_empty(),
            "{}",
            said.err
        );
        let names: Vec<&str> = said
            .out
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        let want: Vec<String> = (0..COLLECTIONS).map(|index| format!("c{index:05}")).collect();
        assert_eq!(names[0], "NAME");
        assert_eq!(names[1..], want);
    }
    let json = house.works(&["catalog", "alias", "list", "--output", "json"]);
    assert_eq!(json.lines().count(), ALIASES);

    // A reader that has enough is no failure, and ends the listing.
    let mut command = house.command(&["catalog", "collection", "list", "--output", "json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), vec![]));
    assert!(first.contains("\"name\":\"c00000\""), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_refuses_is_one_line_and_exit_code_1() {
    let house = House::of(1).await;
    let long = "x".repeat(100_000);
    let field = ["--field", "id:int64,primary", "--field", "vec:float_vector,dim=8"];
    let create = |name: &'static str, more: &[&'static str]| {
        [&["catalog", "collection", "create", name], &field[..], more].concat()
    };
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (create("", &[]), "name"),
        (create("a b", &[]), "REASON_INVALID_NAME"),
        (create("\u{1b}[31m\nred", &[]), "REASON_INVALID_NAME"),
        (create("a", &["--shards", "17"]), "REASON_INVALID_PARAMETER"),
        (create("a", &["--partitions", "4294967295"]), "REASON_"),
        (create("a", &["--field", "id:int8"]), "REASON_INVALID_SCHEMA"),
        (
            create("a", &["--field", "t:int8,default=300"]),
            "REASON_INVALID_SCHEMA",
        ),
        (
            create("a", &["--database", "nowhere"]),
            "REASON_DATABASE_NOT_FOUND",
        ),
        (vec!["catalog", "database", "create", &long], "name"),
        (
            vec!["catalog", "database", "create", "default"],
            "REASON_DATABASE_EXISTS",
        ),
        (
            vec!["catalog", "database", "drop", "default"],
            "REASON_DATABASE_IS_DEFAULT",
        ),
        (
            vec![
                "catalog",
                "collection",
                "describe",
                "--id",
                "18446744073709551615",
            ],
            "REASON_COLLECTION_NOT_FOUND",
        ),
        (
            vec!["catalog", "partition", "list", "--collection", "none"],
            "REASON_COLLECTION_NOT_FOUND",
        ),
        (
            vec!["catalog", "partition", "list", "--collection", "none", "--stale"],
            "REASON_COLLECTION_NOT_FOUND",
        ),
        (
            vec!["catalog", "alias", "describe", "none"],
            "REASON_ALIAS_NOT_FOUND",
        ),
        (
            vec!["catalog", "alias", "create", "a", "--collection", "none"],
            "REASON_COLLECTION_NOT_FOUND",
        ),
        (vec!["leader", "transfer"], "REASON_NO_SUCCESSOR"),
    ];
    for (arguments, want) in cases {
        let said = house.say(&arguments);
        said.assert_failed(1, &arguments);
        assert!(said.err.contains(want), "{arguments:?}: {}", said.err);
        assert!(
            said.err.len() < 2_000,
            "short, whatever was given: {}",
            said.err.len()
        );
    }
    assert_eq!(
        house.works(&["catalog", "collection", "list", "--output", "json"]),
        ""
    );
}
