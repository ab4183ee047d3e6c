//! All rows of an image's keyspaces, as its snapshot has them.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_format::envelope;
use quorate_format::v1::SnapshotRecord;
use quorate_format::v1::snapshot_record::Record;
use quorate_machine::{Image, Row};

/// Typed rows.
pub(crate) fn rows(image: &Image) -> BTreeMap<Bytes, Row> {
    of_keyspace(image, 1)
}

/// etcd's keys.
pub(crate) fn user_rows(image: &Image) -> BTreeMap<Bytes, Row> {
    of_keyspace(image, 2)
}

fn of_keyspace(image: &Image, keyspace: u32) -> BTreeMap<Bytes, Row> {
    let mut all = BTreeMap::new();
    for record in image.snapshot_records() {
        let record: SnapshotRecord = envelope::open(&record).unwrap();
        let Some(Record::Rows(rows)) = record.record else {
            continue;
        };
        if rows.keyspace == keyspace {
            let rows = rows.rows.into_iter();
            all.extend(rows.map(|stored| (stored.key, stored.row.unwrap().into())));
        }
    }
    all
}
