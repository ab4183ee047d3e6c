//! The words for the protocol's enumerations, in tables and in JSON: the protos' names without their prefix, in lower
//! case.
//!
//! Promises: a number that this version does not know is shown as a number, and never hides the rest of an answer.
//! Left out on purpose: reading words; clap and the schema files do that where they need it.

use quorate_client::v1;

fn word<E: TryFrom<i32>>(number: i32, prefix: &str, name: impl Fn(&E) -> &'static str) -> String {
    match E::try_from(number) {
        Ok(known) => {
            let name = name(&known);
            name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
        }
        Err(_) => format!("unknown({number})"),
    }
}

/// `leader`, `follower`, ...
pub(crate) fn role(number: i32) -> String {
    word(number, "ROLE_", v1::Role::as_str_name)
}

/// `crash`, `transfer`, ...
pub(crate) fn change_reason(number: i32) -> String {
    word(
        number,
        "LEADER_CHANGE_REASON_",
        v1::LeaderChangeReason::as_str_name,
    )
}

/// `int64`, `float_vector`, ...
pub(crate) fn data_type(number: i32) -> String {
    word(number, "DATA_TYPE_", v1::DataType::as_str_name)
}

/// `strong`, `bounded`, ...
pub(crate) fn consistency(number: i32) -> String {
    word(number, "CONSISTENCY_LEVEL_", v1::ConsistencyLevel::as_str_name)
}

/// `proxy`, `query_node`, ...
pub(crate) fn worker_kind(number: i32) -> String {
    word(number, "WORKER_KIND_", v1::WorkerKind::as_str_name)
}

/// `database`, `collection`, ...
pub(crate) fn resource_kind(number: i32) -> String {
    word(number, "RESOURCE_KIND_", v1::ResourceKind::as_str_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_numbers() {
        let cases = [
            (role(v1::Role::Leader.into()), "leader"),
            (
                change_reason(v1::LeaderChangeReason::StalledDisk.into()),
                "stalled_disk",
            ),
            (data_type(v1::DataType::Bfloat16Vector.into()), "bfloat16_vector"),
            (consistency(v1::ConsistencyLevel::Bounded.into()), "bounded"),
            (worker_kind(v1::WorkerKind::QueryNode.into()), "query_node"),
            (resource_kind(v1::ResourceKind::Alias.into()), "alias"),
            (role(0), "unspecified"),
            (role(99), "unknown(99)"),
            (data_type(i32::MIN), "unknown(-2147483648)"),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }
}
