//! Watches through pipes: state, news, history, and every way to end.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::house::House;

const FIELDS: [&str; 4] = ["--field", "id:int64,primary", "--field", "vec:float_vector,dim=8"];

/// A watch that runs.
struct Watching {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Watching {
    fn start(house: &House, arguments: &[&str]) -> Self {
        let mut command = house.command(&[&["watch"], arguments].concat());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Its exit code and what it said on standard error.
    fn ended(self) -> (Option<i32>, String) {
        let ended = self.child.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }
}

fn create(house: &House, name: &str) {
    house.works(&[&["catalog", "collection", "create", name], &FIELDS[..]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn state_then_news_until_ctrl_c() {
    let house = House::of(1).await;
    create(&house, "books");
    let mut watching = Watching::start(
        &house,
        &["--with-state", "--kind", "collection", "--output", "json"],
    );
    let present = watching.json();
    assert_eq!(
        (&present["change"], &present["after"]["name"]),
        (&"present".into(), &"books".into()),
        "{present}"
    );
    assert_eq!(watching.json()["type"], "synced");
    create(&house, "news");
    let created = watching.json();
    assert_eq!(
        (&created["change"], &created["before"]),
        (&"created".into(), &Value::Null),
        "{created}"
    );
    house.works(&["catalog", "collection", "rename", "news", "olds"]);
    let altered = watching.json();
    assert_eq!(
        (&altered["before"]["name"], &altered["after"]["name"]),
        (&"news".into(), &"olds".into())
    );
    house.works(&["catalog", "collection", "drop", "olds"]);
    let dropped = watching.json();
    assert_eq!(
        (&dropped["change"], &dropped["after"]),
        (&"dropped".into(), &Value::Null),
        "{dropped}"
    );
    let revisions: Vec<u64> = [&created, &altered, &dropped]
        .iter()
        .map(|line| line["revision"].as_u64().unwrap())
        .collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    watching.interrupt();
    assert_eq!(watching.line(), "", "nothing half written");
    assert_eq!(watching.ended(), (Some(0), String::new()));

    // The same again from history, for people.
    let from = revisions[0].to_string();
    let history = house.works(&[
        "watch",
        "--from-revision",
        &from,
        "--kind",
        "collection",
        "--limit",
        "3",
    ]);
    let changes: Vec<&str> = history
        .lines()
        .filter(|line| !line.ends_with("synced"))
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(changes, ["created", "altered", "dropped"], "{history}");
    assert!(
        history.contains("news (id ") && history.contains(" -> olds (id "),
        "{history}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_a_watch_also_while_nothing_happens() {
    let house = House::of(1).await;
    let mut watching = Watching::start(&house, &["--with-state"]);
    while !watching.line().ends_with("synced\n") {}
    let Watching { child, out } = watching;
    drop(out);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap()),
        (Some(0), String::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_with_a_reader_that_sleeps_hears_ctrl_c() {
    let house = House::of(1).await;
    // More than a pipe holds (64 KiB), and than the queue behind it.
    let note = format!("note={}", "x".repeat(4_000));
    for index in 0..60 {
        let name = format!("c{index}");
        house.works(
            &[
                &["catalog", "collection", "create", &name, "--property", &note],
                &FIELDS[..],
            ]
            .concat(),
        );
    }
    let watching = Watching::start(&house, &["--with-state", "--output", "json"]);
    let mut first = [0; 1];
    // It has begun to write; from here on nobody reads.
    let mut watching = watching;
    std::io::Read::read_exact(watching.out.get_mut(), &mut first).unwrap();
    watching.interrupt();
    let status = watching.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_over_a_change_of_leader() {
    let house = House::of(3).await;
    let mut watching = Watching::start(
        &house,
        &["--with-state", "--kind", "collection", "--output", "json"],
    );
    assert_eq!(watching.json()["type"], "synced");
    create(&house, "before");
    assert_eq!(watching.json()["after"]["name"], "before");
    let leader = house.json(&["leader", "show"])["node_id"].as_u64().unwrap();
    let process = house
        .cluster
        .processes()
        .iter()
        .find(|process| process.node().0 == leader)
        .unwrap();
    process.kill().unwrap();
    process.exited().await;
    create(&house, "after");
    let line = watching.json();
    assert_eq!(line["after"]["name"], "after", "{line}");
    watching.interrupt();
    assert_eq!(watching.ended(), (Some(0), String::new()));
}
