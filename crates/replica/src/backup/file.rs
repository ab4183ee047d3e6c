//! Reading a backup: everything in it is checked, and what it holds is told.
//!
//! Promises: [`inspect`] builds the whole state out of the file, so that what it calls sound can be restored. That takes
//! as much memory as the state. Left out on purpose: a quick look; a backup that was not checked is none.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use quorate_format::envelope;
use quorate_format::raft::{Membership, Small};
use quorate_format::v1::snapshot_record::Record;
use quorate_format::v1::{BackupHeader, SnapshotRecord};
use quorate_machine::{Counts, Machine};
use quorate_store::SnapshotFile;
use quorate_types::{ClusterId, LogTime, Member, Position, Revision};

use super::BackupError;

/// Characters of a release's name that are taken over.
const RELEASE_MAX: usize = 64;
/// Highest index and term that are believed: a cluster reaches neither in a thousand years, and both have to go on.
const COUNTER_MAX: u64 = u64::MAX / 2;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupContents {
    /// The version of the file's format.
    pub format: u16,
    /// The cluster that it was taken of.
    pub cluster: ClusterId,
    /// The release of the replica that wrote it.
    pub release: String,
    /// The members of that cluster, as far as they were known.
    pub members: Vec<Member>,
    /// The last entry that it includes.
    pub last: Position,
    /// The metadata's revision.
    pub revision: Revision,
    /// Log time: when the last command that it includes was proposed.
    pub log_time: LogTime,
    /// The feature level of the cluster.
    pub feature_level: u32,
    /// The digest of the state.
    pub digest: u128,
    /// The digest without place and time, which a cluster that is restored from it has at first.
    pub content_digest: u128,
    /// How many of each there are.
    pub counts: Counts,
    /// Size of the file, without what etcd's tools put behind it.
    pub bytes: u64,
    /// The CRC-32 of these bytes.
    pub crc: u32,
}

/// Reads and checks a whole backup. Blocks.
///
/// # Errors
/// [`BackupError`]; as a chain of causes it is one line.
pub fn inspect(path: &Path) -> Result<BackupContents, BackupError> {
    let (header, mut file) = open(path)?;
    let cause = |cause| BackupError::Records {
        path: path.to_owned(),
        cause,
    };
    let image = Machine::restore(file.by_ref()).map_err(cause)?.image();
    let no_backup = |what| BackupError::NoBackup {
        path: path.to_owned(),
        what,
    };
    let (Some(end), Some(last)) = (file.end(), file.meta().last) else {
        return Err(no_backup("it does not say where in the log it was taken"));
    };
    if image.position() != Some(last.index) {
        return Err(no_backup(
            "its state is of another place in the log than its header says",
        ));
    }
    if last.index.0 > COUNTER_MAX || last.term.0 > COUNTER_MAX {
        return Err(no_backup("its place in the log is one that no cluster reaches"));
    }
    let membership = &file.meta().membership;
    let members = match membership.is_empty() {
        true => Vec::new(),
        false => {
            let read = Membership::open(membership);
            read.map_err(|_| no_backup("its list of members cannot be read"))?
                .members
        }
    };
    Ok(BackupContents {
        format: file.format(),
        cluster: ClusterId::from_bytes(&header.cluster_id)
            .ok_or_else(|| no_backup("it does not name its cluster"))?,
        release: header.release.chars().take(RELEASE_MAX).collect(),
        members,
        last,
        revision: image.revision(),
        log_time: image.log_time(),
        feature_level: image.feature_level(),
        digest: image.digest(),
        content_digest: image.content_digest(),
        counts: image.counts(),
        bytes: end.id.bytes,
        crc: end.id.crc,
    })
}

/// The file behind its first record, and that.
pub(super) fn open(path: &Path) -> Result<(BackupHeader, SnapshotFile), BackupError> {
    let no_backup = |what| BackupError::NoBackup {
        path: path.to_owned(),
        what,
    };
    if fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0) {
        return Err(no_backup("it is empty"));
    }
    let failed = |cause| BackupError::File {
        path: path.to_owned(),
        cause,
    };
    let mut file = SnapshotFile::open(path).map_err(failed)?;
    let first = file.next().transpose().map_err(failed)?;
    let read = |first: Bytes| envelope::open::<SnapshotRecord>(&first).ok()?.record;
    match first.and_then(read) {
        Some(Record::Backup(header)) => Ok((header, file)),
        Some(Record::Header(_)) => Err(no_backup(
            "it is a snapshot out of a replica's data directory; `quorate snapshot save` makes a backup",
        )),
        _ => Err(no_backup("it does not begin as one")),
    }
}
