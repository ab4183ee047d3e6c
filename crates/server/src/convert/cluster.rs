//! What a replica knows of its group and of itself, as messages.

use std::time::Duration;

use quorate_api::v1;
use quorate_replica::{Backup, ChangeReason, LeaderChange, Leadership, PeerStatus, Role, Status, chain};
use quorate_types::{Index, Member, NodeId};

/// The part of a topology that changes rarely.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Group {
    cluster_id: Vec<u8>,
    node_id: u64,
    members: Vec<v1::MemberInfo>,
}

impl Group {
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            cluster_id: status
                .cluster
                .map(|cluster| cluster.to_bytes().to_vec())
                .unwrap_or_default(),
            node_id: status.node.map_or(0, |node| node.0),
            members: members(status),
        }
    }

    /// Whether the replica had taken its place in the group when it was asked.
    pub(crate) fn is_known(&self) -> bool {
        !self.cluster_id.is_empty() && !self.members.is_empty()
    }

    /// The topology while `leadership` holds.
    pub(crate) fn topology(&self, leadership: &Leadership) -> v1::Topology {
        let leader = leadership.leader.as_ref().map(|leader| v1::LeaderHint {
            node_id: leader.node.0,
            address: leader.client_address.clone(),
            term: leadership.term.0,
        });
        v1::Topology {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            term: leadership.term.0,
            leader,
            members: self.members.clone(),
        }
    }
}

/// All members, voters and learners.
pub(crate) fn members(status: &Status) -> Vec<v1::MemberInfo> {
    let members = status.members.iter();
    members
        .map(|(member, voter)| self::member(member, *voter))
        .collect()
}

fn member(member: &Member, voter: bool) -> v1::MemberInfo {
    v1::MemberInfo {
        node_id: member.node.0,
        name: member.name.to_string(),
        client_address: member.client_address.clone(),
        peer_address: member.peer_address.clone(),
        liveness_address: member.liveness_address.clone(),
        voter,
    }
}

/// The node that leadership is to be handed to.
pub(crate) fn successor(request: &v1::TransferLeadershipRequest) -> Option<NodeId> {
    Some(NodeId(request.to)).filter(|node| node.0 != 0)
}

/// What a backup will hold.
pub(crate) fn summary(backup: &Backup) -> v1::SnapshotSummary {
    let image = &backup.image;
    v1::SnapshotSummary {
        cluster_id: backup.cluster.to_bytes().to_vec(),
        index: image.position().map_or(0, |index| index.0),
        revision: image.revision().0,
        state_digest: image.digest().to_be_bytes().to_vec(),
        row_bytes: image.counts().row_bytes,
    }
}

/// Everything worth showing.
pub(crate) fn status(status: &Status) -> v1::StatusResponse {
    let index = |index: Option<Index>| index.map_or(0, |index| index.0);
    v1::StatusResponse {
        topology: Some(Group::of(status).topology(&status.leadership)),
        name: status.name.to_string(),
        version: status.version.clone(),
        role: role(status.role).into(),
        boot_count: status.boot_count,
        uptime_ms: millis(status.uptime),
        last_log_index: index(status.last_log),
        committed_index: index(status.committed),
        applied_index: index(status.applied),
        snapshot_index: index(status.snapshot),
        purged_index: index(status.purged),
        revision: status.revision.0,
        feature_level: status.feature_level,
        state_digest: status.digest.to_be_bytes().to_vec(),
        collections: saturating(status.collections),
        partitions: saturating(status.partitions),
        sessions: saturating(status.sessions),
        watchers: saturating(status.watchers),
        profile: status.profile.to_string(),
        heartbeat_ms: saturating(status.timing.heartbeat.as_millis()),
        election_timeout_ms: saturating(status.timing.election_min.as_millis()),
        flush_p50_us: micros(status.flush_p50),
        flush_p99_us: micros(status.flush_p99),
        peers: status.peers.iter().map(peer).collect(),
        last_leader_change: status.last_change.as_ref().map(leader_change),
        fault: status
            .fault
            .as_ref()
            .map(|fault| chain(&**fault))
            .unwrap_or_default(),
        warnings: status.warnings.clone(),
        content_digest: status.content_digest.to_be_bytes().to_vec(),
    }
}

