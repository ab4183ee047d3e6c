//! Where a watch stands: a pure state machine from the replicas' messages to the caller's items.
//!
//! Promises: of the messages of any number of replicas, each change comes out once and in the order of revisions. A
//! message that would break the order is an error of that replica, and nothing of it comes out. Left out on purpose:
//! streams.

use quorate_api::v1;

use super::{OnCompaction, WatchItem};

/// See the module.
#[derive(Debug)]
pub(super) struct Cursor {
    kinds: Vec<i32>,
    on_compaction: OnCompaction,
    phase: Phase,
    /// The caller knows that everything which existed has been delivered; told once, not at every stream that resumes.
    synced: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The state that exists is being delivered.
    State {
        /// Some of it is in the caller's hands already.
        delivered: bool,
    },
    /// Changes are, from this revision on; 0 while the first message has not said where "now" is.
    Changes { next: u64 },
    /// Nothing more comes.
    Over,
}

/// What a message means.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// These come out, perhaps none.
    Items(Vec<WatchItem>),
    /// The replica cannot go on, or said something impossible: resume elsewhere.
    Elsewhere(String),
}

impl Cursor {
    pub(super) fn new(request: v1::WatchRequest, on_compaction: OnCompaction) -> Self {
        let phase = if request.with_state {
            Phase::State { delivered: false }
        } else {
            Phase::Changes {
                next: request.from_revision,
            }
        };
        Self {
            kinds: request.kinds,
            on_compaction,
            phase,
            synced: false,
        }
    }

    /// The request that continues from here at any replica; `None` when nothing more comes.
    pub(super) fn request(&self) -> Option<v1::WatchRequest> {
        let (with_state, from_revision) = match self.phase {
            Phase::State { .. } => (true, 0),
            Phase::Changes { next } => (false, next),
            Phase::Over => return None,
        };
        Some(v1::WatchRequest {
            from_revision,
            kinds: self.kinds.clone(),
            with_state,
        })
    }

    /// Grows as changes are delivered.
    pub(super) fn position(&self) -> u64 {
        match self.phase {
            Phase::State { .. } | Phase::Over => 0,
            Phase::Changes { next } => next,
        }
    }

    /// The stream is gone. The state cannot be continued in its middle: the caller is told to begin anew.
    pub(super) fn broken(&mut self) -> Option<WatchItem> {
        match &mut self.phase {
            Phase::State { delivered } if *delivered => {
                *delivered = false;
                Some(WatchItem::Reset)
            }
            Phase::State { .. } | Phase::Changes { .. } | Phase::Over => None,
        }
    }

    /// Takes a replica's message.
    pub(super) fn take(&mut self, message: v1::WatchResponse) -> Taken {
        if let Some(cancelled) = message.cancelled {
            return self.cancelled(&cancelled);
        }
        let first_synced = message.synced && !self.synced;
        self.synced |= first_synced && !matches!(self.phase, Phase::Over);
        match &mut self.phase {
            Phase::State { delivered } => {
                *delivered |= !message.events.is_empty();
                let events = events(message.revision, message.events);
                if message.synced {
                    self.phase = Phase::Changes {
                        next: message.revision.saturating_add(1),
                    };
                }
                Taken::Items(with_synced(events, first_synced, message.revision))
            }
            Phase::Changes { next } => {
                if let Some(why) = disorder(&message) {
                    return Taken::Elsewhere(why);
                }
                let mut fresh = message.events;
                fresh.retain(|event| event.revision >= *next);
                *next = (*next).max(message.revision.saturating_add(1));
                Taken::Items(with_synced(
                    events(message.revision, fresh),
                    first_synced,
                    message.revision,
                ))
            }
            Phase::Over => Taken::Items(vec![]),
        }
    }

    fn cancelled(&mut self, cancelled: &v1::WatchCancelled) -> Taken {
        let floor = cancelled.compacted_below;
        if floor == 0 {
            return Taken::Elsewhere(cancelled.why.clone());
        }
        match self.on_compaction {
            OnCompaction::End => {
                self.phase = Phase::Over;
                Taken::Items(vec![WatchItem::Compacted { floor }])
            }
            OnCompaction::Restart => {
                self.phase = Phase::State { delivered: false };
                self.synced = false;
                Taken::Items(vec![WatchItem::Reset])
            }
        }
    }
}

fn events(revision: u64, events: Vec<v1::Event>) -> Option<WatchItem> {
    (!events.is_empty()).then_some(WatchItem::Events { revision, events })
}

fn with_synced(events: Option<WatchItem>, synced: bool, revision: u64) -> Vec<WatchItem> {
    let synced = synced.then_some(WatchItem::Synced { revision });
    events.into_iter().chain(synced).collect()
}

