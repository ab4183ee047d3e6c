//! What is believed about the group, given what its replicas said: a pure state machine.
//!
//! Promises:
//! - The leader that is believed is the one with the highest rank (term, then node id) that anybody ever named.
//!   A replica that knows of no leader, or of an older one, changes nothing.
//! - It is not believed any more once the connection to it broke, or once it says itself that it does not lead.
//!   Only its own word, or a higher rank, ends that doubt: the other replicas may not have noticed yet.
//! - The first cluster that answers is the only one ever listened to. Seeds of two clusters cannot be mixed up.
//! - Seeds are dialled until the members' own addresses answer, and again when none of these does any more.
//!
//! Left out on purpose: connections, time, retries. Observations come in, addresses to dial and a leader come out.

use std::collections::{BTreeMap, BTreeSet};

use quorate_api::v1;
use quorate_types::{ClusterId, NodeId, Term};

use super::answer::{Heard, Leader, MEMBERS_MAX};

/// See the module.
#[derive(Debug)]
pub(super) struct Beliefs {
    seeds: BTreeSet<String>,
    cluster: Option<ClusterId>,
    links: BTreeMap<String, Link>,
    members: Vec<v1::MemberInfo>,
    /// What the member list was taken from: the speaker's term, and whether it led.
    members_of: (Term, bool),
    claim: Option<Leader>,
    doubted: bool,
    belief: u64,
    urgency: u64,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Link {
    /// The replica that answers there now.
    speaks: Option<NodeId>,
    /// Why none does.
    trouble: Option<String>,
    /// A seed whose replica was reached at its own address.
    retired: bool,
}

impl Beliefs {
    pub(super) fn new(seeds: impl IntoIterator<Item = String>) -> Self {
        Self {
            seeds: seeds.into_iter().collect(),
            cluster: None,
            links: BTreeMap::new(),
            members: Vec::new(),
            members_of: (Term(0), false),
            claim: None,
            doubted: false,
            belief: 0,
            urgency: 0,
        }
    }

    /// A replica answered at `address`. False when nothing of it can be used; [`Self::describe`] then says why.
    pub(super) fn answered(&mut self, address: &str, heard: Heard) -> bool {
        let trouble = match (self.cluster, heard.cluster) {
            (_, None) => Some("belongs to no cluster yet".to_owned()),
            (Some(ours), Some(theirs)) if ours != theirs => Some(format!(
                "belongs to cluster {theirs}, but this client talks to {ours}; make a new client for the other cluster"
            )),
            (_, Some(theirs)) => {
                self.cluster = Some(theirs);
                None
            }
        };
        if trouble.is_some() {
            self.silenced(address, trouble);
            return false;
        }
        let link = self.links.entry(address.to_owned()).or_default();
        link.speaks = Some(heard.node);
        link.trouble = None;
        self.learn_members(&heard);
        self.learn_leader(&heard);
        self.retire_seeds();
        true
    }

    /// The connection to `address` broke, or could not be made.
    pub(super) fn lost(&mut self, address: &str, why: String) {
        self.silenced(address, Some(why));
    }

    /// Nobody dials `address` any more.
    pub(super) fn dropped(&mut self, address: &str) {
        self.silenced(address, None);
        let keep = self.links.get(address).is_some_and(|link| link.retired);
        if !keep {
            self.links.remove(address);
        }
    }

    /// A replica of this cluster sent us to `leader`.
    pub(super) fn hinted(&mut self, leader: Leader) {
        self.claimed(leader, None);
    }

    /// The leader, unless it is in doubt.
    pub(super) fn leader(&self) -> Option<&Leader> {
        self.claim.as_ref().filter(|_| !self.doubted)
    }

    /// Counts the times that a leader came to be believed.
    pub(super) fn belief(&self) -> u64 {
        self.belief
    }

    /// Counts the times that the way to the leader was lost: who waits to redial should do so now.
    pub(super) fn urgency(&self) -> u64 {
        self.urgency
    }

    pub(super) fn members(&self) -> &[v1::MemberInfo] {
        &self.members
    }

    /// The replica that answers at `address`.
    pub(super) fn speaks_at(&self, address: &str) -> Option<NodeId> {
        self.links.get(address)?.speaks
    }

    /// Where `node` answers: at its own address, else wherever it does.
    pub(super) fn address_of(&self, node: NodeId) -> Option<&str> {
        let at_home = self
            .advertised(node)
            .filter(|home| self.speaks_at(home) == Some(node));
        at_home.or_else(|| {
            let mut links = self.links.iter();
            links
                .find(|(_, link)| link.speaks == Some(node))
                .map(|(address, _)| address.as_str())
        })
    }

    /// The replicas that answer, in the order of their ids.
    pub(super) fn speaking(&self) -> BTreeSet<NodeId> {
        self.links.values().filter_map(|link| link.speaks).collect()
    }

