//! Screens as people see them.

use super::super::event::{Deed, Event, Leading, Life, Session};
use super::super::state::{Place, Setting};
use super::*;
use quorate_client::v1;

fn ms(ms: u64) -> Moment {
    Moment(ms * 1_000_000)
}

fn state(replicas: usize) -> State {
    let mut state = State::new(Setting {
        began: ms(0),
        profile: "zone".to_owned(),
        directory: "/tmp/quorate-dev-Abc123".to_owned(),
        workers: 4,
    });
    let names = ["a", "b", "c", "d", "e"];
    state.settled_in((1..).zip(&names[..replicas]).map(|(node, name)| Place {
        node,
        name: (*name).to_owned(),
        client_address: format!("127.0.0.1:{}", 15_000 + 4 * node),
        http_address: format!("127.0.0.1:{}", 15_003 + 4 * node),
        log: format!("/tmp/quorate-dev-Abc123/{name}/log"),
    }));
    state
}

fn status(node: u64, role: v1::Role, index: u64) -> Event {
    let topology = v1::Topology {
        node_id: node,
        term: 2,
        ..Default::default()
    };
    let change = (role == v1::Role::Leader).then(|| v1::LeaderChange {
        term: 2,
        node_id: node,
        reason: v1::LeaderChangeReason::Crash.into(),
        took_us: 8_100,
        phases: [
            ("detected", 61_001),
            ("witnessed", 61_002),
            ("candidate", 61_003),
            ("elected", 61_008),
            ("first_commit", 61_010),
        ]
        .map(|(name, at)| v1::Phase {
            name: name.to_owned(),
            monotonic_ns: ms(at).0,
        })
        .to_vec(),
        ..Default::default()
    });
    let answer = v1::StatusResponse {
        topology: Some(topology),
        role: role.into(),
        boot_count: 1,
        uptime_ms: 62_000,
        last_log_index: index,
        committed_index: index - 1,
        applied_index: index - 1,
        snapshot_index: 10_000,
        flush_p50_us: 1_234,
        flush_p99_us: 5_678,
        last_leader_change: change,
        ..Default::default()
    };
    let replica = usize::try_from(node - 1).expect("few");
    Event::Status {
        replica,
        answer: Ok(Box::new(answer)),
    }
}

/// A minute of a cluster's life, with a killed leader and a paused follower.
fn lived(replicas: usize) -> State {
    let mut state = state(replicas);
    for replica in 0..replicas {
        let pid = u32::try_from(replica).ok().map(|pid| 4_000 + pid);
        state.apply(
            ms(1),
            Event::Process {
                replica,
                pid,
                life: Life::Running,
            },
        );
    }
    state.apply(ms(500), Event::Leader(Some(Leading { node: 1, term: 1 })));
    state.apply(ms(600), Event::Stage(Stage::Running));
    for number in 0..4 {
        state.apply(
            ms(700),
            Event::Worker {
                number,
                session: Session::Ready { epoch: 1 },
            },
        );
    }
    state.apply(ms(800), status(1, v1::Role::Leader, 11_900));
    for at in (60_000..=61_000).step_by(5) {
        state.apply(ms(at), Event::WriteSent);
        state.apply(ms(at), Event::WriteAcknowledged);
    }
    state.apply(
        ms(61_000),
        Event::Deed {
            replica: 0,
            deed: Deed::Kill,
        },
    );
    let ended = Life::Ended("signal: 9 (SIGKILL)".to_owned());
    state.apply(
        ms(61_001),
        Event::Process {
            replica: 0,
            pid: None,
            life: ended,
        },
    );
    state.apply(ms(61_011), Event::Leader(Some(Leading { node: 2, term: 2 })));
    state.apply(ms(61_013), Event::WriteAcknowledged);
    state.apply(
        ms(61_014),
        Event::Worker {
            number: 3,
            session: Session::Jeopardy,
        },
    );
    state.apply(ms(61_990), status(2, v1::Role::Leader, 12_345));
    for node in 3..=replicas {
        let node = u64::try_from(node).expect("few");
        state.apply(ms(61_990), status(node, v1::Role::Follower, 12_340));
    }
    state.apply(
        ms(61_995),
        Event::Process {
            replica: 2,
            pid: Some(4_002),
            life: Life::Paused,
        },
    );
    state.apply(ms(62_000), Event::Tick);
    state
}

fn shown(state: &State, width: usize, height: usize) -> Vec<String> {
    screen(state, width, height).iter().map(Line::plain).collect()
}

