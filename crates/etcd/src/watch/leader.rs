//! Clients that want a member with a leader.
//!
//! Promises: a stream whose client says so ends when this replica has known of no leader for as long as etcd gives one with
//! its default timers, so that the client looks for a member that has one; a change of leader, which takes milliseconds,
//! ends nothing. etcd refuses a new stream at once when it knows of no leader at that moment; here it has what is left of that
//! time, as every other call is held while nobody leads.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tonic::metadata::MetadataMap;

use crate::node::Node;

/// So long a replica may be without a leader: three elections of etcd's default, a second each.
pub(super) const LEADERLESS_MAX: Duration = Duration::from_secs(3);

/// Whether the client wants a member that has a leader.
pub(super) fn is_required(metadata: &MetadataMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value == "true")
}

/// Says when this replica has been without a leader for too long, and when it has one again. For as long as it runs.
pub(super) async fn follow<N: Node>(node: N, is_gone: &watch::Sender<bool>) {
    let mut leadership = node.leadership();
    loop {
        if leadership.wait_for(|now| now.leader.is_none()).await.is_err() {
            return;
        }
        tokio::select! {
            found = leadership.wait_for(|now| now.leader.is_some()) => match found {
                Ok(_) => continue,
                Err(_) => return,
            },
            () = sleep(LEADERLESS_MAX) => {}
        }
        is_gone.send_replace(true);
        if leadership.wait_for(|now| now.leader.is_some()).await.is_err() {
            return;
        }
        is_gone.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::testing::Memory;

    #[test]
    fn only_true_means_that_a_leader_is_wanted() {
        let cases = [
            (None, false),
            (Some("true"), true),
            (Some("false"), false),
            (Some(""), false),
        ];
        for (value, want) in cases {
            let mut metadata = MetadataMap::new();
            if let Some(value) = value {
                metadata.insert("hasleader", value.parse().unwrap());
            }
            assert_eq!(is_required(&metadata), want, "{value:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_gone_when_none_came_for_long() {
        let node = Memory::new();
        let is_gone = watch::Sender::new(false);
        let mut seen = is_gone.subscribe();
        let following = tokio::spawn({
            let node = node.clone();
            async move { follow(node, &is_gone).await }
        });
        for _ in 0..5 {
            node.leads(false);
            tokio::task::yield_now().await;
            advance(LEADERLESS_MAX / 2).await;
            tokio::task::yield_now().await;
            node.leads(true);
            tokio::task::yield_now().await;
        }
        assert!(!seen.has_changed().unwrap(), "there was always one soon enough");
        node.leads(false);
        assert!(*seen.wait_for(|gone| *gone).await.unwrap());
        node.leads(true);
        assert!(!*seen.wait_for(|gone| !*gone).await.unwrap());
        following.abort();
    }
}
