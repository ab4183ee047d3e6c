//! A state to records, lazily: the state is shared, writes go on meanwhile.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use prost::Message;
use quorate_format::v1::snapshot_record::Record;
use quorate_format::{envelope, v1};
use quorate_types::ClientId;

use super::RECORD_BYTES;
use super::record::{Sum, change_to_format};
use crate::digest;
use crate::entry::client_bytes;
use crate::feature;
use crate::keyspace::{Cursor, HistoryIter, Keyspace, KeyspaceTag};
use crate::state::State;

/// The records of a state.
pub(crate) fn write(state: &State) -> impl Iterator<Item = Bytes> + Send + use<> {
    Writer {
        rows: keyspaces(state)
            .map(|space| (space.tag(), space.cursor(Vec::new()).peekable()))
            .collect(),
        changes: keyspaces(state)
            .map(|space| {
                let changes = Changes {
                    sets: space.history().all(),
                    batch: Vec::new().into_iter(),
                };
                (space.tag(), changes.peekable())
            })
            .collect(),
        client: None,
        answer: None,
        retired: 0,
        stage: Stage::Header,
        sum: Sum::default(),
        state: state.clone(),
    }
}

/// Those that there are at the state's feature level, ascending.
fn keyspaces(state: &State) -> impl Iterator<Item = &Keyspace> {
    let has = |level| state.head.feature_level >= level;
    let user = has(feature::KV).then(|| state.user.rows());
    let leases = has(feature::KV_LEASES).then(|| state.user.leases());
    let auth = has(feature::KV_AUTH).then(|| state.user.auth_rows());
    std::iter::once(&state.meta).chain(user).chain(leases).chain(auth)
}

/// What comes next.
#[derive(Clone, Copy)]
enum Stage {
    Header,
    Rows,
    Changes,
    Clients,
    Answers,
    Retired,
    Trailer,
    Done,
}

impl Stage {
    fn next(self) -> Self {
        match self {
            Self::Header => Self::Rows,
            Self::Rows => Self::Changes,
            Self::Changes => Self::Clients,
            Self::Clients => Self::Answers,
            Self::Answers => Self::Retired,
            Self::Retired => Self::Trailer,
            Self::Trailer | Self::Done => Self::Done,
        }
    }

    /// It has one record; the others have as many as they need, perhaps none.
    fn is_single(self) -> bool {
        matches!(self, Self::Header | Self::Trailer)
    }
}

struct Writer {
    state: State,
    stage: Stage,
    sum: Sum,
    /// Of the keyspaces that are not written yet.
    rows: VecDeque<(KeyspaceTag, Peekable<Cursor>)>,
    /// Of the keyspaces that are not written yet.
    changes: VecDeque<(KeyspaceTag, Peekable<Changes>)>,
    /// The last client that was written.
    client: Option<ClientId>,
    /// The last answer that was written.
    answer: Option<(ClientId, u64)>,
    /// Retired clients that were written.
    retired: usize,
}

impl Iterator for Writer {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let record = match self.stage {
                Stage::Header => Some(self.header()),
                Stage::Rows => self.some_rows(),
                Stage::Changes => self.some_changes(),
                Stage::Clients => self.some_clients(),
                Stage::Answers => self.some_answers(),
                Stage::Retired => self.some_retired(),
                Stage::Trailer => Some(self.trailer()),
                Stage::Done => return None,
            };
            if record.is_none() || self.stage.is_single() {
                self.stage = self.stage.next();
            }
            if let Some(record) = record {
                let record = envelope::seal(&v1::SnapshotRecord { record: Some(record) });
                self.sum.add(&record);
                return Some(record);
            }
        }
    }
}

impl Writer {
    fn header(&mut self) -> Record {
        let head = &self.state.head;
        let keyspace = |space: &Keyspace| v1::SnapshotKeyspace {
            keyspace: space.tag().number(),
            revision: space.revision().0,
            history_floor: space.history().floor().0,
        };
        Record::Header(v1::SnapshotHeader {
            applied_index: self.state.position.map(|index| index.0),
            log_time_ms: self.state.log_time.0,
            feature_level: head.feature_level,
            last_id: head.last_id,
            last_epoch: head.last_epoch,
            keyspaces: keyspaces(&self.state).map(keyspace).collect(),
        })
    }

