//! The judge judged: each kind of broken history must be caught, and only by its own name.

use super::*;
use crate::record::{Shown, Written};

/// A write of `value` to `key` between these moments.
fn wrote(key: &str, value: &str, span: (u64, u64), fate: Fate) -> Written {
    let span = Span {
        called_ns: span.0,
        returned_ns: span.1,
    };
    Written {
        key: key.to_owned(),
        value: value.to_owned(),
        span,
        fate,
    }
}

fn read(key: &str, value: Option<&str>, revision: u64, span: (u64, u64)) -> Shown {
    let span = Span {
        called_ns: span.0,
        returned_ns: span.1,
    };
    Shown {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        revision,
        span,
    }
}

fn change(revision: u64, key: &str, value: &str) -> Change {
    Change {
        revision,
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Two clients on two keys, with reads between; everything in order.
struct Story {
    record: Record,
    history: Vec<Change>,
    end: BTreeMap<String, String>,
}

fn good() -> Story {
    let unknown = Fate::Unknown("the deadline".to_owned());
    let not = Fate::NotExecuted("the deadline".to_owned());
    let record = Record {
        writes: vec![
            wrote("x", "x1", (10, 20), Fate::Acknowledged),
            wrote("y", "y1", (12, 40), Fate::Acknowledged),
            wrote("x", "x2", (30, 50), Fate::Acknowledged),
            wrote("x", "x3", (60, 90), unknown.clone()),
            wrote("y", "y2", (60, 90), unknown),
            wrote("y", "y3", (95, 99), not),
        ],
        reads: vec![
            read("x", None, 10, (5, 15)),
            read("x", Some("x1"), 11, (25, 28)),
            read("x", Some("x2"), 13, (55, 58)),
            read("x", Some("x3"), 14, (91, 92)),
            read("y", Some("y1"), 14, (100, 110)),
        ],
        ids: vec![10..20, 0..10, 25..30],
        unanswered: Vec::new(),
    };
    // The unknown write of y2 never came.
    let history = vec![
        change(11, "x", "x1"),
        change(12, "y", "y1"),
        change(13, "x", "x2"),
        change(14, "x", "x3"),
    ];
    let end = [("x", "x3"), ("y", "y1")];
    let end = end.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Story { record, history, end }
}

fn verdict(story: &Story) -> Vec<String> {
    let violations = judge(&story.record, &story.history, &story.end);
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_history_passes() {
    assert_eq!(verdict(&good()), Vec::<String>::new());
}

#[test]
fn an_unknown_write_may_come_once_and_late() {
    let mut story = good();
    // While nobody has seen anything later than revision 14.
    story.history.push(change(15, "y", "y2"));
    story.end.insert("y".to_owned(), "y2".to_owned());
    assert_eq!(verdict(&story), Vec::<String>::new());
}

#[test]
fn every_broken_history_is_caught() {
    type Break = fn(&mut Story);
    let cases: &[(&str, Break, &[&str])] = &[
        (
            "an acknowledged write is lost, from the history and the end",
            |story| {
                story
                    .record
                    .writes
                    .push(wrote("z", "z1", (200, 210), Fate::Acknowledged));
            },
            &["the acknowledged write of z1 to z is lost"],
        ),
        (
            "a write takes effect twice",
            |story| {
                story.history.push(change(15, "x", "x2"));
                story.end.insert("x".to_owned(), "x2".to_owned());
            },
            &["the write of x2 to x took effect 2 times"],
        ),
        (
            "a write that was not executed was",
            |story| {
                story.history.push(change(15, "y", "y3"));
                story.end.insert("y".to_owned(), "y3".to_owned());
            },
            &["the write of y3 to y took effect at revision 15; its client was told that it did not"],
        ),
        (
            "nobody wrote it",
            |story| {
                story.history.push(change(15, "y", "x1"));
                story.end.insert("y".to_owned(), "x1".to_owned());
            },
            &["y changed to x1 at revision 15, which nobody wrote there"],
        ),
        (
            "a retry was executed, too, and met the first one's effect",
            |story| {
                let refused = Fate::Refused("it exists".to_owned());
                story.record.writes.push(wrote("z", "z1", (200, 210), refused));
            },
            &["the write of z1 to z was refused: it exists"],
        ),
        (
            "a read that began after x2 was acknowledged shows the state before it",
            |story| story.record.reads.push(read("x", Some("x1"), 12, (51, 54))),
            &["a stale read of x: it shows revision 12, although revision 13 was known"],
        ),
        (
            "a read shows less than an earlier read of another client",
            |story| story.record.reads.push(read("x", Some("x2"), 13, (93, 94))),
            &["a stale read of x: it shows revision 13, although revision 14 was known"],
        ),
        (
            "a read claims to be fresh and shows an old value",
            |story| story.record.reads.push(read("x", Some("x1"), 13, (51, 54))),
            &["a read of x at revision 13 shows Some(\"x1\"); the history has Some(\"x2\")"],
        ),
        (
            "a read shows a write that is not there",
            |story| story.record.reads.push(read("y", Some("y2"), 14, (96, 97))),
            &["a read of y at revision 14 shows Some(\"y2\"); the history has Some(\"y1\")"],
        ),
        (
            "a write takes effect before one that was acknowledged before it was called",
            |story| {
                story.history.insert(3, change(13, "y", "y4"));
                story
                    .record
                    .writes
                    .push(wrote("y", "y4", (93, 94), Fate::Acknowledged));
                story.record.reads.truncate(4);
                story.end.insert("y".to_owned(), "y4".to_owned());
            },
            &["the write of y4 to y took effect at revision 13, although revision 14 was known"],
        ),
        (
            "the history goes back",
            |story| {
                story
                    .record
                    .writes
                    .push(wrote("z", "z1", (7, 300), Fate::Acknowledged));
                story.history.push(change(10, "z", "z1"));
                story.end.insert("z".to_owned(), "z1".to_owned());
            },
            &["the history goes back from revision 14 to 10"],
        ),
        (
            "the end has forgotten a write",
            |story| {
                story.end.remove("y");
            },
            &["at the end y has None; the history ends with Some(\"y1\")"],
        ),
        (
            "the end has what the history has not",
            |story| {
                story.end.insert("q".to_owned(), "q1".to_owned());
            },
            &["at the end q has Some(\"q1\"); the history ends with None"],
        ),
        (
            "an id is given twice",
            |story| story.record.ids.push(29..31),
            &["the ids 29..31 overlap"],
        ),
    ];
    for (name, break_it, want) in cases {
        let mut story = good();
        break_it(&mut story);
        let got = verdict(&story);
        assert_eq!(got.len(), want.len(), "{name}: {got:?}");
        for (got, want) in got.iter().zip(*want) {
            assert!(got.starts_with(want), "{name}: {got}");
        }
    }
}

#[test]
fn failed_calls_are_told() {
    let mut record = good().record;
    record.unanswered.push("read of x: no answer".to_owned());
    assert_eq!(record.acknowledged(), 3);
    assert_eq!(
        record.failed().len(),
        4,
        "two unknown, one not executed, one read: {:?}",
        record.failed()
    );
}
