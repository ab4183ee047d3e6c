//! Raising the cluster's feature level once every member's binary knows a higher one.
//!
//! Promises: a level is proposed only when all members, not only a majority, have said that they know it; a member that
//! was not heard of yet holds the level back.

use std::time::Duration;

use quorate_machine::{Command, FEATURE_LEVEL_MAX};
use quorate_types::Member;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Duties;

/// Between two looks, which cost next to nothing: a new cluster is to have everything soon.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long the leader waits for the outcome.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Raises until `end`.
pub(crate) async fn run(duties: Duties, end: CancellationToken) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = end.cancelled() => return,
        }
        let members = duties.members.borrow().clone();
        let known = |member: &Member| match member.node == duties.me {
            true => FEATURE_LEVEL_MAX,
            false => duties.board.peer(member.node).feature_level_max.unwrap_or(0),
        };
        let level = members.iter().map(known).min().unwrap_or(0);
        if level <= duties.published.image().feature_level() {
            continue;
        }
        let command = Command::RaiseFeatureLevel { level };
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        match duties.proposer.propose(&command, None, deadline).await {
            Ok(_) => tracing::info!(level, "raised the cluster's feature level"),
            Err(error) => tracing::debug!(%error, level, "the feature level was not raised"),
        }
    }
}
