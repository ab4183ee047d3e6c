//! Tables for the decisions.

use super::*;

const ME: u64 = 1;

fn name(name: &str) -> MemberName {
    MemberName::new(name).expect("a good name")
}

fn applicant(who: &str, incarnation: u128) -> Applicant {
    Applicant::new(Member {
        node: NodeId(0),
        name: name(who),
        incarnation: Incarnation(incarnation),
        peer_address: format!("{who}:2380"),
        liveness_address: format!("{who}:2382"),
        client_address: format!("{who}:2379"),
    })
}

fn nodes(nodes: &[u64]) -> BTreeSet<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

/// Members `a` to ..., with directories 1 to ...; all others than the leader are connected and have everything.
fn view(voters: &[u64], learners: &[u64]) -> View {
    let all: Vec<u64> = voters.iter().chain(learners).copied().collect();
    let member = |node: &u64| {
        let who = char::from(b'a' + u8::try_from(*node).expect("a small id") - 1).to_string();
        (
            NodeId(*node),
            applicant(&who, u128::from(*node)).member(NodeId(*node)),
        )
    };
    let others = || all.iter().copied().filter(|node| *node != ME).map(NodeId);
    View {
        me: NodeId(ME),
        voters: nodes(voters),
        members: all.iter().map(member).collect(),
        last: 5_000,
        matched: others().map(|node| (node, 5_000)).collect(),
        linked: others().collect(),
    }
}

fn cut(mut view: View, gone: &[u64]) -> View {
    view.linked.retain(|node| !gone.contains(&node.0));
    view
}

fn lagging(mut view: View, node: u64, matched: u64) -> View {
    view.matched.insert(NodeId(node), matched);
    view
}

fn unknown(mut view: View, node: u64) -> View {
    view.matched.remove(&NodeId(node));
    view
}

/// A learner `node` of the name of member `of`, with another directory.
fn reborn(mut view: View, node: u64, of: u64) -> View {
    let name = view.members[&NodeId(of)].name.clone();
    let learner = applicant(name.as_str(), u128::from(node)).member(NodeId(node));
    view.members.insert(NodeId(node), learner);
    view.matched.insert(NodeId(node), 5_000);
    view.linked.insert(NodeId(node));
    view
}

fn wish(promote: &[u64], remove: &[u64], force: bool) -> MemberChange {
    MemberChange {
        promote: nodes(promote),
        remove: nodes(remove),
        force,
    }
}

fn outcome(result: Result<Step, MemberError>) -> String {
    let list = |nodes: &BTreeSet<NodeId>| {
        let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        ids.join(" ")
    };
    match result {
        Ok(Step::Nothing) => "nothing".to_owned(),
        Ok(Step::HandOver) => "hand over".to_owned(),
        Ok(Step::Change { voters, forget }) => format!("{} | {}", list(&voters), list(&forget)),
        Err(error) => format!("no: {error}"),
    }
}

#[test]
fn changes_and_refusals() {
    let three = || view(&[1, 2, 3], &[4, 5]);
    let five = || view(&[1, 2, 3, 4, 5], &[]);
    let cases: Vec<(&str, View, MemberChange, &str)> = vec![
        ("nothing wished", three(), wish(&[], &[], false), "nothing"),
        ("what is so already", three(), wish(&[2], &[9], false), "nothing"),
        ("two at once", three(), wish(&[4, 5], &[], false), "1 2 3 4 5 | "),
        (
            "one makes it even",
            three(),
            wish(&[4], &[], false),
            "no: there would be 4 voters",
        ),
        ("one, forced", three(), wish(&[4], &[], true), "1 2 3 4 | "),
        ("a replacement", three(), wish(&[4], &[3], false), "1 2 4 | "),
        (
            "nobody of that id",
            three(),
            wish(&[9], &[], false),
            "no: no member has the node id 9",
        ),
        (
            "both wanted and not wanted",
            three(),
            wish(&[4], &[4], false),
            "no: no member has the node id 4",
        ),
        (
            "it lags",
            lagging(three(), 4, 3_999),
            wish(&[4, 5], &[], false),
            "no: node 4 cannot vote yet: it lacks 1001 entries",
        ),
        (
            "it hardly lags",
            lagging(three(), 4, 4_000),
            wish(&[4, 5], &[], false),
            "1 2 3 4 5 | ",
        ),
        (
            "nothing received",
            unknown(three(), 5),
            wish(&[4, 5], &[], false),
            "no: node 5 cannot vote yet: it has not received anything",
        ),
        (
            "not connected",
            cut(three(), &[5]),
            wish(&[4, 5], &[], false),
            "no: node 5 cannot vote yet: it is not connected",
        ),
        ("back to three", five(), wish(&[], &[4, 5], false), "1 2 3 | "),
        (
            "one of five",
            five(),
            wish(&[], &[5], false),
            "no: there would be 4 voters",
        ),
        ("a learner leaves", three(), wish(&[], &[5], false), "1 2 3 | 5"),
        (
            "a voter and a learner leave",
            five(),
            wish(&[], &[4, 5, 9], false),
            "1 2 3 | ",
        ),
        (
            "the leader leaves",
            five(),
            wish(&[], &[1, 5], false),
            "hand over",
        ),
        (
            "the last voter",
            view(&[1], &[]),
            wish(&[], &[1], true),
            "no: the last voter",
        ),
        (
            "the dead leave",
            cut(five(), &[4, 5]),
            wish(&[], &[4, 5], false),
            "1 2 3 | ",
        ),
        (
            "the living leave",
            cut(five(), &[4, 5]),
            wish(&[], &[2, 3], false),
            "no: only 1 of the 3 future voters can be reached, and 2 are needed",
        ),
        (
            "no majority now",
            cut(five(), &[3, 4, 5]),
            wish(&[], &[4, 5], false),
            "no: only 2 of the 5 present voters can be reached, and 3 are needed",
        ),
        (
            "force does not endanger the quorum",
            cut(view(&[1, 2, 3], &[]), &[3]),
            wish(&[], &[2], true),
            "no: only 1 of the 2 future voters",
        ),
        (
            "too many",
            view(&[1, 2, 3, 4, 5, 6, 7], &[8, 9]),
            wish(&[8, 9], &[], false),
            "no: there would be 9 voters; 7 are the most",
        ),
    ];
    for (case, view, wish, want) in cases {
        let got = outcome(change(&view, &wish));
        assert!(
            got.starts_with(want) && (want.starts_with("no:") || got == want),
            "{case}: {got}"
        );
    }
}

