//! All rows of an image, as its snapshot has them.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_format::envelope;
use quorate_format::v1::SnapshotRecord;
use quorate_format::v1::snapshot_record::Record;
use quorate_machine::{Image, Row};
use quorate_types::Revision;

pub(crate) fn rows(image: &Image) -> BTreeMap<Bytes, Row> {
    let mut all = BTreeMap::new();
    for record in image.snapshot_records() {
        let record: SnapshotRecord = envelope::open(&record).unwrap();
        let Some(Record::Rows(rows)) = record.record else {
            continue;
        };
        for stored in rows.rows {
            let row = stored.row.unwrap();
            let row = Row {
                value: row.value,
                create_revision: Revision(row.create_revision),
                mod_revision: Revision(row.mod_revision),
                version: row.version,
            };
            all.insert(stored.key, row);
        }
    }
    all
}
