//! Changes of members.

use std::collections::BTreeSet;

use quorate_api::v1;
use quorate_replica::MemberChange;
use quorate_types::NodeId;

use super::Malformed;

/// Node ids in one list at most: more than any group has members.
const NODES_MAX: usize = 64;

/// Checks a change.
pub(crate) fn change(request: v1::ChangeMembersRequest) -> Result<MemberChange, Malformed> {
    let change = MemberChange {
        promote: nodes("promote", &request.promote)?,
        remove: nodes("remove", &request.remove)?,
        force: request.force,
    };
    if change.promote.is_empty() && change.remove.is_empty() {
        return Err(Malformed::new(
            "promote",
            "and remove are both empty; name a node",
        ));
    }
    if let Some(both) = change.promote.intersection(&change.remove).next() {
        return Err(Malformed::new(
            "remove",
            format!("names node {both}, which is to be promoted"),
        ));
    }
    Ok(change)
}

fn nodes(field: &str, nodes: &[u64]) -> Result<BTreeSet<NodeId>, Malformed> {
    if nodes.len() > NODES_MAX {
        return Err(Malformed::new(
            field,
            format!("has {} node ids; at most {NODES_MAX} are allowed", nodes.len()),
        ));
    }
    if nodes.contains(&0) {
        return Err(Malformed::new(field, "names node 0, which is none"));
    }
    Ok(nodes.iter().copied().map(NodeId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_change() {
        let request = |promote: &[u64], remove: &[u64]| v1::ChangeMembersRequest {
            promote: promote.to_vec(),
            remove: remove.to_vec(),
            force: true,
        };
        let nodes = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect();
        let many: Vec<u64> = (1..=65).collect();
        let cases = [
            ("both", request(&[4, 5, 4], &[1]), Ok((&[4, 5][..], &[1][..]))),
            ("only one", request(&[4], &[]), Ok((&[4], &[]))),
            ("nothing", request(&[], &[]), Err("promote")),
            ("the same twice", request(&[4], &[4]), Err("remove")),
            ("node 0", request(&[], &[0]), Err("remove")),
            ("too many", request(&many, &[]), Err("promote")),
        ];
        for (case, request, want) in cases {
            let got = change(request).map_err(|malformed| malformed.field);
            let want = want
                .map(|(promote, remove)| MemberChange {
                    promote: nodes(promote),
                    remove: nodes(remove),
                    force: true,
                })
                .map_err(str::to_owned);
            assert_eq!(got, want, "{case}");
        }
    }
}
