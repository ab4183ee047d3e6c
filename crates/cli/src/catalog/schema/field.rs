//! A field on the command line: `NAME:TYPE[,OPTION]...`.
//!
//! Promises: any text is a field or an error that says what is wrong; nothing is guessed. A value with a comma is put
//! in double quotes, in which `\"` and `\\` stand for the characters themselves. Left out on purpose: Milvus's rules,
//! which the cluster checks.

use std::collections::BTreeMap;
use std::str::FromStr;

use quorate_client::v1;

use super::{data_type, default};

/// Reads one field.
pub(crate) fn parse(text: &str) -> Result<v1::Field, String> {
    let (name, rest) = text.split_once(':').ok_or_else(|| {
        "has no type; write NAME:TYPE[,OPTION]..., for example id:int64,primary or vec:float_vector,dim=128".to_owned()
    })?;
    if name.is_empty() {
        return Err("has no name before the colon; write NAME:TYPE[,OPTION]...".to_owned());
    }
    let mut parts = split(rest)?.into_iter();
    let word = parts.next().unwrap_or_default();
    let data_type = data_type(&word.key)?;
    if word.value.is_some() {
        return Err(format!("the type {:?} takes no value", word.key));
    }
    let mut field = v1::Field {
        name: name.to_owned(),
        ..Default::default()
    };
    field.set_data_type(data_type);
    let mut seen = BTreeMap::new();
    for Part { key, value } in parts {
        let key = if key == "dimension" { "dim".to_owned() } else { key };
        if seen.insert(key.clone(), ()).is_some() {
            return Err(format!("{key:?} is given twice"));
        }
        set(&mut field, data_type, &key, value)?;
    }
    Ok(field)
}

fn set(
    field: &mut v1::Field,
    data_type: v1::DataType,
    key: &str,
    value: Option<String>,
) -> Result<(), String> {
    let wanted = |value: Option<String>| value.ok_or_else(|| format!("{key:?} needs a value: {key}=..."));
    match key {
        "primary" => flag(&mut field.primary_key, key, value),
        "auto_id" => flag(&mut field.auto_id, key, value),
        "partition_key" => flag(&mut field.partition_key, key, value),
        "nullable" => flag(&mut field.nullable, key, value),
        "dim" => number(&mut field.dimension, key, &wanted(value)?),
        "max_length" => number(&mut field.max_length, key, &wanted(value)?),
        "max_capacity" => number(&mut field.max_capacity, key, &wanted(value)?),
        "element" => {
            field.set_element_type(self::data_type(&wanted(value)?)?);
            Ok(())
        }
        "default" => {
            field.default_value = Some(default::from_text(data_type, &wanted(value)?)?);
            Ok(())
        }
        "description" => {
            field.description = wanted(value)?;
            Ok(())
        }
        _ => match key.strip_prefix("property.") {
            Some(name) => {
                field.properties.insert(name.to_owned(), wanted(value)?);
                Ok(())
            }
            None => Err(format!(
                "{key:?} is no option; known are primary, auto_id, partition_key, nullable, dim=, max_length=, \
                 max_capacity=, element=, default=, description=, property.KEY="
            )),
        },
    }
}

fn flag(field: &mut bool, key: &str, value: Option<String>) -> Result<(), String> {
    if let Some(value) = value {
        return Err(format!(
            "{key:?} takes no value, and has {value:?}; leave it out for no"
        ));
    }
    *field = true;
    Ok(())
}

fn number<N: FromStr>(field: &mut N, key: &str, value: &str) -> Result<(), String> {
    *field = value
        .parse()
        .map_err(|_| format!("{key}={value} is no number from 0 to {}", u32::MAX))?;
    Ok(())
}

/// What stands between two commas.
#[derive(Debug, Default, PartialEq)]
struct Part {
    key: String,
    value: Option<String>,
}

/// Splits at the commas that are not in quotes. Quotes count only where a value begins.
fn split(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find([',', '=']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        let Some(after) = rest[end..].strip_prefix('=') else {
            parts.push(Part { key, value: None });
            match rest[end..].strip_prefix(',') {
                Some(next) => rest = next,
                None => return Ok(parts),
            }
            continue;
        };
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted, &key)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        let next = left.strip_prefix(',');
        if next.is_none() && !left.is_empty() {
            return Err(format!(
                "after the quotes of {key:?} stands {left:?}; put a comma between options"
            ));
        }
        parts.push(Part {
            key,
            value: Some(value),
        });
        match next {
            Some(next) => rest = next,
            None => return Ok(parts),
        }
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote<'a>(quoted: &'a str, key: &str) -> Result<(String, &'a str), String> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, c)) => {
                    return Err(format!(
                        "\\{} in the value of {key:?}: only \\\" and \\\\ are known",
                        c.escape_debug()
                    ));
                }
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(format!("the quotes around the value of {key:?} are not closed"))
}

