//! A field's default value: on the command line, in JSON, and in a message.
//!
//! Promises: a value that the field's type cannot have is refused with the reason. Left out on purpose: the range of
//! small integers, which the cluster checks.

use quorate_client::v1::{DataType, DefaultValue, default_value::Kind};
use serde_json::{Number, Value};

/// A default for a field of this type, from the command line.
pub(super) fn from_text(data_type: DataType, text: &str) -> Result<DefaultValue, String> {
    let wrong = |what: &str| format!("the default {text:?} is {what}");
    let kind = match shape(data_type)? {
        Shape::Bool => Kind::BoolValue(text.parse().map_err(|_| wrong("neither true nor false"))?),
        Shape::Int => Kind::IntValue(text.parse().map_err(|_| wrong("no whole number of 64 bits"))?),
        Shape::Float => {
            let value: f64 = text.parse().map_err(|_| wrong("no number"))?;
            Kind::FloatValue(narrowed(value).ok_or_else(|| wrong("too large for a float"))?)
        }
        Shape::Double => Kind::DoubleValue(text.parse().map_err(|_| wrong("no number"))?),
        Shape::String => Kind::StringValue(text.to_owned()),
    };
    Ok(DefaultValue { kind: Some(kind) })
}

/// A default for a field of this type, from a file.
pub(super) fn from_json(data_type: DataType, value: &Value) -> Result<DefaultValue, String> {
    let wrong = |what: &str| format!("the default {value} is {what}");
    let kind = match shape(data_type)? {
        Shape::Bool => Kind::BoolValue(value.as_bool().ok_or_else(|| wrong("neither true nor false"))?),
        Shape::Int => Kind::IntValue(
            value
                .as_i64()
                .ok_or_else(|| wrong("no whole number of 64 bits"))?,
        ),
        Shape::Float => {
            let value = number(value).ok_or_else(|| wrong("no number"))?;
            Kind::FloatValue(narrowed(value).ok_or_else(|| wrong("too large for a float"))?)
        }
        Shape::Double => Kind::DoubleValue(number(value).ok_or_else(|| wrong("no number"))?),
        Shape::String => Kind::StringValue(value.as_str().ok_or_else(|| wrong("no text"))?.to_owned()),
    };
    Ok(DefaultValue { kind: Some(kind) })
}

/// The default as JSON; `null` for a kind that this version does not know.
pub(super) fn to_json(default: &DefaultValue) -> Value {
    match &default.kind {
        None => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::IntValue(value)) => Value::from(*value),
        // Through its shortest text: 0.1 is to be shown as 0.1, not as the nearest double of the float.
        Some(Kind::FloatValue(value)) => real(value.to_string().parse().unwrap_or(f64::from(*value))),
        Some(Kind::DoubleValue(value)) => real(*value),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
    }
}

/// The default for people.
pub(crate) fn show(default: &DefaultValue) -> String {
    to_json(default).to_string()
}

/// JSON has no number for these; their names stand in.
fn real(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(name) if matches!(name.as_str(), "NaN" | "inf" | "-inf") => name.parse().ok(),
        _ => value.as_f64(),
    }
}

/// The float next to it; `None` when it is beyond the largest.
fn narrowed(value: f64) -> Option<f32> {
    #[allow(clippy::cast_possible_truncation)] // That is what a float is.
    let float = value as f32;
    (float.is_finite() || !value.is_finite()).then_some(float)
}

enum Shape {
    Bool,
    Int,
    Float,
    Double,
    String,
}

fn shape(data_type: DataType) -> Result<Shape, String> {
    match data_type {
        DataType::Bool => Ok(Shape::Bool),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Ok(Shape::Int),
        DataType::Float => Ok(Shape::Float),
        DataType::Double => Ok(Shape::Double),
        DataType::Varchar => Ok(Shape::String),
        _ => Err("only a bool, an integer, a float, a double or a varchar can have a default".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_on_the_command_line_and_back() {
        let cases = [
            (DataType::Bool, "true", Ok("true")),
            (
                DataType::Bool,
                "yes",
                Err("the default \"yes\" is neither true nor false"),
            ),
            (DataType::Int8, "-7", Ok("-7")),
            (DataType::Int64, "9223372036854775807", Ok("9223372036854775807")),
            (
                DataType::Int64,
                "9223372036854775808",
                Err("the default \"9223372036854775808\" is no whole number of 64 bits"),
            ),
            (
                DataType::Int16,
                "",
                Err("the default \"\" is no whole number of 64 bits"),
            ),
            (DataType::Float, "0.1", Ok("0.1")),
            (
                DataType::Float,
                "1e39",
                Err("the default \"1e39\" is too large for a float"),
            ),
            (DataType::Float, "inf", Ok("\"inf\"")),
            (DataType::Double, "1e300", Ok("1e+300")),
            (DataType::Double, "NaN", Ok("\"NaN\"")),
            (DataType::Double, "much", Err("the default \"much\" is no number")),
            (DataType::Varchar, "", Ok("\"\"")),
            (DataType::Varchar, "a \u{1b}", Ok("\"a \\u001b\"")),
            (
                DataType::FloatVector,
                "1",
                Err("only a bool, an integer, a float, a double or a varchar can have a default"),
            ),
        ];
        for (data_type, text, want) in cases {
            let got = from_text(data_type, text);
            assert_eq!(
                got.as_ref().map(show).map_err(String::as_str),
                want.map(str::to_owned),
                "{data_type:?} {text:?}"
            );
            if let Ok(default) = got {
                let back = from_json(data_type, &to_json(&default)).map(|back| show(&back));
                assert_eq!(back, Ok(show(&default)), "{data_type:?} {text:?}");
            }
        }
    }

    #[test]
    fn json_of_another_kind_is_refused() {
        let cases = [
            (DataType::Bool, "1", "the default 1 is neither true nor false"),
            (
                DataType::Int32,
                "1.5",
                "the default 1.5 is no whole number of 64 bits",
            ),
            (
                DataType::Float,
                "1e300",
                "the default 1e300 is too large for a float",
            ),
            (DataType::Double, "\"1\"", "the default \"1\" is no number"),
            (DataType::Varchar, "{}", "the default {} is no text"),
        ];
        for (data_type, json, want) in cases {
            let value: Value = serde_json::from_str(json).unwrap();
            let got = from_json(data_type, &value).map(|default| show(&default));
            assert_eq!(
                got.map_err(|error| error.replace("e+", "e")),
                Err(want.to_owned())
            );
        }
    }
}