/// What is wrong with the order inside a message of changes.
fn disorder(message: &v1::WatchResponse) -> Option<String> {
    let revisions = || message.events.iter().map(|event| event.revision);
    if !revisions().is_sorted() {
        return Some("its events are not in the order of their revisions".to_owned());
    }
    let last = revisions().next_back()?;
    (last > message.revision).then(|| {
        format!(
            "it claims completeness up to revision {} and has an event of {last}",
            message.revision
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(revision: u64, events: &[u64], synced: bool) -> v1::WatchResponse {
        let event = |revision: &u64| v1::Event {
            revision: *revision,
            ..Default::default()
        };
        v1::WatchResponse {
            revision,
            events: events.iter().map(event).collect(),
            synced,
            cancelled: None,
        }
    }

    fn cancelled(compacted_below: u64) -> v1::WatchResponse {
        v1::WatchResponse {
            cancelled: Some(v1::WatchCancelled {
                compacted_below,
                why: "because".to_owned(),
            }),
            ..Default::default()
        }
    }

    /// Items in short: revisions of events, "s" for synced, "r" for reset, "c" for compacted, "!" for elsewhere.
    fn short(taken: Taken) -> String {
        let item = |item: &WatchItem| match item {
            WatchItem::Events { events, .. } => {
                let revisions: Vec<String> = events.iter().map(|e| e.revision.to_string()).collect();
                revisions.join(",")
            }
            WatchItem::Synced { revision } => format!("s{revision}"),
            WatchItem::Reset => "r".to_owned(),
            WatchItem::Compacted { floor } => format!("c{floor}"),
        };
        match taken {
            Taken::Items(items) => items.iter().map(item).collect::<Vec<_>>().join(" "),
            Taken::Elsewhere(_) => "!".to_owned(),
        }
    }

    fn shown(request: Option<v1::WatchRequest>) -> String {
        request.map_or("over".to_owned(), |request| match request.with_state {
            true => "state".to_owned(),
            false => format!("from {}", request.from_revision),
        })
    }

    fn from(from_revision: u64) -> v1::WatchRequest {
        v1::WatchRequest {
            from_revision,
            ..Default::default()
        }
    }

    fn state() -> v1::WatchRequest {
        v1::WatchRequest {
            with_state: true,
            ..Default::default()
        }
    }

    #[test]
    fn changes_come_out_once_and_in_order() {
        use OnCompaction::{End, Restart};
        type Case = (
            &'static str,
            v1::WatchRequest,
            OnCompaction,
            Vec<v1::WatchResponse>,
            &'static [&'static str],
            &'static str,
        );
        let cases: Vec<Case> = vec![
            (
                "from a revision",
                from(5),
                End,
                vec![message(6, &[5, 6, 6], false)],
                &["5,6,6"],
                "from 7",
            ),
            (
                "from now on",
                from(0),
                End,
                vec![message(41, &[], true)],
                &["s41"],
                "from 42",
            ),
            ("now is not known yet", from(0), End, vec![], &[], "from 0"),
            (
                "what another replica delivered is left out",
                from(5),
                End,
                vec![
                    message(6, &[5, 6], false),
                    message(7, &[5, 6, 7], false),
                    message(7, &[7], false),
                ],
                &["5,6", "7", ""],
                "from 8",
            ),
            (
                "progress without events",
                from(5),
                End,
                vec![message(9, &[], false)],
                &[""],
                "from 10",
            ),
            (
                "a replica that is behind does not take the watch back",
                from(5),
                End,
                vec![message(9, &[9], false), message(6, &[6], false)],
                &["9", ""],
                "from 10",
            ),
            (
                "disorder",
                from(5),
                End,
                vec![message(7, &[7, 6], false)],
                &["!"],
                "from 5",
            ),
            (
                "an event beyond what is complete",
                from(5),
                End,
                vec![message(7, &[8], false)],
                &["!"],
                "from 5",
            ),
            (
                "the state, then changes",
                state(),
                End,
                vec![
                    message(9, &[3, 1], false),
                    message(9, &[2], true),
                    message(10, &[10], false),
                ],
                &["3,1", "2 s9", "10"],
                "from 11",
            ),
            (
                "history is gone",
                from(5),
                End,
                vec![cancelled(8), message(9, &[9], false)],
                &["c8", ""],
                "over",
            ),
            (
                "history is gone, and the state is taken instead",
                from(5),
                Restart,
                vec![cancelled(8), message(9, &[2], true), message(9, &[9], false)],
                &["r", "2 s9", ""],
                "from 10",
            ),
            (
                "cancelled for another reason",
                from(5),
                Restart,
                vec![cancelled(0)],
                &["!"],
                "from 5",
            ),
            (
                "the last revision there is",
                from(5),
                End,
                vec![message(u64::MAX, &[], false)],
                &[""],
                "from 18446744073709551615",
            ),
        ];
        for (name, request, on_compaction, messages, want, resume) in cases {
            let mut cursor = Cursor::new(request, on_compaction);
            let got: Vec<String> = messages.into_iter().map(|m| short(cursor.take(m))).collect();
            assert_eq!(got, want, "{name}");
            assert_eq!(shown(cursor.request()), resume, "{name}");
        }
    }

    #[test]
    fn a_state_that_breaks_off_begins_anew_and_says_so() {
        let mut cursor = Cursor::new(state(), OnCompaction::End);
        assert_eq!(cursor.broken(), None, "nothing was delivered");
        cursor.take(message(9, &[1], false));
        assert_eq!(cursor.broken(), Some(WatchItem::Reset));
        assert_eq!(cursor.broken(), None, "once");
        assert_eq!(shown(cursor.request()), "state");
        cursor.take(message(9, &[1], true));
        assert_eq!(
            (cursor.broken(), shown(cursor.request())),
            (None, "from 10".to_owned())
        );
    }
}
