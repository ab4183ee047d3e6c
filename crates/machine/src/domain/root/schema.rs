//! Schemas of collections.
//!
//! Milvus (`internal/proxy/task.go` `createCollectionTask.PreExecute`, `internal/proxy/util.go`,
//! `internal/rootcoord/util.go` `checkFieldSchema`): exactly one primary key, an int64 or a varchar; at least one vector
//! and at most four; at most one partition key; nullable and default values where they make sense. Vectors cannot be null
//! (2.5 and 2.6.0; later releases allow it). Parameters that a field's type does not have are refused here; Milvus
//! ignores most of them.

use std::collections::BTreeSet;

use quorate_types::limits::{
    ARRAY_CAPACITY_MAX, BINARY_DIMENSION_MAX, DESCRIPTION_BYTES_MAX, DIMENSION_MAX, DIMENSION_MIN,
    FIELD_ID_FIRST, FIELDS_MAX, VARCHAR_BYTES_MAX, VECTOR_FIELDS_MAX,
};

use super::name;
use super::properties::{self, Properties};
use crate::codes::codes;
use crate::refusal::{NameKind, Refusal, SchemaRule, shown};

codes! {
    /// What a field holds. The numbers are Milvus's.
    DataType {
        Bool = 1 => "bool",
        Int8 = 2 => "int8",
        Int16 = 3 => "int16",
        Int32 = 4 => "int32",
        Int64 = 5 => "int64",
        Float = 10 => "float",
        Double = 11 => "double",
        VarChar = 21 => "varchar",
        Array = 22 => "array",
        Json = 23 => "json",
        BinaryVector = 100 => "binary_vector",
        FloatVector = 101 => "float_vector",
        Float16Vector = 102 => "float16_vector",
        BFloat16Vector = 103 => "bfloat16_vector",
        SparseFloatVector = 104 => "sparse_float_vector",
        Int8Vector = 105 => "int8_vector",
    }
}

impl DataType {
    /// Whether it is a vector of any kind.
    #[must_use]
    pub fn is_vector(self) -> bool {
        self.number() >= Self::BinaryVector.number()
    }

    /// Whether an array can hold it.
    #[must_use]
    pub fn is_element(self) -> bool {
        self.number() <= Self::VarChar.number()
    }
}

/// A field's default value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The names say it.
pub enum DefaultValue {
    Bool(bool),
    /// Of an integer of any width.
    Int(i64),
    Float(f32),
    Double(f64),
    String(String),
}

/// A field of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Given by the machine, from 100 upwards in the order of the schema; 0 in a command.
    pub id: u64,
    /// Unique in the schema.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// What it holds.
    pub data_type: DataType,
    /// Of an array: what its elements are.
    pub element_type: Option<DataType>,
    /// Identifies an entity.
    pub primary_key: bool,
    /// The primary key's values are given by the system.
    pub auto_id: bool,
    /// Decides the partition of an entity.
    pub partition_key: bool,
    /// May be missing in an entity.
    pub nullable: bool,
    /// Stands in for a missing value.
    pub default_value: Option<DefaultValue>,
    /// Of a vector other than a sparse one, otherwise 0.
    pub dimension: u32,
    /// Of a varchar or an array of them, bytes, otherwise 0.
    pub max_length: u32,
    /// Of an array, elements, otherwise 0.
    pub max_capacity: u32,
    /// What its owner noted on it.
    pub properties: Properties,
}

impl Field {
    /// A field with a name and a type, and nothing else set.
    #[must_use]
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            id: 0,
            name: name.into(),
            description: String::new(),
            data_type,
            element_type: None,
            primary_key: false,
            auto_id: false,
            partition_key: false,
            nullable: false,
            default_value: None,
            dimension: 0,
            max_length: 0,
            max_capacity: 0,
            properties: Properties::new(),
        }
    }
}

/// The fields of a collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// In the order in which they were declared.
    pub fields: Vec<Field>,
    /// Entities may carry fields that are not named here.
    pub dynamic_fields: bool,
}

impl Schema {
    /// Whether entities find their partition by a field.
    #[must_use]
    pub fn has_partition_key(&self) -> bool {
        self.fields.iter().any(|field| field.partition_key)
    }

    /// The schema with field ids in their order.
    pub(super) fn numbered(&self) -> Self {
        let mut schema = self.clone();
        for (id, field) in (FIELD_ID_FIRST..).zip(&mut schema.fields) {
            field.id = id;
        }
        schema
    }

