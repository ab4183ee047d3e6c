//! Whether this replica stands among strangers: of which cluster those are whom its list names. Pure.

use std::collections::BTreeMap;

use quorate_types::{ClusterId, MemberName};

/// Of which cluster a majority of the list is, as far as that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// Our own: this replica is where it belongs.
    Ours,
    /// Another: this replica is a stranger, and will never be anything else.
    Strangers(String),
    /// Too few have answered.
    Unknown,
}

/// Decides from the answers; this replica counts for its own cluster.
pub(super) fn company(mine: ClusterId, listed: usize, answers: &BTreeMap<MemberName, ClusterId>) -> Company {
    let is_majority = |count: usize| count * 2 > listed;
    let of = |cluster: ClusterId| answers.iter().filter(move |(_, other)| **other == cluster);
    // This replica counts for its own cluster: a single stranger in the list must not stop those who belong together.
    if is_majority(1 + of(mine).count()) {
        return Company::Ours;
    }
    let others = answers
        .values()
        .find(|other| **other != mine && is_majority(of(**other).count()));
    let Some(other) = others else {
        return Company::Unknown;
    };
    let names: Vec<String> = of(*other).map(|(name, _)| name.to_string()).collect();
    Company::Strangers(format!(
        "the data directory is of another cluster: it belongs to {mine}, and {} to {other}; give this replica the \
         directory that it had among them, or the list of its own cluster",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> MemberName {
        MemberName::new(name).expect("a good name")
    }

    #[test]
    fn a_replica_is_a_stranger_only_among_a_majority_of_another_cluster() {
        let (mine, other, third) = (ClusterId(1), ClusterId(2), ClusterId(3));
        let cases: &[(&str, usize, &[ClusterId], &str)] = &[
            ("alone", 1, &[], "ours"),
            ("nobody answers", 3, &[], "unknown"),
            ("one of ours", 3, &[mine], "ours"),
            ("one stranger", 3, &[other], "unknown"),
            ("a stranger and one of ours", 3, &[other, mine], "ours"),
            ("two strangers", 3, &[other, other], "strangers"),
            ("two of different clusters", 3, &[other, third], "unknown"),
            ("two strangers of five", 5, &[other, other], "unknown"),
            (
                "three strangers of five",
                5,
                &[other, other, mine, other],
                "strangers",
            ),
        ];
        for (case, listed, clusters, want) in cases {
            let answers = clusters
                .iter()
                .zip('b'..)
                .map(|(cluster, who)| (name(&who.to_string()), *cluster));
            let got = match company(mine, *listed, &answers.collect()) {
                Company::Ours => "ours",
                Company::Unknown => "unknown",
                Company::Strangers(why) => {
                    assert!(
                        why.contains("of another cluster") && !why.contains('\n'),
                        "{case}: {why}"
                    );
                    "strangers"
                }
            };
            assert_eq!(got, *want, "{case}");
        }
    }
}
