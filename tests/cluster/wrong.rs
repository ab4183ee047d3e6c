//! What people give wrongly to `quorate serve`: one clear line on standard error, an exit code, and nothing done.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate_local::State;

use crate::support::{LONG, PROGRAM, Running, ended};

const LIST: &str = "a=127.0.0.1:1/2/3,b=127.0.0.1:4/5/6,c=127.0.0.1:7/8/9";

/// Runs `quorate` until it ends by itself.
fn quorate(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        // What the log says, the limits of this machine for example, is another matter.
        .env("QUORATE_LOG", "off")
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > LONG {
            child.kill().unwrap();
            panic!("{arguments:?} goes on");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// The one line on standard error.
fn one_line(case: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{case}: {said}");
    assert!(
        lines[0].starts_with("quorate: ") && lines[0].len() < 700,
        "{case}: {said}"
    );
    assert_eq!(output.stdout, b"", "{case}");
    lines[0].to_owned()
}

#[test]
fn wrong_flags_and_settings_are_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("unknown.toml", "nmae = \"a\"\n");
    file("broken.toml", "name = \"a");
    file("kind.toml", "drain_ms = \"soon\"\n");
    file("profile.toml", "profile = \"fast\"\n");
    file("two.toml", "replicas = [\"a=x\", \"b=y\"]\nname = \"a\"\n");
    file("empty.toml", "");
    std::fs::create_dir(directory.path().join("directory.toml")).unwrap();
    let long = "x".repeat(100_000);
    let long_name = format!("{long}=127.0.0.1");
    let replicas = ["--replicas", LIST, "--name", "a"];
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        ("nothing at all", &[], &[], "no replicas are listed"),
        ("an unknown flag", &["--replica", LIST], &[], "--replica"),
        ("a flag without its value", &["--name"], &[], "--name"),
        ("a word too many", &["a"], &[], "a"),
        ("not a number", &["--drain-ms", "soon"], &[], "soon"),
        ("a number below zero", &["--drain-ms", "-1"], &[], "-1"),
        (
            "a number too large",
            &["--drain-ms", "99999999999999999999"],
            &[],
            "99999999999999999999",
        ),
        (
            "a time beyond its limit",
            &["--drain-ms", "999999999999"],
            &[],
            "drain_ms",
        ),
        ("an empty list", &["--replicas", "", "--name", "a"], &[], "="),
        (
            "a list of two",
            &["--replicas", "a=x,b=y", "--name", "a"],
            &[],
            "list 1, 3 or 5",
        ),
        (
            "a list of four",
            &["--replicas", "a=x,b=y,c=z,d=w", "--name", "a"],
            &[],
            "list 1, 3 or 5",
        ),
        (
            "a name twice",
            &["--replicas", "a=x,a=y,b=z", "--name", "a"],
            &[],
            "listed twice",
        ),
        (
            "an address twice",
            &["--replicas", "a=x,b=x,c=z", "--name", "a"],
            &[],
            "listed twice",
        ),
        (
            "no ports",
            &["--replicas", "a=x:1,b=y,c=z", "--name", "a"],
            &[],
            "three ports",
        ),
        (
            "a name that is not listed",
            &["--replicas", LIST, "--name", "z"],
            &[],
            "not in the list",
        ),
        (
            "an empty name",
            &["--replicas", LIST, "--name", ""],
            &[],
            "name is empty",
        ),
        (
            "an oversized name",
            &["--replicas", LIST, "--name", &long],
            &[],
            "100000 bytes",
        ),
        (
            "an oversized name in the list",
            &["--replicas", &long_name, "--name", "a"],
            &[],
            "100000 bytes",
        ),
        (
            "a name with a space",
            &["--replicas", LIST, "--name", "a b"],
            &[],
            "' '",
        ),
        (
            "an unknown profile",
            &["--profile", "fast"],
            &[],
            "lan, zone or region",
        ),
        ("an empty profile", &["--profile", ""], &[], "lan, zone or region"),
        (
            "an unknown log format",
            &["--log-format", "xml"],
            &[],
            "neither text nor json",
        ),
        ("a broken filter", &["--log", "info,=,=x=y"], &[], "log"),
        (
            "a file that is not there",
            &["--config", "missing.toml"],
            &[],
            "missing.toml",
        ),
        (
            "a directory instead of a file",
            &["--config", "directory.toml"],
            &[],
            "is not a file",
        ),
        (
            "an empty file",
            &["--config", "empty.toml"],
            &[],
            "no replicas are listed",
        ),
        (
            "an unknown key",
            &["--config", "unknown.toml"],
            &[],
            "unknown field `nmae`",
        ),
        (
            "a file that is cut off",
            &["--config", "broken.toml"],
            &[],
            "line 1",
        ),
        (
            "a key of another type",
            &["--config", "kind.toml"],
            &[],
            "invalid type",
        ),
        (
            "an unknown profile in a file",
            &["--config", "profile.toml"],
            &[],
            "lan, zone or region",
        ),
        (
            "a list of two in a file",
            &["--config", "two.toml"],
            &[],
            "list 1, 3 or 5",
        ),
        (
            "an unknown profile in the environment",
            &[],
            &[("QUORATE_PROFILE", "fast")],
            "lan, zone or region",
        ),
        (
            "a number in the environment",
            &[],
            &[("QUORATE_DRAIN_MS", "soon")],
            "soon",
        ),
        (
            "a list of two in the environment",
            &[],
            &[("QUORATE_REPLICAS", "a=x,b=y"), ("QUORATE_NAME", "a")],
            "1, 3 or 5",
        ),
        (
            "port zero",
            &["--replicas", "a=127.0.0.1:0/2/3", "--name", "a"],
            &[],
            "three ports",
        ),
    ];
    for (case, arguments, environment, want) in cases {
        // What is wrong is something else than the list: give a good one.
        let about_the_list = arguments.contains(&"--replicas")
            || environment.iter().any(|(key, _)| *key == "QUORATE_REPLICAS")
            || want.contains("replicas are listed")
            || want.contains("list 1, 3 or 5");
        let more: &[&str] = if about_the_list { &[] } else { &replicas };
        let all = [&["serve"], *arguments, more].concat();
        let output = quorate(directory.path(), &all, environment);
        let line = one_line(case, &output);
        assert!(line.contains(want), "{case}: {line}");
        assert_eq!(output.status.code(), Some(2), "{case}: {line}");
    }
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.contains(&"quorate-data".into()),
        "nothing was made: {left:?}"
    );
    let output = quorate(directory.path(), &["serv"], &[]);
    assert!(one_line("an unknown command", &output).contains("serv"));
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_and_ports_that_cannot_be_had() {
    let cluster = Running::start(3).await;
    let taken = &cluster.processes()[0];
    let directory = tempfile::tempdir().unwrap();
    let a_file = directory.path().join("file");
    std::fs::write(&a_file, "x").unwrap();
    let list = |client: &str| format!("a={client}/2/3,b=127.0.0.1:4/5/6,c=127.0.0.1:7/8/9");
    let port_taken = list(&taken.client_address());
    let free = list("127.0.0.1:1");
    let (file, data) = (
        a_file.display().to_string(),
        taken.data_dir().display().to_string(),
    );
    let below = a_file.join("data").display().to_string();
    let cases = [
        ("a port in use", port_taken.as_str(), "fresh", "in use", 1),
        (
            "a file instead of a directory",
            &free,
            &file,
            "is not a directory",
            1,
        ),
        ("a directory below a file", &free, &below, "director", 1),
        (
            "a directory that cannot be written",
            &free,
            "/proc/quorate-data",
            "/proc/quorate-data",
            1,
        ),
        ("a directory in use", &free, &data, "is in use by", 1),
        ("no directory", &free, "", "--data-dir", 2),
    ];
    for (case, list, data, want, code) in cases {
        let arguments = [
            "serve",
            "--replicas",
            list,
            "--name",
            "a",
            "--data-dir",
            data,
            "--http",
            "off",
            "--log",
            "off",
        ];
        let arguments = [arguments.as_slice(), &["--bind", "127.0.0.1"]].concat();
        let output = quorate(directory.path(), &arguments, &[]);
        let line = one_line(case, &output);
        assert!(line.contains(want), "{case}: {line}");
        assert_eq!(output.status.code(), Some(code), "{case}: {line}");
    }
    cluster.agree().await;
}

