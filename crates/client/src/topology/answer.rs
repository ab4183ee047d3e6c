//! A replica's answer about the group, read from the wire.
//!
//! Promises: what is handed on has sane addresses and a bounded number of members. Left out on purpose: judging it
//! against what others said; see [`super::belief`].

use quorate_api::v1;
use quorate_types::{ClusterId, NodeId, Term, check_address};

/// Members that are looked at; a group has one to five voters and a few learners. Others are ignored.
pub(super) const MEMBERS_MAX: usize = 16;

/// Who leads, according to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The replica.
    pub node: NodeId,
    /// Its `host:port` for clients, as it advertises it.
    pub address: String,
    /// The term in which it leads.
    pub term: Term,
}

impl Leader {
    /// The order of leaders in time. openraft lets two candidates of one term win after another, the larger id last.
    pub(super) fn rank(&self) -> (Term, NodeId) {
        (self.term, self.node)
    }

    /// A leader from a hint; `None` when the hint's address is none.
    pub(crate) fn from_hint(hint: &v1::LeaderHint) -> Option<Self> {
        check_address(&hint.address).ok()?;
        Some(Self {
            node: NodeId(hint.node_id),
            address: hint.address.clone(),
            term: Term(hint.term),
        })
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    /// Absent while the replica belongs to no group.
    pub(super) cluster: Option<ClusterId>,
    pub(super) node: NodeId,
    pub(super) term: Term,
    pub(super) leader: Option<Leader>,
    pub(super) members: Vec<v1::MemberInfo>,
}

impl Heard {
    pub(crate) fn read(topology: v1::Topology) -> Self {
        let mut members = topology.members;
        members.retain(|member| check_address(&member.client_address).is_ok());
        members.truncate(MEMBERS_MAX);
        Self {
            cluster: ClusterId::from_bytes(&topology.cluster_id).filter(|id| id.0 != 0),
            node: NodeId(topology.node_id),
            term: Term(topology.term),
            leader: topology.leader.as_ref().and_then(Leader::from_hint),
            members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(address: &str) -> Option<v1::LeaderHint> {
        Some(v1::LeaderHint {
            node_id: 2,
            address: address.to_owned(),
            term: 7,
        })
    }

    fn member(address: &str) -> v1::MemberInfo {
        v1::MemberInfo {
            client_address: address.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn hostile_answers_lose_what_is_wrong_with_them() {
        let long = format!("{}:1", "a".repeat(300));
        let heard = Heard::read(v1::Topology {
            cluster_id: vec![1; 15],
            leader: hint("http://evil/"),
            members: vec![member(""), member("a:1"), member(&long), member("no port")],
            ..Default::default()
        });
        assert_eq!((heard.cluster, heard.leader), (None, None));
        assert_eq!(heard.members, [member("a:1")]);

        let many = v1::Topology {
            cluster_id: vec![1; 16],
            leader: hint("b:2"),
            members: vec![member("a:1"); 100_000],
            ..Default::default()
        };
        let heard = Heard::read(many);
        assert_eq!(heard.members.len(), MEMBERS_MAX);
        assert_eq!(heard.leader.map(|l| l.rank()), Some((Term(7), NodeId(2))));
        assert!(heard.cluster.is_some());
    }

    #[test]
    fn a_replica_without_a_group_has_no_cluster() {
        for bytes in [vec![], vec![0; 16]] {
            let forming = v1::Topology {
                cluster_id: bytes,
                ..Default::default()
            };
            assert_eq!(Heard::read(forming).cluster, None);
        }
    }
}
