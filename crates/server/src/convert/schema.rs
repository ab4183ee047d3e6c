//! Schemas: what a client declares, and what a collection has.

use quorate_api::v1;
use quorate_replica::machine::{DataType, DefaultValue, Field, Schema};
use quorate_types::limits::{FIELDS_MAX, VARCHAR_BYTES_MAX};

use super::{Malformed, count, description, name, properties, text};

/// The schema of a collection to be created. Ids of fields are the cluster's to give, so those of the message are left out.
pub(super) fn from_proto(schema: v1::Schema) -> Result<Schema, Malformed> {
    count("fields", schema.fields.len(), FIELDS_MAX)?;
    let fields = schema.fields.into_iter().enumerate();
    let fields: Result<Vec<Field>, Malformed> = fields
        .map(|(index, field)| {
            field_from_proto(field).map_err(|malformed| malformed.under(&format!("fields[{index}]")))
        })
        .collect();
    Ok(Schema {
        fields: fields?,
        dynamic_fields: schema.dynamic_fields,
    })
}

fn field_from_proto(field: v1::Field) -> Result<Field, Malformed> {
    let element_type = match field.element_type {
        0 => None,
        number => Some(data_type("element_type", number)?),
    };
    let default_value = field.default_value.map(default_from_proto).transpose()?;
    Ok(Field {
        id: 0,
        name: name("name", field.name)?,
        description: description("description", field.description)?,
        data_type: data_type("data_type", field.data_type)?,
        element_type,
        primary_key: field.primary_key,
        auto_id: field.auto_id,
        partition_key: field.partition_key,
        nullable: field.nullable,
        default_value,
        dimension: field.dimension,
        max_length: field.max_length,
        max_capacity: field.max_capacity,
        properties: properties("properties", field.properties)?,
    })
}

fn default_from_proto(value: v1::DefaultValue) -> Result<DefaultValue, Malformed> {
    use v1::default_value::Kind;
    Ok(
        match value
            .kind
            .ok_or_else(|| Malformed::missing("default_value.kind"))?
        {
            Kind::BoolValue(value) => DefaultValue::Bool(value),
            Kind::IntValue(value) => DefaultValue::Int(value),
            Kind::FloatValue(value) => DefaultValue::Float(value),
            Kind::DoubleValue(value) => DefaultValue::Double(value),
            Kind::StringValue(value) => DefaultValue::String(text(
                "default_value.string_value",
                value,
                VARCHAR_BYTES_MAX as usize,
            )?),
        },
    )
}

fn data_type(field: &str, number: i32) -> Result<DataType, Malformed> {
    let known = v1::DataType::try_from(number).map_err(|_| Malformed::unknown(field, number))?;
    // Only "unspecified" has no type.
    type_from_proto(known).ok_or_else(|| Malformed::missing(field))
}

/// The schema of a collection that is there.
pub(super) fn to_proto(schema: Schema) -> v1::Schema {
    let fields = schema.fields.into_iter().map(field_to_proto).collect();
    v1::Schema {
        fields,
        dynamic_fields: schema.dynamic_fields,
    }
}

fn field_to_proto(field: Field) -> v1::Field {
    v1::Field {
        id: field.id,
        name: field.name,
        description: field.description,
        data_type: type_to_proto(field.data_type).into(),
        element_type: field
            .element_type
            .map_or(v1::DataType::Unspecified, type_to_proto)
            .into(),
        primary_key: field.primary_key,
        auto_id: field.auto_id,
        partition_key: field.partition_key,
        nullable: field.nullable,
        default_value: field.default_value.map(default_to_proto),
        dimension: field.dimension,
        max_length: field.max_length,
        max_capacity: field.max_capacity,
        properties: field.properties,
    }
}

fn default_to_proto(value: DefaultValue) -> v1::DefaultValue {
    use v1::default_value::Kind;
    let kind = match value {
        DefaultValue::Bool(value) => Kind::BoolValue(value),
        DefaultValue::Int(value) => Kind::IntValue(value),
        DefaultValue::Float(value) => Kind::FloatValue(value),
        DefaultValue::Double(value) => Kind::DoubleValue(value),
        DefaultValue::String(value) => Kind::StringValue(value),
    };
    v1::DefaultValue { kind: Some(kind) }
}

