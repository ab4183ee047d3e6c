//! Messages of etcd's protos without a type of their own, so that scripts can write every field of every call, and answers
//! are compared in every field, known or not.
//!
//! Promises: what is written in protobuf's text format is what is sent; an answer becomes one line for each field that is set,
//! in the order of field numbers. Left out on purpose: what a difference means; see `answer`.

use std::fmt::Write;
use std::sync::LazyLock;

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::answer::Line;

/// Packages whose calls scripts may name.
const PACKAGES: [&str; 3] = ["etcdserverpb", "v3lockpb", "v3electionpb"];

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(quorate_api::DESCRIPTORS).expect("our own protos"));

/// The call of this name, in whichever service it stands.
pub(crate) fn method(name: &str) -> Option<MethodDescriptor> {
    POOL.services()
        .filter(|service| PACKAGES.contains(&service.package_name()))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .find(|method| method.name() == name)
}

/// A message in protobuf's text format.
pub(crate) fn parse(kind: MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    DynamicMessage::parse_text_format(kind, text).map_err(|error| error.to_string())
}

/// A number anywhere in a message, by the names of its fields.
pub(crate) fn number(message: &DynamicMessage, path: &[&str]) -> Option<i64> {
    let (first, rest) = path.split_first()?;
    let value = message.get_field_by_name(first)?;
    match value.as_message() {
        Some(inner) => number(inner, rest),
        None => value.as_i64(),
    }
}

/// A text of a message, by its field's name.
pub(crate) fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// One line for each field that is set. `path` is what stands before their names.
pub(crate) fn lines(path: &str, message: &DynamicMessage) -> Vec<Line> {
    let mut lines = Vec::new();
    flatten(path, message, &mut lines);
    lines
}

fn flatten(path: &str, message: &DynamicMessage, lines: &mut Vec<Line>) {
    let before = lines.len();
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}.")
    };
    for (field, value) in message.fields() {
        let path = format!("{prefix}{}", field.name());
        match value {
            Value::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    one(&format!("{path}[{index}]"), value, &field.kind(), lines);
                }
            }
            value => one(&path, value, &field.kind(), lines),
        }
    }
    for unknown in message.unknown_fields() {
        let path = format!("{prefix}unknown {}", unknown.number());
        lines.push(Line::new(path, format!("{unknown:?}")));
    }
    // That a message is there says something even when nothing is in it.
    if lines.len() == before && !path.is_empty() {
        lines.push(Line::new(path, "{}"));
    }
}

fn one(path: &str, value: &Value, kind: &Kind, lines: &mut Vec<Line>) {
    let text = match value {
        Value::Message(message) => return flatten(path, message, lines),
        Value::Bytes(bytes) => readable(bytes),
        Value::String(text) => readable(text.as_bytes()),
        Value::EnumNumber(number) => {
            let named = kind.as_enum().and_then(|kind| kind.get_value(*number));
            named.map_or_else(|| number.to_string(), |value| value.name().to_owned())
        }
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        // etcd's messages have no others.
        other => format!("{other:?}"),
    };
    lines.push(Line::new(path, text));
}

/// Bytes as they are where that can be read, the others as numbers.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing into a string does not fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text
}

/// How tonic sends and receives them. It knows the kind of the answers.
#[derive(Debug, Clone)]
pub(crate) struct Dynamic(pub(crate) MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(to)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), from)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
