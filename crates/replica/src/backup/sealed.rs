//! A backup as etcd's clients save one: its size is known before it comes, and a SHA-256 of all of it comes last.
//!
//! Promises: the bytes before the sum are those of the [`Backup`], so that whatever reads a backup reads the file; see
//! `quorate_store::Trailer` for what follows them. Left out on purpose: etcd's own file format.

use bytes::Bytes;
use quorate_store::Trailer;

use super::Backup;

/// See the module: chunks, then the trailer as a chunk of its own.
pub struct SealedBackup {
    bytes: u64,
    backup: Backup,
    /// `None` after it was handed out.
    trailer: Option<Trailer>,
}

impl Backup {
    /// All of this backup, from its beginning, with its trailer. To know the size it is encoded once for nothing; others
    /// get their turn in between.
    pub async fn sealed(self) -> SealedBackup {
        let mut bytes = 0;
        for chunk in self.again() {
            bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            tokio::task::yield_now().await;
        }
        SealedBackup {
            bytes: bytes + Trailer::length(bytes),
            backup: self.again(),
            trailer: Some(Trailer::new()),
        }
    }
}

impl SealedBackup {
    /// All bytes that come, the trailer's among them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Iterator for SealedBackup {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let Some(chunk) = self.backup.next() else {
            return self.trailer.take().map(Trailer::finish);
        };
        if let Some(trailer) = &mut self.trailer {
            trailer.update(&chunk);
        }
        Some(chunk)
    }
}
