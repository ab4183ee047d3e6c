//! Changes of the machine to etcd's events. Pure.
//!
//! Promises: events are in the order of the writes; a deletion has its key and its revision and nothing else; what was there
//! before comes only when it was asked for, and never with a key that came into being.

use std::sync::Arc;

use quorate_api::etcdserverpb::watch_create_request::FilterType;
use quorate_api::mvccpb::event::EventType;
use quorate_api::mvccpb::{Event, KeyValue};
use quorate_replica::machine::{Change, ChangeSet, KeyRow, Row};

use super::keys::Keys;
use crate::convert::answer::key_value;
use crate::convert::signed;

/// Which events of its keys a watch gets, and what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    puts: bool,
    deletes: bool,
    /// The keys as they were.
    before: bool,
}

impl Wanted {
    /// As a request says it. Filters that there are not filter nothing.
    pub(super) fn new(filters: &[i32], before: bool) -> Self {
        let filtered = |filter: FilterType| filters.contains(&(filter as i32));
        Self {
            puts: !filtered(FilterType::Noput),
            deletes: !filtered(FilterType::Nodelete),
            before,
        }
    }

    fn takes(self, change: &Change) -> bool {
        match change.after {
            Some(_) => self.puts,
            None => self.deletes,
        }
    }
}

/// The events of a set for a watch.
pub(super) fn events<'a>(
    set: &'a ChangeSet,
    keys: &'a Keys,
    wanted: Wanted,
) -> impl Iterator<Item = Event> + use<'a> {
    let taken = move |change: &&Change| wanted.takes(change) && keys.contains(&change.key);
    let changes = set.changes.iter().filter(taken);
    changes.map(move |change| event(set, change, wanted.before))
}

fn event(set: &ChangeSet, change: &Change, before: bool) -> Event {
    let row = |row: &Arc<Row>| {
        key_value(KeyRow {
            key: change.key.clone(),
            row: Arc::clone(row),
        })
    };
    let is_created = change
        .after
        .as_ref()
        .is_some_and(|row| row.create_revision == row.mod_revision);
    let prev_kv = match before && !is_created {
        true => stood(set, change).map(row),
        false => None,
    };
    let (kind, kv) = match &change.after {
        Some(after) => (EventType::Put, row(after)),
        None => {
            let deleted = KeyValue {
                key: change.key.clone(),
                mod_revision: signed(set.revision.0),
                ..KeyValue::default()
            };
            (EventType::Delete, deleted)
        }
    };
    Event {
        r#type: kind as i32,
        kv: Some(kv),
        prev_kv,
    }
}

/// What stood under the change's key before the set's revision.
fn stood<'a>(set: &'a ChangeSet, change: &'a Change) -> Option<&'a Arc<Row>> {
    let before = change.before.as_ref()?;
    if before.mod_revision != set.revision {
        return Some(before);
    }
    // The same revision has written the key twice: what it found at first counts.
    let first = set.changes.iter().find(|first| first.key == change.key)?;
    first.before.as_ref()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_types::Revision;

    use super::*;

    fn row(value: &'static str, create: u64, changed: u64) -> Arc<Row> {
        Arc::new(Row {
            value: Bytes::from(value),
            create_revision: Revision(create),
            mod_revision: Revision(changed),
            version: 1 + changed - create,
            lease: 0,
        })
    }

    fn change(key: &'static str, before: Option<Arc<Row>>, after: Option<Arc<Row>>) -> Change {
        Change {
            key: Bytes::from(key),
            before,
            after,
        }
    }

    /// Revision 9: a comes, b is written, c goes, d is deleted and put again, e is written twice.
    fn set() -> ChangeSet {
        ChangeSet {
            revision: Revision(9),
            changes: vec![
                change("a", None, Some(row("1", 9, 9))),
                change("b", Some(row("1", 3, 5)), Some(row("2", 3, 9))),
                change("c", Some(row("3", 4, 4)), None),
                change("d", Some(row("4", 6, 6)), None),
                change("d", None, Some(row("5", 9, 9))),
                change("e", Some(row("6", 7, 7)), Some(row("7", 7, 9))),
                change("e", Some(row("7", 7, 9)), Some(row("8", 7, 9))),
            ],
        }
    }

    fn shown(event: &Event) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kv = event.kv.as_ref().expect("every event has a key");
        let kind = match event.r#type() {
            EventType::Put => "+",
            EventType::Delete => "-",
        };
        let before = event.prev_kv.as_ref();
        let before = before.map_or_else(String::new, |kv| {
            format!(" was {}@{}", text(&kv.value), kv.mod_revision)
        });
        format!(
            "{kind}{}={}@{}.{}v{}{before}",
            text(&kv.key),
            text(&kv.value),
            kv.create_revision,
            kv.mod_revision,
            kv.version
        )
    }

    #[test]
    fn a_watch_gets_the_events_that_it_wants() {
        use FilterType::{Nodelete, Noput};
        let cases: Vec<(&str, (&str, &str), Vec<i32>, bool, Vec<&str>)> = vec![
            ("a key", ("a", ""), vec![], false, vec!["+a=1@9.9v1"]),
            (
                "a key that is created has no past",
                ("a", ""),
                vec![],
                true,
                vec!["+a=1@9.9v1"],
            ),
            ("another key", ("x", ""), vec![], false, vec![]),
            (
                "what was there",
                ("b", ""),
                vec![],
                true,
                vec!["+b=2@3.9v7 was 1@5"],
            ),
            ("a deletion", ("c", ""), vec![], false, vec!["-c=@0.9v0"]),
            (
                "a deletion, and what was there",
                ("c", ""),
                vec![],
                true,
                vec!["-c=@0.9v0 was 3@4"],
            ),
            (
                "a range, in the order of the writes",
                ("a", "e"),
                vec![],
                false,
                vec!["+a=1@9.9v1", "+b=2@3.9v7", "-c=@0.9v0", "-d=@0.9v0", "+d=5@9.9v1"],
            ),
            (
                "no puts",
                ("a", "\0"),
                vec![Noput as i32],
                false,
                vec!["-c=@0.9v0", "-d=@0.9v0"],
            ),
            (
                "no deletions",
                ("c", "e"),
                vec![Nodelete as i32],
                false,
                vec!["+d=5@9.9v1"],
            ),
            (
                "neither",
                ("", "\0"),
                vec![Nodelete as i32, Noput as i32],
                true,
                vec![],
            ),
            (
                "a filter that there is not",
                ("a", ""),
                vec![7, -1],
                false,
                vec!["+a=1@9.9v1"],
            ),
            (
                "what was there before the revision, not within it",
                ("e", ""),
                vec![],
                true,
                vec!["+e=7@7.9v3 was 6@7", "+e=8@7.9v3 was 6@7"],
            ),
        ];
        let set = set();
        for (case, (key, range_end), filters, before, want) in cases {
            let keys = Keys::of(key.as_bytes(), range_end.as_bytes()).expect("keys");
            let got: Vec<_> = events(&set, &keys, Wanted::new(&filters, before)).collect();
            assert_eq!(got.iter().map(shown).collect::<Vec<_>>(), want, "{case}");
        }
    }
}
