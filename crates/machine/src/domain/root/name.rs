//! What names may look like.
//!
//! Milvus (`internal/proxy/util.go`): databases, collections, aliases and fields start with a letter or an underscore and
//! go on with letters, digits and underscores; partitions may also start with a digit and hold hyphens; 255 bytes. Field
//! names must not be words of the query language, nor those of the system's own fields. Milvus trims white space around
//! names before it looks at them, but stores them untrimmed; here it is refused.

use quorate_types::limits::NAME_BYTES_MAX;

use crate::refusal::{NameKind, NameRule, Refusal, shown};

/// The system's own fields, and the words of Milvus's query language (`pkg/common/field_name_keywords`). The dynamic field
/// and the namespace field start with a dollar sign, which no name may hold.
const RESERVED_FIELDS: &[&str] = &["RowID", "Timestamp", "True", "False"];
/// Words that are reserved in lower and in upper case.
const RESERVED_WORDS: &[&str] = &[
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
    "exists",
    "false",
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "phrase_match",
    "random_sample",
    "text_match",
    "true",
];
/// Words that are reserved in lower case only.
const RESERVED_LOWER: &[&str] = &["and", "in", "like", "not", "or"];

/// Refuses what is no name of its kind.
pub(super) fn check(kind: NameKind, name: &str) -> Result<(), Refusal> {
    match broken_rule(kind, name) {
        None => Ok(()),
        Some(rule) => Err(Refusal::InvalidName {
            kind,
            name: shown(name),
            rule,
        }),
    }
}

fn broken_rule(kind: NameKind, name: &str) -> Option<NameRule> {
    let partition = kind == NameKind::Partition;
    let Some(first) = name.bytes().next() else {
        return Some(NameRule::Empty);
    };
    if name.len() > NAME_BYTES_MAX {
        return Some(NameRule::TooLong);
    }
    if first != b'_' && !first.is_ascii_alphabetic() && !(partition && first.is_ascii_digit()) {
        return Some(if partition {
            NameRule::PartitionFirstCharacter
        } else {
            NameRule::FirstCharacter
        });
    }
    let allowed = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric() || (partition && byte == b'-');
    if !name.bytes().all(allowed) {
        return Some(if partition {
            NameRule::PartitionCharacter
        } else {
            NameRule::Character
        });
    }
    (kind == NameKind::Field && is_reserved(name)).then_some(NameRule::Reserved)
}

fn is_reserved(name: &str) -> bool {
    RESERVED_FIELDS.contains(&name)
        || RESERVED_LOWER.contains(&name)
        || name.eq_ignore_ascii_case("null")
        || RESERVED_WORDS
            .iter()
            .any(|word| name == *word || name == word.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_their_kind() {
        use NameKind::{Collection, Database, Field, Partition};
        let longest = "a".repeat(255);
        let too_long = "a".repeat(256);
        let cases: &[(NameKind, &str, Option<NameRule>)] = &[
            (Collection, "books", None),
            (Collection, "_b00k5_", None),
            (Collection, "_", None),
            (Collection, &longest, None),
            (Collection, "", Some(NameRule::Empty)),
            (Collection, &too_long, Some(NameRule::TooLong)),
            (Collection, "1books", Some(NameRule::FirstCharacter)),
            (Collection, "$meta", Some(NameRule::FirstCharacter)),
            (Collection, " books", Some(NameRule::FirstCharacter)),
            (Collection, "books ", Some(NameRule::Character)),
            (Collection, "bo-oks", Some(NameRule::Character)),
            (Collection, "bücher", Some(NameRule::Character)),
            (Collection, "b\0", Some(NameRule::Character)),
            (Collection, "null", None),
            (Database, "default", None),
            (Database, "a.b", Some(NameRule::Character)),
            (Partition, "2024-06", None),
            (Partition, "_default", None),
            (Partition, "-a", Some(NameRule::PartitionFirstCharacter)),
            (Partition, "a.b", Some(NameRule::PartitionCharacter)),
            (Field, "vector", None),
            (Field, "Like", None),
            (Field, "like", Some(NameRule::Reserved)),
            (Field, "EXISTS", Some(NameRule::Reserved)),
            (Field, "Exists", None),
            (Field, "nUlL", Some(NameRule::Reserved)),
            (Field, "True", Some(NameRule::Reserved)),
            (Field, "RowID", Some(NameRule::Reserved)),
            (Field, "Timestamp", Some(NameRule::Reserved)),
            (Field, "timestamp", None),
        ];
        for (kind, name, want) in cases {
            assert_eq!(broken_rule(*kind, name), *want, "{kind} {name:?}");
        }
    }
}
