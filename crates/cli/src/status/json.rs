//! The picture for programs.
//!
//! Promises: names and shapes do not change without a new major version; fields are only added.

use quorate_client::v1;
use serde::Serialize;

use super::picture::{Digests, Picture, Replica, hex};
use crate::output::words;

/// The whole picture.
#[derive(Debug, Serialize)]
pub(super) struct View {
    cluster_id: String,
    /// `null` when no leader answers.
    leader: Option<LeaderView>,
    /// `equal`, `different`, or `unknown` while no two replicas show the same log index.
    digests: &'static str,
    last_leader_change: Option<ChangeView>,
    replicas: Vec<ReplicaView>,
}

#[derive(Debug, Serialize)]
struct LeaderView {
    node_id: u64,
    name: String,
    client_address: String,
    term: u64,
    /// Without one, it cannot do anything, and may not have noticed.
    has_majority: bool,
}

#[derive(Debug, Serialize)]
struct ChangeView {
    term: u64,
    node_id: u64,
    reason: String,
    at_unix_ms: u64,
    took_us: u64,
    phases: Vec<PhaseView>,
}

#[derive(Debug, Serialize)]
struct PhaseView {
    name: String,
    monotonic_ns: u64,
}

#[derive(Debug, Serialize)]
struct ReplicaView {
    node_id: u64,
    name: String,
    client_address: String,
    peer_address: String,
    liveness_address: String,
    voter: bool,
    /// `null` when it did not answer.
    status: Option<StatusView>,
    /// Why it did not answer, or `null`.
    unreachable: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatusView {
    role: String,
    term: u64,
    version: String,
    boot_count: u64,
    uptime_ms: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    purged_index: u64,
    revision: u64,
    feature_level: u32,
    state_digest: String,
    content_digest: String,
    collections: u32,
    partitions: u32,
    sessions: u32,
    watchers: u32,
    profile: String,
    heartbeat_ms: u32,
    election_timeout_ms: u32,
    flush_p50_us: u64,
    flush_p99_us: u64,
    peers: Vec<PeerView>,
    last_leader_change: Option<ChangeView>,
    /// Why it has stopped, or empty.
    fault: String,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PeerView {
    node_id: u64,
    linked: bool,
    round_trip_us: u64,
    matched_index: u64,
}

impl View {
    pub(super) fn of(picture: &Picture) -> Self {
        let leader = picture.leading().map(|leading| LeaderView {
            node_id: leading.member.node_id,
            name: leading.member.name.clone(),
            client_address: leading.member.client_address.clone(),
            term: leading.term(),
            has_majority: picture.in_power().is_some(),
        });
        Self {
            cluster_id: picture.cluster_id(),
            leader,
            digests: match picture.digests() {
                Digests::Equal { .. } => "equal",
                Digests::Different { .. } => "different",
                Digests::Unknown => "unknown",
            },
            last_leader_change: picture.last_change().map(ChangeView::of),
            replicas: picture.replicas.iter().map(ReplicaView::of).collect(),
        }
    }
}

impl ChangeView {
    fn of(change: &v1::LeaderChange) -> Self {
        let phase = |phase: &v1::Phase| PhaseView {
            name: phase.name.clone(),
            monotonic_ns: phase.monotonic_ns,
        };
        Self {
            term: change.term,
            node_id: change.node_id,
            reason: words::change_reason(change.reason),
            at_unix_ms: change.at_unix_ms,
            took_us: change.took_us,
            phases: change.phases.iter().map(phase).collect(),
        }
    }
}

impl ReplicaView {
    fn of(replica: &Replica) -> Self {
        let member = &replica.member;
        Self {
            node_id: member.node_id,
            name: member.name.clone(),
            client_address: member.client_address.clone(),
            peer_address: member.peer_address.clone(),
            liveness_address: member.liveness_address.clone(),
            voter: member.voter,
            status: replica
                .status()
                .map(|status| StatusView::of(status, replica.term())),
            unreachable: replica.answer.as_ref().err().cloned(),
        }
    }
}

impl StatusView {
    fn of(status: &v1::StatusResponse, term: u64) -> Self {
        let peer = |peer: &v1::PeerStatus| PeerView {
            node_id: peer.node_id,
            linked: peer.linked,
            round_trip_us: peer.round_trip_us,
            matched_index: peer.matched_index,
        };
        Self {
            role: words::role(status.role),
            term,
            version: status.version.clone(),
            boot_count: status.boot_count,
            uptime_ms: status.uptime_ms,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            revision: status.revision,
            feature_level: status.feature_level,
            state_digest: hex(&status.state_digest),
            content_digest: hex(&status.content_digest),
            collections: status.collections,
            partitions: status.partitions,
            sessions: status.sessions,
            watchers: status.watchers,
            profile: status.profile.clone(),
            heartbeat_ms: status.heartbeat_ms,
            election_timeout_ms: status.election_timeout_ms,
            flush_p50_us: status.flush_p50_us,
            flush_p99_us: status.flush_p99_us,
            peers: status.peers.iter().map(peer).collect(),
            last_leader_change: status.last_leader_change.as_ref().map(ChangeView::of),
            fault: status.fault.clone(),
            warnings: status.warnings.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_client::v1::Role;

    use super::super::picture::example::{replica, silent};
    use super::*;
    use crate::output::json_line;

    #[test]
    fn the_json_is_stable() {
        let picture = Picture {
            replicas: vec![silent(1, "refused\u{9b}"), replica(2, Role::Leader, 57, 0x0c)],
        };
        let change = concat!(
            r#"{"term":7,"node_id":2,"reason":"crash","at_unix_ms":1795244622123,"took_us":9149,"#,
            r#""phases":[{"name":"detected","monotonic_ns":17}]}"#
        );
        let want = format!(
            concat!(
                r#"{{"cluster_id":"abababababababababababababababab","#,
                r#""leader":{{"node_id":2,"name":"b","client_address":"10.0.0.2:2379","term":7,"has_majority":true}},"#,
                r#""digests":"unknown","last_leader_change":{change},"replicas":["#,
                r#"{{"node_id":1,"name":"a","client_address":"10.0.0.1:2379","peer_address":"10.0.0.1:2380","#,
                r#""liveness_address":"10.0.0.1:2382","voter":true,"status":null,"unreachable":"refused\u009b"}},"#,
                r#"{{"node_id":2,"name":"b","client_address":"10.0.0.2:2379","peer_address":"10.0.0.2:2380","#,
                r#""liveness_address":"10.0.0.2:2382","voter":true,"status":{{"role":"leader","term":7,"#,
                r#""version":"0.1.0","boot_count":2,"uptime_ms":125000,"last_log_index":58,"committed_index":57,"#,
                r#""applied_index":57,"snapshot_index":40,"purged_index":30,"revision":21,"feature_level":1,"#,
                r#""state_digest":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","#,
                r#""content_digest":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","collections":3,"partitions":4,"sessions":5,"#,
                r#""watchers":6,"profile":"zone","heartbeat_ms":50,"election_timeout_ms":500,"flush_p50_us":120,"#,
                r#""flush_p99_us":1130,"peers":[{{"node_id":1,"linked":true,"round_trip_us":90,"matched_index":57}}],"#,
                r#""last_leader_change":{change},"fault":"","warnings":[]}},"unreachable":null}}]}}"#,
                "\n"
            ),
            change = change
        );
        assert_eq!(json_line(&View::of(&picture)).unwrap(), want);
    }
}
