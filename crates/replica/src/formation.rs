//! How a replica becomes part of a group: once, from a static list, or again from its directory.
//!
//! Promises: a replica with an empty directory asks every listed peer. It forms a group only when all of them (never
//! only a majority) answer that they are empty and have the same list; then all compute the same members and the same
//! cluster id, so it does not matter who is first. It goes along with a group that has formed already only when that group's
//! members name this very data directory. A directory that the group does not know (a wiped volume) must not vote under
//! the old name: it stops with a sentence that says so. While it waits, it says for whom. A replica whose directory names
//! a place takes it at once, and stops when it turns out that a majority of its list belongs to another cluster.
//!
//! Left out on purpose: joining, replacing and removing members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quorate_host::{Network, entropy};
use quorate_store::{Identity as Directory, Store};
use quorate_types::{BootId, ClusterId, Incarnation, Member, MemberName, NodeId};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Request;
use xxhash_rust::xxh3::Xxh3;

use crate::config::{Listed, ReplicaConfig};
use crate::fault::Fault;
use crate::peer::{client, convert, wire};
use crate::replica::Group;

/// A peer that does not answer in time is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two rounds of questions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two rounds in which a replica with a place asks whether it stands among strangers.
const LOOK_AROUND_PAUSE_MAX: Duration = Duration::from_secs(5);
/// While it waits, the replica says for whom this often, in rounds.
const SAY_EVERY_ROUNDS: u32 = 50;

/// The part of a replica that exists before it is part of a group, and the group once there is one.
pub(crate) struct Formed {
    name: MemberName,
    incarnation: Incarnation,
    boot: BootId,
    listed: Vec<Listed>,
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

/// What a peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    incarnation: Incarnation,
    cluster: Option<ClusterId>,
    members: Vec<Member>,
    listed: Vec<String>,
}

