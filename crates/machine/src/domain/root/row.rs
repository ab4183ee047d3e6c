//! The catalog's types to and from their durable form. Commands, rows and answers share the parts.
//!
//! Promises: equal values have equal bytes; a value with a number that this release does not know is `None`, never a
//! guess.

use prost::Message;
use quorate_format::v1;
use quorate_types::LogTime;

use super::channel::{ChannelUse, Shard};
use super::collection::{Collection, ConsistencyLevel};
use super::database::Database;
use super::partition::Partition;
use super::schema::{DataType, DefaultValue, Field, Schema};
use super::{Alias, DEFAULT_DATABASE};
use crate::object_id::{CollectionId, DatabaseId, PartitionId};
use crate::table::{Under, Value};

/// The name that an empty one stands for.
pub(super) fn or_default(database: &str) -> &str {
    if database.is_empty() {
        DEFAULT_DATABASE
    } else {
        database
    }
}

impl Value<DatabaseId> for Database {
    fn encode(&self) -> Vec<u8> {
        v1::DatabaseRow {
            name: self.name.clone(),
            properties: self.properties.clone(),
            created_at_ms: self.created_at.0,
        }
        .encode_to_vec()
    }

    fn decode(id: DatabaseId, bytes: &[u8]) -> Option<Self> {
        let row = v1::DatabaseRow::decode(bytes).ok()?;
        Some(Self {
            id,
            name: row.name,
            properties: row.properties,
            created_at: LogTime(row.created_at_ms),
        })
    }
}

impl Value<CollectionId> for Collection {
    fn encode(&self) -> Vec<u8> {
        v1::CollectionRow {
            database_id: self.database_id.0,
            name: self.name.clone(),
            description: self.description.clone(),
            schema: Some(self.schema.to_format()),
            shards: self.shards.iter().map(Shard::to_format).collect(),
            consistency_level: self.consistency_level as i32,
            properties: self.properties.clone(),
            created_at_ms: self.created_at.0,
            partitions: self.partitions,
            aliases: self.aliases.clone(),
        }
        .encode_to_vec()
    }

    fn decode(id: CollectionId, bytes: &[u8]) -> Option<Self> {
        let row = v1::CollectionRow::decode(bytes).ok()?;
        Some(Self {
            id,
            database_id: DatabaseId(row.database_id),
            name: row.name,
            description: row.description,
            schema: Schema::from_format(row.schema?)?,
            shards: row.shards.into_iter().map(Shard::from_format).collect(),
            consistency_level: ConsistencyLevel::from_format(row.consistency_level)?,
            properties: row.properties,
            created_at: LogTime(row.created_at_ms),
            partitions: row.partitions,
            aliases: row.aliases,
        })
    }
}

impl Value<(CollectionId, PartitionId)> for Partition {
    fn encode(&self) -> Vec<u8> {
        v1::PartitionRow {
            name: self.name.clone(),
            created_at_ms: self.created_at.0,
        }
        .encode_to_vec()
    }

    fn decode((collection_id, id): (CollectionId, PartitionId), bytes: &[u8]) -> Option<Self> {
        let row = v1::PartitionRow::decode(bytes).ok()?;
        Some(Self {
            id,
            collection_id,
            name: row.name,
            created_at: LogTime(row.created_at_ms),
        })
    }
}

impl Value<Under<DatabaseId>> for Alias {
    fn encode(&self) -> Vec<u8> {
        v1::AliasRow {
            collection_id: self.collection_id.0,
            collection_name: self.collection_name.clone(),
        }
        .encode_to_vec()
    }

    fn decode(Under(database_id, name): Under<DatabaseId>, bytes: &[u8]) -> Option<Self> {
        let row = v1::AliasRow::decode(bytes).ok()?;
        Some(Self {
            name,
            database_id,
            collection_id: CollectionId(row.collection_id),
            collection_name: row.collection_name,
        })
    }
}

impl Value<()> for ChannelUse {
    fn encode(&self) -> Vec<u8> {
        v1::ChannelUseRow {
            shards: self.0.to_vec(),
        }
        .encode_to_vec()
    }

    fn decode((): (), bytes: &[u8]) -> Option<Self> {
        let row = v1::ChannelUseRow::decode(bytes).ok()?;
        let mut used = Self::default();
        if row.shards.len() > used.0.len() {
            return None;
        }
        for (to, from) in used.0.iter_mut().zip(row.shards) {
            *to = from;
        }
        Some(used)
    }
}

