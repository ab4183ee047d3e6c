//! Our links to all members, as the membership has them.
//!
//! Promises: one link for each other member, begun and ended with its membership, and dialled anew when its address
//! changes. When a link comes up, openraft's back-off towards that peer is cut short, because a peer that has just returned
//! would otherwise be left alone for up to its longest pause; and the connection to its peers' port is opened, because two
//! followers have nothing to say to each other until their leader dies, and a handshake would then cost time that matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_host::Network;
use quorate_types::{BootId, Member, NodeId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Identity;
use super::board::Board;
use super::link::keep_link;
use crate::peer::client::Peers;
use crate::raft::types::Raft;

/// What the task works with.
pub(crate) struct Links {
    pub(crate) me: Identity,
    pub(crate) raft: Raft,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) board: Arc<Board>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) members: watch::Receiver<Vec<Member>>,
}

impl Links {
    /// Tends the links until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut links: BTreeMap<NodeId, (Member, CancellationToken)> = BTreeMap::new();
        let mut up: BTreeSet<BootId> = BTreeSet::new();
        let mut signs = self.board.subscribe();
        loop {
            let members = self.members.borrow_and_update().clone();
            self.reconcile(&members, &mut links, &mut tasks, &stop);
            self.greet_returned(&members, &mut up, &mut tasks).await;
            tokio::select! {
                changed = self.members.changed() => if changed.is_err() { break },
                changed = signs.changed() => if changed.is_err() { break },
                Some(_) = tasks.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        tasks.shutdown().await;
    }

    fn reconcile(
        &self,
        members: &[Member],
        links: &mut BTreeMap<NodeId, (Member, CancellationToken)>,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        links.retain(|_, (member, end)| {
            let stays = members.contains(member);
            if !stays {
                end.cancel();
            }
            stays
        });
        for member in members.iter().filter(|member| member.node != self.me.node) {
            links.entry(member.node).or_insert_with(|| {
                let end = stop.child_token();
                let (network, board) = (Arc::clone(&self.network), Arc::clone(&self.board));
                tasks.spawn(keep_link(member.clone(), self.me, network, board, end.clone()));
                (member.clone(), end)
            });
        }
    }

    /// Tells openraft of peers whose link has come up since the last look, and connects to them.
    async fn greet_returned(&self, members: &[Member], up: &mut BTreeSet<BootId>, tasks: &mut JoinSet<()>) {
        let mut now = BTreeSet::new();
        for member in members {
            let Some(boot) = self.board.peer(member.node).linked else {
                continue;
            };
            now.insert(boot);
            if up.contains(&boot) {
                continue;
            }
            if self.raft.trigger().reset_backoff([member.node]).await.is_err() {
                // Raft has stopped; so will we.
                return;
            }
            tasks.spawn(Arc::clone(&self.peers).connect(member.clone()));
        }
        *up = now;
    }
}
