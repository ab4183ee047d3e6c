//! Wrong usage, and addresses behind which there is no cluster.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::house::{Said, quorate, run};

/// An address where nothing listens: a port that was free a moment ago.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn say(arguments: &[&str]) -> Said {
    run(quorate(arguments))
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let create = ["catalog", "collection", "create", "a"];
    let many = vec!["127.0.0.1:1"; 17].join(",");
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["stats"], "status"),
        (vec!["catalog"], "Usage"),
        (vec!["leader"], "Usage"),
        (vec!["status", "--seeds", ""], "has no port"),
        (
            vec!["status", "--seeds", "a"],
            "\"a\" is not an address: it has no port; write host:port",
        ),
        (vec!["status", "--seeds", "a:1,,b:2"], "has no port"),
        (vec!["status", "--seeds", "a:99999"], "is not an address"),
        (
            vec!["status", "--seeds", &many],
            "there are 17; at most 16 are taken",
        ),
        (vec!["status", "--deadline-ms", "0"], "0 is not in 1..=86400000"),
        (vec!["status", "--deadline-ms", "-1"], "unexpected argument"),
        (
            vec!["status", "--deadline-ms", "18446744073709551616"],
            "number too large",
        ),
        (vec!["status", "--output", "yaml"], "possible values: table, json"),
        (vec!["status", "extra"], "unexpected argument"),
        (vec!["leader", "transfer", "--to", ""], "a value is required"),
        (create.to_vec(), "--field <NAME:TYPE[,OPTION]...>"),
        (
            [&create[..], &["--field", "id"]].concat(),
            "has no type; write NAME:TYPE",
        ),
        (
            [&create[..], &["--field", "id:int"]].concat(),
            "\"int\" is no type; known are bool",
        ),
        (
            [&create[..], &["--field", "v:float_vector,dim=99999999999"]].concat(),
            "dim=99999999999 is no number",
        ),
        (
            [&create[..], &["--field", "id:int64", "--schema", "f"]].concat(),
            "cannot be used with",
        ),
        (
            [&create[..], &["--schema", "/nowhere/schema.json"]].concat(),
            "--schema /nowhere/schema.json: cannot be read",
        ),
        (
            [&create[..], &["--schema", "/"]].concat(),
            "--schema /: cannot be read",
        ),
        (
            [&create[..], &["--field", "id:int64", "--shards", "-1"]].concat(),
            "unexpected argument",
        ),
        (
            [&create[..], &["--field", "id:int64", "--shards", "4294967296"]].concat(),
            "4294967296 is not in",
        ),
        (
            [&create[..], &["--field", "id:int64", "--consistency", "weak"]].concat(),
            "possible values: strong",
        ),
        (
            [&create[..], &["--field", "id:int64", "--property", "a"]].concat(),
            "has no value; write KEY=VALUE",
        ),
        (
            [
                &create[..],
                &["--field", "id:int64", "--property", "a=1", "--property", "a=2"],
            ]
            .concat(),
            "given twice",
        ),
        (vec!["catalog", "collection", "describe"], "<NAME>"),
        (
            vec!["catalog", "collection", "describe", ""],
            "a value is required",
        ),
        (
            vec!["catalog", "collection", "describe", "a", "--id", "1"],
            "cannot be used with",
        ),
        (
            vec!["catalog", "collection", "describe", "--id", "0"],
            "0 is not in 1..",
        ),
        (vec!["catalog", "database", "alter", "a"], "--set <KEY=VALUE>"),
        (vec!["watch", "--kind", "index"], "possible values: database"),
        (vec!["watch", "--from-revision", "0"], "0 is not in 1.."),
        (
            vec!["watch", "--from-revision", "1", "--with-state"],
            "cannot be used with",
        ),
        (vec!["sessions", "list", "--kind", "x"], "possible values: proxy"),
    ];
    for (arguments, want) in cases {
        let said = say(&arguments);
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(2), ""),
            "{arguments:?}: {said:?}"
        );
        assert!(said.err.contains(want), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn a_file_that_is_no_schema_is_one_line_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("schema.json");
    let path = file.to_str().unwrap();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "is not a schema: EOF"),
        (b"{\"fields\": [\n{\"name\": 1}]}".to_vec(), "at line 2 column"),
        (vec![0xff; 100], "is not a schema"),
        (vec![b'['; 2_000_000], "has more than 1638400 bytes"),
    ];
    for (content, want) in cases {
        fs::write(&file, content).unwrap();
        let arguments = ["catalog", "collection", "create", "a", "--schema", path];
        let said = say(&arguments);
        said.assert_failed(2, &arguments);
        assert!(said.err.contains(want), "{}", said.err);
    }
}

#[test]
fn nobody_there_is_exit_code_3_and_says_who_was_asked() {
    let address = nowhere();
    let commands: &[&[&str]] = &[
        &["status"],
        &["leader", "show"],
        &["leader", "transfer"],
        &["catalog", "database", "list"],
        &["catalog", "database", "list", "--stale"],
        &["catalog", "collection", "drop", "a"],
        &["sessions", "list"],
        &["watch"],
    ];
    for command in commands {
        let arguments = [command, &["--seeds", &address, "--deadline-ms", "300"][..]].concat();
        let said = say(&arguments);
        said.assert_failed(3, &arguments);
        assert_eq!(said.out, "", "{arguments:?}");
        assert!(said.err.contains(&address), "{arguments:?}: {}", said.err);
        assert!(said.err.contains("--seeds"), "it says what to do: {}", said.err);
    }
    // The same address from the environment.
    let mut command = quorate(&["leader", "show", "--deadline-ms", "300"]);
    command.env("QUORATE_SEEDS", &address);
    let said = run(command);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains(&address), "{}", said.err);
}

#[test]
fn another_program_at_the_address_is_one_line() {
    // Answers everybody with bytes that a terminal would obey.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(b"HTTP/1.1 400 \x1b[2J\x1b]0;owned\x07 Bad\r\n\r\n\x9b31m\n\n\n");
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    for command in [
        &["status"][..],
        &["leader", "show"],
        &["catalog", "collection", "list", "--stale"],
        &["watch"],
    ] {
        let arguments = [command, &["--seeds", &address, "--deadline-ms", "500"][..]].concat();
        let said = say(&arguments);
        said.assert_failed(3, &arguments);
    }
}

#[test]
fn help_has_an_example_everywhere() {
    let mut ways: Vec<Vec<&str>> = vec![vec!["status"], vec!["watch"], vec!["catalog"]];
    let leaves: &[(&[&str], &[&str])] = &[
        (&["leader"], &["show", "transfer"]),
        (&["sessions"], &["list"]),
        (
            &["catalog", "database"],
            &["create", "drop", "alter", "describe", "list"],
        ),
        (
            &["catalog", "collection"],
            &["create", "drop", "alter", "rename", "describe", "has", "list"],
        ),
        (&["catalog", "partition"], &["create", "drop", "has", "list"]),
        (
            &["catalog", "alias"],
            &["create", "drop", "alter", "describe", "list"],
        ),
    ];
    for (group, commands) in leaves {
        ways.extend(commands.iter().map(|command| [group, &[*command][..]].concat()));
    }
    for way in ways {
        let said = say(&[&way[..], &["--help"]].concat());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{way:?}");
        let example = format!("quorate {}", way.join(" "));
        let shown = said.out.lines().filter(|line| line.contains(&example)).count();
        assert!(shown >= 2, "{way:?}: its usage and an example: {}", said.out);
        for flag in ["--seeds", "--output", "--deadline-ms"] {
            assert!(said.out.contains(flag), "{way:?}: {flag}");
        }
    }
}
