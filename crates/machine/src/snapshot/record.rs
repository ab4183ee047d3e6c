//! The parts of snapshot records, and the sum over the stream.

use std::sync::Arc;

use bytes::Bytes;
use quorate_format::v1;
use quorate_types::Revision;
use xxhash_rust::xxh3::Xxh3;

use crate::keyspace::{Change, Row};

/// Counts and sums up records. The trailer has what the writer saw; the reader must have seen the same.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) records: u64,
    pub(super) rows: u64,
    pub(super) changes: u64,
    pub(super) clients: u64,
    pub(super) answers: u64,
    hash: Xxh3,
}

impl Sum {
    /// Adds a record other than the trailer.
    pub(super) fn add(&mut self, record: &[u8]) {
        self.records += 1;
        self.hash.update(&(record.len() as u64).to_le_bytes());
        self.hash.update(record);
    }

    pub(super) fn trailer(&self, digest: u128) -> v1::SnapshotTrailer {
        v1::SnapshotTrailer {
            records: self.records,
            checksum: Bytes::copy_from_slice(&self.hash.digest128().to_be_bytes()),
            digest: Bytes::copy_from_slice(&digest.to_be_bytes()),
            rows: self.rows,
            changes: self.changes,
            clients: self.clients,
            answers: self.answers,
        }
    }
}

pub(super) fn change_to_format(revision: Revision, change: &Change) -> v1::StoredChange {
    let row = |row: &Option<Arc<Row>>| row.as_deref().map(v1::Row::from);
    v1::StoredChange {
        revision: revision.0,
        key: change.key.clone(),
        before: row(&change.before),
        after: row(&change.after),
    }
}

pub(super) fn change_from_format(change: v1::StoredChange) -> Change {
    Change {
        key: change.key,
        before: change.before.map(|row| Arc::new(row.into())),
        after: change.after.map(|row| Arc::new(row.into())),
    }
}
