//! Stories of a cluster, event by event.

use super::*;

fn ms(ms: u64) -> Moment {
    Moment(ms * 1_000_000)
}

fn place(node: u64) -> Place {
    Place {
        node,
        name: char::from(b'a' + u8::try_from(node).expect("few") - 1).to_string(),
        client_address: format!("127.0.0.1:{}", 20_000 + node * 4),
        http_address: format!("127.0.0.1:{}", 20_003 + node * 4),
        log: "/tmp/x/log".to_owned(),
    }
}

fn cluster(workers: usize) -> State {
    let setting = Setting {
        began: ms(0),
        profile: "zone".to_owned(),
        directory: "/tmp/x".to_owned(),
        workers,
    };
    let mut state = State::new(setting);
    state.settled_in((1..=3).map(place));
    state.apply(ms(1), Event::Stage(Stage::Running));
    for replica in 0..3 {
        let pid = u32::try_from(replica).ok().map(|pid| pid + 100);
        state.apply(
            ms(1),
            Event::Process {
                replica,
                pid,
                life: Life::Running,
            },
        );
    }
    state.apply(ms(2), Event::Leader(Some(Leading { node: 1, term: 1 })));
    state.unsaid();
    state
}

fn said(state: &mut State) -> Vec<String> {
    state.unsaid().into_iter().map(|news| news.text).collect()
}

fn told_by(node: u64, term: u64) -> Event {
    let phases = [("detected", 1_001), ("elected", 1_008)];
    let phases = phases.map(|(name, at)| v1::Phase {
        name: name.to_owned(),
        monotonic_ns: ms(at).0,
    });
    let change = v1::LeaderChange {
        term,
        node_id: node,
        reason: v1::LeaderChangeReason::Crash.into(),
        took_us: 9_000,
        phases: phases.to_vec(),
        ..Default::default()
    };
    let answer = v1::StatusResponse {
        role: v1::Role::Leader.into(),
        last_leader_change: Some(change),
        ..Default::default()
    };
    let replica = usize::try_from(node - 1).expect("few");
    Event::Status {
        replica,
        answer: Ok(Box::new(answer)),
    }
}

#[test]
fn a_killed_leader_is_told_from_the_kill_to_the_gap() {
    let mut state = cluster(0);
    for at in [980, 990, 999] {
        state.apply(ms(at), Event::WriteSent);
        state.apply(ms(at), Event::WriteAcknowledged);
    }
    let leader = state.place_of(&Target::Leader).expect("there is one");
    state.apply(
        ms(1_000),
        Event::Deed {
            replica: leader,
            deed: Deed::Kill,
        },
    );
    assert_eq!(said(&mut state), ["kill -9 a (the leader)"]);
    let ended = Life::Ended("signal: 9 (SIGKILL)".to_owned());
    state.apply(
        ms(1_001),
        Event::Process {
            replica: 0,
            pid: None,
            life: ended,
        },
    );
    assert_eq!(
        said(&mut state),
        ["replica a ended: signal: 9 (SIGKILL)", "nobody leads"]
    );
    state.apply(ms(1_002), Event::Leader(None));
    assert!(said(&mut state).is_empty(), "that is known");
    assert!(state.place_of(&Target::Leader).is_err());
    state.apply(ms(1_010), Event::Leader(Some(Leading { node: 3, term: 2 })));
    assert_eq!(said(&mut state), ["leader c, term 2 (was a)"]);
    state.apply(ms(1_012), Event::WriteAcknowledged);
    state.apply(ms(1_100), told_by(3, 2));
    state.apply(ms(1_400), Event::Tick);
    assert!(said(&mut state).is_empty(), "it may not be over yet");
    state.apply(ms(1_420), Event::Tick);
    let want = "failover a -> c, term 2, crash: clients waited 13.0 ms between two acknowledged writes; \
                kill -> detected 1.0, elected 8.0, acknowledged 12.0 ms";
    assert_eq!(said(&mut state), [want]);
    state.apply(ms(60_000), Event::Tick);
    assert!(said(&mut state).is_empty(), "it is told once");
    assert_eq!(state.failovers, 1);
}

