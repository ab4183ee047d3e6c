//! Noticing that this replica is no member any more.
//!
//! A leader stops replicating to a replica at the very moment it is removed, so the replica itself hardly ever sees the
//! entry that removes it, and would wait for a leader for ever. Promises: a replica that has heard no leader for a while
//! asks the members that it knows; when one of them has a later, committed membership without it, that is final, because
//! node ids are never used again. Left out on purpose: believing anything less than that.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use quorate_host::Network;
use quorate_types::{ClusterId, Member, NodeId};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::failover::observed::Observed;
use crate::fault::{Fault, Faults};
use crate::formation::ask::{Answer, ask};
use crate::leadership::Leadership;
use crate::raft::types::Raft;

/// A replica that hears no leader for this long asks around; and again after as long.
const ASK_AFTER: Duration = Duration::from_secs(2);

/// What the task works with.
pub(crate) struct Removed {
    pub(crate) me: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) raft: Raft,
    pub(crate) observed: Arc<Observed>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) faults: Faults,
}

impl Removed {
    /// Asks around whenever no leader is heard, until `stop` or until this replica knows that it was removed.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.watch() => self.faults.raise(Fault::Removed { node: self.me }),
            () = stop.cancelled() => {}
        }
    }

    /// Returns once it is certain.
    async fn watch(&self) {
        loop {
            sleep(ASK_AFTER).await;
            // Who leads, as Raft has it, says nothing here: a replica that may not elect believes in its last leader for ever.
            let heard = self.observed.leader_contact().is_some_and(|ago| ago < ASK_AFTER);
            if heard || self.leadership.borrow().is_me {
                continue;
            }
            let (index, members) = self.known();
            for member in members.iter().filter(|member| member.node != self.me) {
                if let Ok(answer) = ask(&member.name, &member.peer_address, &self.network).await
                    && is_final(&answer, self.cluster, self.me, index)
                {
                    return;
                }
            }
        }
    }

    /// The members as this replica's log has them, and where that stands.
    fn known(&self) -> (u64, Vec<Member>) {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let index = server
            .membership_config
            .log_id()
            .as_ref()
            .map_or(0, openraft::LogId::index);
        let members = server.membership_config.membership().nodes();
        (index, members.map(|(_, member)| member.clone()).collect())
    }
}

/// The answer proves that `me` was removed after the entry at `index`.
fn is_final(answer: &Answer, cluster: ClusterId, me: NodeId, index: u64) -> bool {
    answer.cluster == Some(cluster)
        && answer.members_settled
        && answer.members_index > index
        && answer.members.iter().all(|member| member.node != me)
}

#[cfg(test)]
mod tests {
    use quorate_types::Incarnation;

    use super::*;

    #[test]
    fn what_proves_a_removal() {
        let ours = ClusterId(1);
        let member = |node| Member {
            node: NodeId(node),
            ..Member::default()
        };
        let without_us = Answer {
            incarnation: Incarnation(5),
            cluster: Some(ours),
            members: vec![member(1), member(2)],
            listed: Vec::new(),
            members_index: 8,
            members_settled: true,
        };
        let changed = |change: fn(&mut Answer)| {
            let mut answer = without_us.clone();
            change(&mut answer);
            answer
        };
        let cases = [
            ("a later membership without us", without_us.clone(), true),
            (
                "not committed",
                changed(|answer| answer.members_settled = false),
                false,
            ),
            (
                "no later than ours",
                changed(|answer| answer.members_index = 7),
                false,
            ),
            (
                "another cluster",
                changed(|answer| answer.cluster = Some(ClusterId(2))),
                false,
            ),
            ("no cluster yet", changed(|answer| answer.cluster = None), false),
            (
                "we are in it",
                changed(|answer| {
                    answer.members.push(Member {
                        node: NodeId(3),
                        ..Member::default()
                    })
                }),
                false,
            ),
        ];
        for (case, answer, want) in cases {
            assert_eq!(is_final(&answer, ours, NodeId(3), 7), want, "{case}");
        }
    }
}
