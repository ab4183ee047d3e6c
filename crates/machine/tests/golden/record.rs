//! Records the golden files of a feature level, once.

use std::fmt::Write;
use std::fs;
use std::sync::Once;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use quorate_machine::{
    Command, CreateCollection, DataType, DefaultValue, FEATURE_LEVEL_MAX, Field, Machine, Schema,
};
use quorate_types::Index;

use crate::generate::{Step, entries, log};
use crate::{hex, path};

/// Writes the files that are missing, when it is asked to.
pub(crate) fn once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = format!("v{FEATURE_LEVEL_MAX}.log");
        if std::env::var_os("RECORD_GOLDEN").is_some() && !path(&log).exists() {
            record(FEATURE_LEVEL_MAX);
        }
    });
}

fn record(level: u32) {
    let mut text =
        format!("# Digest after the entry, and the entry. Recorded at feature level {level}; see main.rs.\n");
    let mut machine = Machine::genesis();
    for (index, entry) in entries(&steps()).iter().enumerate() {
        machine.apply(Index(index as u64), entry).unwrap();
        writeln!(text, "{:032x} {}", machine.image().digest(), hex(entry)).unwrap();
    }
    fs::write(path(&format!("v{level}.log")), text).unwrap();

    let mut text = format!("# The records of a snapshot at the end of v{level}.log.\n");
    for record in machine.image().snapshot_records() {
        writeln!(text, "{}", hex(&record)).unwrap();
    }
    fs::write(path(&format!("v{level}.snapshot")), text).unwrap();
}

/// A collection with every type of field, then random logs one after the other.
fn steps() -> Vec<Step> {
    let mut steps = vec![Step {
        stamp_ms: 1_700_000_000_000,
        request: None,
        command: every_type(),
    }];
    let mut runner = TestRunner::deterministic();
    while steps.len() < 400 {
        steps.extend(log().new_tree(&mut runner).unwrap().current());
    }
    steps
}

fn every_type() -> Command {
    let mut fields: Vec<_> = DataType::ALL.iter().copied().map(field).collect();
    // One more than a collection may have.
    fields.retain(|field| {
        field.data_type != DataType::BFloat16Vector && field.data_type != DataType::Int8Vector
    });
    let mut create = CreateCollection::new(
        "every_type",
        Schema {
            fields,
            dynamic_fields: true,
        },
    );
    create.description = "one field of each type".into();
    create.shards = 16;
    create.properties = [("collection.ttl.seconds".into(), "60".into())].into();
    Command::CreateCollection(create)
}

fn field(data_type: DataType) -> Field {
    let mut field = Field::new(format!("f_{data_type}"), data_type);
    field.default_value = match data_type {
        DataType::Bool => Some(DefaultValue::Bool(true)),
        DataType::Int8 => Some(DefaultValue::Int(-8)),
        DataType::Int16 => Some(DefaultValue::Int(16)),
        DataType::Int32 => Some(DefaultValue::Int(-32)),
        DataType::Float => Some(DefaultValue::Float(0.5)),
        DataType::Double => Some(DefaultValue::Double(-0.25)),
        DataType::VarChar => Some(DefaultValue::String("é".into())),
        _ => None,
    };
    match data_type {
        DataType::Int64 => (field.primary_key, field.auto_id) = (true, true),
        DataType::VarChar => field.max_length = 64,
        DataType::Array => (field.element_type, field.max_capacity) = (Some(DataType::Double), 16),
        DataType::BinaryVector => field.dimension = 64,
        DataType::SparseFloatVector => {}
        data_type if data_type.is_vector() => field.dimension = 768,
        _ => field.nullable = true,
    }
    field.properties = [("k".to_owned(), data_type.to_string())].into();
    field
}
