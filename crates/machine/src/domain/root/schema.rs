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
mod tests;
