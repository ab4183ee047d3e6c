//! How a replica becomes part of a group: once, from a static list, or again from its directory.
//!
//! Promises: a replica with an empty directory asks every listed peer. It forms a group only when all of them (never
//! only a majority) answer that they are empty and have the same list; then all compute the same members and the same
//! cluster id, so it does not matter who is first. When one of them has a cluster whose members name this very data
//! directory, it goes along; otherwise it asks that cluster to be let in, under a new node id: a directory that was wiped
//! never acts under the old one. While it waits, it says for whom. A replica whose directory names a place takes it at
//! once, and stops when it turns out that a majority of its list belongs to another cluster. From its first moment it
//! answers which cluster its directory is of: a replica that is only starting must never look empty, or two wiped ones
//! would form a new cluster with it. When the power failed between the place on disk and the first entry of the log, the
//! group is formed once more, with the same outcome.
//!
//! What to do is decided in [`decide`] and [`company`], without IO. Left out on purpose: what the cluster does with who
//! joins; see [`crate::membership`].

pub(crate) mod ask;
mod company;
mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use quorate_host::{Network, entropy};
use quorate_store::{Identity as Directory, Store};
use quorate_types::{BootId, ClusterId, Incarnation, Member, MemberName, NodeId};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{Listed, ReplicaConfig};
use crate::fault::Fault;
use crate::group::Group;
use crate::membership::Applicant;
use crate::peer::{convert, wire};
use ask::{Answer, Joining, ask, join};
use company::{Company, company};
use decide::{Me, Verdict, decide, own_directory};

/// Between two rounds of questions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two rounds in which a replica with a place asks whether it stands among strangers.
const LOOK_AROUND_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A redirect leads to the leader; one more when it has just changed.
const REDIRECTS_MAX: usize = 3;
/// While it waits, the replica says for whom this often, in rounds.
const SAY_EVERY_ROUNDS: u32 = 50;

/// The part of a replica that exists before it is part of a group, and the group once there is one.
pub(crate) struct Formed {
    name: MemberName,
    incarnation: Incarnation,
    boot: BootId,
    listed: Vec<Listed>,
    /// It never forms a group.
    joins: bool,
    /// The cluster that the data directory is of, once it is of one. Known long before there is a group.
    cluster: OnceLock<ClusterId>,
    group: OnceLock<Arc<Group>>,
    /// For whom it waits; empty once it is part of a group.
    waiting: watch::Sender<String>,
}

/// What a replica with this directory is in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) directory: Directory,
    /// The members to initialise Raft with; absent when the log has them or will get them from the leader.
    pub(crate) initial: Option<BTreeMap<NodeId, Member>>,
}

