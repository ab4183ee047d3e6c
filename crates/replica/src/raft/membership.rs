//! openraft's membership in our own durable form, and the one in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use quorate_format::envelope::OpenError;
use quorate_format::raft::{Membership as Durable, Small};
use quorate_types::{Member, NodeId};

use super::types::{Membership, Raft, TypeConfig};

/// Bytes that are no membership.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    /// They do not decode.
    #[error("a membership cannot be read")]
    Open(#[from] OpenError),
    /// They decode to something that no group has.
    #[error("a membership is inconsistent: {0}")]
    Inconsistent(String),
}

/// The bytes of a membership entry.
pub(crate) fn encode(membership: &Membership) -> Bytes {
    let configs = membership.get_joint_config().clone();
    // The key is written as well: openraft's own suite has members that are nothing but a default.
    let members = membership.nodes().map(|(node, member)| Member {
        node: *node,
        ..member.clone()
    });
    Durable {
        configs,
        members: members.collect(),
    }
    .seal()
}

/// Reads a membership entry.
pub(crate) fn decode(bytes: &[u8]) -> Result<Membership, MembershipError> {
    let Durable { configs, members } = Durable::open(bytes)?;
    let nodes = members.into_iter().map(|member| (member.node, member));
    let nameless = |member: &Member| {
        *member
            == Member {
                node: member.node,
                ..Member::default()
            }
    };
    let nodes = nodes.map(|(node, member)| {
        (
            node,
            if nameless(&member) {
                Member::default()
            } else {
                member
            },
        )
    });
    let nodes: std::collections::BTreeMap<_, Member> = nodes.collect();
    Membership::new(configs, nodes).map_err(|error| MembershipError::Inconsistent(error.to_string()))
}

/// The members that are decided, committed that is, and whether each votes: while a joint change is under way, those who
/// vote in either part of it. Before the group's first entry is committed, those that form it.
pub(crate) async fn decided(raft: &Raft) -> Result<Vec<(Member, bool)>, Fatal<TypeConfig>> {
    let known = |state: &openraft::RaftState<TypeConfig>| {
        let known = &state.membership_state;
        (Arc::clone(known.committed()), Arc::clone(known.effective()))
    };
    let (committed, effective) = raft.with_raft_state(known).await?;
    let is_formed = committed.membership().nodes().next().is_some();
    let decided = if is_formed { committed } else { effective };
    let voters: BTreeSet<NodeId> = decided.membership().voter_ids().collect();
    let members = decided.membership().nodes();
    Ok(members
        .map(|(node, member)| (member.clone(), voters.contains(node)))
        .collect())
}

/// The membership in force: the last one in the log, committed or not, as Raft wants it.
pub(crate) fn effective(raft: &Raft) -> Membership {
    raft.server_metrics()
        .borrow_watched()
        .membership_config
        .membership()
        .clone()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quorate_types::{Incarnation, MemberName};

    use super::*;

    #[test]
    fn a_joint_membership_with_a_learner_reads_back() {
        let set = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let member = |node: u64| Member {
            node: NodeId(node),
            name: MemberName::new(format!("replica-{node}")).expect("a name"),
            incarnation: Incarnation(u128::from(node)),
            peer_address: format!("10.0.0.{node}:2380"),
            liveness_address: format!("10.0.0.{node}:2382"),
            client_address: format!("10.0.0.{node}:2379"),
        };
        let nodes: BTreeMap<NodeId, Member> = (1..=5).map(|node| (NodeId(node), member(node))).collect();
        let membership = Membership::new(vec![set(&[1, 2, 3]), set(&[2, 3, 4])], nodes).expect("consistent");
        assert_eq!(decode(&encode(&membership)).expect("readable"), membership);
    }

    #[test]
    fn a_voter_without_an_address_is_refused() {
        let durable = Durable {
            configs: vec![[NodeId(1)].into()],
            members: Vec::new(),
        };
        assert!(matches!(
            decode(&durable.seal()),
            Err(MembershipError::Inconsistent(_))
        ));
        assert!(matches!(decode(b""), Err(MembershipError::Open(_))));
    }
}