fn type_to_proto(data_type: DataType) -> v1::DataType {
    match data_type {
        DataType::Bool => v1::DataType::Bool,
        DataType::Int8 => v1::DataType::Int8,
        DataType::Int16 => v1::DataType::Int16,
        DataType::Int32 => v1::DataType::Int32,
        DataType::Int64 => v1::DataType::Int64,
        DataType::Float => v1::DataType::Float,
        DataType::Double => v1::DataType::Double,
        DataType::VarChar => v1::DataType::Varchar,
        DataType::Array => v1::DataType::Array,
        DataType::Json => v1::DataType::Json,
        DataType::BinaryVector => v1::DataType::BinaryVector,
        DataType::FloatVector => v1::DataType::FloatVector,
        DataType::Float16Vector => v1::DataType::Float16Vector,
        DataType::BFloat16Vector => v1::DataType::Bfloat16Vector,
        DataType::SparseFloatVector => v1::DataType::SparseFloatVector,
        DataType::Int8Vector => v1::DataType::Int8Vector,
    }
}

fn type_from_proto(data_type: v1::DataType) -> Option<DataType> {
    DataType::ALL
        .iter()
        .copied()
        .find(|known| type_to_proto(*known) == data_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, data_type: i32) -> v1::Field {
        v1::Field {
            name: name.to_owned(),
            data_type,
            ..Default::default()
        }
    }

    fn schema(field: v1::Field) -> v1::Schema {
        let first = self::field("id", v1::DataType::Int64.into());
        v1::Schema {
            fields: vec![first, field],
            dynamic_fields: true,
        }
    }

    #[test]
    fn every_type_and_default_reads_back() {
        use v1::default_value::Kind;
        let defaults = [
            None,
            Some(Kind::BoolValue(true)),
            Some(Kind::IntValue(-1)),
            Some(Kind::FloatValue(0.5)),
            Some(Kind::DoubleValue(0.25)),
            Some(Kind::StringValue("x".to_owned())),
        ];
        for data_type in DataType::ALL {
            for default in &defaults {
                let declared = v1::Field {
                    description: "what it is".to_owned(),
                    element_type: v1::DataType::Int8.into(),
                    primary_key: true,
                    auto_id: true,
                    partition_key: true,
                    nullable: true,
                    default_value: default.clone().map(|kind| v1::DefaultValue { kind: Some(kind) }),
                    dimension: 8,
                    max_length: 9,
                    max_capacity: 10,
                    properties: [("k".to_owned(), "v".to_owned())].into(),
                    ..field("f", type_to_proto(*data_type).into())
                };
                let read = from_proto(schema(declared.clone())).expect("well-formed");
                assert_eq!(to_proto(read), schema(declared), "{data_type}");
            }
        }
    }

    #[test]
    fn ids_that_a_client_makes_up_are_left_out() {
        let declared = v1::Field {
            id: 7,
            ..field("f", v1::DataType::Int64.into())
        };
        let read = from_proto(schema(declared)).expect("well-formed");
        assert_eq!(read.fields[1].id, 0);
    }

    #[test]
    fn what_is_no_schema_names_the_field() {
        let int64 = v1::DataType::Int64.into();
        let with = |change: fn(&mut v1::Field)| {
            let mut field = field("f", v1::DataType::Int64.into());
            change(&mut field);
            schema(field)
        };
        let many = v1::Schema {
            fields: vec![field("f", int64); 65],
            dynamic_fields: false,
        };
        let cases: Vec<(&str, v1::Schema, &str)> = vec![
            (
                "too many fields",
                many,
                "fields has 65 entries; at most 64 are allowed",
            ),
            (
                "no type",
                with(|field| field.data_type = 0),
                "fields[1].data_type is missing",
            ),
            (
                "a type of the future",
                with(|field| field.data_type = 99),
                "fields[1].data_type has the unknown value 99; is the client of a later release?",
            ),
            (
                "a negative type of elements",
                with(|field| field.element_type = -1),
                "fields[1].element_type has the unknown value -1; is the client of a later release?",
            ),
            (
                "a default of nothing",
                with(|field| field.default_value = Some(v1::DefaultValue { kind: None })),
                "fields[1].default_value.kind is missing",
            ),
            (
                "a long name",
                with(|field| field.name = "n".repeat(256)),
                "fields[1].name has 256 bytes; at most 255 are allowed",
            ),
            (
                "a long description",
                with(|field| field.description = "d".repeat(1_025)),
                "fields[1].description has 1025 bytes; at most 1024 are allowed",
            ),
            (
                "a long property",
                with(|field| field.properties = [("k".to_owned(), "v".repeat(4_097))].into()),
                "fields[1].properties has a value of 4097 bytes; at most 4096 are allowed",
            ),
        ];
        for (case, schema, want) in cases {
            assert_eq!(
                from_proto(schema).map_err(|m| m.to_string()),
                Err(want.to_owned()),
                "{case}"
            );
        }
    }
}
