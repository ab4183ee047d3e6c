//! The demo catalog.
//!
//! Promises: creating it again changes nothing, so a directory can be used again.

use quorate_client::{Client, Error, v1};

/// The database.
pub(in super::super) const DATABASE: &str = "demo";
/// An alias that stays, for those who read and write.
pub(in super::super) const ALIAS: &str = "news";
/// The collection behind it, to which partitions come and go.
pub(in super::super) const COLLECTION: &str = "articles";

/// A collection of the demo.
struct Demo {
    name: &'static str,
    description: &'static str,
    shards: u32,
    dimension: u32,
    /// Partitions by a field of this name; then there are no named ones.
    partition_key: Option<&'static str>,
    partitions: &'static [&'static str],
    aliases: &'static [&'static str],
}

const DEMOS: [Demo; 3] = [
    Demo {
        name: COLLECTION,
        description: "newspaper articles by month",
        shards: 2,
        dimension: 768,
        partition_key: None,
        partitions: &["2026-10", "2026-11"],
        aliases: &[ALIAS, "press"],
    },
    Demo {
        name: "pictures",
        description: "pictures, found by what is on them",
        shards: 4,
        dimension: 512,
        partition_key: None,
        partitions: &["public"],
        aliases: &["gallery"],
    },
    Demo {
        name: "products",
        description: "products of many shops",
        shards: 1,
        dimension: 128,
        partition_key: Some("shop"),
        partitions: &[],
        aliases: &["offers"],
    },
];

/// Creates what is missing, and says what there is.
pub(in super::super) async fn create(client: &Client) -> Result<String, Error> {
    let root = client.root();
    let database = v1::CreateDatabaseRequest {
        name: DATABASE.to_owned(),
        ..Default::default()
    };
    unless_there(root.create_database(database).await)?;
    let (mut partitions, mut aliases) = (0, 0);
    for demo in &DEMOS {
        unless_there(root.create_collection(demo.request()).await)?;
        for name in demo.partitions {
            let partition = v1::CreatePartitionRequest {
                database: DATABASE.to_owned(),
                collection: demo.name.to_owned(),
                name: (*name).to_owned(),
                request: None,
            };
            unless_there(root.create_partition(partition).await)?;
            partitions += 1;
        }
        for alias in demo.aliases {
            let alias = v1::CreateAliasRequest {
                database: DATABASE.to_owned(),
                collection: demo.name.to_owned(),
                alias: (*alias).to_owned(),
                request: None,
            };
            unless_there(root.create_alias(alias).await)?;
            aliases += 1;
        }
    }
    Ok(format!(
        "demo catalog: database {DATABASE} with {} collections, {aliases} aliases, {partitions} named partitions",
        DEMOS.len()
    ))
}

/// What is there already, from an earlier run, is as good as made.
pub(super) fn unless_there<T>(result: Result<T, Error>) -> Result<(), Error> {
    use v1::Reason;
    match result {
        Ok(_) => Ok(()),
        Err(Error::Refused {
            reason:
                Reason::DatabaseExists | Reason::CollectionExists | Reason::PartitionExists | Reason::AliasExists,
            ..
        }) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Demo {
    fn request(&self) -> v1::CreateCollectionRequest {
        let field = |name: &str, data_type: v1::DataType| v1::Field {
            name: name.to_owned(),
            data_type: data_type.into(),
            ..Default::default()
        };
        let mut fields = vec![
            v1::Field {
                primary_key: true,
                ..field("id", v1::DataType::Int64)
            },
            v1::Field {
                max_length: 512,
                ..field("title", v1::DataType::Varchar)
            },
            v1::Field {
                dimension: self.dimension,
                ..field("embedding", v1::DataType::FloatVector)
            },
        ];
        if let Some(key) = self.partition_key {
            fields.push(v1::Field {
                partition_key: true,
                max_length: 64,
                ..field(key, v1::DataType::Varchar)
            });
        }
        v1::CreateCollectionRequest {
            database: DATABASE.to_owned(),
            name: self.name.to_owned(),
            description: self.description.to_owned(),
            schema: Some(v1::Schema {
                fields,
                dynamic_fields: true,
            }),
            shards: self.shards,
            ..Default::default()
        }
    }
}
