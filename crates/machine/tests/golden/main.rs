//! Old logs and old snapshots, which every build must read to the very same state.
//!
//! `v1.log` holds entries as replicas of feature level 1 wrote them, each with the digest that the state has after it;
//! `v1.snapshot` the records of a snapshot taken at its end; and so on for each level. They were recorded once and are never changed: when a line
//! fails, this build would diverge from the replicas beside it in the middle of a rolling upgrade. New behaviour gets a new
//! feature level and a new file.
//!
//! Record the files of a new level with `RECORD_GOLDEN=1`; files that are there are not overwritten.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../laws/generate.rs"]
mod generate;
mod record;

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use quorate_machine::{FEATURE_LEVEL_MAX, Machine};
use quorate_types::Index;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect::<Vec<_>>().into()
}

fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(path(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The machine at the end of a level's log; every line's digest is checked on the way.
fn replay(level: u32) -> Machine {
    let mut machine = Machine::genesis();
    for (index, line) in lines(&format!("v{level}.log")).iter().enumerate() {
        let (digest, entry) = line.split_once(' ').unwrap();
        machine.apply(Index(index as u64), &unhex(entry)).unwrap();
        let now = format!("{:032x}", machine.image().digest());
        assert_eq!(
            now, digest,
            "the state differs after entry {index} of v{level}.log"
        );
    }
    machine
}

#[test]
fn old_logs_replay_to_their_digests() {
    record::once();
    for level in 1..=FEATURE_LEVEL_MAX {
        let image = replay(level).image();
        assert!(image.audit().is_ok());
        assert!(image.position() > Some(Index(300)));
        assert_eq!(image.feature_level(), level);
    }
}

#[test]
fn old_snapshots_restore_to_the_state_at_their_writing() {
    record::once();
    for level in 1..=FEATURE_LEVEL_MAX {
        let records = lines(&format!("v{level}.snapshot"))
            .iter()
            .map(|line| unhex(line))
            .collect::<Vec<_>>();
        let restored = Machine::restore(records.iter().cloned().map(Ok::<_, Infallible>)).unwrap();
        assert_eq!(restored.image().digest(), replay(level).image().digest());
        let written: Vec<_> = restored.image().snapshot_records().collect();
        assert_eq!(written, records);
    }
}