/// The row of a name that leads to an id.
macro_rules! id_row {
    ($key:ty => $id:ident) => {
        impl Value<$key> for $id {
            fn encode(&self) -> Vec<u8> {
                v1::IdRow { id: self.0 }.encode_to_vec()
            }

            fn decode(_: $key, bytes: &[u8]) -> Option<Self> {
                Some(Self(v1::IdRow::decode(bytes).ok()?.id))
            }
        }
    };
}

id_row!(String => DatabaseId);
id_row!(Under<DatabaseId> => CollectionId);
id_row!(Under<CollectionId> => PartitionId);

impl Shard {
    pub(crate) fn to_format(&self) -> v1::Shard {
        v1::Shard {
            virtual_channel: self.virtual_channel.clone(),
            physical_channel: self.physical_channel.clone(),
        }
    }

    pub(crate) fn from_format(shard: v1::Shard) -> Self {
        Self {
            virtual_channel: shard.virtual_channel,
            physical_channel: shard.physical_channel,
        }
    }
}

impl ConsistencyLevel {
    pub(crate) fn from_format(number: i32) -> Option<Self> {
        Self::from_number(u32::try_from(number).ok()?)
    }
}

impl DataType {
    fn from_format(number: i32) -> Option<Self> {
        Self::from_number(u32::try_from(number).ok()?)
    }
}

impl Schema {
    pub(crate) fn to_format(&self) -> v1::Schema {
        v1::Schema {
            fields: self.fields.iter().map(Field::to_format).collect(),
            dynamic_fields: self.dynamic_fields,
        }
    }

    pub(crate) fn from_format(schema: v1::Schema) -> Option<Self> {
        let fields: Option<_> = schema.fields.into_iter().map(Field::from_format).collect();
        Some(Self {
            fields: fields?,
            dynamic_fields: schema.dynamic_fields,
        })
    }
}

impl Field {
    fn to_format(&self) -> v1::Field {
        v1::Field {
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            data_type: self.data_type as i32,
            element_type: self.element_type.map_or(0, |element| element as i32),
            primary_key: self.primary_key,
            auto_id: self.auto_id,
            partition_key: self.partition_key,
            nullable: self.nullable,
            default_value: self.default_value.as_ref().map(DefaultValue::to_format),
            dimension: self.dimension,
            max_length: self.max_length,
            max_capacity: self.max_capacity,
            properties: self.properties.clone(),
        }
    }

    fn from_format(field: v1::Field) -> Option<Self> {
        let element_type = match field.element_type {
            0 => None,
            number => Some(DataType::from_format(number)?),
        };
        let default_value = match field.default_value {
            None => None,
            Some(value) => Some(DefaultValue::from_format(value)?),
        };
        Some(Self {
            id: field.id,
            name: field.name,
            description: field.description,
            data_type: DataType::from_format(field.data_type)?,
            element_type,
            primary_key: field.primary_key,
            auto_id: field.auto_id,
            partition_key: field.partition_key,
            nullable: field.nullable,
            default_value,
            dimension: field.dimension,
            max_length: field.max_length,
            max_capacity: field.max_capacity,
            properties: field.properties,
        })
    }
}

impl DefaultValue {
    fn to_format(&self) -> v1::DefaultValue {
        use v1::default_value::Kind;
        let kind = match self {
            Self::Bool(value) => Kind::BoolValue(*value),
            Self::Int(value) => Kind::IntValue(*value),
            Self::Float(value) => Kind::FloatValue(*value),
            Self::Double(value) => Kind::DoubleValue(*value),
            Self::String(value) => Kind::StringValue(value.clone()),
        };
        v1::DefaultValue { kind: Some(kind) }
    }

    fn from_format(value: v1::DefaultValue) -> Option<Self> {
        use v1::default_value::Kind;
        Some(match value.kind? {
            Kind::BoolValue(value) => Self::Bool(value),
            Kind::IntValue(value) => Self::Int(value),
            Kind::FloatValue(value) => Self::Float(value),
            Kind::DoubleValue(value) => Self::Double(value),
            Kind::StringValue(value) => Self::String(value),
        })
    }
}
