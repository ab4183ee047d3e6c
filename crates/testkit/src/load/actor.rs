//! One task of a load: makes one call after the other and notes what it was told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_client::{Client, Error, Outcome, v1};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::PROPERTY;
use crate::record::{Fate, Shown, Span, Written};

/// Ids asked for at a time.
const IDS: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// See the module.
pub(super) struct Actor {
    pub(super) role: Role,
    pub(super) number: usize,
    pub(super) prefix: String,
    pub(super) registers: Vec<String>,
    /// How many actors write: readers look for their collections.
    pub(super) writers: usize,
    pub(super) client: Client,
    pub(super) start: Instant,
    pub(super) pause: Duration,
    /// Counts answered calls.
    pub(super) answered: Arc<AtomicU64>,
}

/// What one actor noted.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) writes: Vec<Written>,
    pub(super) reads: Vec<Shown>,
    pub(super) ids: Vec<Range<u64>>,
    pub(super) unanswered: Vec<String>,
}

impl Actor {
    /// Works until `stop`. The call under way is brought to its end, so that its fate is known.
    pub(super) async fn run(self, stop: CancellationToken) -> Made {
        let mut made = Made::default();
        let mut turn = 0;
        while !stop.is_cancelled() {
            match self.role {
                Role::Writer => self.write(turn, &mut made).await,
                Role::Reader => self.read(turn, &mut made).await,
            }
            turn += 1;
            tokio::select! {
                () = sleep(self.pause) => {}
                () = stop.cancelled() => {}
            }
        }
        made
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The collection that a writer makes in a turn.
    fn collection(&self, writer: usize, turn: usize) -> String {
        format!("{}_c{writer}_{turn}", self.prefix)
    }

    async fn write(&self, turn: usize, made: &mut Made) {
        let called_ns = self.now_ns();
        let root = self.client.root();
        let (key, value, outcome) = match turn % 8 {
            3 => return self.take_ids(made).await,
            1 | 5 | 6 => {
                let name = self.collection(self.number, turn);
                let request = v1::CreateCollectionRequest {
                    name: name.clone(),
                    schema: Some(schema()),
                    ..Default::default()
                };
                (
                    name.clone(),
                    name,
                    root.create_collection(request).await.map(drop),
                )
            }
            _ => {
                let name = self.registers[(turn + self.number) % self.registers.len()].clone();
                let value = format!("{}:{turn}", self.number);
                let set = BTreeMap::from([(PROPERTY.to_owned(), value.clone())]);
                let request = v1::AlterDatabaseRequest {
                    name: name.clone(),
                    set,
                    ..Default::default()
                };
                (name, value, root.alter_database(request).await.map(drop))
            }
        };
        let span = Span {
            called_ns,
            returned_ns: self.now_ns(),
        };
        let fate = fate(outcome);
        if fate == Fate::Acknowledged {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        made.writes.push(Written {
            key,
            value,
            span,
            fate,
        });
    }

    async fn take_ids(&self, made: &mut Made) {
        match self.client.ids().allocate(IDS).await {
            Ok(ids) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                made.ids.push(ids);
            }
            Err(error) => made.unanswered.push(format!("ids: {error}")),
        }
    }

    async fn read(&self, turn: usize, made: &mut Made) {
        let called_ns = self.now_ns();
        let root = self.client.root();
        let (key, answer) = if turn % 4 == 3 {
            // One that may be there by now.
            let name = self.collection(turn % self.writers.max(1), turn);
            let request = v1::HasCollectionRequest {
                database: String::new(),
                name: name.clone(),
            };
            let answer = root.has_collection(request).await;
            let shown = answer.map(|answer| (answer.exists.then(|| name.clone()), answer.position));
            (name, shown)
        } else {
            let name = self.registers[(turn + self.number) % self.registers.len()].clone();
            let answer = root
                .describe_database(v1::DescribeDatabaseRequest { name: name.clone() })
                .await;
            let shown = answer.map(|answer| {
                let value = answer
                    .database
                    .and_then(|mut database| database.properties.remove(PROPERTY));
                (value, answer.position)
            });
            (name, shown)
        };
        match answer {
            Ok((value, position)) => {
                let span = Span {
                    called_ns,
                    returned_ns: self.now_ns(),
                };
                let revision = position.unwrap_or_default().revision;
                self.answered.fetch_add(1, Ordering::Relaxed);
                made.reads.push(Shown {
                    key,
                    value,
                    revision,
                    span,
                });
            }
            Err(error) => made.unanswered.push(format!("read of {key}: {error}")),
        }
    }
}

fn fate(outcome: Result<(), Error>) -> Fate {
    use v1::Reason::{ClientUnknown, RequestForgotten};
    let Err(error) = outcome else {
        return Fate::Acknowledged;
    };
    let words = error.to_string();
    match error {
        Error::Unavailable {
            outcome: Outcome::NotExecuted,
            ..
        } => Fate::NotExecuted(words),
        // These two say that nobody can tell; everything else that is refused is an answer.
        Error::Refused { reason, .. } if reason != ClientUnknown && reason != RequestForgotten => {
            Fate::Refused(words)
        }
        _ => Fate::Unknown(words),
    }
}

/// The smallest schema there is.
fn schema() -> v1::Schema {
    let key = v1::Field {
        name: "id".to_owned(),
        data_type: v1::DataType::Int64.into(),
        primary_key: true,
        ..Default::default()
    };
    let vector = v1::Field {
        name: "vector".to_owned(),
        data_type: v1::DataType::FloatVector.into(),
        dimension: 4,
        ..Default::default()
    };
    v1::Schema {
        fields: vec![key, vector],
        dynamic_fields: false,
    }
}
