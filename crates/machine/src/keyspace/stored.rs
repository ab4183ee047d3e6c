//! A row as it is written down.

use quorate_format::v1;
use quorate_types::Revision;

use super::Row;

impl From<&Row> for v1::Row {
    fn from(row: &Row) -> Self {
        Self {
            value: row.value.clone(),
            create_revision: row.create_revision.0,
            mod_revision: row.mod_revision.0,
            version: row.version,
            lease: row.lease,
        }
    }
}

impl From<v1::Row> for Row {
    fn from(row: v1::Row) -> Self {
        Self {
            value: row.value,
            create_revision: Revision(row.create_revision),
            mod_revision: Revision(row.mod_revision),
            version: row.version,
            lease: row.lease,
        }
    }
}
