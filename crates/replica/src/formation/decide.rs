//! What a replica without a log does, given what its peers say: wait, form a group, go along with one, or join one. Pure.

use std::collections::BTreeMap;

use quorate_store::Identity as Directory;
use quorate_types::{ClusterId, Incarnation, Member, MemberName, NodeId};
use xxhash_rust::xxh3::Xxh3;

use super::ask::Answer;
use super::{Place, member, names};
use crate::config::Listed;
use crate::fault::Fault;

/// The replica's own directory, or why it is not its own.
pub(super) fn own_directory(name: &MemberName, directory: Directory) -> Result<Directory, Fault> {
    if directory.name != *name {
        let why = format!(
            "the data directory is that of replica {}, this replica is called {name}; give it its own directory, or \
             start it as {}",
            directory.name, directory.name
        );
        return Err(Fault::Formation { why });
    }
    Ok(directory)
}

/// What to do.
#[derive(Debug)]
pub(super) enum Verdict {
    Place(Place),
    /// Ask this cluster to be let in, as a new member.
    Join(ClusterId),
    /// Not yet, for this reason.
    Wait(String),
}

/// Who decides.
pub(super) struct Me<'a> {
    pub(super) name: &'a MemberName,
    pub(super) incarnation: Incarnation,
    /// It never forms a group.
    pub(super) joins: bool,
    /// Its place, when it stopped between saving that and the first entry of its log.
    pub(super) directory: Option<&'a Directory>,
}

/// Decides from what the peers say.
pub(super) fn decide(
    me: &Me<'_>,
    listed: &[Listed],
    answers: &BTreeMap<MemberName, Answer>,
    missing: &[String],
) -> Verdict {
    let Me {
        name: me,
        incarnation,
        joins,
        directory,
    } = *me;
    let verdict = match directory {
        Some(directory) => go_on(directory, answers),
        None => go_along(me, incarnation, answers),
    };
    if let Some(verdict) = verdict {
        return verdict;
    }
    if joins {
        let others: Vec<String> = answers
            .keys()
            .map(|name| format!("{name} (part of none yet)"))
            .chain(missing.iter().cloned())
            .collect();
        return Verdict::Wait(format!("waiting for a cluster to join: {}", others.join(", ")));
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
            (node, member(node, listed, incarnation))
        })
        .collect();
    let node = members
        .values()
        .find(|member| member.name == *me)
        .map(|member| member.node);
    let node = node.expect("a checked list names the replica itself");
    let cluster = cluster_id(&members);
    // Whoever has a place already and no log has computed it like this, or it is of a cluster that we are not part of.
    let mut decided = answers
        .iter()
        .filter_map(|(name, answer)| Some((name, answer.cluster?)))
        .chain(directory.map(|own| (me, own.cluster)));
    if let Some((who, other)) = decided.find(|(_, other)| *other != cluster) {
        return Verdict::Wait(format!(
            "waiting for the members of the cluster that {who} belongs to, {other}"
        ));
    }
    Verdict::Place(Place {
        directory: Directory {
            cluster,
            node,
            incarnation,
            name: me.clone(),
        },
        initial: Some(members),
    })
}

/// With the place that is in the directory; `None` while the group has to be formed once more.
fn go_on(directory: &Directory, answers: &BTreeMap<MemberName, Answer>) -> Option<Verdict> {
    let runs = |answer: &Answer| {
        !answer.members.is_empty() || answer.cluster.is_some_and(|other| other != directory.cluster)
    };
    answers.values().any(runs).then(|| {
        Verdict::Place(Place {
            directory: directory.clone(),
            initial: None,
        })
    })
}

