//! Stories as golden scripts: commands in; answers, events and refusals out, compared with what the file says.
//!
//! A script (`scripts/**/*.script`) is a transcript. A line that starts with `> ` is a command, `#` starts a comment; all
//! other lines up to the next command are what the machine said. `REWRITE_SCRIPTS=1 cargo test -p quorate-machine --test
//! scripts` writes down what it says now: read the difference before you commit it.
//!
//! A command is a word, positional arguments, and `key=value` arguments. In front of it may stand `at <ms>` (the
//! proposer's clock) and `as <client>#<sequence>/<floor>` (a numbered request). What there is stands in `run.rs`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod parse;
mod run;
mod show;

use std::fs;
use std::path::{Path, PathBuf};

use parse::Call;
use run::Story;

fn scripts(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "script") {
            found.push(path);
        }
    }
}

/// The script with what the machine says now.
fn play(script: &str) -> String {
    let mut story = Story::new();
    let mut out = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            for said in story.run(&Call::parse(command)) {
                out.push_str(said.trim_end());
                out.push('\n');
            }
        } else if line.is_empty() || line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn stories_are_told_as_they_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut found = Vec::new();
    scripts(&root, &mut found);
    assert!(found.len() >= 8, "{} scripts in {}", found.len(), root.display());
    let rewrite = std::env::var_os("REWRITE_SCRIPTS").is_some();
    let mut wrong = Vec::new();
    for path in found {
        let script = fs::read_to_string(&path).unwrap();
        let played = play(&script);
        if rewrite {
            fs::write(&path, played).unwrap();
        } else if played != script {
            let differs = |(said, written): &(&str, &str)| said != written;
            let first = played.lines().zip(script.lines()).find(differs);
            wrong.push(format!(
                "{}: says {first:?} where the file has the second",
                path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
