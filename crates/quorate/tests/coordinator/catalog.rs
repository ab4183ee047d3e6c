//! Every call of the catalog, through the client.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use quorate_api::v1;
use quorate_client::{Client, Error};

use crate::cluster::{Cluster, collection, database, schema};

fn n(text: &str) -> String {
    text.to_owned()
}

fn pair(key: &str, value: &str) -> BTreeMap<String, String> {
    [(n(key), n(value))].into()
}

fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> v1::Reason {
    match result {
        Err(Error::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_round_trips_at_one_replica() {
    let cluster = Cluster::start(1).await;
    round_trip(cluster.client()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_round_trips_at_three_replicas() {
    let cluster = Cluster::start(3).await;
    round_trip(cluster.client()).await;
    cluster.stop().await;
}

async fn round_trip(client: Client) {
    databases(&client).await;
    let books = collections(&client).await;
    partitions(&client).await;
    aliases(&client, books).await;

    let first = client.ids().allocate(10).await.unwrap();
    let second = client.ids().allocate(1).await.unwrap();
    assert_eq!((first.end - first.start, second.end - second.start), (10, 1));
    assert!(second.start >= first.end, "{first:?} {second:?}");
    assert!(matches!(
        client.ids().allocate(0).await,
        Err(Error::Refused {
            milvus_code: 1100,
            ..
        })
    ));

    // Everything goes again.
    let root = client.root();
    let drop = |name: &str| v1::DropCollectionRequest {
        name: n(name),
        database: n("db"),
        request: None,
    };
    assert!(root.drop_collection(drop("novels")).await.unwrap().existed);
    assert!(!root.drop_collection(drop("novels")).await.unwrap().existed);
    let drop = v1::DropDatabaseRequest {
        name: n("db"),
        request: None,
    };
    assert!(root.drop_database(drop.clone()).await.unwrap().existed);
    assert!(!root.drop_database(drop).await.unwrap().existed);
    client.close().await;
}

async fn databases(client: &Client) {
    let root = client.root();
    let id = root.create_database(database("db")).await.unwrap().database_id;
    assert_eq!(
        reason(root.create_database(database("db")).await),
        v1::Reason::DatabaseExists
    );
    let alter = v1::AlterDatabaseRequest {
        name: n("db"),
        set: pair("owner", "me"),
        remove: vec![n("nothing")],
        request: None,
    };
    root.alter_database(alter).await.unwrap();
    let described = root
        .describe_database(v1::DescribeDatabaseRequest { name: n("db") })
        .await
        .unwrap();
    let position = described.position.unwrap();
    assert!(
        position.revision > 1 && position.applied_index > 0,
        "{position:?}"
    );
    let described = described.database.unwrap();
    assert_eq!((described.id, described.properties), (id, pair("owner", "me")));
    assert!(described.created_at_ms > 0);

    let listed: Vec<v1::Database> = root.list_databases_all().try_collect().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|database| database.name.as_str()).collect();
    assert_eq!(names, ["default", "db"]);
    let page = Some(v1::Page {
        rows: 1,
        token: String::new(),
    });
    let first = root
        .list_databases(v1::ListDatabasesRequest { page })
        .await
        .unwrap();
    assert_eq!((first.databases.len(), first.next_token.is_empty()), (1, false));
    let unknown = v1::DescribeDatabaseRequest { name: n("none") };
    assert_eq!(
        reason(root.describe_database(unknown).await),
        v1::Reason::DatabaseNotFound
    );
}

async fn collections(client: &Client) -> u64 {
    let root = client.root();
    let request = v1::CreateCollectionRequest {
        database: n("db"),
        description: n("all of them"),
        shards: 2,
        consistency_level: v1::ConsistencyLevel::Strong.into(),
        properties: pair("k", "v"),
        ..collection("books")
    };
    let created = root.create_collection(request.clone()).await.unwrap();
    assert_eq!(created.shards.len(), 2);
    let again = root.create_collection(request.clone()).await.unwrap();
    assert_eq!(again, created, "the same collection is there already");
    let other = v1::CreateCollectionRequest { shards: 1, ..request };
    assert_eq!(
        reason(root.create_collection(other).await),
        v1::Reason::CollectionExists
    );
    let empty = v1::CreateCollectionRequest {
        schema: Some(v1::Schema::default()),
        ..collection("x")
    };
    assert_eq!(
        reason(root.create_collection(empty).await),
        v1::Reason::InvalidSchema
    );
    assert_eq!(
        reason(
            root.drop_database(v1::DropDatabaseRequest {
                name: n("db"),
                request: None
            })
            .await
        ),
        v1::Reason::DatabaseNotEmpty
    );

    let by = |database: &str, name: &str, collection_id| {
        root.describe_collection(v1::DescribeCollectionRequest {
            database: n(database),
            name: n(name),
            collection_id,
        })
    };
    let described = by("db", "books", 0).await.unwrap().collection.unwrap();
    assert_eq!(described.id, created.collection_id);
    assert_eq!(described.consistency_level(), v1::ConsistencyLevel::Strong);
    assert_eq!(described.shards, created.shards);
    let fields = described.schema.unwrap().fields;
    let ids: Vec<u64> = fields.iter().map(|field| field.id).collect();
    assert_eq!(ids, [100, 101]);
    let declared = schema()
        .fields
        .into_iter()
        .zip(ids)
        .map(|(field, id)| v1::Field { id, ..field });
    assert_eq!(fields, declared.collect::<Vec<_>>());

    let alter = v1::AlterCollectionRequest {
        database: n("db"),
        name: n("books"),
        set: pair("collection.ttl.seconds", "60"),
        remove: vec![n("k")],
        description: Some(n("some of them")),
        request: None,
    };
    root.alter_collection(alter).await.unwrap();
    let rename = v1::RenameCollectionRequest {
        database: n("db"),
        name: n("books"),
        new_name: n("novels"),
        ..Default::default()
    };
    root.rename_collection(rename).await.unwrap();
    let renamed = by("", "", created.collection_id)
        .await
        .unwrap()
        .collection
        .unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.description.as_str()),
        ("novels", "some of them")
    );
    assert_eq!(renamed.properties, pair("collection.ttl.seconds", "60"));
    assert_eq!(reason(by("db", "books", 0).await), v1::Reason::CollectionNotFound);
    assert_eq!(reason(by("", "", 999_999).await), v1::Reason::CollectionNotFound);

    let has = |name: &str| {
        root.has_collection(v1::HasCollectionRequest {
            database: n("db"),
            name: n(name),
        })
    };
    assert!(has("novels").await.unwrap().exists);
    assert!(!has("books").await.unwrap().exists);
    let listed: Vec<v1::Collection> = root.list_collections_all("db").try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    created.collection_id
}

async fn partitions(client: &Client) {
    let root = client.root();
    let create = |name: &str| {
        let (database, collection, name) = (n("db"), n("novels"), n(name));
        root.create_partition(v1::CreatePartitionRequest {
            database,
            collection,
            name,
            request: None,
        })
    };
    let drop = |name: &str| {
        let (database, collection, name) = (n("db"), n("novels"), n(name));
        root.drop_partition(v1::DropPartitionRequest {
            database,
            collection,
            name,
            request: None,
        })
    };
    let has = |name: &str| {
        let (database, collection, name) = (n("db"), n("novels"), n(name));
        root.has_partition(v1::HasPartitionRequest {
            database,
            collection,
            name,
        })
    };
    let id = create("p1").await.unwrap().partition_id;
    assert_eq!(create("p1").await.unwrap().partition_id, id);
    assert!(has("p1").await.unwrap().exists);
    let listed: Vec<v1::Partition> = root
        .list_partitions_all("db", "novels")
        .try_collect()
        .await
        .unwrap();
    let names: Vec<&str> = listed.iter().map(|partition| partition.name.as_str()).collect();
    assert_eq!(names, ["_default", "p1"]);
    assert_eq!(reason(drop("_default").await), v1::Reason::PartitionFixed);
    assert!(drop("p1").await.unwrap().existed);
    assert!(!drop("p1").await.unwrap().existed);
    assert!(!has("p1").await.unwrap().exists);
}

async fn aliases(client: &Client, novels: u64) {
    let root = client.root();
    let other = root.create_collection(v1::CreateCollectionRequest {
        database: n("db"),
        ..collection("plays")
    });
    let plays = other.await.unwrap().collection_id;
    let create = v1::CreateAliasRequest {
        database: n("db"),
        collection: n("novels"),
        alias: n("read"),
        request: None,
    };
    root.create_alias(create.clone()).await.unwrap();
    let taken = v1::CreateAliasRequest {
        collection: n("plays"),
        ..create
    };
    assert_eq!(reason(root.create_alias(taken).await), v1::Reason::AliasExists);
    let describe = v1::DescribeAliasRequest {
        database: n("db"),
        alias: n("read"),
    };
    let described = root
        .describe_alias(describe.clone())
        .await
        .unwrap()
        .alias
        .unwrap();
    assert_eq!(
        (described.collection_id, described.collection_name.as_str()),
        (novels, "novels")
    );
    let alter = v1::AlterAliasRequest {
        database: n("db"),
        collection: n("plays"),
        alias: n("read"),
        request: None,
    };
    root.alter_alias(alter).await.unwrap();
    let described = root
        .describe_alias(describe.clone())
        .await
        .unwrap()
        .alias
        .unwrap();
    assert_eq!(described.collection_id, plays);
    let by_alias = v1::DescribeCollectionRequest {
        database: n("db"),
        name: n("read"),
        collection_id: 0,
    };
    assert_eq!(
        root.describe_collection(by_alias)
            .await
            .unwrap()
            .collection
            .unwrap()
            .id,
        plays
    );

    for (of, want) in [("plays", 1), ("novels", 0), ("", 1)] {
        let listed: Vec<v1::Alias> = root.list_aliases_all("db", of).try_collect().await.unwrap();
        assert_eq!(listed.len(), want, "aliases of {of:?}");
    }
    let drop = v1::DropAliasRequest {
        database: n("db"),
        alias: n("read"),
        request: None,
    };
    assert!(root.drop_alias(drop.clone()).await.unwrap().existed);
    assert!(!root.drop_alias(drop).await.unwrap().existed);
    assert_eq!(
        reason(root.describe_alias(describe).await),
        v1::Reason::AliasNotFound
    );
    let drop = v1::DropCollectionRequest {
        database: n("db"),
        name: n("plays"),
        request: None,
    };
    assert!(root.drop_collection(drop).await.unwrap().existed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_of_many_is_paged_and_a_page_of_huge_rows_ends_early() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let root = client.root();
    // Each field carries a quarter of a megabyte, each collection above one.
    let huge: BTreeMap<String, String> = (0..64)
        .map(|key| (format!("k{key}"), "v".repeat(4_096)))
        .collect();
    let mut schema = schema();
    for field in 0..4 {
        schema.fields.push(v1::Field {
            name: format!("f{field}"),
            data_type: v1::DataType::Int8.into(),
            properties: huge.clone(),
            ..Default::default()
        });
    }
    for number in 0..24 {
        let request = v1::CreateCollectionRequest {
            schema: Some(schema.clone()),
            ..collection(&format!("huge{number:02}"))
        };
        root.create_collection(request).await.unwrap();
    }
    let all: Vec<v1::Collection> = root.list_collections_all("").try_collect().await.unwrap();
    let names: Vec<&str> = all.iter().map(|collection| collection.name.as_str()).collect();
    assert_eq!(names.len(), 24);
    assert!(names.is_sorted() && all[0].schema == all[23].schema);

    let page = Some(v1::Page {
        rows: 1_000,
        token: String::new(),
    });
    let first = root
        .list_collections(v1::ListCollectionsRequest {
            database: n(""),
            page,
        })
        .await
        .unwrap();
    assert_eq!(
        first.collections.len(),
        16,
        "sixteen of them are above sixteen megabytes"
    );
    assert!(!first.next_token.is_empty());
    let page = Some(v1::Page {
        rows: 1_001,
        token: String::new(),
    });
    let refused = root
        .list_collections(v1::ListCollectionsRequest {
            database: n(""),
            page,
        })
        .await;
    assert_eq!(reason(refused), v1::Reason::InvalidParameter);
    let page = Some(v1::Page {
        rows: 1,
        token: n("made up"),
    });
    let refused = root
        .list_collections(v1::ListCollectionsRequest {
            database: n(""),
            page,
        })
        .await;
    assert_eq!(reason(refused), v1::Reason::InvalidParameter);
    client.close().await;
    cluster.stop().await;
}