    /// Refuses what is no schema, naming the first field that breaks a rule.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let fields = &self.fields;
        if fields.is_empty() {
            return Err(whole(SchemaRule::NoFields));
        }
        if fields.len() > FIELDS_MAX {
            return Err(whole(SchemaRule::TooManyFields));
        }
        match fields.iter().filter(|field| field.data_type.is_vector()).count() {
            0 => return Err(whole(SchemaRule::NoVector)),
            vectors if vectors > VECTOR_FIELDS_MAX => return Err(whole(SchemaRule::TooManyVectors)),
            _ => {}
        }
        let mut names = BTreeSet::new();
        for field in fields {
            name::check(NameKind::Field, &field.name)?;
            if !names.insert(&field.name) {
                return Err(of(field, SchemaRule::DuplicateName));
            }
        }
        self.check_keys()?;
        for field in fields {
            if let Some(rule) = field.broken_rule() {
                return Err(of(field, rule));
            }
            properties::check(&format!("schema.{}.properties", field.name), &field.properties)?;
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), Refusal> {
        let mut primary_keys = self.fields.iter().filter(|field| field.primary_key);
        let Some(primary) = primary_keys.next() else {
            return Err(whole(SchemaRule::NoPrimaryKey));
        };
        if let Some(second) = primary_keys.next() {
            return Err(of(second, SchemaRule::SecondPrimaryKey));
        }
        if !is_key(primary.data_type) {
            return Err(of(primary, SchemaRule::PrimaryKeyType));
        }
        if primary.nullable {
            return Err(of(primary, SchemaRule::PrimaryKeyNullable));
        }
        if primary.default_value.is_some() {
            return Err(of(primary, SchemaRule::PrimaryKeyDefault));
        }
        if let Some(field) = self
            .fields
            .iter()
            .find(|field| field.auto_id && !field.primary_key)
        {
            return Err(of(field, SchemaRule::AutoIdNotPrimary));
        }

        let mut partition_keys = self.fields.iter().filter(|field| field.partition_key);
        let Some(partition) = partition_keys.next() else {
            return Ok(());
        };
        if let Some(second) = partition_keys.next() {
            return Err(of(second, SchemaRule::SecondPartitionKey));
        }
        if partition.primary_key {
            return Err(of(partition, SchemaRule::PartitionKeyPrimary));
        }
        if partition.nullable {
            return Err(of(partition, SchemaRule::PartitionKeyNullable));
        }
        if !is_key(partition.data_type) {
            return Err(of(partition, SchemaRule::PartitionKeyType));
        }
        Ok(())
    }
}

fn is_key(data_type: DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::VarChar)
}

fn whole(rule: SchemaRule) -> Refusal {
    Refusal::InvalidSchema {
        field: String::new(),
        rule,
    }
}

fn of(field: &Field, rule: SchemaRule) -> Refusal {
    Refusal::InvalidSchema {
        field: shown(&field.name),
        rule,
    }
}

