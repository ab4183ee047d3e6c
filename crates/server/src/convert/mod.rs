//! Messages of `quorate.v1` to and from the machine's words.
//!
//! Promises: a message that is no request is [`Malformed`], with the path of the field that is wrong; nothing else is read
//! out of it. The sizes of texts and lists are checked here, so that what is too large never enters the log. Left out on
//! purpose: rules that depend on the state or on meaning (which names are allowed, what makes a schema); those are the
//! machine's, and their breach is a refusal.

pub(crate) mod catalog;
pub(crate) mod cluster;
pub(crate) mod member;
mod page;
pub(crate) mod read;
mod schema;
pub(crate) mod session;
pub(crate) mod watch;
pub(crate) mod write;

use std::collections::BTreeMap;

use quorate_replica::machine::Properties;
use quorate_types::limits::{
    DESCRIPTION_BYTES_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, PROPERTY_KEY_BYTES_MAX, PROPERTY_VALUE_BYTES_MAX,
};

/// A message that is no request. Nothing was executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub(crate) struct Malformed {
    /// The path of the field in the request; never holds bytes of the request itself.
    pub(crate) field: String,
    /// What is wrong, so that it reads on from the field.
    pub(crate) why: String,
}

impl Malformed {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        let (field, why) = (field.into(), why.into());
        Self { field, why }
    }

    /// The field belongs to a message that must be there.
    pub(crate) fn missing(field: impl Into<String>) -> Self {
        Self::new(field, "is missing")
    }

    /// The field is an enum and its number means nothing here.
    fn unknown(field: impl Into<String>, number: i32) -> Self {
        Self::new(
            field,
            format!("has the unknown value {number}; is the client of a later release?"),
        )
    }

    /// The same fault, as seen from the message that holds this one under `outer`.
    pub(crate) fn under(self, outer: &str) -> Self {
        let Self { field, why } = self;
        Self {
            field: format!("{outer}.{field}"),
            why,
        }
    }
}

/// Takes a text of at most `bytes_max`.
fn text(field: &str, text: String, bytes_max: usize) -> Result<String, Malformed> {
    match text.len() {
        bytes if bytes > bytes_max => Err(Malformed::new(
            field,
            format!("has {bytes} bytes; at most {bytes_max} are allowed"),
        )),
        _ => Ok(text),
    }
}

/// Takes a name of any kind. Whether it is allowed is the machine's to say.
fn name(field: &str, name: String) -> Result<String, Malformed> {
    text(field, name, NAME_BYTES_MAX)
}

fn description(field: &str, description: String) -> Result<String, Malformed> {
    text(field, description, DESCRIPTION_BYTES_MAX)
}

/// Checks that a list is not too long.
fn count(field: &str, count: usize, max: usize) -> Result<(), Malformed> {
    match count {
        count if count > max => Err(Malformed::new(
            field,
            format!("has {count} entries; at most {max} are allowed"),
        )),
        _ => Ok(()),
    }
}

fn properties(field: &str, properties: BTreeMap<String, String>) -> Result<Properties, Malformed> {
    count(field, properties.len(), PROPERTIES_MAX)?;
    for (key, value) in &properties {
        let long = |what, bytes, max| {
            Malformed::new(
                field,
                format!("has a {what} of {bytes} bytes; at most {max} are allowed"),
            )
        };
        if key.len() > PROPERTY_KEY_BYTES_MAX {
            return Err(long("key", key.len(), PROPERTY_KEY_BYTES_MAX));
        }
        if value.len() > PROPERTY_VALUE_BYTES_MAX {
            return Err(long("value", value.len(), PROPERTY_VALUE_BYTES_MAX));
        }
    }
    Ok(properties)
}

/// Keys of properties to remove.
fn keys(field: &str, keys: Vec<String>) -> Result<Vec<String>, Malformed> {
    count(field, keys.len(), PROPERTIES_MAX)?;
    for (index, key) in keys.iter().enumerate() {
        if key.len() > PROPERTY_KEY_BYTES_MAX {
            let why = format!(
                "has {} bytes; at most {PROPERTY_KEY_BYTES_MAX} are allowed",
                key.len()
            );
            return Err(Malformed::new(format!("{field}[{index}]"), why));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(count: usize, key: &str, value: &str) -> BTreeMap<String, String> {
        (0..count)
            .map(|index| (format!("{key}{index}"), value.to_owned()))
            .collect()
    }

    #[test]
    fn texts_lists_and_properties_have_limits() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let cases: Vec<(&str, Result<(), Malformed>, Option<&str>)> = vec![
            (
                "an empty name is the machine's to judge",
                name("name", String::new()).map(drop),
                None,
            ),
            (
                "the longest name",
                name("name", long[1..].to_owned()).map(drop),
                None,
            ),
            (
                "a name too long",
                name("name", long.clone()).map(drop),
                Some("name has 256 bytes; at most 255 are allowed"),
            ),
            (
                "bytes count, not characters",
                name("name", "é".repeat(128)).map(drop),
                Some("name has 256 bytes; at most 255 are allowed"),
            ),
            (
                "as many properties as there may be",
                properties("set", map(64, "k", "v")).map(drop),
                None,
            ),
            (
                "too many properties",
                properties("set", map(65, "k", "v")).map(drop),
                Some("set has 65 entries; at most 64 are allowed"),
            ),
            (
                "a key too long",
                properties("set", map(1, &long, "v")).map(drop),
                Some("set has a key of 257 bytes; at most 255 are allowed"),
            ),
            (
                "a value too long",
                properties("set", map(1, "k", &"v".repeat(4_097))).map(drop),
                Some("set has a value of 4097 bytes; at most 4096 are allowed"),
            ),
            (
                "a key to remove that is too long",
                keys("remove", vec!["a".to_owned(), long]).map(drop),
                Some("remove[1] has 256 bytes; at most 255 are allowed"),
            ),
            (
                "too many keys to remove",
                keys("remove", vec![String::new(); 65]).map(drop),
                Some("remove has 65 entries; at most 64 are allowed"),
            ),
        ];
        for (case, got, want) in cases {
            assert_eq!(
                got.map_err(|malformed| malformed.to_string()).err().as_deref(),
                want,
                "{case}"
            );
        }
    }

    #[test]
    fn paths_grow_outwards() {
        let malformed = Malformed::missing("data_type").under("fields[2]").under("schema");
        assert_eq!(malformed.field, "schema.fields[2].data_type");
    }
}