    fn some_rows(&mut self) -> Option<Record> {
        while let Some((tag, rows)) = self.rows.front_mut() {
            let mut batch = Batch::default();
            while let Some((key, row)) = rows.next_if(|(key, row)| batch.takes(key.len() + row.value.len())) {
                self.sum.rows += 1;
                let row = Some(v1::Row::from(&*row));
                batch.items.push(v1::StoredRow { key, row });
            }
            if let Some(rows) = batch.finish() {
                let keyspace = tag.number();
                return Some(Record::Rows(v1::SnapshotRows { keyspace, rows }));
            }
            self.rows.pop_front();
        }
        None
    }

    fn some_changes(&mut self) -> Option<Record> {
        while let Some((tag, changes)) = self.changes.front_mut() {
            let mut batch = Batch::default();
            while let Some(change) = changes.next_if(|change| batch.takes(change.encoded_len())) {
                self.sum.changes += 1;
                batch.items.push(change);
            }
            if let Some(changes) = batch.finish() {
                let keyspace = tag.number();
                return Some(Record::Changes(v1::SnapshotChanges { keyspace, changes }));
            }
            self.changes.pop_front();
        }
        None
    }

    fn some_clients(&mut self) -> Option<Record> {
        let mut batch = Batch::default();
        while let Some((id, client)) = self.state.clients.next_after(self.client) {
            if !batch.takes(32) {
                break;
            }
            batch.items.push(v1::StoredClient {
                client: client_bytes(id),
                floor: client.floor,
                last_used_ms: client.last_used.0,
            });
            self.client = Some(id);
            self.sum.clients += 1;
        }
        let clients = batch.finish()?;
        Some(Record::Clients(v1::SnapshotClients { clients }))
    }

    fn some_answers(&mut self) -> Option<Record> {
        let mut batch = Batch::default();
        while let Some((id, sequence, answer)) = self.next_answer() {
            if !batch.takes(32 + answer.len()) {
                break;
            }
            batch.items.push(v1::StoredAnswer {
                client: client_bytes(id),
                sequence,
                answer,
            });
            self.answer = Some((id, sequence));
            self.sum.answers += 1;
        }
        let answers = batch.finish()?;
        Some(Record::Answers(v1::SnapshotAnswers { answers }))
    }

    fn next_answer(&self) -> Option<(ClientId, u64, Bytes)> {
        let clients = &self.state.clients;
        if let Some((id, last)) = self.answer {
            let rest = (Bound::Excluded(last), Bound::Unbounded);
            let next = clients
                .get(id)
                .and_then(|client| client.answers.range(rest).next());
            if let Some((sequence, answer)) = next {
                return Some((id, *sequence, answer.clone()));
            }
        }
        let mut after = self.answer.map(|(id, _)| id);
        while let Some((id, client)) = clients.next_after(after) {
            if let Some((sequence, answer)) = client.answers.get_min() {
                return Some((id, *sequence, answer.clone()));
            }
            after = Some(id);
        }
        None
    }

    fn some_retired(&mut self) -> Option<Record> {
        let mut batch = Batch::default();
        for id in self.state.clients.retired().skip(self.retired) {
            if !batch.takes(32) {
                break;
            }
            batch.items.push(client_bytes(id));
        }
        self.retired += batch.items.len();
        let clients = batch.finish()?;
        Some(Record::Retired(v1::SnapshotRetired { clients }))
    }

    fn trailer(&mut self) -> Record {
        Record::Trailer(self.sum.trailer(digest::state(&self.state)))
    }
}

/// The things of one record.
struct Batch<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T> Batch<T> {
    /// Whether there is room for another; always when it is the first.
    fn takes(&mut self, bytes: usize) -> bool {
        let room = self.bytes == 0 || self.bytes + bytes <= RECORD_BYTES;
        if room {
            self.bytes += bytes.max(1);
        }
        room
    }

    fn finish(self) -> Option<Vec<T>> {
        (!self.items.is_empty()).then_some(self.items)
    }
}

/// The changes of a history, one by one.
struct Changes {
    sets: HistoryIter,
    batch: std::vec::IntoIter<v1::StoredChange>,
}

impl Iterator for Changes {
    type Item = v1::StoredChange;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(change) = self.batch.next() {
                return Some(change);
            }
            let set = self.sets.next()?;
            let changes = set.changes.iter();
            let stored: Vec<_> = changes
                .map(|change| change_to_format(set.revision, change))
                .collect();
            self.batch = stored.into_iter();
        }
    }
}
