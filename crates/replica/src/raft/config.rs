//! openraft's configuration, from a profile's timing.

use openraft::{Config, ConfigError, SnapshotPolicy};
use quorate_types::ClusterId;

use crate::profile::Timing;

/// Entries between two snapshots, and how many are kept behind one for followers that lag.
///
/// A fresh leader bisects what its followers lack over all entries that are kept, so few are kept (openraft issue 2073).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEvery {
    /// Entries.
    pub entries: u64,
    /// Entries kept behind the snapshot.
    pub keep: u64,
}

impl Default for SnapshotEvery {
    fn default() -> Self {
        Self {
            entries: 20_000,
            keep: 2_000,
        }
    }
}

/// The configuration of one member.
pub(crate) fn config(
    cluster: ClusterId,
    timing: Timing,
    snapshot: SnapshotEvery,
) -> Result<Config, ConfigError> {
    let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: cluster.to_string(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        // On the timer path a follower first asks whether it could win: a replica that was cut off for a while must not
        // depose a healthy leader when it returns.
        enable_pre_vote: Some(true),
        // A leader that restarts must not race the election that its crash has started.
        enable_leader_restore: Some(false),
        // A leader that is heard but hears nobody keeps its followers from electing another. Once its lease has passed
        // without an acknowledgement of a quorum it falls silent for so long that they can: openraft's lease, one
        // election timeout, and some heartbeats of reserve.
        quorum_loss_probe_interval: Some(2 * (ms(timing.election_max) + ms(timing.heartbeat))),
        max_payload_entries: 1_024,
        replication_lag_threshold: snapshot.entries.saturating_mul(2).max(5_000),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot.entries),
        max_in_snapshot_log_to_keep: snapshot.keep,
        purge_batch_size: 256,
        ..Config::default()
    }
    .validate()
}
