//! Properties on the command line: `KEY=VALUE`.
//!
//! Promises: a key twice is refused, not overwritten. Left out on purpose: limits, which the cluster checks.

use std::collections::BTreeMap;

use crate::exit::Failure;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    key: String,
    value: String,
}

/// Reads one property. The value may be empty, and may have further `=`.
pub(super) fn parse(text: &str) -> Result<Property, String> {
    match text.split_once('=') {
        Some(("", _)) => Err("has no key before the =; write KEY=VALUE".to_owned()),
        Some((key, value)) => Ok(Property {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        None => Err("has no value; write KEY=VALUE".to_owned()),
    }
}

/// The properties as a message carries them; `flag` is where they come from.
pub(super) fn collected(flag: &str, properties: Vec<Property>) -> Result<BTreeMap<String, String>, Failure> {
    let mut map = BTreeMap::new();
    for Property { key, value } in properties {
        if map.contains_key(&key) {
            return Err(Failure::Usage(format!(
                "{flag} {key}=... is given twice; leave one out"
            )));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// The properties for people.
pub(super) fn show(properties: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = properties
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties() {
        let cases = [
            ("a=b", Ok(("a", "b"))),
            ("a=", Ok(("a", ""))),
            ("a=b=c", Ok(("a", "b=c"))),
            ("", Err("has no value; write KEY=VALUE")),
            ("a", Err("has no value; write KEY=VALUE")),
            ("=b", Err("has no key before the =; write KEY=VALUE")),
        ];
        for (text, want) in cases {
            let want = want.map_err(str::to_owned).map(|(key, value)| Property {
                key: key.to_owned(),
                value: value.to_owned(),
            });
            assert_eq!(parse(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_key_twice_is_refused() {
        let all = |texts: &[&str]| texts.iter().map(|text| parse(text).unwrap()).collect();
        let map = collected("--set", all(&["b=2", "a=1"])).unwrap();
        assert_eq!(show(&map), "a=1, b=2");
        let error = collected("--set", all(&["a=1", "a=1"])).unwrap_err();
        assert_eq!(
            error,
            Failure::Usage("--set a=... is given twice; leave one out".to_owned())
        );
    }
}
