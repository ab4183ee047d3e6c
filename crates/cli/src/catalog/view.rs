//! The things of the catalog as JSON and for people.
//!
//! Promises: the JSON's names and shapes do not change without a new major version; fields are only added. Left out on
//! purpose: where a thing was read; see [`super::read`].

use std::collections::BTreeMap;

use quorate_client::v1;
use serde::Serialize;

use super::property;
use super::schema::{Schema, show_default};
use crate::output::table::{Column, Table, left, pairs, right};
use crate::output::text::cut;
use crate::output::time::utc;
use crate::output::words;

/// Longest piece of free text in a table, characters. JSON has all of it.
const TEXT_MAX: usize = 60;

/// A database.
#[derive(Debug, Serialize)]
pub(crate) struct Database {
    database_id: u64,
    name: String,
    properties: BTreeMap<String, String>,
    created_at_ms: u64,
}

/// A collection.
#[derive(Debug, Serialize)]
pub(crate) struct Collection {
    collection_id: u64,
    database_id: u64,
    name: String,
    description: String,
    schema: Schema,
    shards: Vec<Shard>,
    consistency_level: String,
    properties: BTreeMap<String, String>,
    created_at_ms: u64,
    partitions: u32,
    aliases: Vec<String>,
}

/// A shard of a collection.
#[derive(Debug, Serialize)]
pub(crate) struct Shard {
    virtual_channel: String,
    physical_channel: String,
}

/// A partition.
#[derive(Debug, Serialize)]
pub(crate) struct Partition {
    partition_id: u64,
    collection_id: u64,
    name: String,
    created_at_ms: u64,
}

/// An alias.
#[derive(Debug, Serialize)]
pub(crate) struct Alias {
    name: String,
    database_id: u64,
    collection_id: u64,
    collection: String,
}

impl Database {
    pub(crate) fn of(database: &v1::Database) -> Self {
        Self {
            database_id: database.id,
            name: database.name.clone(),
            properties: database.properties.clone(),
            created_at_ms: database.created_at_ms,
        }
    }
}

impl Collection {
    pub(crate) fn of(collection: &v1::Collection) -> Self {
        Self {
            collection_id: collection.id,
            database_id: collection.database_id,
            name: collection.name.clone(),
            description: collection.description.clone(),
            schema: Schema::of(collection.schema.as_ref().unwrap_or(&v1::Schema::default())),
            shards: shards(&collection.shards),
            consistency_level: words::consistency(collection.consistency_level),
            properties: collection.properties.clone(),
            created_at_ms: collection.created_at_ms,
            partitions: collection.partitions,
            aliases: collection.aliases.clone(),
        }
    }
}

impl Partition {
    pub(crate) fn of(partition: &v1::Partition) -> Self {
        Self {
            partition_id: partition.id,
            collection_id: partition.collection_id,
            name: partition.name.clone(),
            created_at_ms: partition.created_at_ms,
        }
    }
}

impl Alias {
    pub(crate) fn of(alias: &v1::Alias) -> Self {
        Self {
            name: alias.name.clone(),
            database_id: alias.database_id,
            collection_id: alias.collection_id,
            collection: alias.collection_name.clone(),
        }
    }
}

/// Shards as JSON.
pub(super) fn shards(shards: &[v1::Shard]) -> Vec<Shard> {
    let shard = |shard: &v1::Shard| Shard {
        virtual_channel: shard.virtual_channel.clone(),
        physical_channel: shard.physical_channel.clone(),
    };
    shards.iter().map(shard).collect()
}

pub(super) const DATABASE_COLUMNS: &[Column] =
    &[left("NAME"), right("ID"), left("CREATED"), left("PROPERTIES")];

pub(super) fn database_cells(database: &v1::Database) -> Vec<String> {
    vec![
        database.name.clone(),
        database.id.to_string(),
        utc(database.created_at_ms),
        cut(&property::show(&database.properties), TEXT_MAX),
    ]
}

pub(super) fn describe_database(database: &v1::Database) -> String {
    pairs(&[
        ("database", database.name.clone()),
        ("id", database.id.to_string()),
        ("created", utc(database.created_at_ms)),
        ("properties", property::show(&database.properties)),
    ])
}

pub(super) const COLLECTION_COLUMNS: &[Column] = &[
    left("NAME"),
    right("ID"),
    right("FIELDS"),
    right("SHARDS"),
    right("PARTITIONS"),
    left("CREATED"),
    left("ALIASES"),
];

pub(super) fn collection_cells(collection: &v1::Collection) -> Vec<String> {
    let fields = collection.schema.as_ref().map_or(0, |schema| schema.fields.len());
    vec![
        collection.name.clone(),
        collection.id.to_string(),
        fields.to_string(),
        collection.shards.len().to_string(),
        collection.partitions.to_string(),
        utc(collection.created_at_ms),
        cut(&collection.aliases.join(", "), TEXT_MAX),
    ]
}