#[test]
fn an_account_of_another_election_is_not_taken() {
    let mut state = cluster(0);
    state.apply(ms(1_010), Event::Leader(Some(Leading { node: 3, term: 2 })));
    for event in [told_by(3, 1), told_by(2, 2)] {
        state.apply(ms(1_020), event);
        assert_eq!(
            state.failover.as_ref().map(|failover| failover.account.is_none()),
            Some(true)
        );
    }
}

#[test]
fn a_failover_that_another_overtakes_is_told_before_it() {
    let mut state = cluster(0);
    state.apply(ms(1_000), Event::WriteAcknowledged);
    state.apply(ms(1_010), Event::Leader(Some(Leading { node: 3, term: 2 })));
    state.apply(ms(1_020), Event::WriteAcknowledged);
    state.apply(ms(1_100), Event::Leader(Some(Leading { node: 2, term: 3 })));
    let told = said(&mut state);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[1].starts_with("failover a -> c, term 2, reason unknown: clients waited 20.0 ms"),
        "{told:?}"
    );
    assert_eq!(told[2], "leader b, term 3 (was c)");
    assert_eq!(state.failovers, 2);
}

#[test]
fn only_what_was_done_to_the_leader_explains_a_change() {
    let cases = [
        ("the leader was killed", 0, Deed::Kill, 5_000, Some(Deed::Kill)),
        ("it was paused", 0, Deed::Pause, 5_000, Some(Deed::Pause)),
        ("a follower was killed", 1, Deed::Kill, 5_000, None),
        ("the leader was resumed", 0, Deed::Resume, 5_000, None),
        (
            "leadership was handed over",
            0,
            Deed::Transfer,
            5_000,
            Some(Deed::Transfer),
        ),
        ("long ago", 0, Deed::Kill, 500_000, None),
    ];
    for (name, replica, deed, later, want) in cases {
        let mut state = cluster(0);
        state.apply(ms(1_000), Event::Deed { replica, deed });
        state.apply(ms(later), Event::Leader(Some(Leading { node: 3, term: 2 })));
        let cause = state.failover.as_ref().and_then(|failover| failover.cause);
        assert_eq!(cause.map(|(_, deed)| deed), want, "{name}");
    }
}

#[test]
fn elections_of_the_start_are_no_failovers() {
    let mut state = cluster(0);
    state.apply(ms(3), Event::Stage(Stage::Starting("waiting".to_owned())));
    state.apply(ms(4), Event::Leader(Some(Leading { node: 1, term: 2 })));
    assert_eq!(said(&mut state), ["waiting", "leader a, term 2"]);
    assert_eq!((state.failovers, state.failover.is_none()), (0, true));
}

#[test]
fn the_same_leader_is_no_failover() {
    let mut state = cluster(0);
    let a = Some(Leading { node: 1, term: 1 });
    state.apply(ms(10), Event::Leader(a));
    state.apply(ms(20), Event::Leader(None));
    state.apply(ms(30), Event::Leader(None));
    state.apply(ms(40), Event::Leader(a));
    assert_eq!(said(&mut state), ["nobody leads", "leader a again, term 1"]);
    assert_eq!((state.failovers, state.failover.is_none()), (0, true));
}

#[test]
fn a_leader_that_leads_on_in_its_term_is_told() {
    let mut state = cluster(0);
    state.apply(
        ms(10),
        Event::Process {
            replica: 0,
            pid: None,
            life: Life::Ended("exit status: 0".to_owned()),
        },
    );
    let leads = |term| {
        let topology = Some(v1::Topology {
            term,
            ..Default::default()
        });
        let answer = v1::StatusResponse {
            role: v1::Role::Leader.into(),
            topology,
            ..Default::default()
        };
        Event::Status {
            replica: 0,
            answer: Ok(Box::new(answer)),
        }
    };
    state.apply(ms(20), leads(7));
    assert_eq!(state.leader, None, "of another term, clients will tell");
    state.apply(ms(30), leads(1));
    let want = [
        "replica a ended: exit status: 0",
        "nobody leads",
        "leader a again, term 1",
    ];
    assert_eq!(said(&mut state), want);
}

