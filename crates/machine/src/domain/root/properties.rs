//! Properties: what owners note on their objects. Most are opaque; the few that every worker reads are checked.

use std::collections::BTreeMap;

use quorate_types::limits::{
    DESCRIPTION_BYTES_MAX, PROPERTIES_MAX, PROPERTY_KEY_BYTES_MAX, PROPERTY_VALUE_BYTES_MAX,
};

use crate::refusal::{ParameterRule, Refusal, ShapeRule};

/// By key.
pub type Properties = BTreeMap<String, String>;

/// Seconds until an entity expires; -1 for never (Milvus `common.CollectionTTLConfigKey`, `MaxTTLSeconds`).
const TTL_SECONDS: &str = "collection.ttl.seconds";
const TTL_SECONDS_MAX: i64 = 3_155_760_000;
/// Keys whose values are booleans to Milvus.
const BOOLEANS: &[&str] = &["mmap.enabled", PARTITION_KEY_ISOLATION];
/// Searches within one value of the partition key; needs such a key.
const PARTITION_KEY_ISOLATION: &str = "partitionkey.isolation";

/// Refuses what no object may carry.
pub(super) fn check(parameter: &str, properties: &Properties) -> Result<(), Refusal> {
    if properties.len() > PROPERTIES_MAX {
        let max = PROPERTIES_MAX as u64;
        return Err(Refusal::parameter(parameter, ParameterRule::TooMany { max }));
    }
    for (key, value) in properties {
        if key.is_empty() {
            return Err(Refusal::shape(parameter, ShapeRule::Empty));
        }
        if key.len() > PROPERTY_KEY_BYTES_MAX {
            let max = PROPERTY_KEY_BYTES_MAX as u64;
            return Err(Refusal::parameter(parameter, ParameterRule::TooLong { max }));
        }
        if value.len() > PROPERTY_VALUE_BYTES_MAX {
            let max = PROPERTY_VALUE_BYTES_MAX as u64;
            return Err(Refusal::parameter(
                format!("{parameter}.{key}"),
                ParameterRule::TooLong { max },
            ));
        }
        let broken = if key == TTL_SECONDS {
            (!is_ttl(value)).then_some(ShapeRule::Integer)
        } else if BOOLEANS.contains(&key.as_str()) {
            parse_bool(value).is_none().then_some(ShapeRule::Boolean)
        } else {
            None
        };
        if let Some(rule) = broken {
            return Err(Refusal::shape(format!("{parameter}.{key}"), rule));
        }
    }
    Ok(())
}

/// Refuses what only a collection with a partition key may carry.
pub(super) fn check_collection(
    parameter: &str,
    properties: &Properties,
    has_partition_key: bool,
) -> Result<(), Refusal> {
    check(parameter, properties)?;
    let isolated = properties
        .get(PARTITION_KEY_ISOLATION)
        .and_then(|value| parse_bool(value));
    if isolated == Some(true) && !has_partition_key {
        let parameter = format!("{parameter}.{PARTITION_KEY_ISOLATION}");
        return Err(Refusal::shape(parameter, ShapeRule::OnlyWithPartitionKey));
    }
    Ok(())
}

/// The properties after a change. A key cannot be both set and removed; removing one that is not there is no error.
pub(super) fn merge(
    properties: &Properties,
    set: &Properties,
    remove: &[String],
) -> Result<Properties, Refusal> {
    let mut merged = properties.clone();
    for key in remove {
        if set.contains_key(key) {
            return Err(Refusal::shape(format!("remove.{key}"), ShapeRule::SetAndRemoved));
        }
        merged.remove(key);
    }
    merged.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(merged)
}

pub(super) fn check_description(parameter: &str, description: &str) -> Result<(), Refusal> {
    if description.len() > DESCRIPTION_BYTES_MAX {
        let max = DESCRIPTION_BYTES_MAX as u64;
        return Err(Refusal::parameter(parameter, ParameterRule::TooLong { max }));
    }
    Ok(())
}

fn is_ttl(value: &str) -> bool {
    value
        .parse::<i64>()
        .is_ok_and(|seconds| (-1..=TTL_SECONDS_MAX).contains(&seconds))
}

/// The texts that Go's `strconv.ParseBool`, and hence Milvus, takes for booleans.
fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn shapes_and_known_keys_are_checked() {
        let long_key = "k".repeat(256);
        let long_value = "v".repeat(4097);
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(Pairs<'_>, Option<&str>)] = &[
            (&[], None),
            (&[("anything", "")], None),
            (&[("", "v")], Some("the parameter set is empty")),
            (
                &[(&long_key, "v")],
                Some("the parameter set is longer than 255 bytes"),
            ),
            (
                &[("k", &long_value)],
                Some("the parameter set.k is longer than 4096 bytes"),
            ),
            (&[(TTL_SECONDS, "-1")], None),
            (&[(TTL_SECONDS, "3155760000")], None),
            (
                &[(TTL_SECONDS, "3155760001")],
                Some("the parameter set.collection.ttl.seconds is not a whole number in range"),
            ),
            (
                &[(TTL_SECONDS, "1.5")],
                Some("the parameter set.collection.ttl.seconds is not a whole number in range"),
            ),
            (&[("mmap.enabled", "True")], None),
            (
                &[("mmap.enabled", "yes")],
                Some("the parameter set.mmap.enabled is neither true nor false"),
            ),
        ];
        for (pairs, want) in cases {
            let got = check("set", &properties(pairs))
                .err()
                .map(|refusal| refusal.to_string());
            assert_eq!(got.as_deref(), *want, "{pairs:?}");
        }
        let many: Properties = (0..65).map(|n| (n.to_string(), String::new())).collect();
        let refusal = check("set", &many).expect_err("too many");
        assert_eq!(refusal.to_string(), "the parameter set has more than 64 entries");
    }

    #[test]
    fn isolation_needs_a_partition_key() {
        let on = properties(&[(PARTITION_KEY_ISOLATION, "true")]);
        let off = properties(&[(PARTITION_KEY_ISOLATION, "false")]);
        assert!(check_collection("properties", &on, true).is_ok());
        assert!(check_collection("properties", &off, false).is_ok());
        assert_eq!(
            check_collection("properties", &on, false).map_err(|refusal| refusal.to_string()),
            Err(
                "the parameter properties.partitionkey.isolation needs a schema with a partition key"
                    .to_owned()
            )
        );
    }

    #[test]
    fn properties_merge() {
        let old = properties(&[("a", "1"), ("b", "2")]);
        let set = properties(&[("b", "3"), ("c", "4")]);
        let merged = merge(&old, &set, &["a".into(), "x".into()]).expect("no conflict");
        assert_eq!(merged, properties(&[("b", "3"), ("c", "4")]));
        assert_eq!(
            merge(&old, &set, &["b".into()]),
            Err(Refusal::shape("remove.b", ShapeRule::SetAndRemoved))
        );
    }
}
