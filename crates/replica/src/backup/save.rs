//! Taking a backup: the state of one moment, turned into the bytes of a file as fast as they are taken.
//!
//! Promises: the state includes everything acknowledged anywhere before the call; writes go on meanwhile; no more than
//! one chunk and one record are in memory beside the state, which is shared. Left out on purpose: where the bytes go.

use bytes::Bytes;
use quorate_format::envelope;
use quorate_format::v1::snapshot_record::Record;
use quorate_format::v1::{BackupHeader, SnapshotRecord};
use quorate_machine::Image;
use quorate_store::{SnapshotEncoder, SnapshotMeta, Store};
use quorate_types::{ClusterId, Index, Position};
use tokio::time::Instant;

use crate::replica::Replica;
use crate::unavailable::Unavailable;

/// Bytes of a chunk; the last one may be shorter.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// A backup that is being taken: its bytes, chunk by chunk. A chunk costs the time to encode it, so hand out others' turns
/// between them.
pub struct Backup {
    /// The cluster that it is of.
    pub cluster: ClusterId,
    /// What it holds.
    pub image: Image,
    first: Bytes,
    meta: SnapshotMeta,
    records: Box<dyn Iterator<Item = Bytes> + Send>,
    /// `None` after the end was written.
    encoder: Option<SnapshotEncoder>,
    /// Encoded and not yet handed out.
    encoded: Vec<u8>,
}

impl Replica {
    /// A backup of the present state. Only the leader can be sure that its state is the present one.
    ///
    /// # Errors
    /// [`Unavailable`], as for [`Replica::read`].
    pub async fn backup(&self, deadline: Instant) -> Result<Backup, Unavailable> {
        self.backed_up(false, deadline).await
    }

    /// The same at any replica: a follower first asks the leader how new its state has to be.
    ///
    /// # Errors
    /// [`Unavailable`], as for [`Replica::read_anywhere`].
    pub async fn backup_anywhere(&self, deadline: Instant) -> Result<Backup, Unavailable> {
        self.backed_up(true, deadline).await
    }

    async fn backed_up(&self, anywhere: bool, deadline: Instant) -> Result<Backup, Unavailable> {
        let inner = self.inner();
        loop {
            let image = match anywhere {
                true => self.read_anywhere(deadline).await?,
                false => self.read(deadline).await?,
            };
            let group = inner.formed.group().ok_or(Unavailable::Stopped)?;
            let index = image.position().ok_or(Unavailable::Stopped)?;
            // None when a snapshot has taken the entry's place meanwhile: the next state's is there again.
            if let Some(last) = position(&*inner.store, index).await? {
                let meta = meta(&*inner.store, last);
                let cluster = group.identity.cluster;
                return Ok(Backup::new(cluster, &inner.config.version, meta, image));
            }
            if Instant::now() >= deadline {
                return Err(Unavailable::TimedOut);
            }
        }
    }
}

/// The position of an applied entry.
async fn position(store: &dyn Store, index: Index) -> Result<Option<Position>, Unavailable> {
    let entries = store.read(index.0, index.0 + 1, 1).await;
    let entries = entries.map_err(|_| Unavailable::Stopped)?;
    let first = entries.first().map(|entry| entry.position);
    let covered = store.snapshot().and_then(|snapshot| snapshot.id.last);
    let known = [first, covered, store.log_state().purged];
    Ok(known
        .into_iter()
        .flatten()
        .find(|position| position.index == index))
}

/// What the file says of itself, with the members as of `last`, as far as this replica remembers them.
fn meta(store: &dyn Store, last: Position) -> SnapshotMeta {
    let memberships = store.facts().memberships;
    let in_force = memberships
        .into_iter()
        .rfind(|fact| fact.position.index <= last.index);
    let (membership_position, membership) = match (in_force, store.snapshot()) {
        (Some(fact), _) => (Some(fact.position), fact.membership),
        (None, Some(snapshot)) => (snapshot.meta.membership_position, snapshot.meta.membership),
        (None, None) => (None, Bytes::new()),
    };
    SnapshotMeta {
        last: Some(last),
        membership_position,
        membership,
    }
}

impl Backup {
    pub(super) fn new(cluster: ClusterId, release: &str, meta: SnapshotMeta, image: Image) -> Self {
        let header = BackupHeader {
            cluster_id: Bytes::copy_from_slice(&cluster.to_bytes()),
            release: release.to_owned(),
        };
        let first = envelope::seal(&SnapshotRecord {
            record: Some(Record::Backup(header)),
        });
        Self::begin(cluster, first, meta, image)
    }

    fn begin(cluster: ClusterId, first: Bytes, meta: SnapshotMeta, image: Image) -> Self {
        let mut encoded = Vec::new();
        let encoder = SnapshotEncoder::new(meta.clone(), &mut encoded);
        Self {
            cluster,
            records: Box::new(std::iter::once(first.clone()).chain(image.snapshot_records())),
            image,
            first,
            meta,
            encoder: Some(encoder),
            encoded,
        }
    }

    /// The same bytes from the beginning, whatever of these was taken.
    pub(super) fn again(&self) -> Self {
        let (first, meta) = (self.first.clone(), self.meta.clone());
        Self::begin(self.cluster, first, meta, self.image.clone())
    }
}

impl Iterator for Backup {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.encoded.len() < CHUNK_BYTES
            && let Some(mut encoder) = self.encoder.take()
        {
            match self.records.next() {
                Some(record) => {
                    encoder
                        .push(&record, &mut self.encoded)
                        .expect("a row, and so a record, is far smaller than a record may be");
                    self.encoder = Some(encoder);
                }
                // The digest of the state stands in the last record, with all its bits.
                None => _ = encoder.finish(None, &mut self.encoded),
            }
        }
        if self.encoded.is_empty() {
            return None;
        }
        let rest = self.encoded.split_off(self.encoded.len().min(CHUNK_BYTES));
        Some(std::mem::replace(&mut self.encoded, rest).into())
    }
}
