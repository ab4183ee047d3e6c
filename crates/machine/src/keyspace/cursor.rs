//! An iterator over the rows of one state that owns what it reads: a snapshot or a listing goes on while writes do.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::Row;

/// Rows fetched at once, so that the descent into the tree is paid once for many.
const BATCH_ROWS: usize = 256;

/// See the module.
pub(crate) struct Cursor {
    rows: OrdMap<Bytes, Arc<Row>>,
    prefix: Vec<u8>,
    /// Key of the last row of the batch; `None` before the first batch.
    after: Option<Bytes>,
    batch: std::vec::IntoIter<(Bytes, Arc<Row>)>,
}

impl Cursor {
    pub(super) fn new(rows: OrdMap<Bytes, Arc<Row>>, prefix: Vec<u8>) -> Self {
        Self {
            rows,
            prefix,
            after: None,
            batch: Vec::new().into_iter(),
        }
    }

    fn fetch(&self) -> Vec<(Bytes, Arc<Row>)> {
        let from = match &self.after {
            Some(after) => Bound::Excluded(&after[..]),
            None => Bound::Included(self.prefix.as_slice()),
        };
        self.rows
            .range::<_, [u8]>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&self.prefix))
            .take(BATCH_ROWS)
            .map(|(key, row)| (key.clone(), Arc::clone(row)))
            .collect()
    }
}

impl Iterator for Cursor {
    type Item = (Bytes, Arc<Row>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.len() == 0 {
            self.batch = self.fetch().into_iter();
        }
        let (key, row) = self.batch.next()?;
        if self.batch.len() == 0 {
            self.after = Some(key.clone());
        }
        Some((key, row))
    }
}