impl Formed {
    pub(crate) fn new(config: &ReplicaConfig, incarnation: Incarnation, boot: BootId) -> Arc<Self> {
        Arc::new(Self {
            name: config.name.clone(),
            incarnation,
            boot,
            listed: config.listed.clone(),
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

    /// From here on this replica is part of `group`.
    pub(crate) fn settle(&self, group: Arc<Group>) {
        // Set once, by the one task that forms.
        let _ = self.group.set(group);
        self.waiting.send_replace(String::new());
    }

    /// What this replica answers to those who ask who it is.
    pub(crate) fn identify(&self) -> wire::IdentifyResponse {
        let group = self.group();
        let members = group.map(|group| {
            let membership = crate::raft::membership::effective(&group.raft);
            let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
            membership
                .nodes()
                .map(|(node, member)| convert::to_member(member, voters.contains(node)))
                .collect()
        });
        wire::IdentifyResponse {
            name: self.name.to_string(),
            incarnation: self.incarnation.to_bytes().to_vec().into(),
            boot: self.boot.to_bytes().to_vec().into(),
            cluster_id: group
                .map(|group| group.identity.cluster.to_bytes().to_vec().into())
                .unwrap_or_default(),
            members: members.unwrap_or_default(),
            listed: names(&self.listed),
        }
    }

    /// Finds this replica's place, waiting as long as it takes.
    pub(crate) async fn find_place(
        &self,
        store: &dyn Store,
        network: &Arc<dyn Network>,
    ) -> Result<Place, Fault> {
        if let Some(directory) = store.facts().identity {
            return known_place(&self.name, directory);
        }
        let mut round: u32 = 0;
        loop {
            let mut answers = BTreeMap::new();
            let mut missing = Vec::new();
            for peer in self.listed.iter().filter(|peer| peer.name != self.name) {
                match ask(peer, network).await {
                    Ok(answer) => _ = answers.insert(peer.name.clone(), answer),
                    Err(why) => missing.push(format!("{} ({why})", peer.name)),
                }
            }
            match decide(&self.name, self.incarnation, &self.listed, &answers, &missing) {
                Verdict::Place(place) => return Ok(place),
                Verdict::Never(why) => return Err(Fault::Formation { why }),
                Verdict::Wait(why) => {
                    if round.is_multiple_of(SAY_EVERY_ROUNDS) {
                        tracing::info!("{why}");
                    }
                    self.waiting
                        .send_if_modified(|old| std::mem::replace(old, why.clone()) != why);
                }
            }
            round = round.wrapping_add(1);
            sleep(ROUND_PAUSE.mul_f64(0.5 + entropy::random_fraction())).await;
        }
    }

    /// Asks the listed peers which cluster they are of until a majority is known, and gives the fault when it is another
    /// than `mine`. Two clusters with replicas of the same names would otherwise never notice that a directory was
    /// mixed up: the stranger would wait for votes for ever.
    pub(crate) async fn look_around(&self, mine: ClusterId, network: &Arc<dyn Network>) -> Option<Fault> {
        let mut pause = ROUND_PAUSE;
        loop {
            let mut answers = BTreeMap::new();
            for peer in self.listed.iter().filter(|peer| peer.name != self.name) {
                if let Ok(answer) = ask(peer, network).await
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

/// Of which cluster a majority of the list is, as far as that is known. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Company {
    /// Our own: this replica is where it belongs.
    Ours,
    /// Another: this replica is a stranger, and will never be anything else.
    Strangers(String),
    /// Too few have answered.
    Unknown,
}

fn company(mine: ClusterId, listed: usize, answers: &BTreeMap<MemberName, ClusterId>) -> Company {
    let is_majority = |count: usize| count * 2 > listed;
    let of = |cluster: ClusterId| answers.iter().filter(move |(_, other)| **other == cluster);
    // This replica counts for its own cluster: a single stranger in the list must not stop those who belong together.
    if is_majority(1 + of(mine).count()) {
        return Company::Ours;
    }
    let others = answers
        .values()
        .find(|other| **other != mine && is_majority(of(**other).count()));
    let Some(other) = others else {
        return Company::Unknown;
    };
    let names: Vec<String> = of(*other).map(|(name, _)| name.to_string()).collect();
    Company::Strangers(format!(
        "the data directory is of another cluster: it belongs to {mine}, and {} to {other}; give this replica the \
         directory that it had among them, or the list of its own cluster",
        names.join(", ")
    ))
}

fn names(listed: &[Listed]) -> Vec<String> {
    listed.iter().map(|listed| listed.name.to_string()).collect()
}

/// The place of a replica whose directory was in a group before.
fn known_place(name: &MemberName, directory: Directory) -> Result<Place, Fault> {
    if directory.name != *name {
        let why = format!(
            "the data directory is that of replica {}, this replica is called {name}; give it its own directory, or \
             start it as {}",
            directory.name, directory.name
        );
        return Err(Fault::Formation { why });
    }
    Ok(Place {
        directory,
        initial: None,
    })
}

async fn ask(peer: &Listed, network: &Arc<dyn Network>) -> Result<Answer, String> {
    let mut client = client::dial(&peer.peer_address, network).map_err(|error| error.to_string())?;
    let question = Request::new(wire::IdentifyRequest {
        name: peer.name.to_string(),
    });
    let answer = match timeout(ANSWER_TIMEOUT, client.identify(question)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
            return Err(status.message().to_owned());
        }
        Ok(Err(_)) => return Err(format!("no answer from {}", peer.peer_address)),
        Err(_) => return Err(format!("no answer from {} in time", peer.peer_address)),
    };
    let malformed = || "its answer cannot be read".to_owned();
    let members = answer
        .members
        .into_iter()
        .map(convert::from_member)
        .collect::<Result<_, _>>();
    Ok(Answer {
        incarnation: Incarnation::from_bytes(&answer.incarnation).ok_or_else(malformed)?,
        cluster: match answer.cluster_id.is_empty() {
            true => None,
            false => Some(ClusterId::from_bytes(&answer.cluster_id).ok_or_else(malformed)?),
        },
        members: members.map_err(|_| malformed())?,
        listed: answer.listed,
    })
}

enum Verdict {
    Place(Place),
    /// Not yet, for this reason.
    Wait(String),
    /// Waiting cannot help.
    Never(String),
}

/// Decides from what the peers say. Pure.
fn decide(
    me: &MemberName,
    incarnation: Incarnation,
    listed: &[Listed],
    answers: &BTreeMap<MemberName, Answer>,
    missing: &[String],
) -> Verdict {
    let formed = answers
        .iter()
        .filter_map(|(name, answer)| Some((name, answer.cluster?, &answer.members)));
    let mut has_formed = None;
    for (name, cluster, members) in formed {
        has_formed = Some(name);
        let Some(member) = members.iter().find(|member| member.name == *me) else {
            if members.is_empty() {
                continue;
            }
            return Verdict::Never(format!(
                "the cluster that {name} belongs to has no member called {me}; this release cannot join a running cluster"
            ));
        };
        if member.incarnation == incarnation {
            let directory = Directory {
                cluster,
                node: member.node,
                incarnation,
                name: me.clone(),
            };
            return Verdict::Place(Place {
                directory,
                initial: None,
            });
        }
        return Verdict::Never(format!(
            "the cluster knows {me} with another data directory: this one was wiped or replaced, and must not vote under \
             the old id; restore the old directory"
        ));
    }
    if let Some(name) = has_formed {
        return Verdict::Wait(format!(
            "waiting for the members of the cluster that {name} belongs to"
        ));
    }
    if !missing.is_empty() {
        return Verdict::Wait(format!("waiting for {}", missing.join(", ")));
    }
    let own = names(listed);
    if let Some((name, answer)) = answers.iter().find(|(_, answer)| answer.listed != own) {
        return Verdict::Wait(format!(
            "waiting for the lists of replicas to agree: {name} lists {}, this replica lists {}",
            answer.listed.join(", "),
            own.join(", ")
        ));
    }
    let members: BTreeMap<NodeId, Member> = (1..)
        .map(NodeId)
        .zip(listed)
        .map(|(node, listed)| {
            let incarnation = answers
                .get(&listed.name)
                .map_or(incarnation, |answer| answer.incarnation);
            (node, first_member(node, listed, incarnation))
        })
        .collect();
    let node = members
        .values()
        .find(|member| member.name == *me)
        .map(|member| member.node);
    let node = node.expect("a checked list names the replica itself");
    let directory = Directory {
        cluster: cluster_id(&members),
        node,
        incarnation,
        name: me.clone(),
    };
    Verdict::Place(Place {
        directory,
        initial: Some(members),
    })
}

fn first_member(node: NodeId, listed: &Listed, incarnation: Incarnation) -> Member {
    Member {
        node,
        name: listed.name.clone(),
        incarnation,
        peer_address: listed.peer_address.clone(),
        liveness_address: listed.liveness_address.clone(),
        client_address: listed.client_address.clone(),
    }
}

/// The id that all first members compute alike: a hash of their names and data directories.
///
/// Directories are named at random, so two groups never share an id by accident.
fn cluster_id(members: &BTreeMap<NodeId, Member>) -> ClusterId {
    let mut hash = Xxh3::new();
    for member in members.values() {
        hash.update(member.name.as_str().as_bytes());
        hash.update(&[0]);
        hash.update(&member.incarnation.to_bytes());
    }
    ClusterId(hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Incarnation = Incarnation(0xa);

    fn name(name: &str) -> MemberName {
        MemberName::new(name).expect("a good name")
    }

    fn listed(who: &[&str]) -> Vec<Listed> {
        let one = |who: &&str| Listed {
            name: name(who),
            peer_address: format!("{who}:1"),
            liveness_address: format!("{who}:2"),
            client_address: format!("{who}:3"),
        };
        who.iter().map(one).collect()
    }

    fn empty(incarnation: u128) -> Answer {
        let listed = ["a", "b", "c"].map(str::to_owned).to_vec();
        Answer {
            incarnation: Incarnation(incarnation),
            cluster: None,
            members: Vec::new(),
            listed,
        }
    }

    /// A member of cluster 7 that knows `a` with this directory.
    fn settled(a: Option<Incarnation>) -> Answer {
        let members = a
            .into_iter()
            .map(|incarnation| first_member(NodeId(1), &listed(&["a"])[0], incarnation));
        Answer {
            cluster: Some(ClusterId(7)),
            members: members.collect(),
            ..empty(0xb)
        }
    }

    fn decide_for_a(answers: &[(&str, Answer)], missing: &[&str]) -> Verdict {
        let answers = answers
            .iter()
            .map(|(who, answer)| (name(who), answer.clone()))
            .collect();
        let missing: Vec<String> = missing.iter().map(|missing| (*missing).to_owned()).collect();
        decide(&name("a"), MINE, &listed(&["a", "b", "c"]), &answers, &missing)
    }

    #[test]
    fn when_a_replica_waits_goes_along_or_stops() {
        let other_list = Answer {
            listed: vec!["a".to_owned(), "b".to_owned()],
            ..empty(0xc)
        };
        let stranger = Answer {
            members: vec![first_member(NodeId(1), &listed(&["x"])[0], MINE)],
            ..settled(None)
        };
        let cases: &[(&str, &[(&str, Answer)], &[&str], &str)] = &[
            ("nobody answers", &[], &["b", "c"], "wait: waiting for b, c"),
            (
                "only a majority answers",
                &[("b", empty(0xb))],
                &["c"],
                "wait: waiting for c",
            ),
            (
                "lists differ",
                &[("b", empty(0xb)), ("c", other_list)],
                &[],
                "wait: waiting for the lists of replicas to agree",
            ),
            (
                "all are empty",
                &[("b", empty(0xb)), ("c", empty(0xc))],
                &[],
                "place: node 1, forms",
            ),
            (
                "one has formed with us",
                &[("b", settled(Some(MINE)))],
                &["c"],
                "place: node 1, goes along",
            ),
            (
                "one has formed with another directory of ours",
                &[("b", settled(Some(Incarnation(9))))],
                &["c"],
                "never: the cluster knows a",
            ),
            (
                "one belongs to a cluster without us",
                &[("b", stranger)],
                &["c"],
                "never: the cluster that b",
            ),
            (
                "one goes along and knows no members yet",
                &[("b", settled(None))],
                &["c"],
                "wait: waiting for the members",
            ),
        ];
        for (case, answers, missing, want) in cases {
            let got = match decide_for_a(answers, missing) {
                Verdict::Wait(why) => format!("wait: {why}"),
                Verdict::Never(why) => format!("never: {why}"),
                Verdict::Place(place) => {
                    let how = if place.initial.is_some() {
                        "forms"
                    } else {
                        "goes along"
                    };
                    format!("place: node {}, {how}", place.directory.node)
                }
            };
            assert!(got.starts_with(want), "{case}: {got}");
        }
    }

    #[test]
    fn all_first_members_compute_the_same_group() {
        let list = listed(&["a", "b", "c"]);
        let directories = [("a", 0xa), ("b", 0xb), ("c", 0xc)];
        let groups: Vec<_> = directories
            .iter()
            .map(|(me, incarnation)| {
                let answers = directories
                    .iter()
                    .filter(|(who, _)| who != me)
                    .map(|(who, inc)| (name(who), empty(*inc)));
                let verdict = decide(
                    &name(me),
                    Incarnation(*incarnation),
                    &list,
                    &answers.collect(),
                    &[],
                );
                let Verdict::Place(place) = verdict else {
                    panic!("{me} does not form")
                };
                (place.directory.cluster, place.initial)
            })
            .collect();
        assert_eq!(groups[0], groups[1]);
        assert_eq!(groups[0], groups[2]);
    }

    #[test]
    fn a_directory_of_another_replica_is_refused() {
        let directory = Directory {
            cluster: ClusterId(7),
            node: NodeId(2),
            incarnation: MINE,
            name: name("b"),
        };
        assert!(known_place(&name("b"), directory.clone()).is_ok());
        let fault = known_place(&name("a"), directory).expect_err("another name");
        assert!(fault.to_string().contains("is that of replica b"), "{fault}");
    }

    #[test]
    fn a_replica_is_a_stranger_only_among_a_majority_of_another_cluster() {
        let (mine, other, third) = (ClusterId(1), ClusterId(2), ClusterId(3));
        let cases: &[(&str, usize, &[ClusterId], &str)] = &[
            ("alone", 1, &[], "ours"),
            ("nobody answers", 3, &[], "unknown"),
            ("one of ours", 3, &[mine], "ours"),
            ("one stranger", 3, &[other], "unknown"),
            ("a stranger and one of ours", 3, &[other, mine], "ours"),
            ("two strangers", 3, &[other, other], "strangers"),
            ("two of different clusters", 3, &[other, third], "unknown"),
            ("two strangers of five", 5, &[other, other], "unknown"),
            (
                "three strangers of five",
                5,
                &[other, other, mine, other],
                "strangers",
            ),
        ];
        for (case, listed, clusters, want) in cases {
            let answers = clusters
                .iter()
                .zip('b'..)
                .map(|(cluster, who)| (name(&who.to_string()), *cluster));
            let got = match company(mine, *listed, &answers.collect()) {
                Company::Ours => "ours",
                Company::Unknown => "unknown",
                Company::Strangers(why) => {
                    assert!(
                        why.contains("of another cluster") && !why.contains('\n'),
                        "{case}: {why}"
                    );
                    "strangers"
                }
            };
            assert_eq!(got, *want, "{case}");
        }
    }
}