#[test]
fn a_screen_of_three_replicas_at_80_columns() {
    let want = [
        "quorate dev  3 replicas  profile zone  up 1:02  /tmp/quorate-dev-Abc123",
        "leader b  term 2  for 0:00  failovers 1",
        "seeds 127.0.0.1:15004,127.0.0.1:15008,127.0.0.1:15012",
        "",
        "    REPLICA  PROCESS     ROLE          LAST COMMITTED  APPLIED SNAPSHOT FLUSH ms",
        "> 1 a        signal 9    -            11900     11899    11899    10000      1.2",
        "  2 b        pid 4001    leader       12345     12344    12344    10000      1.2",
        "  3 c        paused      silent       12340     12339    12339    10000      1.2",
        "    a: http://127.0.0.1:15007  log /tmp/quorate-dev-Abc123/a/log",
        "",
        "SESSIONS Ready 3 of 4  Jeopardy 1  Fenced 0  Connecting 0  (fenced so far 0)",
        "WRITES   acknowledged 202  failed 0  waiting 0  100/s  last 987 ms ago",
        "READS    answered 0  failed 0",
        "",
        "LAST FAILOVER a -> b  term 2  crash, election 8.1 ms  989 ms ago",
        "  clients waited 13.0 ms between two acknowledged writes; sessions lost 0",
        "  kill -> det. 1.0, wit. 2.0, cand. 3.0, elect. 8.0, commit 10.0, ack 13.0 ms",
        "",
    ];
    let lines = shown(&lived(3), 80, 24);
    for (number, (line, want)) in lines.iter().zip(want).enumerate() {
        assert_eq!(line, want, "line {number} of\n{}", lines.join("\n"));
    }
    assert_eq!(lines.len(), 24);
    assert_eq!(lines[23], KEYS, "the keys fit");
}

#[test]
fn a_wide_screen_shows_more_of_each_replica() {
    let want = [
        "    REPLICA  PROCESS     ROLE       TERM      LAST  COMMITTED   APPLIED  SNAPSHOT  BEHIND  FLUSH p50/p99 ms      UP BOOT",
        "> 1 a        signal 9    -             2     11900      11899     11899     10000     445           1.2/5.7    1:02    1",
        "  2 b        pid 4001    leader        2     12345      12344     12344     10000       0           1.2/5.7    1:02    1",
    ];
    let lines = shown(&lived(3), 120, 40);
    for (line, want) in lines[4..].iter().zip(want) {
        assert_eq!(line, want, "\n{}", lines.join("\n"));
    }
}

#[test]
fn every_size_is_kept_to() {
    for replicas in [0, 1, 3, 5] {
        let state = if replicas < 3 {
            state(replicas)
        } else {
            lived(replicas)
        };
        for (width, height) in [
            (0, 0),
            (1, 1),
            (20, 5),
            (79, 23),
            (80, 24),
            (100, 30),
            (120, 40),
            (300, 100),
        ] {
            let lines = screen(&state, width, height);
            assert_eq!(lines.len(), height, "{replicas} replicas at {width}x{height}");
            let widest = lines.iter().map(Line::width).max().unwrap_or_default();
            assert!(
                widest <= width,
                "{replicas} replicas at {width}x{height}: {widest}"
            );
        }
    }
}

#[test]
fn five_replicas_leave_room_for_news_at_80x24() {
    let lines = shown(&lived(5), 80, 24);
    let told = lines
        .iter()
        .filter(|line| line.contains("failover a -> b"))
        .count();
    assert_eq!(told, 1, "\n{}", lines.join("\n"));
    assert!(
        lines[2].len() <= 80 && lines[2].ends_with("127.0.0.1:15016"),
        "{}",
        lines[2]
    );
}

#[test]
fn the_second_line_says_what_the_cluster_does() {
    let mut state = lived(3);
    let cases = [
        (None, "leader b  term 2  for 0:00  failovers 1"),
        (
            Some(Event::Process {
                replica: 1,
                pid: Some(4_001),
                life: Life::Paused,
            }),
            "leader b does not answer  term 2  for 0:01  failovers 1",
        ),
        (Some(Event::Leader(None)), "nobody leads for 500 ms"),
        (
            Some(Event::Stage(Stage::Starting("waiting for a leader".to_owned()))),
            "starting: waiting for a leader",
        ),
        (Some(Event::Stage(Stage::Stopping)), "stopping"),
    ];
    for (event, want) in cases {
        if let Some(event) = event {
            state.apply(ms(62_000), event);
            state.apply(ms(62_500), Event::Tick);
        }
        let lines = shown(&state, 80, 24);
        assert_eq!(lines[1], want);
    }
}

#[test]
fn warnings_are_shown_while_they_are_news() {
    let mut state = lived(3);
    let answer = v1::StatusResponse {
        warnings: vec!["node 1 cannot be reached".to_owned()],
        ..Default::default()
    };
    state.apply(
        ms(62_000),
        Event::Status {
            replica: 1,
            answer: Ok(Box::new(answer)),
        },
    );
    let line = |state: &State| shown(state, 80, 24)[9].clone();
    assert_eq!(line(&state), "    ! b: node 1 cannot be reached");
    state.apply(ms(70_000), Event::Tick);
    assert_eq!(line(&state), "");
}

#[test]
fn a_report_for_lines_holds_the_same() {
    let report: Vec<String> = report(&lived(3), 120).iter().map(Line::plain).collect();
    for want in [
        "leader b  term 2",
        "2 b        pid 4001    leader",
        "WRITES   acknowledged 202",
        "acknowledged 13.0 ms",
    ] {
        assert!(
            report.iter().any(|line| line.contains(want)),
            "{want}:\n{}",
            report.join("\n")
        );
    }
}

#[test]
fn nothing_that_a_replica_says_steers_the_terminal() {
    let mut state = lived(3);
    state.apply(ms(62_000), Event::Said(Tone::Bad, "evil \u{1b}[2J\n".to_owned()));
    let lines = shown(&state, 80, 24);
    assert!(
        lines.iter().any(|line| line.ends_with("evil ?[2J?")),
        "\n{}",
        lines.join("\n")
    );
}
