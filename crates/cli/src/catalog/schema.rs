//! Schemas as people and programs write them: what `describe --output json` shows under `schema`, `--schema` reads.
//!
//! Promises: what is shown can be given back; what cannot be read is said with its place, before the cluster is asked.
//! Left out on purpose: Milvus's rules for schemas, which the cluster checks.

mod default;
mod field;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use quorate_client::v1;
use quorate_types::limits::REQUEST_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::output::words;

pub(super) use default::show as show_default;
pub(super) use field::parse as parse_field;

/// The fields of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schema {
    /// In the order of their declaration.
    fields: Vec<Field>,
    /// Rows may carry fields that are not named here.
    #[serde(default)]
    dynamic_fields: bool,
}

/// One field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    /// Given by the cluster; ignored where a schema is read.
    #[serde(default)]
    id: u64,
    name: String,
    #[serde(default)]
    description: String,
    data_type: String,
    /// Of an array.
    #[serde(default)]
    element_type: Option<String>,
    #[serde(default)]
    primary_key: bool,
    #[serde(default)]
    auto_id: bool,
    #[serde(default)]
    partition_key: bool,
    #[serde(default)]
    nullable: bool,
    #[serde(default)]
    default_value: Option<serde_json::Value>,
    /// Of a vector, otherwise 0.
    #[serde(default)]
    dimension: u32,
    /// Of a varchar, otherwise 0.
    #[serde(default)]
    max_length: u32,
    /// Of an array, otherwise 0.
    #[serde(default)]
    max_capacity: u32,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

impl Schema {
    /// A schema as it is shown.
    pub(crate) fn of(schema: &v1::Schema) -> Self {
        Self {
            fields: schema.fields.iter().map(Field::of).collect(),
            dynamic_fields: schema.dynamic_fields,
        }
    }

    fn to_message(&self) -> Result<v1::Schema, String> {
        let fields = self.fields.iter().enumerate();
        let fields = fields.map(|(index, field)| {
            field
                .to_message()
                .map_err(|why| format!("fields[{index}] ({:?}): {why}", field.name))
        });
        Ok(v1::Schema {
            fields: fields.collect::<Result<_, _>>()?,
            dynamic_fields: self.dynamic_fields,
        })
    }
}

impl Field {
    fn of(field: &v1::Field) -> Self {
        Self {
            id: field.id,
            name: field.name.clone(),
            description: field.description.clone(),
            data_type: words::data_type(field.data_type),
            element_type: (field.element_type != 0).then(|| words::data_type(field.element_type)),
            primary_key: field.primary_key,
            auto_id: field.auto_id,
            partition_key: field.partition_key,
            nullable: field.nullable,
            default_value: field.default_value.as_ref().map(default::to_json),
            dimension: field.dimension,
            max_length: field.max_length,
            max_capacity: field.max_capacity,
            properties: field.properties.clone(),
        }
    }

    fn to_message(&self) -> Result<v1::Field, String> {
        let data_type = data_type(&self.data_type)?;
        let element_type = self.element_type.as_deref().map(self::data_type).transpose()?;
        let default_value = self.default_value.as_ref();
        Ok(v1::Field {
            id: 0,
            name: self.name.clone(),
            description: self.description.clone(),
            data_type: data_type.into(),
            element_type: element_type.unwrap_or_default().into(),
            primary_key: self.primary_key,
            auto_id: self.auto_id,
            partition_key: self.partition_key,
            nullable: self.nullable,
            default_value: default_value
                .map(|value| default::from_json(data_type, value))
                .transpose()?,
            dimension: self.dimension,
            max_length: self.max_length,
            max_capacity: self.max_capacity,
            properties: self.properties.clone(),
        })
    }
}

/// Reads the schema in a file.
pub(super) fn read(path: &Path) -> Result<v1::Schema, Failure> {
    let wrong = |why: String| Failure::Usage(format!("--schema {}: {why}", path.display()));
    let mut json = Vec::new();
    // One byte more than a request can carry: enough to know that it is too much.
    let limit = REQUEST_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut json))
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    parse(&json).map_err(wrong)
}

fn parse(json: &[u8]) -> Result<v1::Schema, String> {
    if json.len() > REQUEST_BYTES_MAX {
        return Err(format!(
            "has more than {REQUEST_BYTES_MAX} bytes, the most that a request may have"
        ));
    }
    let schema: Schema = serde_json::from_slice(json).map_err(|error| {
        format!(
            "is not a schema: {error}; `quorate catalog collection describe NAME --output json` shows one"
        )
    })?;
    schema.to_message()
}