    /// The addresses to hold a connection to.
    pub(super) fn wanted(&self) -> BTreeSet<String> {
        let mut wanted: BTreeSet<String> = self
            .members
            .iter()
            .map(|member| member.client_address.clone())
            .collect();
        if let Some(claim) = &self.claim {
            wanted.insert(claim.address.clone());
        }
        let reached = self.home_speaks();
        let all_reached = !self.members.is_empty()
            && self
                .members
                .iter()
                .all(|member| self.speaks_at(&member.client_address).is_some());
        for seed in &self.seeds {
            let link = self.links.get(seed);
            let useful = match link.and_then(|link| link.speaks) {
                Some(node) => self.speaks_elsewhere(node, seed).is_none(),
                None => !all_reached && !link.is_some_and(|link| link.retired),
            };
            if !reached || useful {
                wanted.insert(seed.clone());
            }
        }
        wanted
    }

    /// One clause for each address, for an error message.
    pub(super) fn describe(&self) -> String {
        let addresses: BTreeSet<&str> = self
            .links
            .keys()
            .map(String::as_str)
            .chain(self.seeds.iter().map(String::as_str))
            .collect();
        let clauses = addresses
            .into_iter()
            .map(|address| match self.links.get(address) {
                Some(Link {
                    speaks: Some(node), ..
                }) => format!("{address} answers as node {node}"),
                Some(Link {
                    trouble: Some(why), ..
                }) => format!("{address}: {why}"),
                Some(Link { retired: true, .. }) => format!("{address} is known by another address"),
                _ => format!("{address} has not answered yet"),
            });
        clauses.collect::<Vec<_>>().join("; ")
    }

    fn silenced(&mut self, address: &str, trouble: Option<String>) {
        let link = self.links.entry(address.to_owned()).or_default();
        let spoke = link.speaks.take();
        link.trouble = trouble;
        if !self.home_speaks() {
            self.links.values_mut().for_each(|link| link.retired = false);
        }
        let leader_lost = spoke.is_some_and(|node| {
            self.leader().is_some_and(|leader| leader.node == node) && self.address_of(node).is_none()
        });
        if leader_lost {
            self.doubted = true;
            self.urgency += 1;
        }
    }

    fn learn_members(&mut self, heard: &Heard) {
        let leads = heard
            .leader
            .as_ref()
            .is_some_and(|leader| leader.node == heard.node);
        if heard.members.is_empty() || (heard.term, leads) < self.members_of {
            return;
        }
        self.members_of = (heard.term, leads);
        self.members.clone_from(&heard.members);
    }

    fn learn_leader(&mut self, heard: &Heard) {
        if let Some(leader) = &heard.leader {
            self.claimed(leader.clone(), Some(heard.node));
        }
        let leads = heard
            .leader
            .as_ref()
            .is_some_and(|leader| leader.node == heard.node);
        let denies = self
            .leader()
            .is_some_and(|leader| leader.node == heard.node && !leads && heard.term >= leader.term);
        if denies {
            self.doubted = true;
        }
    }

    fn claimed(&mut self, leader: Leader, by: Option<NodeId>) {
        let known = self.claim.as_ref().map(Leader::rank);
        let newer = known.is_none_or(|known| leader.rank() > known);
        let own_word = by == Some(leader.node) && known == Some(leader.rank());
        if newer || (own_word && self.doubted) {
            self.belief += 1;
            self.doubted = false;
        }
        if newer && self.address_of(leader.node).is_none() {
            self.urgency += 1;
        }
        if newer || own_word {
            self.claim = Some(leader);
        }
    }

    /// Whether any replica answers at the address that it advertises.
    fn home_speaks(&self) -> bool {
        let mut members = self.members.iter();
        members.any(|member| self.speaks_at(&member.client_address).is_some())
    }

    fn advertised(&self, node: NodeId) -> Option<&str> {
        let mut members = self.members.iter();
        members
            .find(|member| member.node_id == node.0)
            .map(|member| member.client_address.as_str())
    }

    /// The address that `node` advertises, when it answers there and that is not `seed`.
    fn speaks_elsewhere(&self, node: NodeId, seed: &str) -> Option<&str> {
        self.advertised(node)
            .filter(|home| *home != seed && self.speaks_at(home) == Some(node))
    }

    fn retire_seeds(&mut self) {
        let known: Vec<String> = self
            .seeds
            .iter()
            .filter(|seed| {
                self.speaks_at(seed)
                    .is_some_and(|node| self.speaks_elsewhere(node, seed).is_some())
            })
            .cloned()
            .collect();
        for seed in known {
            self.links.entry(seed).or_default().retired = true;
        }
    }
}

const _: () = assert!(MEMBERS_MAX >= 5);

#[cfg(test)]
#[path = "belief_tests.rs"]
mod tests;
