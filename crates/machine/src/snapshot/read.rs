//! Records to a state, or to an error that says which record is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_format::envelope::{self, OpenError};
use quorate_format::v1;
use quorate_format::v1::snapshot_record::Record;
use quorate_types::{ClientId, Index, LogTime, Revision};

use super::record::{Sum, change_from_format};
use crate::audit::{self, Damage};
use crate::clients::Clients;
use crate::feature::{self, FEATURE_LEVEL_MAX};
use crate::keyspace::{Change, ChangeSet, History, Keyspace, KeyspaceTag, Row};
use crate::state::{Head, State, Tally};
use crate::user::User;
use crate::{answer, digest};

/// Why records are not a snapshot that this build can restore.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError<E> {
    /// The source of the records failed.
    #[error("the snapshot cannot be read")]
    Source(#[source] E),
    /// A record cannot be opened.
    #[error("record {record} of the snapshot cannot be read")]
    Unreadable {
        /// Its place, from 0.
        record: u64,
        /// What is wrong with it.
        #[source]
        source: OpenError,
    },
    /// A record has something that this build does not know, or that no build writes.
    #[error("record {record} of the snapshot has {what}")]
    Malformed {
        /// Its place, from 0.
        record: u64,
        /// What it has.
        what: &'static str,
    },
    /// The stream ended before its trailer.
    #[error("the snapshot ends after {records} records without a trailer: it was cut")]
    Cut {
        /// Records that were there.
        records: u64,
    },
    /// The records are not those that the trailer sums up.
    #[error("the records of the snapshot are not those that were written: some are lost, moved or damaged")]
    Sum,
    /// The records are whole, yet the state is not the one that was written.
    #[error("the snapshot restores to digest {restored:032x}, it was written at {written:032x}")]
    Digest {
        /// The digest in the trailer.
        written: u128,
        /// The digest of what was restored.
        restored: u128,
    },
    /// The cluster's feature level is above what this build knows.
    #[error(
        "the snapshot is of feature level {needs}, this build knows {FEATURE_LEVEL_MAX}: install the release that the \
         other replicas run"
    )]
    FeatureLevel {
        /// The snapshot's level.
        needs: u32,
    },
    /// The rows do not fit together.
    #[error("the rows of the snapshot do not fit together")]
    Damage(#[source] Damage),
}

/// The state that the records hold.
pub(crate) fn read<E>(records: impl Iterator<Item = Result<Bytes, E>>) -> Result<State, RestoreError<E>> {
    let mut reader = Reader::default();
    for record in records {
        let bytes = record.map_err(RestoreError::Source)?;
        let place = reader.sum.records;
        let malformed = |what| RestoreError::Malformed { record: place, what };
        if reader.trailer.is_some() {
            return Err(malformed("come after the trailer"));
        }
        let record: v1::SnapshotRecord =
            envelope::open(&bytes).map_err(|source| RestoreError::Unreadable {
                record: place,
                source,
            })?;
        let record = record
            .record
            .ok_or(malformed("a kind that this build does not know"))?;
        let is_trailer = matches!(record, Record::Trailer(_));
        reader.take(record).map_err(malformed)?;
        if !is_trailer {
            reader.sum.add(&bytes);
        }
    }
    reader.finish()
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    sum: Sum,
    header: Option<v1::SnapshotHeader>,
    /// The number of the last record's kind; kinds never go back.
    kind: u8,
    meta: Space,
    user: Space,
    leases: Space,
    auth: Space,
    /// The keyspace of the last rows or changes; they never go back.
    keyspace: u32,
    clients: Clients,
    last_client: Option<ClientId>,
    last_answer: Option<(ClientId, u64)>,
    trailer: Option<v1::SnapshotTrailer>,
}

/// What was read of a keyspace.
#[derive(Default)]
struct Space {
    rows: OrdMap<Bytes, Arc<Row>>,
    sets: Vec<ChangeSet>,
    /// By key, the row after the last change of it.
    latest: BTreeMap<Bytes, Arc<Row>>,
}

