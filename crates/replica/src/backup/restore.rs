//! A new cluster out of a backup: one replica's data directory at a time.
//!
//! Promises: the directory appears as a whole or not at all, and holds exactly the backup's state. Its log begins after the
//! backup's last entry, its only snapshot is that entry's, and its members are those of the list, so that Raft finds what
//! a replica finds that was sent a snapshot and restarted. Place and term go on from the backup's, because the digest of
//! the state covers the place.
//!
//! Left out on purpose: meeting the other replicas. Nobody knows whether a directory was restored before: one that was
//! lost after its cluster ran must not be restored again under the same list and token, because the replica would have
//! forgotten what it had acknowledged.

use std::path::Path;

use quorate_format::raft::{Membership, Small};
use quorate_store::{DiskStore, Identity, NewDirectory, SnapshotMeta, Store, StoreError, Vote};
use quorate_types::{ClusterId, MemberName, NodeId};
use tokio::sync::oneshot;

use super::file::{self, inspect};
use super::plan::{Plan, plan};
use super::{BackupContents, BackupError};
use crate::config::{Listed, ReplicaConfig};
use crate::raft::config::SnapshotEvery;

/// Records that are handed to the store at once.
const RECORDS_PER_WRITE: usize = 256;

/// What a restored replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster.
    pub cluster: ClusterId,
    /// The replica's id in it.
    pub node: NodeId,
    /// What was restored.
    pub contents: BackupContents,
}

/// Makes the data directory of replica `name` of a new cluster of `listed`, out of the backup at `path`. Run once for each
/// replica with the same file, list and token; then all are started with that list. Parts of it block.
///
/// # Errors
/// [`BackupError`]; the directory is as it was.
pub async fn restore(
    path: &Path,
    data_dir: &Path,
    name: &MemberName,
    listed: &[Listed],
    token: &str,
) -> Result<Restored, BackupError> {
    let listed = checked(name, listed)?;
    let contents = inspect(path)?;
    let plan = plan(&contents, &listed, token);
    let member = plan.members.values().find(|member| member.name == *name);
    let member = member.expect("a checked list names the replica itself");
    let identity = Identity {
        cluster: plan.cluster,
        node: member.node,
        incarnation: member.incarnation,
        name: name.clone(),
    };
    let new = NewDirectory::begin(data_dir, &identity)?;
    let store = new.open().await?;
    let filled = fill(&store, path, &contents, &plan).await;
    store.close().await;
    filled?;
    new.finish()?;
    Ok(Restored {
        cluster: plan.cluster,
        node: identity.node,
        contents,
    })
}

/// The list as a replica's start would take it, in the order of names.
fn checked(name: &MemberName, listed: &[Listed]) -> Result<Vec<Listed>, BackupError> {
    let config = ReplicaConfig {
        joins: false,
        name: name.clone(),
        listed: listed.to_vec(),
        profile: crate::Profile::default(),
        snapshot: SnapshotEvery::default(),
        session_grace: std::time::Duration::ZERO,
        compaction: None,
        orphan_grace: None,
        version: String::new(),
    };
    Ok(config.checked()?.listed)
}

async fn fill(
    store: &DiskStore,
    path: &Path,
    contents: &BackupContents,
    plan: &Plan,
) -> Result<(), BackupError> {
    let last = contents.last;
    let membership = Membership {
        configs: vec![plan.members.keys().copied().collect()],
        members: plan.members.values().cloned().collect(),
    };
    let meta = SnapshotMeta {
        last: Some(last),
        membership_position: Some(last),
        membership: membership.seal(),
    };
    let (_, mut file) = file::open(path)?;
    let mut writer = store.create_snapshot(meta).await?;
    loop {
        let some: Result<Vec<_>, _> = file.by_ref().take(RECORDS_PER_WRITE).collect();
        let some = some.map_err(|cause| BackupError::File {
            path: path.to_owned(),
            cause,
        })?;
        if some.is_empty() {
            break;
        }
        writer.write(some).await?;
    }
    if file
        .end()
        .is_none_or(|end| (end.id.bytes, end.id.crc) != (contents.bytes, contents.crc))
    {
        let path = path.to_owned();
        return Err(BackupError::Changed { path });
    }
    writer.finish(None).await?;
    // As of a follower that has voted for the last entry's leader, and has not heard since that it was elected.
    let vote = Vote {
        term: last.term,
        node: last.leader,
        committed: false,
    };
    durable(|done| store.save_vote(vote, done)).await?;
    durable(|done| store.purge_upto(last, done)).await?;
    Ok(())
}

/// Waits until a write is durable.
pub(crate) async fn durable(write: impl FnOnce(quorate_store::Done)) -> Result<(), StoreError> {
    let (sender, receiver) = oneshot::channel();
    // Nobody waits any more: the caller was cancelled.
    write(Box::new(move |result| _ = sender.send(result)));
    receiver.await.unwrap_or(Err(StoreError::Closed))
}
