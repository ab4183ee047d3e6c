//! `quorate snapshot` and `quorate recover`: what they refuse, and that they leave alone what they refuse.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::house::{House, Said, quorate, run};

const LIST: &str = "a=127.0.0.1:1/2/3,b=127.0.0.1:4/5/6,c=127.0.0.1:7/8/9";

fn say(arguments: &[&str]) -> Said {
    run(quorate(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_saved_inspected_and_restored_and_everything_else_is_told() {
    let house = House::of(1).await;
    let room = tempfile::tempdir().unwrap();
    let place = |name: &str| room.path().join(name);
    let good = place("good.snap");

    // Saving.
    let saved = house.json(&["snapshot", "save", text(&good)]);
    assert_eq!(saved["bytes"], fs::metadata(&good).unwrap().len());
    let page = house.works(&["snapshot", "save", text(&good), "--force"]);
    assert!(page.contains("checksums") && page.contains("all right"), "{page}");
    fs::create_dir(place("directory")).unwrap();
    fs::create_dir(place("blocked.tmp")).unwrap();
    let before = names(room.path());
    let cases = [
        (
            "there is one",
            "good.snap",
            "exists; name another file, or replace it with --force",
        ),
        ("a directory", "directory", "is no name for a file"),
        ("no such directory", "none/file", "cannot write"),
        ("its temporary name is taken", "blocked", "cannot write"),
    ];
    for (case, name, want) in cases {
        let line = house.refused(&["snapshot", "save", text(&place(name))]);
        assert!(line.contains(want), "{case}: {line}");
        assert_eq!(names(room.path()), before, "{case}");
    }
    let nobody = [
        "snapshot",
        "save",
        text(&place("new")),
        "--seeds",
        "127.0.0.1:1",
        "--deadline-ms",
        "200",
    ]
    .map(str::to_owned);
    let nobody = nobody.each_ref().map(String::as_str);
    say(&nobody).assert_failed(3, &nobody);
    assert_eq!(names(room.path()), before);

    // Looking into it.
    let found = say(&["snapshot", "inspect", text(&good), "--output", "json"]);
    let found: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(found["cluster_id"], saved["cluster_id"]);
    let whole = fs::read(&good).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let identity = fs::read(house.cluster.processes()[0].data_dir().join("IDENTITY")).unwrap();
    let cases = [
        ("empty", vec![], "it is empty"),
        ("truncated", whole[..whole.len() - 1].to_vec(), "ends too early"),
        ("cut at its head", whole[..10].to_vec(), "ends too early"),
        ("flipped", flipped, "does not match"),
        ("longer", [&whole[..], b"x"].concat(), "goes on after its end"),
        ("foreign", identity, "it is not a snapshot of quorate"),
    ];
    let bad = place("bad.snap");
    let target = place("target");
    for (case, bytes, want) in cases {
        fs::write(&bad, bytes).unwrap();
        let inspect = ["snapshot", "inspect", text(&bad)];
        let restore = restore(text(&bad), text(&target), "a", LIST);
        for arguments in [&inspect[..], &restore] {
            let said = say(arguments);
            said.assert_failed(1, arguments);
            assert!(said.err.contains(want) && said.out.is_empty(), "{case}: {said:?}");
        }
        assert!(!target.exists(), "{case}");
    }
    for path in ["none.snap", "directory"] {
        let path = place(path);
        let arguments = ["snapshot", "inspect", text(&path)];
        say(&arguments).assert_failed(1, &arguments);
    }

    // Restoring.
    let usage = [
        (
            "no such name",
            restore(text(&good), text(&target), "z", LIST),
            "not in the list",
        ),
        (
            "no list",
            restore(text(&good), text(&target), "a", ""),
            "has no '='",
        ),
        (
            "two",
            restore(text(&good), text(&target), "a", "a=x,b=y"),
            "list 1, 3 or 5",
        ),
        (
            "a bad name",
            restore(text(&good), text(&target), "a b", LIST),
            "has ' '",
        ),
    ];
    for (case, arguments, want) in usage {
        let said = say(&arguments);
        said.assert_failed(2, &arguments);
        assert!(said.err.contains(want), "{case}: {said:?}");
        assert!(!target.exists(), "{case}");
    }
    let data = house.cluster.processes()[0].data_dir();
    for (case, directory) in [("in use", data.as_path()), ("not empty", room.path())] {
        let arguments = restore(text(&good), text(directory), "a", LIST);
        let said = say(&arguments);
        said.assert_failed(1, &arguments);
        assert!(said.err.contains("is not empty"), "{case}: {said:?}");
    }
    let arguments = restore(text(&good), text(&target), "b", LIST);
    let said = say(&arguments);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(
        said.out.contains("is replica b (node 2) of the new cluster"),
        "{said:?}"
    );
    say(&arguments).assert_failed(1, &arguments);
}

fn restore<'a>(file: &'a str, data_dir: &'a str, name: &'a str, list: &'a str) -> [&'a str; 9] {
    [
        "snapshot",
        "restore",
        file,
        "--data-dir",
        data_dir,
        "--name",
        name,
        "--replicas",
        list,
    ]
}

#[test]
fn what_cannot_be_recovered_is_told() {
    let room = tempfile::tempdir().unwrap();
    let (none, empty, file) = (
        room.path().join("none"),
        room.path().join("empty"),
        room.path().join("file"),
    );
    fs::create_dir(&empty).unwrap();
    fs::write(&file, b"mine").unwrap();
    let recover = |directory, more: &[&'static str]| {
        let mut arguments = vec!["recover", "--data-dir", directory, "--name", "a"];
        arguments.extend(more);
        arguments
    };
    let force = "--force-new-cluster";
    let cases = [
        (
            "not said",
            recover(text(&none), &["--yes"]),
            2,
            "--force-new-cluster",
        ),
        (
            "nothing there",
            recover(text(&none), &[force, "--yes"]),
            1,
            "holds no data of a replica",
        ),
        (
            "empty",
            recover(text(&empty), &[force, "--yes"]),
            1,
            "holds no data of a replica",
        ),
        (
            "a file",
            recover(text(&file), &[force, "--yes"]),
            1,
            "is not a directory",
        ),
        (
            "a list of others",
            recover(text(&none), &[force, "--replicas", "b=x"]),
            2,
            "list a alone",
        ),
        (
            "a list of three",
            recover(text(&none), &[force, "--replicas", LIST]),
            2,
            "list a alone",
        ),
        (
            "no list",
            recover(text(&none), &[force, "--replicas", "a"]),
            2,
            "has no '='",
        ),
    ];
    for (case, arguments, code, want) in cases {
        let said = say(&arguments);
        said.assert_failed(code, &arguments);
        assert!(said.err.contains(want), "{case}: {said:?}");
    }
    assert!(!none.exists());
    assert_eq!(names(&empty), Vec::<String>::new());
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}