impl Reader {
    /// Takes a record, or says what is wrong with it.
    fn take(&mut self, record: Record) -> Result<(), &'static str> {
        let kind = match &record {
            Record::Header(_) => 1,
            Record::Rows(_) => 2,
            Record::Changes(_) => 3,
            Record::Clients(_) => 4,
            Record::Answers(_) => 5,
            Record::Retired(_) => 6,
            Record::Trailer(_) => 7,
            // Whoever reads a backup takes it off before; here it never belongs.
            Record::Backup(_) => 0,
        };
        if kind < self.kind || (kind == 1) != self.header.is_none() {
            return Err("a kind that does not belong there");
        }
        if kind > self.kind {
            self.keyspace = 0;
        }
        self.kind = kind;
        match record {
            Record::Header(header) => self.take_header(header),
            Record::Rows(rows) => self.take_rows(rows),
            Record::Changes(changes) => self.take_changes(changes),
            Record::Clients(clients) => clients
                .clients
                .into_iter()
                .try_for_each(|client| self.take_client(&client)),
            Record::Answers(answers) => answers
                .answers
                .into_iter()
                .try_for_each(|answer| self.take_answer(answer)),
            Record::Retired(retired) => {
                for id in retired.clients {
                    self.clients.retire(client_id(&id)?);
                }
                Ok(())
            }
            Record::Trailer(trailer) => {
                self.trailer = Some(trailer);
                Ok(())
            }
            Record::Backup(_) => Err("a kind that does not belong there"),
        }
    }

    fn take_header(&mut self, header: v1::SnapshotHeader) -> Result<(), &'static str> {
        let wanted = [
            (feature::FIRST, KeyspaceTag::Meta),
            (feature::KV, KeyspaceTag::User),
            (feature::KV_LEASES, KeyspaceTag::Leases),
            (feature::KV_AUTH, KeyspaceTag::Auth),
        ];
        let wanted = wanted.iter().filter(|(level, _)| header.feature_level >= *level);
        let wanted = wanted.map(|(_, tag)| tag.number());
        // A later level is told by its number, at the end.
        let is_later = header.feature_level > FEATURE_LEVEL_MAX;
        if !is_later && !wanted.eq(header.keyspaces.iter().map(|space| space.keyspace)) {
            return Err("a keyspace that this build does not know");
        }
        self.header = Some(header);
        Ok(())
    }

    /// The part that rows or changes of this keyspace belong to.
    fn space(&mut self, number: u32) -> Result<&mut Space, &'static str> {
        let is_there = self
            .header
            .iter()
            .any(|header| header.keyspaces.iter().any(|space| space.keyspace == number));
        if !is_there || number < self.keyspace {
            return Err("a keyspace that this build does not know");
        }
        self.keyspace = number;
        match number {
            1 => Ok(&mut self.meta),
            2 => Ok(&mut self.user),
            3 => Ok(&mut self.leases),
            4 => Ok(&mut self.auth),
            _ => Err("a keyspace that this build does not know"),
        }
    }

    fn take_rows(&mut self, rows: v1::SnapshotRows) -> Result<(), &'static str> {
        let count = rows.rows.len() as u64;
        let space = self.space(rows.keyspace)?;
        for stored in rows.rows {
            let row = stored.row.ok_or("a key without a row")?;
            let ascends = space.rows.get_max().is_none_or(|(last, _)| *last < stored.key);
            if !ascends {
                return Err("a key that is not above the one before");
            }
            space.rows.insert(stored.key, Arc::new(row.into()));
        }
        self.sum.rows += count;
        Ok(())
    }

    fn take_changes(&mut self, changes: v1::SnapshotChanges) -> Result<(), &'static str> {
        let count = changes.changes.len() as u64;
        let space = self.space(changes.keyspace)?;
        for stored in changes.changes {
            let revision = Revision(stored.revision);
            let change = space.shared(change_from_format(stored));
            match space.sets.last_mut() {
                Some(last) if last.revision == revision => last.changes.push(change),
                Some(last) if last.revision > revision => {
                    return Err("a revision that is below the one before");
                }
                _ => space.sets.push(ChangeSet {
                    revision,
                    changes: vec![change],
                }),
            }
        }
        self.sum.changes += count;
        Ok(())
    }

    fn take_client(&mut self, stored: &v1::StoredClient) -> Result<(), &'static str> {
        let id = client_id(&stored.client)?;
        if self.last_client.is_some_and(|last| last >= id) {
            return Err("a client that is not above the one before");
        }
        self.last_client = Some(id);
        self.clients
            .insert(id, stored.floor, LogTime(stored.last_used_ms));
        self.sum.clients += 1;
        Ok(())
    }

    fn take_answer(&mut self, stored: v1::StoredAnswer) -> Result<(), &'static str> {
        let place = (client_id(&stored.client)?, stored.sequence);
        if self.last_answer.is_some_and(|last| last >= place) {
            return Err("an answer that is not above the one before");
        }
        self.last_answer = Some(place);
        if answer::decode(&stored.answer).is_none() {
            return Err("an answer that this build does not know");
        }
        if !self.clients.insert_answer(place.0, place.1, stored.answer) {
            return Err("an answer to a client that is not there");
        }
        self.sum.answers += 1;
        Ok(())
    }

    fn finish<E>(self) -> Result<State, RestoreError<E>> {
        let records = self.sum.records;
        let (Some(header), Some(trailer)) = (self.header, self.trailer) else {
            return Err(RestoreError::Cut { records });
        };
        let malformed = |what| RestoreError::Malformed {
            record: records,
            what,
        };
        let digest = <[u8; 16]>::try_from(&trailer.digest[..]).map_err(|_| malformed("no digest"))?;
        let written = u128::from_be_bytes(digest);
        if self.sum.trailer(written) != trailer {
            return Err(RestoreError::Sum);
        }
        if header.feature_level > FEATURE_LEVEL_MAX {
            let needs = header.feature_level;
            return Err(RestoreError::FeatureLevel { needs });
        }
        let history =
            |space: &v1::SnapshotKeyspace, sets| History::restored(Revision(space.history_floor), sets);
        let (meta, user) = match header.keyspaces.as_slice() {
            [meta] => (meta, Some(User::new())),
            [meta, user, others @ ..] => {
                let history = history(user, self.user.sets);
                let part = |of: Option<&v1::SnapshotKeyspace>, none: &Keyspace, rows| match of {
                    None => (none.revision(), OrdMap::new()),
                    Some(space) => (Revision(space.revision), rows),
                };
                let none = User::new();
                let leases = part(others.first(), none.leases(), self.leases.rows);
                let auth = part(others.get(1), none.auth_rows(), self.auth.rows);
                let user = User::from_parts(Revision(user.revision), self.user.rows, history, leases, auth);
                (meta, user)
            }
            [] => return Err(malformed("no keyspace")),
        };
        let Some(user) = user else {
            return Err(RestoreError::Damage(Damage::Sum {
                what: "users of etcd's keys",
            }));
        };
        if !user.leases_fit() {
            return Err(RestoreError::Damage(Damage::Sum {
                what: "leases of etcd's keys",
            }));
        }
        let (revision, history) = (Revision(meta.revision), history(meta, self.meta.sets));
        let meta = Keyspace::from_parts(KeyspaceTag::Meta, revision, self.meta.rows, history);
        let mut head = Head {
            last_id: header.last_id,
            last_epoch: header.last_epoch,
            feature_level: header.feature_level,
            tally: Tally::default(),
        };
        head.tally = audit::rows(&meta, &head).map_err(RestoreError::Damage)?;
        let state = State {
            meta,
            user,
            head,
            clients: self.clients,
            log_time: LogTime(header.log_time_ms),
            position: header.applied_index.map(Index),
        };
        let restored = digest::state(&state);
        if restored != written {
            return Err(RestoreError::Digest { written, restored });
        }
        Ok(state)
    }
}

impl Space {
    /// The change, its rows shared with the state and with the change before, as they were when it was made.
    fn shared(&mut self, mut change: Change) -> Change {
        if let (Some(before), Some(latest)) = (&mut change.before, self.latest.get(&change.key))
            && before == latest
        {
            *before = Arc::clone(latest);
        }
        if let Some(after) = &mut change.after {
            match self.rows.get(&change.key) {
                Some(row) if row == after => *after = Arc::clone(row),
                _ => {}
            }
            self.latest.insert(change.key.clone(), Arc::clone(after));
        }
        change
    }
}

fn client_id(bytes: &[u8]) -> Result<ClientId, &'static str> {
    ClientId::from_bytes(bytes).ok_or("a client id that is none")
}
