//! The items of a watch as lines.
//!
//! Promises: one line for one event; the JSON's names and shapes do not change without a new major version. Left out
//! on purpose: the parts of a thing that changed, for people; JSON has it before and after.

use quorate_client::WatchItem;
use quorate_client::v1::{self, resource};
use serde::Serialize;

use crate::catalog::view;
use crate::exit::Failure;
use crate::output::json_line;
use crate::output::text::plain;
use crate::output::words;
use crate::sessions;

/// A line of JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "made, printed and dropped one at a time"
)]
enum Line {
    /// Something changed, or is there.
    Event {
        revision: u64,
        /// `created`, `altered`, `dropped`, or `present` for what there was when the watch began.
        change: &'static str,
        kind: String,
        /// `null` when it was created, or present.
        before: Option<Thing>,
        /// `null` when it was dropped.
        after: Option<Thing>,
    },
    /// What there was has been told; from here on events are news.
    Synced { revision: u64 },
    /// Forget everything: the present state follows.
    Reset {},
    /// The end: changes before this revision are no longer kept.
    Compacted { floor: u64 },
}

/// A thing of any kind; which one, the event says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Thing {
    Database(view::Database),
    Collection(Box<view::Collection>),
    Partition(view::Partition),
    Alias(view::Alias),
    Session(sessions::View),
    /// Of a kind that this version does not know.
    Unknown {},
}

/// Turns items into lines, and counts events.
#[derive(Debug)]
pub(super) struct Teller {
    json: bool,
    /// What comes is the state at the beginning.
    is_state: bool,
    left: Option<u64>,
}

impl Teller {
    pub(super) fn new(json: bool, with_state: bool, limit: Option<u64>) -> Self {
        Self {
            json,
            is_state: with_state,
            left: limit,
        }
    }

    /// As many events were told as were wanted.
    pub(super) fn has_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// The lines for an item.
    pub(super) fn tell(&mut self, item: &WatchItem) -> Result<String, Failure> {
        match item {
            WatchItem::Events { events, .. } => {
                let mut lines = String::new();
                for event in events {
                    if self.has_enough() {
                        break;
                    }
                    self.left = self.left.map(|left| left - 1);
                    lines += &self.event(event)?;
                }
                Ok(lines)
            }
            WatchItem::Synced { revision } => {
                self.is_state = false;
                let revision = *revision;
                self.sign(&Line::Synced { revision }, || format!("{revision:>8}  synced\n"))
            }
            WatchItem::Reset => {
                self.is_state = true;
                self.sign(&Line::Reset {}, || {
                    format!("{:>8}  reset: the present state follows\n", "-")
                })
            }
            WatchItem::Compacted { floor } => {
                let floor = *floor;
                self.sign(&Line::Compacted { floor }, || format!("{floor:>8}  compacted\n"))
            }
        }
    }

    fn sign(&self, line: &Line, text: impl FnOnce() -> String) -> Result<String, Failure> {
        if self.json { json_line(line) } else { Ok(text()) }
    }

