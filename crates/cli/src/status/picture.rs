//! What the answers of all replicas mean together.
//!
//! Promises: pure; a replica that says nonsense changes what is shown of it, and no more. Left out on purpose: asking.

use std::collections::BTreeMap;

use quorate_client::v1::{self, LeaderChange, MemberInfo, Role, StatusResponse};

/// A member of the group, and what it said of itself or why it did not.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) member: MemberInfo,
    pub(super) answer: Result<StatusResponse, String>,
}

/// All replicas, by node id.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) replicas: Vec<Replica>,
}

/// Whether replicas that applied the same entries have the same state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Digests {
    /// All that could be compared do; names of replicas at the highest index that more than one shows.
    Equal { index: u64, replicas: Vec<String> },
    /// Some do not, at this index.
    Different { index: u64, replicas: Vec<String> },
    /// No two replicas showed the same index.
    Unknown,
}

impl Replica {
    /// Its name, or its node id when it has none.
    pub(super) fn name(&self) -> String {
        if self.member.name.is_empty() {
            format!("node {}", self.member.node_id)
        } else {
            self.member.name.clone()
        }
    }

    /// What it said.
    pub(super) fn status(&self) -> Option<&StatusResponse> {
        self.answer.as_ref().ok()
    }

    /// The term that it is in.
    pub(super) fn term(&self) -> u64 {
        let topology = self.status().and_then(|status| status.topology.as_ref());
        topology.map_or(0, |topology| topology.term)
    }
}

impl Picture {
    /// The replica that says that it leads; of several, the one in the highest term: the others do not know yet.
    pub(super) fn leading(&self) -> Option<&Replica> {
        let leads = |replica: &&Replica| {
            replica
                .status()
                .is_some_and(|status| status.role() == Role::Leader)
        };
        self.replicas
            .iter()
            .filter(leads)
            .max_by_key(|replica| replica.term())
    }

    /// The leader, when a majority of the voters is with it: a leader that lost them cannot do anything, and may not have
    /// noticed.
    pub(super) fn in_power(&self) -> Option<&Replica> {
        let leading = self.leading()?;
        (self.followers_of(leading) >= self.majority()).then_some(leading)
    }

    /// Voters that are with this leader, itself included: linked to it, or of its mind.
    fn followers_of(&self, leading: &Replica) -> usize {
        let peers = leading.status().map_or(&[][..], |status| &status.peers);
        let linked = |node_id| peers.iter().any(|peer| peer.node_id == node_id && peer.linked);
        let agrees = |replica: &Replica| {
            let topology = replica.status().and_then(|status| status.topology.as_ref());
            let hint = topology.and_then(|topology| topology.leader.as_ref());
            hint.is_some_and(|hint| hint.node_id == leading.member.node_id && hint.term == leading.term())
        };
        let voters = self.voters().filter(|voter| {
            let node_id = voter.member.node_id;
            node_id == leading.member.node_id || linked(node_id) || agrees(voter)
        });
        voters.count()
    }