impl Field {
    /// The first rule that the field breaks by itself.
    fn broken_rule(&self) -> Option<SchemaRule> {
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return Some(SchemaRule::DescriptionTooLong);
        }
        if self.nullable && self.data_type.is_vector() {
            return Some(SchemaRule::VectorNullable);
        }
        self.broken_element_rule()
            .or_else(|| self.broken_dimension_rule())
            .or_else(|| self.broken_length_rule())
            .or_else(|| self.broken_default_rule())
    }

    fn broken_element_rule(&self) -> Option<SchemaRule> {
        let array = self.data_type == DataType::Array;
        match self.element_type {
            None if array => return Some(SchemaRule::ElementType),
            Some(_) if !array => return Some(SchemaRule::ElementTypeStray),
            Some(element) if !element.is_element() => return Some(SchemaRule::ElementType),
            _ => {}
        }
        match (array, self.max_capacity) {
            (true, 1..=ARRAY_CAPACITY_MAX) | (false, 0) => None,
            (true, _) => Some(SchemaRule::MaxCapacity),
            (false, _) => Some(SchemaRule::MaxCapacityStray),
        }
    }

    fn broken_dimension_rule(&self) -> Option<SchemaRule> {
        match (self.data_type, self.dimension) {
            (DataType::BinaryVector, dimension) => {
                let fits = (DIMENSION_MIN..=BINARY_DIMENSION_MAX).contains(&dimension)
                    && dimension.is_multiple_of(8);
                (!fits).then_some(SchemaRule::BinaryDimension)
            }
            (DataType::SparseFloatVector, 0) => None,
            (data_type, dimension) if data_type.is_vector() && data_type != DataType::SparseFloatVector => {
                let fits = (DIMENSION_MIN..=DIMENSION_MAX).contains(&dimension);
                (!fits).then_some(SchemaRule::Dimension)
            }
            (_, 0) => None,
            _ => Some(SchemaRule::DimensionStray),
        }
    }

    fn broken_length_rule(&self) -> Option<SchemaRule> {
        let text = self.data_type == DataType::VarChar || self.element_type == Some(DataType::VarChar);
        match (text, self.max_length) {
            (true, 1..=VARCHAR_BYTES_MAX) | (false, 0) => None,
            (true, _) => Some(SchemaRule::MaxLength),
            (false, _) => Some(SchemaRule::MaxLengthStray),
        }
    }

    fn broken_default_rule(&self) -> Option<SchemaRule> {
        let value = self.default_value.as_ref()?;
        let fits = |fits: bool| (!fits).then_some(SchemaRule::DefaultRange);
        match (self.data_type, value) {
            (DataType::Array | DataType::Json, _) => Some(SchemaRule::DefaultNotAllowed),
            (data_type, _) if data_type.is_vector() => Some(SchemaRule::DefaultNotAllowed),
            (DataType::Int8, DefaultValue::Int(value)) => fits(i8::try_from(*value).is_ok()),
            (DataType::Int16, DefaultValue::Int(value)) => fits(i16::try_from(*value).is_ok()),
            (DataType::Int32, DefaultValue::Int(value)) => fits(i32::try_from(*value).is_ok()),
            (DataType::Bool, DefaultValue::Bool(_)) | (DataType::Int64, DefaultValue::Int(_)) => None,
            (DataType::Float, DefaultValue::Float(value)) => {
                (!value.is_finite()).then_some(SchemaRule::DefaultNotFinite)
            }
            (DataType::Double, DefaultValue::Double(value)) => {
                (!value.is_finite()).then_some(SchemaRule::DefaultNotFinite)
            }
            (DataType::VarChar, DefaultValue::String(text)) => {
                (text.len() > self.max_length as usize).then_some(SchemaRule::DefaultTooLong)
            }
            _ => Some(SchemaRule::DefaultType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, the fields, and the field and rule that are wrong.
    type Case = (&'static str, Vec<Field>, Result<(), (&'static str, SchemaRule)>);

    fn id() -> Field {
        let mut field = Field::new("id", DataType::Int64);
        field.primary_key = true;
        field
    }

    fn vector(name: &str) -> Field {
        let mut field = Field::new(name, DataType::FloatVector);
        field.dimension = 8;
        field
    }

    fn field(data_type: DataType, change: impl Fn(&mut Field)) -> Field {
        let mut field = Field::new("f", data_type);
        change(&mut field);
        field
    }

    fn check(fields: Vec<Field>) -> Result<(), (String, SchemaRule)> {
        let schema = Schema {
            fields,
            dynamic_fields: false,
        };
        schema.check().map_err(|refusal| match refusal {
            Refusal::InvalidSchema { field, rule } => (field, rule),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_schema_has_one_primary_key_and_one_to_four_vectors() {
        use SchemaRule as Rule;
        let vectors = |count: usize| (0..count).map(|n| vector(&format!("v{n}")));
        let many = (0..FIELDS_MAX).map(|n| Field::new(format!("f{n}"), DataType::Bool));
        let cases: Vec<Case> = vec![
            ("smallest", vec![id(), vector("v")], Ok(())),
            ("four vectors", vectors(4).chain([id()]).collect(), Ok(())),
            ("no fields", vec![], Err(("", Rule::NoFields))),
            ("no vector", vec![id()], Err(("", Rule::NoVector))),
            (
                "five vectors",
                vectors(5).chain([id()]).collect(),
                Err(("", Rule::TooManyVectors)),
            ),
            (
                "too many",
                many.chain([vector("v")]).collect(),
                Err(("", Rule::TooManyFields)),
            ),
            ("no key", vec![vector("v")], Err(("", Rule::NoPrimaryKey))),
            (
                "same name",
                vec![id(), vector("v"), vector("v")],
                Err(("v", Rule::DuplicateName)),
            ),
            (
                "two keys",
                vec![
                    id(),
                    field(DataType::Int64, |f| f.primary_key = true),
                    vector("v"),
                ],
                Err(("f", Rule::SecondPrimaryKey)),
            ),
            (
                "float key",
                vec![field(DataType::Float, |f| f.primary_key = true), vector("v")],
                Err(("f", Rule::PrimaryKeyType)),
            ),
            (
                "null key",
                vec![
                    field(DataType::Int64, |f| (f.primary_key, f.nullable) = (true, true)),
                    vector("v"),
                ],
                Err(("f", Rule::PrimaryKeyNullable)),
            ),
            (
                "default key",
                vec![
                    field(DataType::Int64, |f| {
                        f.primary_key = true;
                        f.default_value = Some(DefaultValue::Int(1));
                    }),
                    vector("v"),
                ],
                Err(("f", Rule::PrimaryKeyDefault)),
            ),
            (
                "varchar key with automatic ids",
                vec![
                    field(DataType::VarChar, |f| {
                        (f.primary_key, f.auto_id, f.max_length) = (true, true, 64);
                    }),
                    vector("v"),
                ],
                Ok(()),
            ),
            (
                "automatic ids elsewhere",
                vec![id(), vector("v"), field(DataType::Int64, |f| f.auto_id = true)],
                Err(("f", Rule::AutoIdNotPrimary)),
            ),
        ];
        for (name, fields, want) in cases {
            assert_eq!(
                check(fields),
                want.map_err(|(field, rule)| (field.to_owned(), rule)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_partition_key_is_one_int64_or_varchar_beside_the_primary_key() {
        use SchemaRule as Rule;
        let cases: Vec<Case> = vec![
            (
                "int64",
                vec![field(DataType::Int64, |f| f.partition_key = true)],
                Ok(()),
            ),
            (
                "varchar",
                vec![field(DataType::VarChar, |f| {
                    (f.partition_key, f.max_length) = (true, 9)
                })],
                Ok(()),
            ),
            (
                "two",
                vec![
                    field(DataType::Int64, |f| f.partition_key = true),
                    field(DataType::Int64, |f| {
                        (f.partition_key, f.name) = (true, "g".into())
                    }),
                ],
                Err(("g", Rule::SecondPartitionKey)),
            ),
            (
                "bool",
                vec![field(DataType::Bool, |f| f.partition_key = true)],
                Err(("f", Rule::PartitionKeyType)),
            ),
            (
                "nullable",
                vec![field(DataType::Int64, |f| {
                    (f.partition_key, f.nullable) = (true, true)
                })],
                Err(("f", Rule::PartitionKeyNullable)),
            ),
        ];
        for (name, mut fields, want) in cases {
            fields.extend([id(), vector("v")]);
            assert_eq!(
                check(fields),
                want.map_err(|(field, rule)| (field.to_owned(), rule)),
                "{name}"
            );
        }
        let mut both = id();
        both.partition_key = true;
        assert_eq!(
            check(vec![both, vector("v")]),
            Err(("id".to_owned(), Rule::PartitionKeyPrimary))
        );
    }

    #[test]
    fn fields_have_what_their_type_needs_and_nothing_else() {
        use DataType as T;
        use SchemaRule as Rule;
        let cases: Vec<(&str, Field, Option<Rule>)> = vec![
            (
                "smallest vector",
                field(T::FloatVector, |f| f.dimension = 2),
                None,
            ),
            (
                "largest vector",
                field(T::Float16Vector, |f| f.dimension = 32_768),
                None,
            ),
            (
                "no dimension",
                field(T::BFloat16Vector, |_| ()),
                Some(Rule::Dimension),
            ),
            (
                "dimension 1",
                field(T::FloatVector, |f| f.dimension = 1),
                Some(Rule::Dimension),
            ),
            (
                "too many dimensions",
                field(T::Int8Vector, |f| f.dimension = 32_769),
                Some(Rule::Dimension),
            ),
            ("binary", field(T::BinaryVector, |f| f.dimension = 8), None),
            (
                "largest binary",
                field(T::BinaryVector, |f| f.dimension = 262_144),
                None,
            ),
            (
                "binary of 12",
                field(T::BinaryVector, |f| f.dimension = 12),
                Some(Rule::BinaryDimension),
            ),
            (
                "binary too large",
                field(T::BinaryVector, |f| f.dimension = 262_152),
                Some(Rule::BinaryDimension),
            ),
            ("sparse", field(T::SparseFloatVector, |_| ()), None),
            (
                "sparse with dimension",
                field(T::SparseFloatVector, |f| f.dimension = 8),
                Some(Rule::DimensionStray),
            ),
            (
                "bool with dimension",
                field(T::Bool, |f| f.dimension = 8),
                Some(Rule::DimensionStray),
            ),
            (
                "null vector",
                field(T::FloatVector, |f| (f.dimension, f.nullable) = (8, true)),
                Some(Rule::VectorNullable),
            ),
            ("varchar", field(T::VarChar, |f| f.max_length = 65_535), None),
            (
                "varchar without length",
                field(T::VarChar, |_| ()),
                Some(Rule::MaxLength),
            ),
            (
                "varchar too long",
                field(T::VarChar, |f| f.max_length = 65_536),
                Some(Rule::MaxLength),
            ),
            (
                "int with length",
                field(T::Int32, |f| f.max_length = 1),
                Some(Rule::MaxLengthStray),
            ),
            ("json may be null", field(T::Json, |f| f.nullable = true), None),
            (
                "array",
                field(T::Array, |f| {
                    (f.element_type, f.max_capacity) = (Some(T::Int8), 4096)
                }),
                None,
            ),
            (
                "array of texts",
                field(T::Array, |f| {
                    (f.element_type, f.max_capacity, f.max_length) = (Some(T::VarChar), 1, 9);
                }),
                None,
            ),
            (
                "array of texts without length",
                field(T::Array, |f| {
                    (f.element_type, f.max_capacity) = (Some(T::VarChar), 1);
                }),
                Some(Rule::MaxLength),
            ),
            (
                "array of nothing",
                field(T::Array, |f| f.max_capacity = 1),
                Some(Rule::ElementType),
            ),
            (
                "array of arrays",
                field(T::Array, |f| {
                    (f.element_type, f.max_capacity) = (Some(T::Array), 1)
                }),
                Some(Rule::ElementType),
            ),
            (
                "array of vectors",
                field(T::Array, |f| {
                    (f.element_type, f.max_capacity) = (Some(T::FloatVector), 1)
                }),
                Some(Rule::ElementType),
            ),
            (
                "array without capacity",
                field(T::Array, |f| f.element_type = Some(T::Bool)),
                Some(Rule::MaxCapacity),
            ),
            (
                "array too large",
                field(T::Array, |f| {
                    (f.element_type, f.max_capacity) = (Some(T::Bool), 4097)
                }),
                Some(Rule::MaxCapacity),
            ),
            (
                "bool with elements",
                field(T::Bool, |f| f.element_type = Some(T::Bool)),
                Some(Rule::ElementTypeStray),
            ),
            (
                "bool with capacity",
                field(T::Bool, |f| f.max_capacity = 1),
                Some(Rule::MaxCapacityStray),
            ),
            (
                "long description",
                field(T::Bool, |f| f.description = "d".repeat(1025)),
                Some(Rule::DescriptionTooLong),
            ),
        ];
        for (name, field, want) in cases {
            let want = want.map_or(Ok(()), |rule| Err(("f".to_owned(), rule)));
            assert_eq!(check(vec![id(), vector("v"), field]), want, "{name}");
        }
    }

    #[test]
    fn default_values_fit_their_field() {
        use DataType as T;
        use DefaultValue as D;
        use SchemaRule as Rule;
        let cases = [
            (T::Bool, D::Bool(true), None),
            (T::Int8, D::Int(-128), None),
            (T::Int8, D::Int(128), Some(Rule::DefaultRange)),
            (T::Int16, D::Int(32_768), Some(Rule::DefaultRange)),
            (T::Int32, D::Int(i64::from(i32::MIN)), None),
            (T::Int32, D::Int(1 << 31), Some(Rule::DefaultRange)),
            (T::Int64, D::Int(i64::MIN), None),
            (T::Int64, D::Double(1.0), Some(Rule::DefaultType)),
            (T::Float, D::Float(0.5), None),
            (T::Float, D::Float(f32::NAN), Some(Rule::DefaultNotFinite)),
            (T::Float, D::Double(0.5), Some(Rule::DefaultType)),
            (T::Double, D::Double(f64::INFINITY), Some(Rule::DefaultNotFinite)),
            (T::VarChar, D::String("1234".into()), None),
            (T::VarChar, D::String("12345".into()), Some(Rule::DefaultTooLong)),
            (T::VarChar, D::Int(1), Some(Rule::DefaultType)),
            (T::Json, D::String("{}".into()), Some(Rule::DefaultNotAllowed)),
            (T::SparseFloatVector, D::Float(0.0), Some(Rule::DefaultNotAllowed)),
        ];
        for (data_type, value, want) in cases {
            let shown = format!("{data_type} {value:?}");
            let field = field(data_type, |f| {
                f.default_value = Some(value.clone());
                f.max_length = if data_type == T::VarChar { 4 } else { 0 };
            });
            let want = want.map_or(Ok(()), |rule| Err(("f".to_owned(), rule)));
            assert_eq!(check(vec![id(), vector("v"), field]), want, "{shown}");
        }
    }

    #[test]
    fn ids_are_given_in_order() {
        let schema = Schema {
            fields: vec![id(), vector("v")],
            dynamic_fields: true,
        };
        let ids: Vec<_> = schema.numbered().fields.iter().map(|field| field.id).collect();
        assert_eq!(ids, [100, 101]);
    }
}
