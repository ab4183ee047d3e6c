//! The members as the leader's status tells them. Pure.

use quorate_client::v1;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::table::{Column, left, right};

/// A learner this many entries behind or fewer counts as caught up; the leader has the last word.
const LAG_ENTRIES_MAX: u64 = 1_000;

/// All members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roster(Vec<Member>);

/// A member, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Member {
    name: String,
    node_id: u64,
    voter: bool,
    leader: bool,
    /// The leader is connected to it, or is it.
    connected: bool,
    /// Entries of the leader's log that it is not known to have; null when nothing is known.
    behind: Option<u64>,
    client_address: String,
    peer_address: String,
    liveness_address: String,
}

pub(super) const COLUMNS: &[Column] = &[
    left("name"),
    right("node"),
    left("role"),
    left("connected"),
    right("behind"),
    left("clients"),
];

pub(super) fn cells(member: &Member) -> Vec<String> {
    let role = match (member.leader, member.voter) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    };
    let connected = if member.connected { "yes" } else { "no" };
    vec![
        member.name.clone(),
        member.node_id.to_string(),
        role.to_owned(),
        connected.to_owned(),
        member.behind.map_or("?".to_owned(), |behind| behind.to_string()),
        member.client_address.clone(),
    ]
}

impl Roster {
    /// Reads the status of the replica `leader`.
    pub(super) fn of(leader: u64, status: &v1::StatusResponse) -> Self {
        let members = status
            .topology
            .as_ref()
            .map_or(&[][..], |topology| &topology.members);
        let member = |member: &v1::MemberInfo| {
            let is_leader = member.node_id == leader;
            let peer = status.peers.iter().find(|peer| peer.node_id == member.node_id);
            let matched = peer.map(|peer| peer.matched_index).filter(|index| *index > 0);
            Member {
                name: member.name.clone(),
                node_id: member.node_id,
                voter: member.voter,
                leader: is_leader,
                connected: is_leader || peer.is_some_and(|peer| peer.linked),
                behind: match is_leader {
                    true => Some(0),
                    false => matched.map(|matched| status.last_log_index.saturating_sub(matched)),
                },
                client_address: member.client_address.clone(),
                peer_address: member.peer_address.clone(),
                liveness_address: member.liveness_address.clone(),
            }
        };
        Self(members.iter().map(member).collect())
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.0
    }

    /// The members of this name, or else the one of this node id.
    fn find(&self, text: &str) -> Vec<&Member> {
        let named: Vec<&Member> = self.0.iter().filter(|member| member.name == text).collect();
        if !named.is_empty() {
            return named;
        }
        let id: Option<u64> = text.parse().ok();
        self.0
            .iter()
            .filter(|member| Some(member.node_id) == id)
            .collect()
    }

    /// The node id of the member `text`.
    pub(super) fn node(&self, text: &str) -> Result<u64, Failure> {
        match self.find(text)[..] {
            [member] => Ok(member.node_id),
            [] => {
                let known: Vec<String> = self
                    .0
                    .iter()
                    .map(|member| format!("{} ({})", member.name, member.node_id))
                    .collect();
                Err(Failure::Usage(format!(
                    "{text}: no member has this name or node id; there are {}",
                    known.join(", ")
                )))
            }
            [..] => Err(ambiguous(text, &self.find(text))),
        }
    }

    /// The node ids of all these.
    pub(super) fn nodes(&self, names: &[String]) -> Result<Vec<u64>, Failure> {
        names.iter().map(|name| self.node(name)).collect()
    }

    /// Why not all of `names` can vote yet; `None` when all can.
    pub(super) fn waits_for(&self, names: &[String]) -> Result<Option<String>, Failure> {
        for name in names {
            let why = match self.find(name)[..] {
                [] => format!("{name} has not joined yet"),
                [member] if member.voter => continue,
                [member] if !member.connected => format!("{name} is not connected to the leader"),
                [member] => match member.behind {
                    None => format!("{name} has not received anything yet"),
                    Some(behind) if behind > LAG_ENTRIES_MAX => format!("{name} lacks {behind} entries"),
                    Some(_) => continue,
                },
                [..] => return Err(ambiguous(name, &self.find(name))),
            };
            return Ok(Some(why));
        }
        Ok(None)
    }
}

fn ambiguous(text: &str, members: &[&Member]) -> Failure {
    let ids: Vec<String> = members.iter().map(|member| member.node_id.to_string()).collect();
    Failure::Usage(format!(
        "{text}: several members have this name, nodes {}; name one by its node id",
        ids.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> v1::StatusResponse {
        let member = |node_id, name: &str, voter| v1::MemberInfo {
            node_id,
            name: name.to_owned(),
            voter,
            ..Default::default()
        };
        let peer = |node_id, linked, matched_index| v1::PeerStatus {
            node_id,
            linked,
            matched_index,
            ..Default::default()
        };
        v1::StatusResponse {
            topology: Some(v1::Topology {
                members: vec![
                    member(1, "a", true),
                    member(2, "b", true),
                    member(3, "c", true),
                    member(40, "c", false),
                    member(41, "d", false),
                    member(42, "e", false),
                    member(43, "f", false),
                    member(44, "7", false),
                ],
                ..Default::default()
            }),
            last_log_index: 2_000,
            peers: vec![
                peer(2, true, 2_000),
                peer(3, false, 500),
                peer(40, true, 1_990),
                peer(41, true, 999),
                peer(42, true, 0),
                peer(43, false, 2_000),
                peer(44, true, 1_000),
            ],
            ..Default::default()
        }
    }

    #[test]
    fn members_and_what_is_known_of_them() {
        let roster = Roster::of(1, &status());
        let shown: Vec<String> = roster
            .members()
            .iter()
            .map(|member| cells(member).join(" "))
            .collect();
        assert_eq!(
            shown,
            [
                "a 1 leader yes 0 ",
                "b 2 voter yes 0 ",
                "c 3 voter no 1500 ",
                "c 40 learner yes 10 ",
                "d 41 learner yes 1001 ",
                "e 42 learner yes ? ",
                "f 43 learner no 0 ",
                "7 44 learner yes 1000 "
            ]
        );
        assert_eq!(Roster::of(1, &v1::StatusResponse::default()), Roster(Vec::new()));
    }

    #[test]
    fn who_is_meant() {
        let roster = Roster::of(1, &status());
        let cases = [
            ("a", Ok(1)),
            ("40", Ok(40)),
            ("7", Ok(44)),
            ("c", Err("several members have this name, nodes 3 and 40")),
            (
                "x",
                Err("no member has this name or node id; there are a (1), b (2)"),
            ),
            ("99", Err("no member has this name")),
            ("-1", Err("no member has this name")),
        ];
        for (text, want) in cases {
            match (roster.node(text), want) {
                (Ok(node), Ok(want)) => assert_eq!(node, want, "{text}"),
                (Err(Failure::Usage(line)), Err(want)) => assert!(line.contains(want), "{text}: {line}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn who_is_waited_for() {
        let roster = Roster::of(1, &status());
        let cases = [
            (&["40", "b"][..], None),
            (&["7"], None),
            (&["40", "x"], Some("x has not joined yet")),
            (&["d"], Some("d lacks 1001 entries")),
            (&["e"], Some("e has not received anything yet")),
            (&["f"], Some("f is not connected to the leader")),
        ];
        for (names, want) in cases {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(roster.waits_for(&names), Ok(want.map(str::to_owned)), "{names:?}");
        }
        assert!(roster.waits_for(&["c".to_owned()]).is_err());
    }
}