/// With a group that has formed already; `None` while nobody knows of one.
fn go_along(
    me: &MemberName,
    incarnation: Incarnation,
    answers: &BTreeMap<MemberName, Answer>,
) -> Option<Verdict> {
    let formed = || {
        answers
            .iter()
            .filter_map(|(name, answer)| Some((name, answer.cluster?, answer)))
    };
    let (first, cluster, _) = formed().next()?;
    if let Some((other, another, _)) = formed().find(|(_, other, _)| *other != cluster) {
        return Some(Verdict::Wait(format!(
            "waiting for the list of replicas to be put right: {first} belongs to cluster {cluster}, and {other} to \
             {another}"
        )));
    }
    let ours = |answer: &Answer| {
        let mut members = answer.members.iter();
        members
            .find(|member| member.name == *me && member.incarnation == incarnation)
            .map(|member| member.node)
    };
    // The first members are what all have computed alike, and they must go along before anything can be committed. Later
    // ones are members only once that is committed.
    let node = formed()
        .filter(|(_, _, answer)| answer.members_settled || answer.members_index == 0)
        .find_map(|(_, _, answer)| ours(answer));
    if let Some(node) = node {
        return Some(Verdict::Place(Place {
            directory: Directory {
                cluster,
                node,
                incarnation,
                name: me.clone(),
            },
            initial: None,
        }));
    }
    // Without members: it is starting, or it stopped before its log began.
    let nobody_runs = formed().all(|(_, _, answer)| answer.members.is_empty());
    (!nobody_runs).then_some(Verdict::Join(cluster))
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
            members_index: 0,
            members_settled: false,
        }
    }

    /// A member of cluster 7 that knows `a` with this directory.
    fn settled(a: Option<Incarnation>) -> Answer {
        let members = a
            .into_iter()
            .map(|incarnation| member(NodeId(1), &listed(&["a"])[0], incarnation));
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
        let me = Me {
            name: &name("a"),
            incarnation: MINE,
            joins: false,
            directory: None,
        };
        decide(&me, &listed(&["a", "b", "c"]), &answers, &missing)
    }

    /// The cluster that `a`, `b` and `c` with these directories form.
    fn of_these_three() -> ClusterId {
        match decide_for_a(&[("b", empty(0xb)), ("c", empty(0xc))], &[]) {
            Verdict::Place(place) => place.directory.cluster,
            other => panic!("they form none: {other:?}"),
        }
    }

    #[test]
    fn a_place_without_a_log_forms_the_same_group_again() {
        let own = |cluster| Directory {
            cluster,
            node: NodeId(1),
            incarnation: MINE,
            name: name("a"),
        };
        let begun = |incarnation| Answer {
            cluster: Some(of_these_three()),
            ..empty(incarnation)
        };
        let cases: &[(&str, ClusterId, &[(&str, Answer)], &[&str], &str)] = &[
            (
                "the others are empty",
                of_these_three(),
                &[("b", empty(0xb)), ("c", empty(0xc))],
                &[],
                "forms",
            ),
            (
                "all stopped there",
                of_these_three(),
                &[("b", begun(0xb)), ("c", begun(0xc))],
                &[],
                "forms",
            ),
            (
                "one is not there",
                of_these_three(),
                &[("b", begun(0xb))],
                &["c"],
                "waits: waiting for c",
            ),
            (
                "one runs",
                ClusterId(7),
                &[("b", settled(None)), ("c", settled(Some(MINE)))],
                &[],
                "goes on",
            ),
            (
                "one is a stranger",
                of_these_three(),
                &[("b", settled(None))],
                &["c"],
                "goes on",
            ),
            (
                "one was wiped",
                ClusterId(7),
                &[("b", settled(None)), ("c", empty(0xc))],
                &[],
                "waits: waiting for the members of the cluster that b belongs to",
            ),
        ];
        for (case, cluster, answers, missing, want) in cases {
            let answers = answers
                .iter()
                .map(|(who, answer)| (name(who), answer.clone()))
                .collect();
            let missing: Vec<String> = missing.iter().map(|missing| (*missing).to_owned()).collect();
            let me = Me {
                name: &name("a"),
                incarnation: MINE,
                joins: false,
                directory: Some(&own(*cluster)),
            };
            let got = match decide(&me, &listed(&["a", "b", "c"]), &answers, &missing) {
                Verdict::Wait(why) => format!("waits: {why}"),
                Verdict::Join(cluster) => format!("joins: {cluster}"),
                Verdict::Place(place) => {
                    assert_eq!(place.directory, own(*cluster), "{case}");
                    if place.initial.is_some() {
                        "forms"
                    } else {
                        "goes on"
                    }
                    .to_owned()
                }
            };
            assert!(got.starts_with(want), "{case}: {got}");
        }
    }

    #[test]
    fn who_only_joins_never_forms() {
        let me = Me {
            name: &name("a"),
            incarnation: MINE,
            joins: true,
            directory: None,
        };
        let answers = |b: Answer| BTreeMap::from([(name("b"), b), (name("c"), empty(0xc))]);
        let list = listed(&["a", "b", "c"]);
        let verdict = decide(&me, &list, &answers(empty(0xb)), &["d (no answer)".to_owned()]);
        let Verdict::Wait(why) = verdict else {
            panic!("it does not wait: {verdict:?}")
        };
        assert_eq!(
            why,
            "waiting for a cluster to join: b (part of none yet), c (part of none yet), d (no answer)"
        );
        let verdict = decide(&me, &list, &answers(settled(Some(Incarnation(9)))), &[]);
        assert!(matches!(verdict, Verdict::Join(ClusterId(7))), "{verdict:?}");
    }

    #[test]
    fn when_a_replica_waits_goes_along_or_stops() {
        let other_list = Answer {
            listed: vec!["a".to_owned(), "b".to_owned()],
            ..empty(0xc)
        };
        let stranger = Answer {
            members: vec![member(NodeId(1), &listed(&["x"])[0], MINE)],
            ..settled(None)
        };
        let at = |members_index, members_settled| Answer {
            members_index,
            members_settled,
            ..settled(Some(MINE))
        };
        let of_another = Answer {
            cluster: Some(ClusterId(8)),
            ..settled(Some(MINE))
        };
        let begun = Answer {
            cluster: Some(of_these_three()),
            ..empty(0xb)
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
                "join: cluster 7",
            ),
            (
                "one belongs to a cluster without us",
                &[("b", stranger)],
                &["c"],
                "join: cluster 7",
            ),
            (
                "admitted, and that is committed",
                &[("b", at(9, true))],
                &["c"],
                "place: node 1, goes along",
            ),
            (
                "admitted, perhaps",
                &[("b", at(9, false))],
                &["c"],
                "join: cluster 7",
            ),
            (
                "admitted, as one of them knows for certain",
                &[("b", at(9, false)), ("c", at(9, true))],
                &[],
                "place: node 1, goes along",
            ),
            (
                "two clusters",
                &[("b", settled(Some(MINE))), ("c", of_another)],
                &[],
                "wait: waiting for the list of replicas to be put right",
            ),
            (
                "one is starting, and one is not there",
                &[("b", settled(None))],
                &["c"],
                "wait: waiting for c",
            ),
            (
                "one is starting, and one was wiped like us",
                &[("b", settled(None)), ("c", empty(0xc))],
                &[],
                "wait: waiting for the members of the cluster that b belongs to",
            ),
            (
                "one stopped before its log began",
                &[("b", begun), ("c", empty(0xc))],
                &[],
                "place: node 1, forms",
            ),
        ];
        for (case, answers, missing, want) in cases {
            let got = match decide_for_a(answers, missing) {
                Verdict::Wait(why) => format!("wait: {why}"),
                Verdict::Join(cluster) => format!("join: cluster {}", cluster.0),
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
                let who = Me {
                    name: &name(me),
                    incarnation: Incarnation(*incarnation),
                    joins: false,
                    directory: None,
                };
                let verdict = decide(&who, &list, &answers.collect(), &[]);
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
        assert!(own_directory(&name("b"), directory.clone()).is_ok());
        let fault = own_directory(&name("a"), directory).expect_err("another name");
        assert!(fault.to_string().contains("is that of replica b"), "{fault}");
    }
}
