//! `/status.json`: what a replica knows of itself, for scripts. Names are those of `Cluster.Status`, numbers are numbers,
//! and what is not known is null.

use quorate_replica::{LeaderChange, Readiness, Status, chain};
use quorate_types::Index;
use serde_json::{Value, json};

/// See the module.
pub(super) fn status(status: &Status, readiness: &Readiness) -> Value {
    let index = |index: Option<Index>| index.map(|index| index.0);
    let leader = status.leadership.leader.as_ref().map(|leader| {
        json!({ "node_id": leader.node.0, "address": leader.client_address, "term": status.leadership.term.0 })
    });
    let members: Vec<Value> = status
        .members
        .iter()
        .map(|(member, voter)| {
            json!({
                "node_id": member.node.0,
                "name": member.name.as_str(),
                "client_address": member.client_address,
                "peer_address": member.peer_address,
                "liveness_address": member.liveness_address,
                "voter": voter,
            })
        })
        .collect();
    let peers: Vec<Value> = status
        .peers
        .iter()
        .map(|peer| {
            json!({
                "node_id": peer.node.0,
                "linked": peer.linked,
                "round_trip_us": peer.round_trip.map(|took| took.as_micros()),
                "matched_index": index(peer.matched),
            })
        })
        .collect();
    let not_ready = match readiness {
        Readiness::Ready => None,
        Readiness::NotReady { why } => Some(why),
    };
    json!({
        "name": status.name.as_str(),
        "version": status.version,
        "cluster_id": status.cluster.map(|cluster| cluster.to_string()),
        "node_id": status.node.map(|node| node.0),
        "role": status.role.name(),
        "ready": not_ready.is_none(),
        "not_ready_because": not_ready,
        "term": status.leadership.term.0,
        "leader": leader,
        "members": members,
        "peers": peers,
        "boot_count": status.boot_count,
        "uptime_ms": status.uptime.as_millis(),
        "last_log_index": index(status.last_log),
        "committed_index": index(status.committed),
        "applied_index": index(status.applied),
        "snapshot_index": index(status.snapshot),
        "purged_index": index(status.purged),
        "revision": status.revision.0,
        "feature_level": status.feature_level,
        "state_digest": format!("{:032x}", status.digest),
        "content_digest": format!("{:032x}", status.content_digest),
        "collections": status.collections,
        "partitions": status.partitions,
        "sessions": status.sessions,
        "watchers": status.watchers,
        "profile": status.profile.to_string(),
        "heartbeat_ms": status.timing.heartbeat.as_millis(),
        "election_timeout_ms": status.timing.election_min.as_millis(),
        "flush_p50_us": status.flush_p50.as_micros(),
        "flush_p99_us": status.flush_p99.as_micros(),
        "last_leader_change": status.last_change.as_ref().map(leader_change),
        "fault": status.fault.as_ref().map(|fault| chain(&**fault)),
        "warnings": status.warnings,
    })
}

fn leader_change(change: &LeaderChange) -> Value {
    let phases: Vec<Value> = change
        .steps
        .iter()
        .map(|(step, monotonic_ns)| json!({ "name": step.name(), "monotonic_ns": monotonic_ns }))
        .collect();
    json!({
        "term": change.term.0,
        "node_id": change.node.0,
        "reason": change.reason.name(),
        "at_unix_ms": change.at_unix_ms,
        "took_us": change.took.as_micros(),
        "phases": phases,
    })
}