/// A replica with a directory that is not its own is a stranger: it must not vote, and it must say so and end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_the_replicas_own_is_refused() {
    let others = Running::start(3).await;
    let foreign = tempfile::tempdir().unwrap();
    for process in others.processes() {
        process.terminate().unwrap();
        ended(process).await;
        std::fs::rename(process.data_dir(), foreign.path().join(process.name())).unwrap();
    }
    drop(others);

    let cluster = Running::start(3).await;
    let load = cluster.load("strangers").await;
    load.progress(100, LONG).await.unwrap();
    let victim = cluster.followers().await[0];
    victim.kill().unwrap();
    ended(victim).await;
    let own = foreign.path().join("own");
    std::fs::rename(victim.data_dir(), &own).unwrap();
    let other = ["a", "b", "c"]
        .into_iter()
        .find(|name| *name != victim.name())
        .unwrap();

    let refused = async |case: &str, want: &str| {
        victim.start().unwrap();
        ended(victim).await;
        let tail = victim.log_tail();
        let last = tail.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("quorate: ") && last.contains(want),
            "{case}: {last}"
        );
        assert_eq!(
            victim.state(),
            State::Exited("exit status: 4".to_owned()),
            "{case}: {last}"
        );
    };
    // Of another replica.
    std::fs::rename(foreign.path().join(other), victim.data_dir()).unwrap();
    refused("of another replica", &format!("is that of replica {other}")).await;
    std::fs::rename(victim.data_dir(), foreign.path().join(other)).unwrap();
    // Of the replica with the same name in another cluster.
    std::fs::rename(foreign.path().join(victim.name()), victim.data_dir()).unwrap();
    refused("of another cluster", "another cluster").await;
    std::fs::remove_dir_all(victim.data_dir()).unwrap();

    load.progress(100, LONG).await.unwrap();
    std::fs::rename(&own, victim.data_dir()).unwrap();
    victim.start().unwrap();
    cluster.ready(LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
}
