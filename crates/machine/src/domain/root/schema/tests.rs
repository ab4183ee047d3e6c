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