#[cfg(test)]
mod tests {
    use quorate_client::v1::default_value::Kind;
    use quorate_client::v1::{DataType, DefaultValue, Field};

    use super::*;

    fn field(name: &str, data_type: DataType, more: impl FnOnce(&mut Field)) -> Field {
        let mut field = Field {
            name: name.to_owned(),
            ..Default::default()
        };
        field.set_data_type(data_type);
        more(&mut field);
        field
    }

    #[test]
    fn fields() {
        let cases = [
            ("a:json", field("a", DataType::Json, |_| {})),
            (
                "ID:INT64,primary,auto_id",
                field("ID", DataType::Int64, |f| {
                    f.primary_key = true;
                    f.auto_id = true;
                }),
            ),
            (
                "v:float_vector,dim=128",
                field("v", DataType::FloatVector, |f| f.dimension = 128),
            ),
            (
                "v:float_vector,dimension=8",
                field("v", DataType::FloatVector, |f| f.dimension = 8),
            ),
            (
                "tags:array,element=varchar,max_length=64,max_capacity=4294967295,nullable",
                field("tags", DataType::Array, |f| {
                    f.set_element_type(DataType::Varchar);
                    f.max_length = 64;
                    f.max_capacity = u32::MAX;
                    f.nullable = true;
                }),
            ),
            (
                r#"t:varchar,default="a,b=\"c\" \\",max_length=9,partition_key"#,
                field("t", DataType::Varchar, |f| {
                    let kind = Kind::StringValue(r#"a,b="c" \"#.to_owned());
                    f.default_value = Some(DefaultValue { kind: Some(kind) });
                    f.max_length = 9;
                    f.partition_key = true;
                }),
            ),
            (
                r#"t:varchar,default=a="b":c,description=x y"#,
                field("t", DataType::Varchar, |f| {
                    let kind = Kind::StringValue(r#"a="b":c"#.to_owned());
                    f.default_value = Some(DefaultValue { kind: Some(kind) });
                    f.description = "x y".to_owned();
                }),
            ),
            (
                "b:bool,default=false,property.mmap=on,property.=,property.x.y=1",
                field("b", DataType::Bool, |f| {
                    let kind = Kind::BoolValue(false);
                    f.default_value = Some(DefaultValue { kind: Some(kind) });
                    for (key, value) in [("mmap", "on"), ("", ""), ("x.y", "1")] {
                        f.properties.insert(key.to_owned(), value.to_owned());
                    }
                }),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_field_says_why() {
        let cases = [
            ("", "has no type; write NAME:TYPE"),
            ("id", "has no type; write NAME:TYPE"),
            (":int64", "has no name before the colon"),
            ("id:", "\"\" is no type; known are bool"),
            ("id:int", "\"int\" is no type"),
            ("id:\u{1b}[2J", "\"\\u{1b}[2j\" is no type"),
            ("id:int64=3", "the type \"int64\" takes no value"),
            ("id:int64,", "\"\" is no option; known are primary"),
            ("id:int64,Primary", "\"Primary\" is no option"),
            ("id:int64,primary,primary", "\"primary\" is given twice"),
            ("v:float_vector,dim=8,dimension=8", "\"dim\" is given twice"),
            (
                "id:int64,primary=true",
                "\"primary\" takes no value, and has \"true\"",
            ),
            ("v:float_vector,dim", "\"dim\" needs a value: dim=..."),
            ("v:float_vector,dim=", "dim= is no number from 0 to 4294967295"),
            ("v:float_vector,dim=-1", "dim=-1 is no number"),
            ("v:float_vector,dim=4294967296", "dim=4294967296 is no number"),
            (
                "v:float_vector,dim=99999999999999999999999",
                "dim=99999999999999999999999 is no number",
            ),
            ("a:array,element=thing", "\"thing\" is no type"),
            ("a:int8,default=x", "the default \"x\" is no whole number"),
            ("a:json,default={}", "only a bool, an integer"),
            (
                "t:varchar,default=\"a",
                "the quotes around the value of \"default\" are not closed",
            ),
            (
                "t:varchar,default=\"a\\",
                "the quotes around the value of \"default\" are not closed",
            ),
            (
                "t:varchar,default=\"a\\n\"",
                "\\n in the value of \"default\": only",
            ),
            (
                "t:varchar,default=\"a\"b",
                "after the quotes of \"default\" stands \"b\"",
            ),
            ("t:varchar,default", "\"default\" needs a value"),
            ("t:varchar,property.a", "\"property.a\" needs a value"),
            ("t:varchar,=1", "\"\" is no option"),
        ];
        for (text, want) in cases {
            let error = parse(text).expect_err(text);
            let shown = error.to_lowercase();
            assert!(shown.starts_with(&want.to_lowercase()), "{text}: {error}");
        }
        let huge = format!("a:int8,{}", "x=\"".repeat(1 << 20));
        assert!(parse(&huge).is_err());
    }
}
