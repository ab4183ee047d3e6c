//! Observations in, beliefs out.

use super::*;

/// A replica's answer, in short: who speaks, its term, and who leads with which term according to it.
fn says(node: u64, term: u64, leader: Option<(u64, u64)>) -> Heard {
    Heard {
        cluster: Some(ClusterId(1)),
        node: NodeId(node),
        term: Term(term),
        leader: leader.map(|(node, term)| leads(node, term)),
        members: (1..=3).map(|node| member(node, &home(node))).collect(),
    }
}

fn leads(node: u64, term: u64) -> Leader {
    Leader {
        node: NodeId(node),
        address: home(node),
        term: Term(term),
    }
}

fn home(node: u64) -> String {
    format!("n{node}:1")
}

fn member(node: u64, address: &str) -> v1::MemberInfo {
    v1::MemberInfo {
        node_id: node,
        client_address: address.to_owned(),
        ..Default::default()
    }
}

#[derive(Clone)]
enum See {
    /// Said at the speaker's own address.
    Says(Heard),
    /// The connection to this node's address broke.
    Lost(u64),
    /// A redirect.
    Hint(u64, u64),
}

fn seen(steps: &[See]) -> Beliefs {
    let mut beliefs = Beliefs::new([home(1), home(2), home(3)]);
    for step in steps {
        match step.clone() {
            See::Says(heard) => drop(beliefs.answered(&home(heard.node.0), heard)),
            See::Lost(node) => beliefs.lost(&home(node), "reset".to_owned()),
            See::Hint(node, term) => beliefs.hinted(leads(node, term)),
        }
    }
    beliefs
}

