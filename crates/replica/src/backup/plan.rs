//! Who is who in a cluster that is restored: computed alike at every replica, from nothing but the file and the list.
//!
//! Promises: the same file, list and token give the same cluster id, node ids and incarnations, whatever the order of the
//! list; another file, list or token gives another cluster. Left out on purpose: randomness; the replicas have not met yet.

use std::collections::BTreeMap;

use quorate_types::{ClusterId, Incarnation, Member, NodeId};
use xxhash_rust::xxh3::Xxh3;

use super::BackupContents;
use crate::config::Listed;

/// A cluster to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) cluster: ClusterId,
    pub(super) members: BTreeMap<NodeId, Member>,
}

/// Plans a cluster of `listed`, in the order of names.
pub(super) fn plan(backup: &BackupContents, listed: &[Listed], token: &str) -> Plan {
    let mut hash = Hash::of("a restored cluster");
    hash.part(&backup.cluster.to_bytes())
        .part(&backup.digest.to_be_bytes())
        .part(&backup.crc.to_be_bytes())
        .part(token.as_bytes());
    for one in listed {
        hash.part(one.name.as_str().as_bytes())
            .part(one.peer_address.as_bytes())
            .part(one.liveness_address.as_bytes())
            .part(one.client_address.as_bytes());
    }
    let cluster = ClusterId(hash.0.digest128());
    let member = |(node, one): (u64, &Listed)| {
        let mut hash = Hash::of("a restored directory");
        hash.part(&cluster.to_bytes()).part(&node.to_be_bytes());
        let member = Member {
            node: NodeId(node),
            name: one.name.clone(),
            incarnation: Incarnation(hash.0.digest128()),
            peer_address: one.peer_address.clone(),
            liveness_address: one.liveness_address.clone(),
            client_address: one.client_address.clone(),
        };
        (NodeId(node), member)
    };
    Plan {
        cluster,
        members: (1..).zip(listed).map(member).collect(),
    }
}

/// Parts behind their lengths, so that no two lists of parts hash alike.
struct Hash(Xxh3);

impl Hash {
    fn of(what: &str) -> Self {
        let mut hash = Self(Xxh3::new());
        hash.part(what.as_bytes());
        hash
    }

    fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_machine::Counts;
    use quorate_types::{Index, LogTime, MemberName, Position, Revision, Term};

    use super::*;

    fn backup() -> BackupContents {
        BackupContents {
            format: 1,
            cluster: ClusterId(1),
            release: String::new(),
            members: Vec::new(),
            last: Position {
                term: Term(3),
                leader: NodeId(2),
                index: Index(9),
            },
            revision: Revision(4),
            log_time: LogTime(5),
            feature_level: 1,
            digest: 6,
            content_digest: 7,
            counts: Counts::default(),
            bytes: 8,
            crc: 9,
        }
    }

    fn listed(names: &[&str]) -> Vec<Listed> {
        let one = |name: &&str| Listed {
            name: MemberName::new(*name).expect("a good name"),
            peer_address: format!("{name}:1"),
            liveness_address: format!("{name}:2"),
            client_address: format!("{name}:3"),
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn the_ids_are_pinned() {
        // Replicas of one cluster may be restored by different releases.
        let plan = plan(&backup(), &listed(&["a", "b", "c"]), "");
        let incarnations: BTreeSet<_> = plan.members.values().map(|member| member.incarnation).collect();
        assert_eq!(incarnations.len(), 3, "all differ");
        assert_eq!(plan.cluster.to_string(), "2f9449c094f52b536c45849e7535a7eb");
        assert_eq!(
            plan.members[&NodeId(2)].incarnation.to_string(),
            "fb7c8c6ded88964d149e1547e2af6bf0"
        );
        assert_eq!(plan.members[&NodeId(2)].name.as_str(), "b");
    }

    #[test]
    fn whatever_differs_makes_another_cluster() {
        let three = || listed(&["a", "b", "c"]);
        let mut moved = three();
        moved[1].client_address = "x:3".to_owned();
        let other = |change: fn(&mut BackupContents)| {
            let mut backup = backup();
            change(&mut backup);
            backup
        };
        let cases = [
            ("the same", backup(), three(), ""),
            ("a token", backup(), three(), "t"),
            ("an address", backup(), moved, ""),
            ("a name", backup(), listed(&["a", "b", "d"]), ""),
            ("fewer", backup(), listed(&["a"]), ""),
            (
                "another cluster",
                other(|of| of.cluster = ClusterId(2)),
                three(),
                "",
            ),
            ("another state", other(|of| of.digest = 7), three(), ""),
            ("another file", other(|of| of.crc = 7), three(), ""),
        ];
        let clusters: BTreeSet<_> = cases
            .iter()
            .map(|(_, backup, listed, token)| plan(backup, listed, token).cluster)
            .collect();
        assert_eq!(clusters.len(), cases.len());
    }
}
