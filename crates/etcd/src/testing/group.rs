//! The group around a machine in memory.

use bytes::Bytes;
use quorate_replica::{MemberChange, MemberError, TransferError, Unavailable};
use quorate_types::{Incarnation, Index, Member, MemberName, NodeId};
use tokio::time::Instant;

use super::Memory;
use crate::group::{Group, Progress, Roster, StateFile};

/// Members `r1`, ... with these node ids.
pub(crate) fn roster(voters: &[u64], learners: &[u64]) -> Roster {
    let member = |node: u64| Member {
        node: NodeId(node),
        name: MemberName::new(format!("r{node}")).expect("a good name"),
        incarnation: Incarnation(node.into()),
        peer_address: format!("r{node}:2380"),
        liveness_address: format!("r{node}:2382"),
        client_address: format!("r{node}:2379"),
    };
    let with = |nodes: &[u64], votes| nodes.iter().map(move |node| (member(*node), votes)).collect();
    let mut roster: Roster = with(voters, true);
    roster.extend(with(learners, false));
    roster
}

pub(super) struct State {
    roster: Roster,
    leader: Option<NodeId>,
    /// Said to a change instead of making it.
    refuses: Option<MemberError>,
    /// Who comes to lead instead of who was asked to.
    usurper: Option<NodeId>,
    /// Pieces of a state.
    file: Vec<Bytes>,
}

impl Default for State {
    /// Three voters and a learner; node 2, which is the one asked, leads.
    fn default() -> Self {
        Self {
            roster: roster(&[1, 2, 3], &[4]),
            leader: Some(NodeId(2)),
            refuses: None,
            usurper: None,
            file: vec![
                Bytes::from_static(b"piece"),
                Bytes::from_static(b"by"),
                Bytes::from_static(b"piece"),
            ],
        }
    }
}

impl Memory {
    pub(crate) fn led_by(&self, leader: Option<u64>) {
        self.with(|inner| inner.group.leader = leader.map(NodeId));
    }

    pub(crate) fn refuses(&self, error: MemberError) {
        self.with(|inner| inner.group.refuses = Some(error));
    }

    pub(crate) fn usurped_by(&self, node: u64) {
        self.with(|inner| inner.group.usurper = Some(NodeId(node)));
    }
}

impl Group for Memory {
    async fn roster(&self) -> Result<Roster, Unavailable> {
        Ok(self.with(|inner| inner.group.roster.clone()))
    }

    async fn change_members(&self, change: MemberChange, _: Instant) -> Result<Roster, MemberError> {
        assert!(change.force, "etcd's clients change one at a time");
        self.with(|inner| {
            let group = &mut inner.group;
            if let Some(error) = &group.refuses {
                return Err(error.clone());
            }
            group
                .roster
                .retain(|(member, _)| !change.remove.contains(&member.node));
            for (member, votes) in &mut group.roster {
                *votes |= change.promote.contains(&member.node);
            }
            Ok(group.roster.clone())
        })
    }

    async fn hand_over(&self, to: NodeId, _: Instant) -> Result<Option<NodeId>, TransferError> {
        self.with(|inner| {
            let group = &mut inner.group;
            let votes = |(member, votes): &(Member, bool)| *votes && member.node == to;
            if !group.roster.iter().any(votes) {
                return Err(TransferError::NotVoter(to));
            }
            group.leader = group.usurper.or(Some(to));
            Ok(group.leader)
        })
    }

    fn progress(&self) -> Progress {
        self.with(|inner| Progress {
            leader: inner.group.leader,
            leads: inner.group.leader == Some(NodeId(2)),
            is_learner: false,
            committed: Some(inner.next),
            applied: inner.next.0.checked_sub(1).map(Index),
            fault: None,
        })
    }

    async fn state_file(&self, _: Instant) -> Result<StateFile, Unavailable> {
        self.with(|inner| match &inner.out_of_order {
            Some(unavailable) => Err(unavailable.clone()),
            None => Ok(StateFile {
                bytes: inner.group.file.iter().map(|piece| piece.len() as u64).sum(),
                chunks: Box::new(inner.group.file.clone().into_iter()),
            }),
        })
    }
}
