//! The things of the catalog as messages.

use quorate_api::v1;
use quorate_replica::machine::{Alias, Collection, ConsistencyLevel, Database, Partition, Shard};

use super::{Malformed, schema};

pub(super) fn database(database: Database) -> v1::Database {
    v1::Database {
        id: database.id.0,
        name: database.name,
        properties: database.properties,
        created_at_ms: database.created_at.0,
    }
}

pub(super) fn collection(collection: Collection) -> v1::Collection {
    v1::Collection {
        id: collection.id.0,
        database_id: collection.database_id.0,
        name: collection.name,
        description: collection.description,
        schema: Some(schema::to_proto(collection.schema)),
        shards: collection.shards.into_iter().map(shard).collect(),
        consistency_level: level_to_proto(collection.consistency_level).into(),
        properties: collection.properties,
        created_at_ms: collection.created_at.0,
        partitions: collection.partitions,
        aliases: collection.aliases,
    }
}

pub(super) fn shard(shard: Shard) -> v1::Shard {
    v1::Shard {
        virtual_channel: shard.virtual_channel,
        physical_channel: shard.physical_channel,
    }
}

pub(super) fn partition(partition: Partition) -> v1::Partition {
    v1::Partition {
        id: partition.id.0,
        collection_id: partition.collection_id.0,
        name: partition.name,
        created_at_ms: partition.created_at.0,
    }
}

pub(super) fn alias(alias: Alias) -> v1::Alias {
    v1::Alias {
        name: alias.name,
        database_id: alias.database_id.0,
        collection_id: alias.collection_id.0,
        collection_name: alias.collection_name,
    }
}

fn level_to_proto(level: ConsistencyLevel) -> v1::ConsistencyLevel {
    match level {
        ConsistencyLevel::Strong => v1::ConsistencyLevel::Strong,
        ConsistencyLevel::Session => v1::ConsistencyLevel::Session,
        ConsistencyLevel::Bounded => v1::ConsistencyLevel::Bounded,
        ConsistencyLevel::Eventually => v1::ConsistencyLevel::Eventually,
    }
}

/// Unspecified means bounded, as in Milvus.
pub(super) fn consistency_level(field: &str, number: i32) -> Result<ConsistencyLevel, Malformed> {
    let known = v1::ConsistencyLevel::try_from(number).map_err(|_| Malformed::unknown(field, number))?;
    let level = ConsistencyLevel::ALL
        .iter()
        .copied()
        .find(|level| level_to_proto(*level) == known);
    Ok(level.unwrap_or(ConsistencyLevel::Bounded))
}

#[cfg(test)]
mod tests {
    use quorate_replica::machine::{CollectionId, DatabaseId, PartitionId, Schema};
    use quorate_types::LogTime;

    use super::*;

    #[test]
    fn consistency_levels() {
        for level in ConsistencyLevel::ALL {
            assert_eq!(consistency_level("l", level_to_proto(*level).into()), Ok(*level));
        }
        assert_eq!(consistency_level("l", 0), Ok(ConsistencyLevel::Bounded));
        for unknown in [-1, 5, i32::MAX] {
            let malformed = consistency_level("l", unknown).expect_err("unknown");
            assert_eq!(malformed.field, "l", "{unknown}");
        }
    }

    #[test]
    fn nothing_of_an_object_is_lost() {
        let properties = [("k".to_owned(), "v".to_owned())];
        let shown = collection(Collection {
            id: CollectionId(7),
            database_id: DatabaseId(1),
            name: "books".to_owned(),
            description: "all of them".to_owned(),
            schema: Schema {
                fields: vec![],
                dynamic_fields: true,
            },
            shards: vec![Shard {
                virtual_channel: "p_7v0".to_owned(),
                physical_channel: "p".to_owned(),
            }],
            consistency_level: ConsistencyLevel::Strong,
            properties: properties.clone().into(),
            created_at: LogTime(9),
            partitions: 3,
            aliases: vec!["b".to_owned()],
        });
        let want = v1::Collection {
            id: 7,
            database_id: 1,
            name: "books".to_owned(),
            description: "all of them".to_owned(),
            schema: Some(v1::Schema {
                fields: vec![],
                dynamic_fields: true,
            }),
            shards: vec![v1::Shard {
                virtual_channel: "p_7v0".to_owned(),
                physical_channel: "p".to_owned(),
            }],
            consistency_level: v1::ConsistencyLevel::Strong.into(),
            properties: properties.clone().into(),
            created_at_ms: 9,
            partitions: 3,
            aliases: vec!["b".to_owned()],
        };
        assert_eq!(shown, want);

        let (name, created_at) = ("n".to_owned(), LogTime(4));
        let shown = partition(Partition {
            id: PartitionId(8),
            collection_id: CollectionId(7),
            name: name.clone(),
            created_at,
        });
        assert_eq!(
            shown,
            v1::Partition {
                id: 8,
                collection_id: 7,
                name: name.clone(),
                created_at_ms: 4
            }
        );

        let shown = database(Database {
            id: DatabaseId(2),
            name: name.clone(),
            properties: properties.clone().into(),
            created_at,
        });
        let properties = properties.into();
        assert_eq!(
            shown,
            v1::Database {
                id: 2,
                name: name.clone(),
                properties,
                created_at_ms: 4
            }
        );

        let shown = alias(Alias {
            name: name.clone(),
            database_id: DatabaseId(2),
            collection_id: CollectionId(7),
            collection_name: "books".to_owned(),
        });
        let collection_name = "books".to_owned();
        assert_eq!(
            shown,
            v1::Alias {
                name,
                database_id: 2,
                collection_id: 7,
                collection_name
            }
        );
    }
}
