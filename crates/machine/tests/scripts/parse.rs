//! A line of a script to a call.

use std::collections::BTreeMap;

use quorate_machine::{DataType, DefaultValue, Field, Properties, RequestId, Schema};
use quorate_types::ClientId;

/// A command of a script with its arguments.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) at_ms: Option<u64>,
    pub(crate) request: Option<RequestId>,
    pub(crate) word: String,
    pub(crate) positional: Vec<String>,
    pub(crate) named: BTreeMap<String, String>,
}

impl Call {
    pub(crate) fn parse(line: &str) -> Self {
        let mut call = Self::default();
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "at" if call.word.is_empty() => call.at_ms = Some(words.next().unwrap().parse().unwrap()),
                "as" if call.word.is_empty() => call.request = Some(request(words.next().unwrap())),
                word if call.word.is_empty() => call.word = word.to_owned(),
                word => match word.split_once('=') {
                    Some((key, value)) => drop(call.named.insert(key.to_owned(), value.to_owned())),
                    None => call.positional.push(word.to_owned()),
                },
            }
        }
        call
    }

    /// A positional argument; empty when it is missing.
    pub(crate) fn arg(&self, place: usize) -> String {
        self.positional.get(place).cloned().unwrap_or_default()
    }

    pub(crate) fn number(&self, place: usize) -> u64 {
        self.arg(place).parse().unwrap()
    }

    /// A named argument; empty when it is missing.
    pub(crate) fn text(&self, key: &str) -> String {
        self.named.get(key).cloned().unwrap_or_default()
    }

    /// A named number; 0 when it is missing.
    pub(crate) fn count<N: std::str::FromStr + Default>(&self, key: &str) -> N {
        self.named
            .get(key)
            .map_or_else(N::default, |text| text.parse().ok().unwrap())
    }

    /// `k:v,l:w`
    pub(crate) fn properties(&self, key: &str) -> Properties {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once(':').unwrap();
            (key.to_owned(), value.to_owned())
        };
        list(&self.text(key)).map(pair).collect()
    }

    /// `a,b`
    pub(crate) fn names(&self, key: &str) -> Vec<String> {
        list(&self.text(key)).map(str::to_owned).collect()
    }

    /// `schema=id:int64:primary,vector:float_vector[8]`, which is also what stands for a missing one.
    pub(crate) fn schema(&self) -> Schema {
        let text = match self.text("schema").as_str() {
            "" => "id:int64:primary,vector:float_vector[8]".to_owned(),
            text => text.to_owned(),
        };
        Schema {
            fields: list(&text).map(field).collect(),
            dynamic_fields: self.named.contains_key("dynamic"),
        }
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

/// `c1#3/2`: client 1, sequence 3, floor 2.
fn request(text: &str) -> RequestId {
    let (client, rest) = text.split_once('#').unwrap();
    let (sequence, floor) = rest.split_once('/').unwrap_or((rest, "0"));
    RequestId {
        client: client_id(client),
        sequence: sequence.parse().unwrap(),
        floor: floor.parse().unwrap(),
    }
}

/// `c1`
pub(crate) fn client_id(text: &str) -> ClientId {
    ClientId(text.strip_prefix('c').unwrap().parse().unwrap())
}

/// `name:type[number]:flag:flag`; the number is a dimension, a max_length or a max_capacity.
fn field(text: &str) -> Field {
    let mut parts = text.split(':');
    let name = parts.next().unwrap();
    let kind = parts.next().unwrap();
    let (kind, number) = kind.trim_end_matches(']').split_once('[').unwrap_or((kind, "0"));
    let data_type = DataType::ALL
        .iter()
        .find(|data_type| data_type.to_string() == kind);
    let mut field = Field::new(name, *data_type.unwrap());
    let number = number.parse().unwrap();
    match field.data_type {
        DataType::VarChar => field.max_length = number,
        DataType::Array => (field.max_capacity, field.element_type) = (number, Some(DataType::Int64)),
        _ => field.dimension = number,
    }
    for flag in parts {
        match flag {
            "primary" => field.primary_key = true,
            "auto_id" => field.auto_id = true,
            "partition_key" => field.partition_key = true,
            "nullable" => field.nullable = true,
            flag => {
                field.default_value = Some(DefaultValue::Int(
                    flag.strip_prefix("default(")
                        .unwrap()
                        .trim_end_matches(')')
                        .parse()
                        .unwrap(),
                ))
            }
        }
    }
    field
}
