//! `quorate bench failover` through the binary: the figures are there, and nothing was lost. How fast it was is not asked
//! here; a test that depends on the speed of the machine fails on another.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["bench", "failover"]).args(arguments);
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(path: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(path).expect("the file was written");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[test]
fn one_round_of_each_fault_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let json = directory.path().join("results.json");
    let path = json.display().to_string();
    let output = bench(&[
        "--fault",
        "kill,term",
        "--fault",
        "stop,transfer",
        "--rounds",
        "1",
        "--objects",
        "100",
        "--ballast-mb",
        "1",
        "--restart-time",
        "--commit",
        "abc",
        "--json",
        &path,
    ]);
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines = lines(&json);
    let faults: Vec<&str> = lines.iter().filter_map(|line| line["fault"].as_str()).collect();
    assert_eq!(faults, ["kill", "term", "stop", "transfer", "restart"], "{said}");
    for line in &lines {
        assert_eq!(line["system"], "quorate");
        assert!(
            line["gap_ms"]["p50"].as_f64().is_some_and(|gap| gap > 0.0),
            "{line}"
        );
        for count in ["failed_calls", "lost", "doubled", "unrecovered"] {
            assert_eq!(line[count], 0, "{count}: {line}");
        }
        assert_eq!(
            (&line["objects"], &line["ballast_mb"], &line["commit"]),
            (&100.into(), &1.into(), &"abc".into())
        );
    }
    let kill = &lines[0];
    assert_eq!(kill["rounds"], 1);
    assert!(
        kill["writes"].as_u64().is_some_and(|writes| writes > 200),
        "{kill}"
    );
    for phase in [
        "detected",
        "witnessed",
        "candidate",
        "elected",
        "first_commit",
        "client",
    ] {
        assert!(
            kill["phases_ms"][phase]["p50"]
                .as_f64()
                .is_some_and(|ms| ms > 0.0),
            "{phase}: {kill}"
        );
    }
    let table = text(&output.stdout);
    assert!(table.starts_with("gap in ms, as the client saw it\n"), "{table}");
    assert!(
        table.contains("quorate kill: ms from the fault to each step"),
        "{table}"
    );
}

#[test]
fn what_cannot_be_measured_is_refused_in_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let full = directory.path().display().to_string();
    std::fs::write(directory.path().join("something"), "").expect("a file");
    let nowhere = directory.path().join("no/such/file").display().to_string();
    let cases: &[(&[&str], &str)] = &[
        (&["--fault", "crash"], "\"crash\" is no fault"),
        (&["--replicas", "4"], "a failover takes 3 or 5"),
        (&["--rounds", "0"], "--rounds is 0"),
        (&["--objects", "1000000"], "the catalog has room for"),
        (&["--compare-etcd", &nowhere], "is no file"),
        (&["--dir", &full], "is not empty"),
        (&["--json", &nowhere], "cannot be written"),
    ];
    for (arguments, want) in cases {
        let output = bench(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
}
