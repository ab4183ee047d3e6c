//! What may follow the end of a snapshot file that etcd's tools have saved: zeros up to a whole sector, and a SHA-256.
//!
//! `etcdctl snapshot save` writes what a server sends, byte for byte, and keeps the file only if its length is 32 more than
//! a multiple of 512: it takes that for the SHA-256 of everything before, which etcd's servers send last. So a server that
//! speaks to etcdctl sends one, too, and whoever reads snapshot files accepts it. Promises: the trailer is a function of the
//! bytes before it, and is checked as a whole, the zeros too. Left out on purpose: files in a data directory and snapshots
//! between replicas, which never have one.

use bytes::Bytes;
use sha2::{Digest, Sha256};

const SECTOR_BYTES: u64 = 512;
const SUM_BYTES: u64 = 32;
/// The longest trailer: all of a sector but one byte, and the sum.
pub(crate) const TRAILER_BYTES_MAX: u64 = SECTOR_BYTES - 1 + SUM_BYTES;

/// The trailer of bytes that go by.
#[derive(Debug, Clone, Default)]
pub struct Trailer {
    sum: Sha256,
    bytes: u64,
}

impl Trailer {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These bytes go by.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// What belongs behind them.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        // Less than a sector.
        let zeros = usize::try_from(zeros(self.bytes)).unwrap_or_default();
        let mut trailer = vec![0; zeros];
        self.sum.update(&trailer);
        trailer.extend_from_slice(&self.sum.finalize());
        trailer.into()
    }

    /// How long the trailer of `bytes` bytes is.
    #[must_use]
    pub fn length(bytes: u64) -> u64 {
        zeros(bytes) + SUM_BYTES
    }
}

/// Whether a file of this length can have a trailer. One in 512 of those without has such a length by chance.
pub(crate) fn is_possible(length: u64) -> bool {
    length % SECTOR_BYTES == SUM_BYTES
}

fn zeros(bytes: u64) -> u64 {
    bytes.next_multiple_of(SECTOR_BYTES) - bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_its_trailer_has_the_length_that_etcdctl_wants() {
        let cases = [(0, 32), (1, 543), (511, 33), (512, 32), (513, 543), (1_024, 32)];
        for (bytes, want) in cases {
            let mut trailer = Trailer::new();
            trailer.update(&vec![7; bytes / 2]);
            trailer.update(&vec![7; bytes - bytes / 2]);
            let trailer = trailer.finish();
            assert_eq!(trailer.len(), want, "{bytes} bytes");
            let bytes = u64::try_from(bytes).expect("small");
            assert_eq!(Trailer::length(bytes), trailer.len() as u64);
            assert!(is_possible(bytes + Trailer::length(bytes)));
            assert!(trailer.len() as u64 <= TRAILER_BYTES_MAX);
        }
    }

    #[test]
    fn the_sum_is_pinned() {
        let mut trailer = Trailer::new();
        trailer.update(b"snapshot");
        let trailer = trailer.finish();
        let (zeros, sum) = trailer.split_at(504);
        assert!(zeros.iter().all(|byte| *byte == 0));
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        // Computed apart from this code, with Python's hashlib, of "snapshot" and 504 zeros.
        assert_eq!(
            hex,
            "84e6ec2bfb8ec2b9b17758cbaf259d35c15aefddf6afd25fc52708102d0c53df"
        );
    }
}