    fn voters(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.member.voter)
    }

    fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// Who leads according to those that answered, in the highest term.
    pub(super) fn believed(&self) -> Option<&v1::LeaderHint> {
        let topologies = self.answered().filter_map(|status| status.topology.as_ref());
        let hints = topologies.filter_map(|topology| topology.leader.as_ref());
        hints.max_by_key(|hint| hint.term)
    }

    /// The cluster's id, in hexadecimal digits.
    pub(super) fn cluster_id(&self) -> String {
        let ids = self.answered().filter_map(|status| status.topology.as_ref());
        let id = ids.map(|topology| &topology.cluster_id).find(|id| !id.is_empty());
        id.map(|id| hex(id)).unwrap_or_default()
    }

    /// The name of a node, for people.
    pub(super) fn name_of(&self, node_id: u64) -> String {
        let found = self
            .replicas
            .iter()
            .find(|replica| replica.member.node_id == node_id);
        found.map_or_else(|| format!("node {node_id}"), Replica::name)
    }

    /// The last change of leader: as the leader saw it, who knows its steps; else as who is ahead saw it.
    pub(super) fn last_change(&self) -> Option<&LeaderChange> {
        let leader = self.leading().and_then(Replica::status);
        let own = leader.and_then(|status| status.last_leader_change.as_ref());
        own.or_else(|| {
            let changes = self
                .answered()
                .filter_map(|status| status.last_leader_change.as_ref());
            changes.max_by_key(|change| change.term)
        })
    }

    /// Compares the digests of the replicas that show the same log index.
    pub(super) fn digests(&self) -> Digests {
        let mut at: BTreeMap<u64, Vec<(String, &[u8])>> = BTreeMap::new();
        for replica in &self.replicas {
            if let Some(status) = replica.status().filter(|status| !status.state_digest.is_empty()) {
                let digest = status.state_digest.as_slice();
                at.entry(status.applied_index)
                    .or_default()
                    .push((replica.name(), digest));
            }
        }
        let mut equal = Digests::Unknown;
        for (index, said) in at.into_iter().filter(|(_, said)| said.len() > 1) {
            let is_one = said
                .iter()
                .all(|(_, digest)| Some(*digest) == said.first().map(|first| first.1));
            let replicas = said.into_iter().map(|(name, _)| name).collect();
            if !is_one {
                return Digests::Different { index, replicas };
            }
            equal = Digests::Equal { index, replicas };
        }
        equal
    }

    /// Why there is no leader, as far as it can be told, and what to do.
    pub(super) fn why_leaderless(&self) -> String {
        let stopped = |status: &StatusResponse| status.role() == Role::Stopped;
        let works = |voter: &&Replica| voter.status().is_some_and(|status| !stopped(status));
        let working = self.voters().filter(works).count();
        let (voters, needed) = (self.voters().count(), self.majority());
        let count = format!("{working} of {voters} voters answer");
        if let Some(leading) = self.leading() {
            return format!(
                "no leader with a majority: {} leads, but {} of {voters} voters are with it, and {needed} are needed; \
                 start the others",
                leading.name(),
                self.followers_of(leading)
            );
        }
        match self.believed() {
            _ if working < needed => {
                format!("no leader: {count}, and {needed} are needed to elect one; start the others")
            }
            Some(hint) => format!(
                "no leader answers: {count}, and name {}, which does not say that it leads; look again in a moment",
                self.name_of(hint.node_id)
            ),
            None => format!("no leader: {count}, and an election is under way; look again in a moment"),
        }
    }

    fn answered(&self) -> impl Iterator<Item = &StatusResponse> {
        self.replicas.iter().filter_map(Replica::status)
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pictures for tests.
#[cfg(test)]
pub(super) mod example {
    use super::*;

    /// A replica that answers.
    pub(in super::super) fn replica(node_id: u64, role: Role, applied: u64, digest: u8) -> Replica {
        let name = ["a", "b", "c", "d", "e"][node_id as usize - 1].to_owned();
        let leader = v1::LeaderHint {
            node_id: 2,
            address: "10.0.0.2:2379".to_owned(),
            term: 7,
        };
        let status = StatusResponse {
            topology: Some(v1::Topology {
                cluster_id: vec![0xab; 16],
                node_id,
                term: 7,
                leader: Some(leader),
                members: vec![],
            }),
            name: name.clone(),
            version: "0.1.0".to_owned(),
            role: role.into(),
            boot_count: 2,
            uptime_ms: 125_000,
            last_log_index: applied + 1,
            committed_index: applied,
            applied_index: applied,
            snapshot_index: 40,
            purged_index: 30,
            revision: 21,
            feature_level: 1,
            state_digest: vec![digest; 16],
            content_digest: vec![digest; 16],
            collections: 3,
            partitions: 4,
            sessions: 5,
            watchers: 6,
            profile: "zone".to_owned(),
            heartbeat_ms: 50,
            election_timeout_ms: 500,
            flush_p50_us: 120,
            flush_p99_us: 1_130,
            peers: vec![v1::PeerStatus {
                node_id: 1,
                linked: true,
                round_trip_us: 90,
                matched_index: applied,
            }],
            last_leader_change: Some(v1::LeaderChange {
                term: 7,
                node_id: 2,
                reason: v1::LeaderChangeReason::Crash.into(),
                at_unix_ms: 1_795_244_622_123,
                took_us: 9_149,
                phases: vec![v1::Phase {
                    name: "detected".to_owned(),
                    monotonic_ns: 17,
                }],
            }),
            fault: String::new(),
            warnings: vec![],
        };
        Replica {
            member: member(node_id, &name),
            answer: Ok(status),
        }
    }

    /// A replica that does not.
    pub(in super::super) fn silent(node_id: u64, why: &str) -> Replica {
        let name = ["a", "b", "c", "d", "e"][node_id as usize - 1];
        Replica {
            member: member(node_id, name),
            answer: Err(why.to_owned()),
        }
    }

    fn member(node_id: u64, name: &str) -> MemberInfo {
        MemberInfo {
            node_id,
            name: name.to_owned(),
            client_address: format!("10.0.0.{node_id}:2379"),
            peer_address: format!("10.0.0.{node_id}:2380"),
            liveness_address: format!("10.0.0.{node_id}:2382"),
            voter: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::example::{replica, silent};
    use super::*;

    fn picture(replicas: Vec<Replica>) -> Picture {
        Picture { replicas }
    }

    #[test]
    fn the_leader_is_who_says_so_in_the_highest_term() {
        let mut deposed = replica(1, Role::Leader, 9, 1);
        if let Ok(status) = &mut deposed.answer {
            status.topology.as_mut().unwrap().term = 6;
        }
        let both = picture(vec![deposed, replica(2, Role::Leader, 9, 1), silent(3, "")]);
        assert_eq!(both.leading().map(Replica::name).as_deref(), Some("b"));
        let none = picture(vec![replica(1, Role::Follower, 9, 1), silent(2, "refused")]);
        assert!(none.leading().is_none());
        assert_eq!(none.believed().map(|hint| hint.node_id), Some(2));
        assert_eq!(none.name_of(2), "b");
        assert_eq!(none.name_of(9), "node 9");
    }

    #[test]
    fn a_leader_without_a_majority_is_none() {
        let leader = |linked| {
            let mut leader = replica(2, Role::Leader, 9, 1);
            if let Ok(status) = &mut leader.answer {
                status.peers[0].linked = linked;
            }
            leader
        };
        let elsewhere = || {
            let mut follower = replica(1, Role::Follower, 9, 1);
            if let Ok(status) = &mut follower.answer {
                status.topology.as_mut().unwrap().leader.as_mut().unwrap().term = 6;
            }
            follower
        };
        let cases = [
            (
                "a link to one",
                vec![silent(1, ""), leader(true), silent(3, "")],
                true,
            ),
            (
                "one agrees",
                vec![replica(1, Role::Follower, 9, 1), leader(false), silent(3, "")],
                true,
            ),
            (
                "one is of another mind",
                vec![elsewhere(), leader(false), silent(3, "")],
                false,
            ),
            (
                "alone of three",
                vec![silent(1, ""), leader(false), silent(3, "")],
                false,
            ),
            ("alone of one", vec![leader(false)], true),
        ];
        for (name, replicas, want) in cases {
            assert_eq!(picture(replicas).in_power().is_some(), want, "{name}");
        }
    }

    #[test]
    fn digests_are_compared_at_equal_indexes_only() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let follower = |node_id, applied, digest| replica(node_id, Role::Follower, applied, digest);
        let cases = [
            ("nobody", vec![silent(1, "")], Digests::Unknown),
            (
                "all on the move",
                vec![follower(1, 8, 1), follower(2, 9, 2), follower(3, 10, 3)],
                Digests::Unknown,
            ),
            (
                "two of three",
                vec![follower(1, 9, 1), follower(2, 9, 1), follower(3, 8, 3)],
                Digests::Equal {
                    index: 9,
                    replicas: names(&["a", "b"]),
                },
            ),
            (
                "different at a lower index",
                vec![
                    follower(1, 8, 1),
                    follower(2, 8, 2),
                    follower(3, 9, 3),
                    follower(4, 9, 3),
                ],
                Digests::Different {
                    index: 8,
                    replicas: names(&["a", "b"]),
                },
            ),
        ];
        for (name, replicas, want) in cases {
            assert_eq!(picture(replicas).digests(), want, "{name}");
        }
    }

    #[test]
    fn why_there_is_no_leader() {
        let mut stopped = replica(2, Role::Stopped, 9, 1);
        stopped.member.voter = true;
        let mut alone = replica(2, Role::Leader, 9, 1);
        if let Ok(status) = &mut alone.answer {
            status.peers.clear();
        }
        let mut looking = replica(1, Role::Candidate, 9, 1);
        if let Ok(status) = &mut looking.answer {
            status.topology.as_mut().unwrap().leader = None;
        }
        let cases = [
            (
                picture(vec![replica(1, Role::Follower, 9, 1), stopped, silent(3, "")]),
                "no leader: 1 of 3 voters answer, and 2 are needed to elect one; start the others",
            ),
            (
                picture(vec![
                    replica(1, Role::Follower, 9, 1),
                    silent(2, ""),
                    replica(3, Role::Follower, 9, 1),
                ]),
                "no leader answers: 2 of 3 voters answer, and name b, which does not say that it leads; look again in \
                 a moment",
            ),
            (
                picture(vec![silent(1, ""), alone, silent(3, "")]),
                "no leader with a majority: b leads, but 1 of 3 voters are with it, and 2 are needed; start the others",
            ),
            (
                picture(vec![looking]),
                "no leader: 1 of 1 voters answer, and an election is under way; look again in a moment",
            ),
        ];
        for (picture, want) in cases {
            assert_eq!(picture.why_leaderless(), want);
        }
    }

    #[test]
    fn the_leaders_own_account_of_its_election_counts() {
        let mut other = replica(1, Role::Follower, 9, 1);
        if let Ok(status) = &mut other.answer {
            status.last_leader_change.as_mut().unwrap().took_us = 1;
        }
        let mut leaderless = picture(vec![other, replica(2, Role::Leader, 9, 1)]);
        assert_eq!(leaderless.last_change().map(|change| change.took_us), Some(9_149));
        leaderless.replicas.pop();
        assert_eq!(leaderless.last_change().map(|change| change.took_us), Some(1));
        leaderless.replicas.clear();
        assert!(leaderless.last_change().is_none());
        assert_eq!(leaderless.cluster_id(), "");
    }
}