pub(super) fn describe_collection(collection: &v1::Collection) -> String {
    let none = v1::Schema::default();
    let schema = collection.schema.as_ref().unwrap_or(&none);
    let shards = collection.shards.iter();
    let shards: Vec<String> = shards
        .map(|shard| format!("{} on {}", shard.virtual_channel, shard.physical_channel))
        .collect();
    let head = pairs(&[
        ("collection", collection.name.clone()),
        ("id", collection.id.to_string()),
        ("database", format!("id {}", collection.database_id)),
        ("description", collection.description.clone()),
        ("created", utc(collection.created_at_ms)),
        ("consistency", words::consistency(collection.consistency_level)),
        ("shards", shards.join(", ")),
        ("partitions", collection.partitions.to_string()),
        ("aliases", collection.aliases.join(", ")),
        ("properties", property::show(&collection.properties)),
        (
            "dynamic fields",
            if schema.dynamic_fields { "yes" } else { "no" }.to_owned(),
        ),
    ]);
    let mut fields = Table::new(&[
        right("ID"),
        left("FIELD"),
        left("TYPE"),
        left("OPTIONS"),
        left("DESCRIPTION"),
    ]);
    for field in &schema.fields {
        fields.row(vec![
            field.id.to_string(),
            field.name.clone(),
            words::data_type(field.data_type),
            options(field),
            cut(&field.description, TEXT_MAX),
        ]);
    }
    format!("{head}\n{}", fields.take())
}

/// What a field has besides its type, in the words of `--field`.
fn options(field: &v1::Field) -> String {
    let mut options = Vec::new();
    let flags = [
        (field.primary_key, "primary"),
        (field.auto_id, "auto_id"),
        (field.partition_key, "partition_key"),
        (field.nullable, "nullable"),
    ];
    options.extend(
        flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, word)| (*word).to_owned()),
    );
    if field.element_type != 0 {
        options.push(format!("element={}", words::data_type(field.element_type)));
    }
    let numbers = [
        ("dim", field.dimension),
        ("max_length", field.max_length),
        ("max_capacity", field.max_capacity),
    ];
    let numbers = numbers.iter().filter(|(_, number)| *number != 0);
    options.extend(numbers.map(|(word, number)| format!("{word}={number}")));
    if let Some(default) = &field.default_value {
        options.push(format!("default={}", cut(&show_default(default), TEXT_MAX)));
    }
    let properties = field.properties.iter();
    options.extend(properties.map(|(key, value)| format!("property.{key}={}", cut(value, TEXT_MAX))));
    options.join(",")
}

pub(super) const PARTITION_COLUMNS: &[Column] = &[left("NAME"), right("ID"), left("CREATED")];

pub(super) fn partition_cells(partition: &v1::Partition) -> Vec<String> {
    vec![
        partition.name.clone(),
        partition.id.to_string(),
        utc(partition.created_at_ms),
    ]
}

pub(super) const ALIAS_COLUMNS: &[Column] = &[left("NAME"), left("COLLECTION"), right("COLLECTION ID")];

pub(super) fn alias_cells(alias: &v1::Alias) -> Vec<String> {
    vec![
        alias.name.clone(),
        alias.collection_name.clone(),
        alias.collection_id.to_string(),
    ]
}