impl Formed {
    /// `directory` is what the store knows of a place: whoever asks while this replica starts must hear of it.
    pub(crate) fn new(
        config: &ReplicaConfig,
        incarnation: Incarnation,
        directory: Option<&Directory>,
        boot: BootId,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: config.name.clone(),
            incarnation,
            boot,
            listed: config.listed.clone(),
            joins: config.joins,
            cluster: directory.map_or_else(OnceLock::new, |directory| directory.cluster.into()),
            group: OnceLock::new(),
            waiting: watch::Sender::new("starting".to_owned()),
        })
    }

    pub(crate) fn name(&self) -> &MemberName {
        &self.name
    }

    /// The group, once this replica is part of one.
    pub(crate) fn group(&self) -> Option<&Arc<Group>> {
        self.group.get()
    }

    /// For whom this replica waits before it can be part of a group.
    pub(crate) fn waiting(&self) -> watch::Receiver<String> {
        self.waiting.subscribe()
    }

    /// From here on the data directory is of this cluster.
    pub(crate) fn belongs_to(&self, cluster: ClusterId) {
        // Set once: a directory never changes its cluster.
        let _ = self.cluster.set(cluster);
    }

    /// From here on this replica is part of `group`.
    pub(crate) fn settle(&self, group: Arc<Group>) {
        // Set once, by the one task that forms.
        let _ = self.group.set(group);
        self.waiting.send_replace(String::new());
    }

    /// What this replica answers to those who ask who it is.
    pub(crate) fn identify(&self) -> wire::IdentifyResponse {
        let mut identity = wire::IdentifyResponse {
            name: self.name.to_string(),
            incarnation: self.incarnation.to_bytes().to_vec().into(),
            boot: self.boot.to_bytes().to_vec().into(),
            listed: names(&self.listed),
            cluster_id: match self.cluster.get() {
                Some(cluster) => cluster.to_bytes().to_vec().into(),
                None => bytes::Bytes::new(),
            },
            ..Default::default()
        };
        if let Some(group) = self.group() {
            let server = group.raft.server_metrics();
            let server = server.borrow_watched();
            let (known, committed) = (&server.membership_config, &server.committed_membership_config);
            let voters: BTreeSet<NodeId> = known.membership().voter_ids().collect();
            let members = known.membership().nodes();
            identity.members = members
                .map(|(node, member)| convert::to_member(member, voters.contains(node)))
                .collect();
            identity.members_index = known.log_id().as_ref().map_or(0, openraft::LogId::index);
            identity.members_settled = committed.log_id() >= known.log_id();
        }
        identity
    }

    /// Finds this replica's place, waiting as long as it takes.
    pub(crate) async fn find_place(
        &self,
        store: &dyn Store,
        network: &Arc<dyn Network>,
    ) -> Result<Place, Fault> {
        let directory = match store.facts().identity {
            Some(directory) => Some(own_directory(&self.name, directory)?),
            None => None,
        };
        if let Some(directory) = &directory
            && has_begun(store)
        {
            return Ok(Place {
                directory: directory.clone(),
                initial: None,
            });
        }
        let mut round: u32 = 0;
        loop {
            let (answers, missing) = self.ask_all(network).await;
            let me = Me {
                name: &self.name,
                incarnation: self.incarnation,
                joins: self.joins,
                directory: directory.as_ref(),
            };
            let why = match decide(&me, &self.listed, &answers, &missing) {
                Verdict::Place(place) => return Ok(place),
                Verdict::Wait(why) => why,
                Verdict::Join(cluster) => match self.join(cluster, &answers, network).await {
                    Ok(place) => return Ok(place),
                    Err(why) => why,
                },
            };
            if round.is_multiple_of(SAY_EVERY_ROUNDS) {
                tracing::info!("{why}");
            }
            self.waiting
                .send_if_modified(|old| std::mem::replace(old, why.clone()) != why);
            round = round.wrapping_add(1);
            sleep(ROUND_PAUSE.mul_f64(0.5 + entropy::random_fraction())).await;
        }
    }

    /// What all listed peers say, and who says nothing for which reason.
    async fn ask_all(&self, network: &Arc<dyn Network>) -> (BTreeMap<MemberName, Answer>, Vec<String>) {
        let (mut answers, mut missing) = (BTreeMap::new(), Vec::new());
        for peer in self.others() {
            match ask(&peer.name, &peer.peer_address, network).await {
                Ok(answer) => _ = answers.insert(peer.name.clone(), answer),
                Err(why) => missing.push(format!("{} ({why})", peer.name)),
            }
        }
        (answers, missing)
    }

    fn others(&self) -> impl Iterator<Item = &Listed> {
        self.listed.iter().filter(|peer| peer.name != self.name)
    }

    /// Asks the leader of `cluster` to be let in; who answered tells where it is.
    async fn join(
        &self,
        cluster: ClusterId,
        answers: &BTreeMap<MemberName, Answer>,
        network: &Arc<dyn Network>,
    ) -> Result<Place, String> {
        let own = self.listed.iter().find(|listed| listed.name == self.name);
        let own = own.expect("a checked list names the replica itself");
        let applicant = Applicant::new(member(NodeId(0), own, self.incarnation));
        let mut why = String::new();
        let inside = |peer: &&Listed| {
            let answer = answers.get(&peer.name);
            answer.is_some_and(|answer| answer.cluster == Some(cluster))
        };
        for peer in self.others().filter(inside) {
            let mut address = peer.peer_address.clone();
            // A follower knows the leader, and that one may just have handed over.
            for _ in 0..REDIRECTS_MAX {
                match join(cluster, &applicant, &address, network).await {
                    Ok(Joining::Joined(node)) => {
                        tracing::info!(%cluster, %node, "joined a running cluster as a learner");
                        let directory = Directory {
                            cluster,
                            node,
                            incarnation: self.incarnation,
                            name: self.name.clone(),
                        };
                        return Ok(Place {
                            directory,
                            initial: None,
                        });
                    }
                    Ok(Joining::Leader(leader)) if leader.is_empty() => {
                        why = format!(
                            "waiting to join the cluster that {} belongs to: it has no leader now; when a majority of \
                             its data directories is gone for good, it never will",
                            peer.name
                        );
                        break;
                    }
                    Ok(Joining::Leader(leader)) => address = leader,
                    Err(refused) => {
                        why = format!(
                            "waiting to join the cluster that {} belongs to: {refused}",
                            peer.name
                        );
                        break;
                    }
                }
            }
        }
        Err(why)
    }

    /// Asks the listed peers which cluster they are of until a majority is known, and gives the fault when it is another
    /// than `mine`. Two clusters with replicas of the same names would otherwise never notice that a directory was
    /// mixed up: the stranger would wait for votes for ever.
    pub(crate) async fn look_around(&self, mine: ClusterId, network: &Arc<dyn Network>) -> Option<Fault> {
        let mut pause = ROUND_PAUSE;
        loop {
            let mut answers = BTreeMap::new();
            for peer in self.others() {
                if let Ok(answer) = ask(&peer.name, &peer.peer_address, network).await
                    && let Some(cluster) = answer.cluster
                {
                    answers.insert(peer.name.clone(), cluster);
                }
            }
            match company(mine, self.listed.len(), &answers) {
                Company::Ours => return None,
                Company::Strangers(why) => return Some(Fault::Formation { why }),
                Company::Unknown => {}
            }
            sleep(pause.mul_f64(0.5 + entropy::random_fraction())).await;
            pause = (pause * 2).min(LOOK_AROUND_PAUSE_MAX);
        }
    }
}