#[test]
fn a_replica_that_comes_back_is_told_once() {
    let mut state = cluster(0);
    let follower = || {
        let answer = v1::StatusResponse {
            role: v1::Role::Follower.into(),
            ..Default::default()
        };
        Event::Status {
            replica: 1,
            answer: Ok(Box::new(answer)),
        }
    };
    state.apply(ms(10), follower());
    assert!(said(&mut state).is_empty(), "the first start is not a return");
    state.apply(
        ms(20),
        Event::Process {
            replica: 1,
            pid: None,
            life: Life::Ended("exit status: 0".to_owned()),
        },
    );
    state.apply(ms(30), follower());
    state.apply(
        ms(40),
        Event::Process {
            replica: 1,
            pid: Some(7),
            life: Life::Running,
        },
    );
    let forming = v1::StatusResponse {
        role: v1::Role::Forming.into(),
        ..Default::default()
    };
    state.apply(
        ms(50),
        Event::Status {
            replica: 1,
            answer: Ok(Box::new(forming)),
        },
    );
    state.apply(ms(60), follower());
    state.apply(ms(70), follower());
    let want = [
        "replica b ended: exit status: 0",
        "replica b runs, pid 7",
        "replica b is back as follower",
    ];
    assert_eq!(said(&mut state), want);
}

#[test]
fn sessions_that_are_lost_in_a_failover_are_counted_with_it() {
    let mut state = cluster(2);
    let ready = Session::Ready { epoch: 1 };
    for number in 0..2 {
        state.apply(
            ms(10),
            Event::Worker {
                number,
                session: ready,
            },
        );
    }
    state.apply(
        ms(20),
        Event::Worker {
            number: 0,
            session: Session::Fenced,
        },
    );
    state.apply(ms(30), Event::Leader(Some(Leading { node: 3, term: 2 })));
    state.apply(
        ms(40),
        Event::Worker {
            number: 1,
            session: Session::Fenced,
        },
    );
    assert_eq!(state.failover.as_ref().map(|failover| failover.fenced), Some(1));
    assert_eq!(said(&mut state)[0], "all 2 workers have their sessions");
}

#[test]
fn a_crowd_of_failures_is_told_once_in_a_while() {
    let mut state = cluster(0);
    for at in 10..100 {
        state.apply(ms(at), Event::WriteFailed(format!("no answer within {at} ms")));
    }
    state.apply(ms(5_010), Event::ReadFailed("refused".to_owned()));
    let want = ["a write failed: no answer within 10 ms", "a read failed: refused"];
    assert_eq!(said(&mut state), want);
    assert_eq!((state.load.failed, state.load.reads_failed), (90, 1));
}

#[test]
fn everything_that_grows_is_bounded() {
    let mut state = cluster(0);
    for number in 0..1_000 {
        state.apply(ms(number), Event::Said(Tone::Plain, number.to_string()));
        state.unsaid();
    }
    assert_eq!(state.news.len(), NEWS_MAX);
    assert_eq!(state.news.back().map(|news| news.text.as_str()), Some("999"));
}

#[test]
fn replicas_are_found_and_selected() {
    let mut state = cluster(0);
    let named = |name: &str| Target::Named(name.to_owned());
    assert_eq!(state.place_of(&named("c")), Ok(2));
    assert_eq!(state.place_of(&Target::Leader), Ok(0));
    let unknown = state.place_of(&named("z\u{7}")).expect_err("nobody");
    assert_eq!(unknown, "there is no replica \"z?\"; there are a, b, c");
    for (by, want) in [(1, 1), (1, 2), (1, 0), (-1, 2)] {
        state.step(by);
        assert_eq!(state.place_of(&Target::Selected), Ok(want));
    }
    state.select(9);
    assert_eq!(state.selected, 2);
    state.select(1);
    assert_eq!(state.selected, 1);
}