#[test]
fn who_is_admitted() {
    let three = || view(&[1, 2, 3], &[]);
    let wiped_twice = || cut(reborn(cut(three(), &[3]), 6, 3), &[3, 6]);
    let admit_after = |after: &[u64]| Ok(Admission::Admit { after: nodes(after) });
    let cases = [
        ("a new name", three(), applicant("d", 9), admit_after(&[])),
        (
            "asked again",
            three(),
            applicant("c", 3),
            Ok(Admission::Member(NodeId(3))),
        ),
        ("wiped", cut(three(), &[3]), applicant("c", 9), admit_after(&[])),
        ("wiped twice", wiped_twice(), applicant("c", 9), admit_after(&[6])),
        (
            "a second one of a name that runs",
            three(),
            applicant("c", 9),
            Err(MemberError::RunsAlready {
                name: name("c"),
                node: NodeId(3),
            }),
        ),
        (
            "a second one of the leader's name",
            three(),
            applicant("a", 9),
            Err(MemberError::RunsAlready {
                name: name("a"),
                node: NodeId(1),
            }),
        ),
    ];
    for (case, view, applicant, want) in cases {
        assert_eq!(admit(&view, &applicant), want, "{case}");
    }
}

#[test]
fn no_id_is_used_again() {
    let cases = [
        (
            "the counter is above all",
            view(&[1, 2, 3], &[]),
            40,
            Ok(NodeId(40)),
        ),
        (
            "one that a first member can have had",
            view(&[1, 2], &[]),
            3,
            Err(3),
        ),
        ("the first above those", view(&[1, 2], &[]), 6, Ok(NodeId(6))),
        ("a restored group's ids", view(&[1, 2, 9], &[]), 7, Err(3)),
    ];
    for (case, view, last, want) in cases {
        assert_eq!(fresh_id(&view, last), want, "{case}");
    }
}

#[test]
fn who_takes_the_place_of_a_voter_whose_directory_is_gone() {
    let three = || view(&[1, 2, 3], &[]);
    let reborn_3 = || reborn(cut(three(), &[3]), 6, 3);
    let replaced = |new, old| Some(wish(&[new], &[old], true));
    let cases = [
        ("nobody", three(), None),
        ("a learner of another name", view(&[1, 2, 3], &[4]), None),
        ("caught up", reborn_3(), replaced(6, 3)),
        ("not yet", lagging(reborn_3(), 6, 10), None),
        ("the old one lives", reborn(three(), 6, 3), None),
        ("no majority", cut(reborn_3(), &[2, 3]), None),
        (
            "of an even number",
            reborn(cut(view(&[1, 2, 3, 4], &[]), &[3]), 6, 3),
            replaced(6, 3),
        ),
        ("of two", reborn(cut(view(&[1, 3], &[]), &[3]), 6, 3), None),
    ];
    for (case, view, want) in cases {
        assert_eq!(successor(&view), want, "{case}");
    }
}