/// Raft has run on this store, or has a snapshot to start from.
fn has_begun(store: &dyn Store) -> bool {
    let log = store.log_state();
    log.vote.is_some() || log.last.is_some() || store.snapshot().is_some()
}

fn names(listed: &[Listed]) -> Vec<String> {
    listed.iter().map(|listed| listed.name.to_string()).collect()
}

/// This entry of a list as a member.
fn member(node: NodeId, listed: &Listed, incarnation: Incarnation) -> Member {
    Member {
        node,
        name: listed.name.clone(),
        incarnation,
        peer_address: listed.peer_address.clone(),
        liveness_address: listed.liveness_address.clone(),
        client_address: listed.client_address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn a_directory_with_a_cluster_never_looks_empty() {
        let name = MemberName::new("a").expect("a good name");
        let config = ReplicaConfig {
            name: name.clone(),
            listed: Vec::new(),
            joins: false,
            profile: Profile::Lan,
            snapshot: crate::SnapshotEvery::default(),
            session_grace: Duration::ZERO,
            compaction: None,
            orphan_grace: None,
            version: String::new(),
        };
        let incarnation = Incarnation(7);
        let empty = Formed::new(&config, incarnation, None, BootId(1));
        assert!(empty.identify().cluster_id.is_empty());
        empty.belongs_to(ClusterId(5));
        assert_eq!(empty.identify().cluster_id[..], ClusterId(5).to_bytes());

        let directory = Directory {
            cluster: ClusterId(6),
            node: NodeId(1),
            incarnation,
            name,
        };
        let starting = Formed::new(&config, incarnation, Some(&directory), BootId(2));
        let identity = starting.identify();
        assert_eq!(identity.cluster_id[..], ClusterId(6).to_bytes());
        assert!(
            identity.members.is_empty(),
            "it knows no members before its log is read"
        );
    }
}