/// The type with this name.
fn data_type(word: &str) -> Result<v1::DataType, String> {
    let name = format!("DATA_TYPE_{}", word.to_ascii_uppercase());
    match v1::DataType::from_str_name(&name) {
        None | Some(v1::DataType::Unspecified) => Err(format!(
            "{word:?} is no type; known are bool, int8, int16, int32, int64, float, double, varchar, array, json, \
             binary_vector, float_vector, float16_vector, bfloat16_vector, sparse_float_vector, int8_vector"
        )),
        Some(known) => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"fields":[{"id":100,"name":"id","description":"","data_type":"int64","element_type":null,"primary_key":true,"auto_id":true,"partition_key":false,"nullable":false,"default_value":null,"dimension":0,"max_length":0,"max_capacity":0,"properties":{}},{"id":101,"name":"tags","description":"what it is","data_type":"array","element_type":"varchar","primary_key":false,"auto_id":false,"partition_key":false,"nullable":true,"default_value":null,"dimension":0,"max_length":64,"max_capacity":8,"properties":{"a":"b"}},{"id":102,"name":"year","description":"","data_type":"int16","element_type":null,"primary_key":false,"auto_id":false,"partition_key":true,"nullable":false,"default_value":1999,"dimension":0,"max_length":0,"max_capacity":0,"properties":{}}],"dynamic_fields":true}"#;

    #[test]
    fn what_is_shown_can_be_given_back() {
        let mut message = parse(WHOLE.as_bytes()).expect("a schema");
        assert_eq!(message.fields[1].element_type(), v1::DataType::Varchar);
        assert!(
            message.fields.iter().all(|field| field.id == 0),
            "ids are the cluster's to give"
        );
        for (id, field) in (100..).zip(&mut message.fields) {
            field.id = id;
        }
        assert_eq!(serde_json::to_string(&Schema::of(&message)).unwrap(), WHOLE);
    }

    #[test]
    fn a_short_schema_is_enough() {
        let json = br#"{"fields": [{"name": "v", "data_type": "float_vector", "dimension": 4}]}"#;
        let message = parse(json).expect("a schema");
        let mut want = v1::Field {
            name: "v".to_owned(),
            dimension: 4,
            ..Default::default()
        };
        want.set_data_type(v1::DataType::FloatVector);
        assert_eq!(message.fields, [want]);
        assert!(!message.dynamic_fields);
    }

    #[test]
    fn what_is_no_schema_is_said_with_its_place() {
        let huge = "x".repeat(REQUEST_BYTES_MAX + 1);
        let deep = "[".repeat(100_000);
        let cases = [
            (
                "nothing",
                "",
                "is not a schema: EOF while parsing a value at line 1 column 0",
            ),
            (
                "not JSON",
                "fields: []",
                "is not a schema: expected ident at line 1 column 2",
            ),
            ("another thing", "[]", "is not a schema: invalid length 0"),
            ("no fields", "{}", "is not a schema: missing field `fields`"),
            (
                "a typing error",
                r#"{"fields":[],"dynamic":true}"#,
                "is not a schema: unknown field `dynamic`",
            ),
            (
                "no type",
                r#"{"fields":[{"name":"a"}]}"#,
                "is not a schema: missing field `data_type`",
            ),
            (
                "an unknown type",
                r#"{"fields":[{"name":"a","data_type":"int"}]}"#,
                "fields[0] (\"a\"): \"int\" is no type; known are bool",
            ),
            (
                "no type at all",
                r#"{"fields":[{"name":"a","data_type":"unspecified"}]}"#,
                "fields[0] (\"a\"): \"unspecified\" is no type",
            ),
            (
                "too large a number",
                r#"{"fields":[{"name":"a","data_type":"float_vector","dimension":4294967296}]}"#,
                "is not a schema: invalid value: integer `4294967296`, expected u32",
            ),
            (
                "a default of another type",
                r#"{"fields":[{"name":"a","data_type":"int8","default_value":"x"}]}"#,
                "fields[0] (\"a\"): the default \"x\" is no whole number",
            ),
            ("too much", &huge, "has more than 1638400 bytes"),
            ("too deep", &deep, "is not a schema: "),
        ];
        for (name, json, want) in cases {
            let error = parse(json.as_bytes()).expect_err(name);
            assert!(error.starts_with(want), "{name}: {error}");
        }
        assert!(parse(&[0xff, 0xfe]).is_err());
    }
}