pub(super) fn describe_alias(alias: &v1::Alias) -> String {
    pairs(&[
        ("alias", alias.name.clone()),
        ("collection", alias.collection_name.clone()),
        ("collection id", alias.collection_id.to_string()),
        ("database", format!("id {}", alias.database_id)),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::schema::parse_field;
    use super::*;
    use crate::output::json_line;

    fn books() -> v1::Collection {
        let fields = [
            "id:int64,primary,auto_id",
            "title:varchar,max_length=512,nullable,description=as printed",
            "year:int16,default=1999,partition_key",
            "vec:float_vector,dim=128,property.mmap.enabled=true",
        ];
        let mut fields: Vec<v1::Field> = fields.iter().map(|text| parse_field(text).unwrap()).collect();
        for (id, field) in (100..).zip(&mut fields) {
            field.id = id;
        }
        v1::Collection {
            id: 446,
            database_id: 1,
            name: "books".to_owned(),
            description: "all \u{1b}[31mof them".to_owned(),
            schema: Some(v1::Schema {
                fields,
                dynamic_fields: true,
            }),
            shards: vec![v1::Shard {
                virtual_channel: "q-dml_3_446v0".to_owned(),
                physical_channel: "q-dml_3".to_owned(),
            }],
            consistency_level: v1::ConsistencyLevel::Bounded.into(),
            properties: [("ttl".to_owned(), "60".to_owned())].into(),
            created_at_ms: 1_795_244_622_123,
            partitions: 16,
            aliases: vec!["latest".to_owned(), "shelf".to_owned()],
        }
    }

    #[test]
    fn a_collection_for_people() {
        assert_eq!(
            describe_collection(&books()),
            "collection      books\n\
             id              446\n\
             database        id 1\n\
             description     all \\u{1b}[31mof them\n\
             created         2026-11-21 07:03:42Z\n\
             consistency     bounded\n\
             shards          q-dml_3_446v0 on q-dml_3\n\
             partitions      16\n\
             aliases         latest, shelf\n\
             properties      ttl=60\n\
             dynamic fields  yes\n\
             \n \
             ID  FIELD  TYPE          OPTIONS                             DESCRIPTION\n\
             100  id     int64         primary,auto_id\n\
             101  title  varchar       nullable,max_length=512             as printed\n\
             102  year   int16         partition_key,default=1999\n\
             103  vec    float_vector  dim=128,property.mmap.enabled=true\n"
        );
        let empty = describe_collection(&v1::Collection::default());
        assert!(
            empty.ends_with("dynamic fields  no\n\nID  FIELD  TYPE  OPTIONS  DESCRIPTION\n"),
            "{empty}"
        );
    }

    #[test]
    fn a_collection_as_json() {
        let want = concat!(
            r#"{"collection_id":446,"database_id":1,"name":"books","description":"all \u001b[31mof them","#,
            r#""schema":{"fields":["#,
            r#"{"id":100,"name":"id","description":"","data_type":"int64","element_type":null,"primary_key":true,"#,
            r#""auto_id":true,"partition_key":false,"nullable":false,"default_value":null,"dimension":0,"#,
            r#""max_length":0,"max_capacity":0,"properties":{}},"#,
            r#"{"id":101,"name":"title","description":"as printed","data_type":"varchar","element_type":null,"#,
            r#""primary_key":false,"auto_id":false,"partition_key":false,"nullable":true,"default_value":null,"#,
            r#""dimension":0,"max_length":512,"max_capacity":0,"properties":{}},"#,
            r#"{"id":102,"name":"year","description":"","data_type":"int16","element_type":null,"primary_key":false,"#,
            r#""auto_id":false,"partition_key":true,"nullable":false,"default_value":1999,"dimension":0,"#,
            r#""max_length":0,"max_capacity":0,"properties":{}},"#,
            r#"{"id":103,"name":"vec","description":"","data_type":"float_vector","element_type":null,"#,
            r#""primary_key":false,"auto_id":false,"partition_key":false,"nullable":false,"default_value":null,"#,
            r#""dimension":128,"max_length":0,"max_capacity":0,"properties":{"mmap.enabled":"true"}}],"#,
            r#""dynamic_fields":true},"#,
            r#""shards":[{"virtual_channel":"q-dml_3_446v0","physical_channel":"q-dml_3"}],"#,
            r#""consistency_level":"bounded","properties":{"ttl":"60"},"created_at_ms":1795244622123,"#,
            r#""partitions":16,"aliases":["latest","shelf"]}"#,
            "\n"
        );
        assert_eq!(json_line(&Collection::of(&books())).unwrap(), want);
    }

    #[test]
    fn the_rest_for_people_and_as_json() {
        let database = v1::Database {
            id: 1,
            name: "default".to_owned(),
            properties: [("a".to_owned(), "b\n".to_owned())].into(),
            created_at_ms: 0,
        };
        let partition = v1::Partition {
            id: 7,
            collection_id: 446,
            name: "_default".to_owned(),
            created_at_ms: u64::MAX,
        };
        let alias = v1::Alias {
            name: "latest".to_owned(),
            database_id: 1,
            collection_id: 446,
            collection_name: "books".to_owned(),
        };
        let rows = |columns, cells| {
            let mut table = Table::new(columns);
            table.row(cells);
            table.take()
        };
        let cases = [
            (
                rows(DATABASE_COLUMNS, database_cells(&database)),
                "NAME     ID  CREATED               PROPERTIES\ndefault   1  1970-01-01 00:00:00Z  a=b\\n\n",
            ),
            (
                describe_database(&database),
                "database    default\nid          1\ncreated     1970-01-01 00:00:00Z\nproperties  a=b\\n\n",
            ),
            (
                json_line(&Database::of(&database)).unwrap(),
                "{\"database_id\":1,\"name\":\"default\",\"properties\":{\"a\":\"b\\n\"},\"created_at_ms\":0}\n",
            ),
            (
                rows(COLLECTION_COLUMNS, collection_cells(&books())),
                "NAME    ID  FIELDS  SHARDS  PARTITIONS  CREATED               ALIASES\n\
                 books  446       4       1          16  2026-11-21 07:03:42Z  latest, shelf\n",
            ),
            (
                rows(PARTITION_COLUMNS, partition_cells(&partition)),
                "NAME      ID  CREATED\n_default   7  18446744073709551615 ms\n",
            ),
            (
                json_line(&Partition::of(&partition)).unwrap(),
                "{\"partition_id\":7,\"collection_id\":446,\"name\":\"_default\",\
                 \"created_at_ms\":18446744073709551615}\n",
            ),
            (
                rows(ALIAS_COLUMNS, alias_cells(&alias)),
                "NAME    COLLECTION  COLLECTION ID\nlatest  books                 446\n",
            ),
            (
                describe_alias(&alias),
                "alias          latest\ncollection     books\ncollection id  446\ndatabase       id 1\n",
            ),
            (
                json_line(&Alias::of(&alias)).unwrap(),
                "{\"name\":\"latest\",\"database_id\":1,\"collection_id\":446,\"collection\":\"books\"}\n",
            ),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }
}