fn role(role: Role) -> v1::Role {
    match role {
        Role::Leader => v1::Role::Leader,
        Role::Follower => v1::Role::Follower,
        Role::Candidate => v1::Role::Candidate,
        Role::Learner => v1::Role::Learner,
        Role::Forming => v1::Role::Forming,
        Role::Stopped => v1::Role::Stopped,
    }
}

fn peer(peer: &PeerStatus) -> v1::PeerStatus {
    v1::PeerStatus {
        node_id: peer.node.0,
        linked: peer.linked,
        round_trip_us: peer.round_trip.map_or(0, micros),
        matched_index: peer.matched.map_or(0, |index| index.0),
    }
}

fn leader_change(change: &LeaderChange) -> v1::LeaderChange {
    let reason = match change.reason {
        ChangeReason::Formation => v1::LeaderChangeReason::Formation,
        ChangeReason::Crash => v1::LeaderChangeReason::Crash,
        ChangeReason::Timeout => v1::LeaderChangeReason::Timeout,
        ChangeReason::Transfer => v1::LeaderChangeReason::Transfer,
    };
    let phase = |(step, monotonic_ns): &(quorate_replica::Step, u64)| v1::Phase {
        name: step.name().to_owned(),
        monotonic_ns: *monotonic_ns,
    };
    v1::LeaderChange {
        term: change.term.0,
        node_id: change.node.0,
        reason: reason.into(),
        at_unix_ms: change.at_unix_ms,
        took_us: micros(change.took),
        phases: change.steps.iter().map(phase).collect(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn saturating(count: impl TryInto<u32>) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_replica::{Fault, Leader, Profile, Step};
    use quorate_types::{ClusterId, Incarnation, MemberName, Revision, Term};

    use super::*;

    fn whole() -> Status {
        let name = MemberName::new("b").expect("a name");
        let member = Member {
            node: NodeId(2),
            name: name.clone(),
            incarnation: Incarnation(5),
            peer_address: "b:2380".to_owned(),
            liveness_address: "b:2382".to_owned(),
            client_address: "b:2379".to_owned(),
        };
        let ms = Duration::from_millis;
        Status {
            name,
            version: "1.2.3".to_owned(),
            cluster: Some(ClusterId(0xc)),
            node: Some(NodeId(2)),
            role: Role::Leader,
            leadership: Leadership {
                term: Term(7),
                leader: Some(Leader {
                    node: NodeId(2),
                    client_address: "b:2379".to_owned(),
                }),
                is_me: true,
                serving: true,
            },
            members: vec![(member, true)],
            boot_count: 3,
            uptime: ms(4),
            last_log: Some(Index(15)),
            committed: Some(Index(14)),
            applied: Some(Index(13)),
            snapshot: None,
            purged: Some(Index(11)),
            revision: Revision(21),
            feature_level: 1,
            digest: u128::from_be_bytes([9; 16]),
            content_digest: u128::from_be_bytes([8; 16]),
            collections: 31,
            partitions: 32,
            sessions: 33,
            watchers: 34,
            profile: Profile::Lan,
            timing: Profile::Lan.timing(),
            flush_p50: ms(1),
            flush_p99: ms(2),
            peers: vec![PeerStatus {
                node: NodeId(1),
                linked: true,
                round_trip: Some(ms(1)),
                matched: Some(Index(12)),
            }],
            last_change: Some(LeaderChange {
                term: Term(7),
                node: NodeId(2),
                reason: ChangeReason::Crash,
                at_unix_ms: 99,
                took: ms(5),
                steps: vec![(Step::Detected, 1), (Step::FirstCommit, 2)],
            }),
            fault: Some(Arc::new(Fault::Raft {
                why: "it broke".to_owned(),
            })),
            warnings: vec!["slow".to_owned()],
        }
    }

    #[test]
    fn a_status_is_shown_whole() {
        let shown = status(&whole());
        let leader = Some(v1::LeaderHint {
            node_id: 2,
            address: "b:2379".to_owned(),
            term: 7,
        });
        let topology = shown.topology.clone().expect("a topology");
        assert_eq!((topology.node_id, topology.term, topology.leader), (2, 7, leader));
        assert_eq!(topology.cluster_id, ClusterId(0xc).to_bytes());
        assert_eq!(
            (topology.members[0].name.as_str(), topology.members[0].voter),
            ("b", true)
        );
        assert_eq!(
            (shown.name.as_str(), shown.version.as_str(), shown.role()),
            ("b", "1.2.3", v1::Role::Leader)
        );
        assert_eq!((shown.boot_count, shown.uptime_ms), (3, 4));
        assert_eq!(
            [shown.last_log_index, shown.committed_index, shown.applied_index],
            [15, 14, 13]
        );
        assert_eq!(
            [shown.snapshot_index, shown.purged_index, shown.revision],
            [0, 11, 21]
        );
        assert_eq!((shown.feature_level, shown.state_digest), (1, vec![9; 16]));
        assert_eq!(shown.content_digest, [8; 16]);
        assert_eq!(
            [
                shown.collections,
                shown.partitions,
                shown.sessions,
                shown.watchers
            ],
            [31, 32, 33, 34]
        );
        assert_eq!(
            (
                shown.profile.as_str(),
                shown.heartbeat_ms,
                shown.election_timeout_ms
            ),
            ("lan", 20, 80)
        );
        assert_eq!((shown.flush_p50_us, shown.flush_p99_us), (1_000, 2_000));
        let peer = v1::PeerStatus {
            node_id: 1,
            linked: true,
            round_trip_us: 1_000,
            matched_index: 12,
        };
        assert_eq!(shown.peers, [peer]);
        let change = shown.last_leader_change.expect("a change");
        assert_eq!(
            (change.reason(), change.took_us, change.at_unix_ms),
            (v1::LeaderChangeReason::Crash, 5_000, 99)
        );
        let steps: Vec<(&str, u64)> = change
            .phases
            .iter()
            .map(|p| (p.name.as_str(), p.monotonic_ns))
            .collect();
        assert_eq!(steps, [("detected", 1), ("first_commit", 2)]);
        assert_eq!(
            (shown.fault.as_str(), shown.warnings),
            ("the consensus stopped: it broke", vec!["slow".to_owned()])
        );
    }

    #[test]
    fn who_is_not_part_of_a_group_names_none() {
        let forming = Status {
            cluster: None,
            node: None,
            members: vec![],
            leadership: Leadership::default(),
            ..whole()
        };
        let topology = Group::of(&forming).topology(&forming.leadership);
        assert_eq!(topology, v1::Topology::default());
    }

    #[test]
    fn a_group_is_known_when_it_has_a_cluster_and_members() {
        type Take = fn(&mut Status);
        let cases: &[(&str, Take, bool)] = &[
            ("whole", |_| {}, true),
            ("no cluster yet", |status| status.cluster = None, false),
            ("no members yet", |status| status.members.clear(), false),
        ];
        for (name, take, want) in cases {
            let mut status = whole();
            take(&mut status);
            assert_eq!(Group::of(&status).is_known(), *want, "{name}");
        }
        assert!(!Group::default().is_known());
    }

    #[test]
    fn node_zero_lets_the_leader_choose() {
        assert_eq!(successor(&v1::TransferLeadershipRequest { to: 0 }), None);
        assert_eq!(
            successor(&v1::TransferLeadershipRequest { to: 3 }),
            Some(NodeId(3))
        );
    }
}