#[test]
fn who_is_believed_to_lead() {
    use See::{Hint, Lost, Says};
    // The leader's node and term, and how many beliefs there have been.
    type Case = (&'static str, Vec<See>, Option<(u64, u64)>, u64);
    let cases: Vec<Case> = vec![
        ("nobody has spoken", vec![], None, 0),
        ("nobody leads", vec![Says(says(1, 5, None))], None, 0),
        (
            "one word is enough",
            vec![Says(says(2, 5, Some((1, 5))))],
            Some((1, 5)),
            1,
        ),
        (
            "said twice is believed once",
            vec![Says(says(1, 5, Some((1, 5)))), Says(says(2, 5, Some((1, 5))))],
            Some((1, 5)),
            1,
        ),
        (
            "of two that disagree the higher term is right, spoken first",
            vec![Says(says(2, 6, Some((2, 6)))), Says(says(1, 5, Some((1, 5))))],
            Some((2, 6)),
            1,
        ),
        (
            "of two that disagree the higher term is right, spoken last",
            vec![Says(says(1, 5, Some((1, 5)))), Says(says(2, 6, Some((2, 6))))],
            Some((2, 6)),
            2,
        ),
        (
            "within a term the larger id came later",
            vec![Says(says(3, 5, Some((3, 5)))), Says(says(1, 5, Some((1, 5))))],
            Some((3, 5)),
            1,
        ),
        (
            "a replica that has lost sight of the leader changes nothing",
            vec![Says(says(1, 5, Some((1, 5)))), Says(says(3, 9, None))],
            Some((1, 5)),
            1,
        ),
        (
            "a broken connection is a doubt",
            vec![Says(says(1, 5, Some((1, 5)))), Lost(1)],
            None,
            1,
        ),
        (
            "the others' word does not end the doubt",
            vec![
                Says(says(1, 5, Some((1, 5)))),
                Lost(1),
                Says(says(2, 5, Some((1, 5)))),
                Hint(1, 5),
            ],
            None,
            1,
        ),
        (
            "an older leader does not end the doubt",
            vec![
                Says(says(1, 5, Some((1, 5)))),
                Lost(1),
                Says(says(2, 5, Some((2, 4)))),
            ],
            None,
            1,
        ),
        (
            "its own word ends the doubt",
            vec![
                Says(says(1, 5, Some((1, 5)))),
                Lost(1),
                Says(says(1, 5, Some((1, 5)))),
            ],
            Some((1, 5)),
            2,
        ),
        (
            "a higher term ends the doubt",
            vec![
                Says(says(1, 5, Some((1, 5)))),
                Lost(1),
                Says(says(3, 6, Some((3, 6)))),
            ],
            Some((3, 6)),
            2,
        ),
        (
            "the loss of another replica is no doubt",
            vec![
                Says(says(1, 5, Some((1, 5)))),
                Says(says(2, 5, Some((1, 5)))),
                Lost(2),
            ],
            Some((1, 5)),
            1,
        ),
        (
            "the leader denies it",
            vec![Says(says(1, 5, Some((1, 5)))), Says(says(1, 6, None))],
            None,
            1,
        ),
        (
            "what the leader said before it led is no denial",
            vec![Says(says(2, 6, Some((1, 6)))), Says(says(1, 5, None))],
            Some((1, 6)),
            1,
        ),
        ("a redirect is believed", vec![Hint(2, 6)], Some((2, 6)), 1),
        (
            "an older redirect is not",
            vec![Says(says(1, 5, Some((1, 5)))), Hint(2, 4)],
            Some((1, 5)),
            1,
        ),
    ];
    for (name, steps, want, belief) in cases {
        let beliefs = seen(&steps);
        let leader = beliefs.leader().map(|leader| (leader.node.0, leader.term.0));
        assert_eq!((leader, beliefs.belief()), (want, belief), "{name}");
    }
}

#[test]
fn it_is_urgent_when_the_way_to_the_leader_is_lost() {
    use See::{Hint, Lost, Says};
    let cases: Vec<(&str, Vec<See>, u64)> = vec![
        ("a leader that answers", vec![Says(says(1, 5, Some((1, 5))))], 0),
        (
            "a leader known from another",
            vec![Says(says(2, 5, Some((1, 5))))],
            1,
        ),
        (
            "and lost before it answered",
            vec![Says(says(2, 5, Some((1, 5)))), Lost(1)],
            1,
        ),
        (
            "a leader lost",
            vec![Says(says(1, 5, Some((1, 5)))), Lost(1), Lost(1)],
            1,
        ),
        ("a follower lost", vec![Says(says(2, 5, None)), Lost(2)], 0),
        (
            "a new leader that answers already",
            vec![Says(says(2, 5, None)), Hint(2, 6)],
            0,
        ),
    ];
    for (name, steps, want) in cases {
        assert_eq!(seen(&steps).urgency(), want, "{name}");
    }
}

#[test]
fn the_first_cluster_that_answers_is_the_only_one() {
    let mut beliefs = seen(&[See::Says(says(1, 5, Some((1, 5))))]);
    let mut foreign = says(2, 9, Some((2, 9)));
    foreign.cluster = Some(ClusterId(2));
    assert!(!beliefs.answered(&home(2), foreign));
    assert_eq!(beliefs.leader().map(|l| l.node), Some(NodeId(1)));
    assert_eq!(beliefs.speaks_at(&home(2)), None, "it gets no requests");
    assert!(
        beliefs
            .describe()
            .contains("belongs to cluster 00000000000000000000000000000002"),
        "{}",
        beliefs.describe()
    );

    let mut forming = says(3, 0, None);
    forming.cluster = None;
    assert!(!beliefs.answered(&home(3), forming));
    assert!(beliefs.describe().contains("n3:1: belongs to no cluster yet"));
}

#[test]
fn members_come_from_the_leader_and_the_latest_term() {
    let with = |mut heard: Heard, address: &str| {
        heard.members = vec![member(7, address)];
        heard
    };
    let mut beliefs = seen(&[]);
    let known = |beliefs: &Beliefs| beliefs.members().first().map(|m| m.client_address.clone());
    beliefs.answered(&home(2), with(says(2, 5, Some((1, 5))), "follower:1"));
    assert_eq!(known(&beliefs).as_deref(), Some("follower:1"));
    beliefs.answered(&home(1), with(says(1, 5, Some((1, 5))), "leader:1"));
    assert_eq!(known(&beliefs).as_deref(), Some("leader:1"));
    beliefs.answered(&home(2), with(says(2, 5, Some((1, 5))), "late:1"));
    assert_eq!(
        known(&beliefs).as_deref(),
        Some("leader:1"),
        "a follower may lag behind"
    );
    beliefs.answered(&home(2), with(says(2, 6, None), "later:1"));
    assert_eq!(known(&beliefs).as_deref(), Some("later:1"));
    let mut empty = says(2, 7, None);
    empty.members.clear();
    beliefs.answered(&home(2), empty);
    assert_eq!(
        known(&beliefs).as_deref(),
        Some("later:1"),
        "an empty list is none"
    );
}

/// Beliefs with other names for seeds than the members advertise.
fn with_seeds(seeds: &[&str]) -> Beliefs {
    Beliefs::new(seeds.iter().map(|seed| (*seed).to_owned()))
}

fn dialled(beliefs: &Beliefs) -> Vec<String> {
    beliefs.wanted().into_iter().collect()
}

#[test]
fn a_seed_by_another_name_is_dialled_until_its_replica_answers_at_home() {
    let mut beliefs = with_seeds(&["seed:9"]);
    assert_eq!(dialled(&beliefs), ["seed:9"]);
    beliefs.answered("seed:9", says(1, 5, Some((1, 5))));
    assert_eq!(dialled(&beliefs), ["n1:1", "n2:1", "n3:1", "seed:9"]);
    assert_eq!(beliefs.address_of(NodeId(1)), Some("seed:9"));

    beliefs.answered("n2:1", says(2, 5, Some((1, 5))));
    assert!(
        dialled(&beliefs).contains(&"seed:9".to_owned()),
        "node 1 is reached only through it"
    );
    beliefs.answered("n1:1", says(1, 5, Some((1, 5))));
    assert_eq!(beliefs.address_of(NodeId(1)), Some("n1:1"));
    assert_eq!(dialled(&beliefs), ["n1:1", "n2:1", "n3:1"]);
    beliefs.dropped("seed:9");
    assert_eq!(
        beliefs.leader().map(|l| l.node),
        Some(NodeId(1)),
        "it answers at home"
    );
    assert_eq!(
        dialled(&beliefs),
        ["n1:1", "n2:1", "n3:1"],
        "it is known by another name"
    );

    beliefs.lost("n1:1", "reset".to_owned());
    assert_eq!(dialled(&beliefs), ["n1:1", "n2:1", "n3:1"]);
    beliefs.lost("n2:1", "reset".to_owned());
    assert_eq!(
        dialled(&beliefs),
        ["n1:1", "n2:1", "n3:1", "seed:9"],
        "no member answers: begin anew"
    );
}

#[test]
fn a_dead_seed_is_dialled_while_some_member_is_missing() {
    let mut beliefs = with_seeds(&["dead:9", "n1:1"]);
    beliefs.lost("dead:9", "refused".to_owned());
    beliefs.answered("n1:1", says(1, 5, Some((1, 5))));
    beliefs.answered("n2:1", says(2, 5, Some((1, 5))));
    assert_eq!(dialled(&beliefs), ["dead:9", "n1:1", "n2:1", "n3:1"]);
    beliefs.answered("n3:1", says(3, 5, Some((1, 5))));
    assert_eq!(dialled(&beliefs), ["n1:1", "n2:1", "n3:1"]);
}

#[test]
fn replicas_that_are_reached_only_through_seeds_stay_reachable() {
    let mut beliefs = with_seeds(&["gate:1", "gate:2"]);
    beliefs.answered("gate:1", says(1, 5, Some((2, 5))));
    beliefs.answered("gate:2", says(2, 5, Some((2, 5))));
    for node in 1..=3 {
        beliefs.lost(&home(node), "no route".to_owned());
    }
    assert_eq!(beliefs.address_of(NodeId(2)), Some("gate:2"));
    assert_eq!(beliefs.leader().map(|l| l.node), Some(NodeId(2)));
    assert_eq!(beliefs.speaking().len(), 2);
    beliefs.lost("gate:2", "reset".to_owned());
    assert_eq!(beliefs.leader(), None);
}

#[test]
fn what_is_known_of_each_address_stands_in_the_description() {
    let mut beliefs = with_seeds(&["n1:1", "n2:1", "n9:1"]);
    beliefs.answered("n1:1", says(1, 5, None));
    beliefs.lost("n2:1", "connection refused".to_owned());
    assert_eq!(
        beliefs.describe(),
        "n1:1 answers as node 1; n2:1: connection refused; n9:1 has not answered yet"
    );
}