    fn event(&self, event: &v1::Event) -> Result<String, Failure> {
        let change = match (&event.before, &event.after) {
            (None, _) if self.is_state => "present",
            (None, _) => "created",
            (Some(_), Some(_)) => "altered",
            (Some(_), None) => "dropped",
        };
        let kind = words::resource_kind(event.kind);
        if self.json {
            return json_line(&Line::Event {
                revision: event.revision,
                change,
                kind,
                before: event.before.as_ref().map(Thing::of),
                after: event.after.as_ref().map(Thing::of),
            });
        }
        let before = event.before.as_ref().map(subject);
        let after = event.after.as_ref().map(subject);
        let subject = match (before, after) {
            (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
            (before, after) => after.or(before).unwrap_or_default(),
        };
        let revision = event.revision;
        let line = format!("{revision:>8}  {change:<8}  {kind:<10}  {subject}");
        Ok(plain(line.trim_end()) + "\n")
    }
}

impl Thing {
    fn of(resource: &v1::Resource) -> Self {
        match &resource.kind {
            Some(resource::Kind::Database(database)) => Self::Database(view::Database::of(database)),
            Some(resource::Kind::Collection(collection)) => {
                Self::Collection(Box::new(view::Collection::of(collection)))
            }
            Some(resource::Kind::Partition(partition)) => Self::Partition(view::Partition::of(partition)),
            Some(resource::Kind::Alias(alias)) => Self::Alias(view::Alias::of(alias)),
            Some(resource::Kind::Session(session)) => Self::Session(sessions::View::of(session)),
            None => Self::Unknown {},
        }
    }
}

/// A thing in few words.
fn subject(resource: &v1::Resource) -> String {
    match &resource.kind {
        Some(resource::Kind::Database(database)) => format!("{} (id {})", database.name, database.id),
        Some(resource::Kind::Collection(collection)) => format!(
            "{} (id {}, database {})",
            collection.name, collection.id, collection.database_id
        ),
        Some(resource::Kind::Partition(partition)) => format!(
            "{} (id {}, collection {})",
            partition.name, partition.id, partition.collection_id
        ),
        Some(resource::Kind::Alias(alias)) => format!(
            "{} (of collection {} in database {})",
            alias.name, alias.collection_id, alias.database_id
        ),
        Some(resource::Kind::Session(session)) => {
            let worker = session.worker.clone().unwrap_or_default();
            format!(
                "{} {} (session {}, epoch {})",
                words::worker_kind(worker.kind),
                worker.name,
                session.session_id,
                session.epoch
            )
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(name: &str) -> v1::Resource {
        let alias = v1::Alias {
            name: name.to_owned(),
            database_id: 1,
            collection_id: 446,
            collection_name: "books".to_owned(),
        };
        v1::Resource {
            kind: Some(resource::Kind::Alias(alias)),
        }
    }

    fn event(before: Option<v1::Resource>, after: Option<v1::Resource>) -> v1::Event {
        v1::Event {
            kind: v1::ResourceKind::Alias.into(),
            revision: 7,
            before,
            after,
        }
    }

    fn events(events: Vec<v1::Event>) -> WatchItem {
        WatchItem::Events { revision: 9, events }
    }

    #[test]
    fn items_for_people() {
        let mut teller = Teller::new(false, true, None);
        let cases = [
            (
                events(vec![event(None, Some(alias("a")))]),
                "       7  present   alias       a (of collection 446 in database 1)\n",
            ),
            (WatchItem::Synced { revision: 9 }, "       9  synced\n"),
            (events(vec![]), ""),
            (
                events(vec![event(None, Some(alias("b"))), event(Some(alias("b")), None)]),
                "       7  created   alias       b (of collection 446 in database 1)\n       \
                 7  dropped   alias       b (of collection 446 in database 1)\n",
            ),
            (
                events(vec![event(Some(alias("b")), Some(alias("\u{1b}c\n")))]),
                "       7  altered   alias       b (of collection 446 in database 1) -> \
                 \\u{1b}c\\n (of collection 446 in database 1)\n",
            ),
            (
                events(vec![event(Some(alias("b")), Some(alias("b")))]),
                "       7  altered   alias       b (of collection 446 in database 1)\n",
            ),
            (WatchItem::Reset, "       -  reset: the present state follows\n"),
            (
                events(vec![v1::Event {
                    kind: 99,
                    after: Some(v1::Resource { kind: None }),
                    ..Default::default()
                }]),
                "       0  present   unknown(99)\n",
            ),
            (
                WatchItem::Compacted {
                    floor: 12_345_678_901,
                },
                "12345678901  compacted\n",
            ),
        ];
        for (item, want) in cases {
            assert_eq!(teller.tell(&item).unwrap(), want);
        }
    }

    #[test]
    fn items_as_json() {
        let mut teller = Teller::new(true, false, None);
        let a = r#"{"name":"a","database_id":1,"collection_id":446,"collection":"books"}"#;
        let cases = [
            (
                WatchItem::Synced { revision: 9 },
                r#"{"type":"synced","revision":9}"#.to_owned(),
            ),
            (
                events(vec![event(None, Some(alias("a")))]),
                format!(
                    r#"{{"type":"event","revision":7,"change":"created","kind":"alias","before":null,"after":{a}}}"#
                ),
            ),
            (
                events(vec![event(Some(alias("a")), None)]),
                format!(
                    r#"{{"type":"event","revision":7,"change":"dropped","kind":"alias","before":{a},"after":null}}"#
                ),
            ),
            (WatchItem::Reset, r#"{"type":"reset"}"#.to_owned()),
            (
                WatchItem::Compacted { floor: 3 },
                r#"{"type":"compacted","floor":3}"#.to_owned(),
            ),
        ];
        for (item, want) in cases {
            assert_eq!(teller.tell(&item).unwrap(), want + "\n");
        }
        let kinds = [
            (
                Some(resource::Kind::Database(v1::Database::default())),
                "\"database_id\":0",
            ),
            (
                Some(resource::Kind::Collection(v1::Collection::default())),
                "\"schema\":{\"fields\":[]",
            ),
            (
                Some(resource::Kind::Partition(v1::Partition::default())),
                "\"partition_id\":0",
            ),
            (
                Some(resource::Kind::Session(v1::Session::default())),
                "\"session_id\":0",
            ),
            (None, "\"after\":{}"),
        ];
        for (kind, want) in kinds {
            let after = Some(v1::Resource { kind });
            let line = teller.tell(&events(vec![event(None, after)])).unwrap();
            assert!(line.contains(want), "{line}");
        }
    }

    #[test]
    fn enough_is_enough() {
        let mut teller = Teller::new(false, false, Some(2));
        assert!(!teller.has_enough());
        let three = vec![event(None, Some(alias("a"))); 3];
        assert_eq!(teller.tell(&events(three)).unwrap().lines().count(), 2);
        assert!(teller.has_enough());
    }
}
