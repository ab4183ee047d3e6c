//! Damaged, missing and mixed-up files: refused with a sentence, or survived; never believed, never made worse.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_store::{DiskStore, Identity, Store, StoreError};
use quorate_types::{ClusterId, MemberName, NodeId};
use support::{
    append, at, entries, entry_of, purge, read_all, read_snapshot, records, save_vote, small, vote,
    write_snapshot,
};

async fn open(dir: &Path) -> Result<Arc<dyn Store>, String> {
    match DiskStore::open(dir, small()).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(error.to_string()),
    }
}

fn identity(store: &dyn Store, node: u64) -> Identity {
    Identity {
        cluster: ClusterId(9),
        node: NodeId(node),
        incarnation: store.facts().incarnation,
        name: MemberName::new("quorate-0").unwrap(),
    }
}

/// A directory with an identity, a snapshot at 9 and a log of 40 entries, purged up to `purged`.
async fn sample(purged: Option<u64>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    store.save_identity(identity(&*store, 1)).await.unwrap();
    save_vote(&store, vote(1, true)).await.unwrap();
    append(&store, (0..40).map(|index| entry_of(1, index, 300)).collect())
        .await
        .unwrap();
    write_snapshot(&store, Some(at(1, 9)), &records(50))
        .await
        .unwrap();
    if let Some(purged) = purged {
        purge(&store, at(1, purged)).await.unwrap();
    }
    store.close().await;
    dir
}

/// Every file but the ones that opening may touch: the lock, and what sled writes for itself.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()));
        } else if !path.ends_with("LOCK") && !path.to_string_lossy().contains("facts.sled") {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

/// Opening is refused with a line that has all of `want` in it, and changes nothing.
async fn refused(dir: &Path, want: &[&str]) {
    let before = content(dir);
    let line = open(dir).await.map(drop).unwrap_err();
    for part in want {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert!(!line.contains('\n'), "{line}");
    assert!(content(dir) == before, "something was changed: {line}");
}

fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_damaged_log_is_refused() {
    let dir = sample(None).await;
    let chunks = files(&dir.path().join("log"), ".wal");
    assert!(chunks.len() >= 3, "{chunks:?}");
    for chunk in [&chunks[0], &chunks[1], chunks.last().unwrap()] {
        for offset in [2, 70, 400] {
            flip(chunk, offset);
            let name = chunk.to_string_lossy();
            refused(
                dir.path(),
                &["the log is damaged in", &name, "let the replica join again"],
            )
            .await;
            flip(chunk, offset);
        }
    }
    assert_eq!(read_all(&open(dir.path()).await.unwrap()).await.len(), 40);
}

#[tokio::test]
async fn a_write_that_a_crash_left_unfinished_is_cut_off_and_the_log_goes_on() {
    let dir = sample(None).await;
    let last = files(&dir.path().join("log"), ".wal").pop().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(read_all(&store).await.len(), 39);
    append(&store, entries(2, 39..45)).await.unwrap();
    store.close().await;
    let store = open(dir.path()).await.unwrap();
    assert_eq!(read_all(&store).await[39..], entries(2, 39..45));
    assert_eq!(store.log_state().vote, Some(vote(1, true)));
}

#[tokio::test]
async fn an_entry_that_decays_while_the_store_runs_is_a_fault() {
    let dir = sample(None).await;
    let store = open(dir.path()).await.unwrap();
    let first = &files(&dir.path().join("log"), ".wal")[0];
    flip(first, 300);
    let error = store.read(0, 40, usize::MAX).await.unwrap_err();
    assert!(matches!(error, StoreError::Fault(_)));
    assert!(error.to_string().contains("does not read back"), "{error}");
    assert!(append(&store, entries(1, 40..41)).await.is_err());
    assert!(store.fault().borrow().is_some());
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_when_the_log_needs_it() {
    let dir = sample(Some(9)).await;
    let snapshot = files(&dir.path().join("snapshots"), ".snap").pop().unwrap();
    let bytes = fs::metadata(&snapshot).unwrap().len();
    for offset in [0, 8, 40, bytes / 2, bytes - 1] {
        flip(&snapshot, offset);
        refused(
            dir.path(),
            &[
                "1-1-9.snap: the snapshot is damaged",
                "does not hold all entries up to 1-1-9",
                "let the replica join again",
            ],
        )
        .await;
        flip(&snapshot, offset);
    }
    fs::rename(&snapshot, dir.path().join("aside")).unwrap();
    refused(
        dir.path(),
        &[
            "the snapshot 1-1-9-",
            "is gone, and the log does not hold all entries up to 1-1-9",
        ],
    )
    .await;
    fs::rename(dir.path().join("aside"), &snapshot).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(read_snapshot(&store).await.unwrap().1, records(50));
}

#[tokio::test]
async fn a_damaged_snapshot_is_set_aside_when_the_log_reaches_back() {
    let dir = sample(None).await;
    let snapshots = dir.path().join("snapshots");
    flip(&files(&snapshots, ".snap")[0], 100);
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.snapshot(), None);
    assert_eq!(read_all(&store).await.len(), 40);
    assert_eq!(files(&snapshots, ".damaged").len(), 1);
    write_snapshot(&store, Some(at(1, 20)), &records(5))
        .await
        .unwrap();
    store.close().await;
    assert_eq!(
        open(dir.path()).await.unwrap().snapshot().unwrap().id.last,
        Some(at(1, 20))
    );
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_when_the_log_ends_before_it() {
    // A leader's snapshot was installed, and the power went before the log was emptied.
    let dir = sample(None).await;
    let store = open(dir.path()).await.unwrap();
    write_snapshot(&store, Some(at(1, 90)), &records(5))
        .await
        .unwrap();
    store.close().await;
    let snapshot = files(&dir.path().join("snapshots"), "1-1-90.snap").pop().unwrap();
    flip(&snapshot, 50);
    refused(
        dir.path(),
        &["1-1-90.snap: the snapshot is damaged", "all entries up to 1-1-90"],
    )
    .await;
    fs::remove_file(&snapshot).unwrap();
    refused(
        dir.path(),
        &["the snapshot 1-1-90-", "is gone", "all entries up to 1-1-90"],
    )
    .await;
}

#[tokio::test]
async fn a_snapshot_that_decays_while_the_store_runs_is_a_fault() {
    let dir = sample(Some(9)).await;
    let store = open(dir.path()).await.unwrap();
    let mut reader = store.open_snapshot().await.unwrap().unwrap();
    flip(&files(&dir.path().join("snapshots"), ".snap")[0], 200);
    let error = reader.next().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("1-1-9.snap: the snapshot is damaged at byte"),
        "{error}"
    );
    assert!(reader.next().await.is_err(), "never taken for the end");
    assert!(store.fault().borrow().is_some());
}

#[tokio::test]
async fn what_a_crash_left_of_snapshots_is_removed() {
    let dir = sample(None).await;
    let snapshots = dir.path().join("snapshots");
    let newest = &files(&snapshots, ".snap")[0];
    fs::write(snapshots.join("7.tmp"), b"half").unwrap();
    // A crash between the rename of the newer and the removal of the older.
    let older = {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await.unwrap();
        write_snapshot(&store, Some(at(1, 4)), &records(2)).await.unwrap();
        store.close().await;
        fs::read(&files(&dir.path().join("snapshots"), ".snap")[0]).unwrap()
    };
    fs::write(snapshots.join("1-1-4.snap"), older).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.snapshot().unwrap().id.last, Some(at(1, 9)));
    assert_eq!(&files(&snapshots, ""), std::slice::from_ref(newest));
}

#[tokio::test]
async fn a_damaged_identity_is_refused_and_a_missing_one_is_written_again() {
    let dir = sample(None).await;
    let path = dir.path().join("IDENTITY");
    let text = fs::read(&path).unwrap();
    for offset in 0..text.len() as u64 {
        flip(&path, offset);
        refused(dir.path(), &["IDENTITY is damaged", "move it away"]).await;
        flip(&path, offset);
    }
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        fs::write(&path, &text[..cut]).unwrap();
        refused(dir.path(), &["IDENTITY is damaged"]).await;
    }
    fs::remove_file(&path).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(
        (store.facts().identity, store.facts().boots),
        (Some(identity(&*store, 1)), 2)
    );
    assert!(path.exists());
}

#[tokio::test]
async fn directories_that_were_mixed_up_are_refused() {
    let (one, other) = (sample(None).await, tempfile::tempdir().unwrap());
    let store = open(other.path()).await.unwrap();
    store.save_identity(identity(&*store, 2)).await.unwrap();
    store.close().await;
    fs::copy(other.path().join("IDENTITY"), one.path().join("IDENTITY")).unwrap();
    refused(
        one.path(),
        &["mixes two data directories", "(node 2 of", "(node 1 of"],
    )
    .await;
}

#[tokio::test]
async fn a_sled_that_does_not_open_is_rebuilt_from_its_copies() {
    let dir = sample(Some(9)).await;
    let facts = dir.path().join("facts.sled");
    fs::write(facts.join("conf"), b"not a configuration").unwrap();
    fs::write(facts.join("db"), vec![9; 100_000]).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(
        (store.facts().identity, store.facts().boots),
        (Some(identity(&*store, 1)), 2)
    );
    assert_eq!(store.snapshot().unwrap().id.last, Some(at(1, 9)));
    store.close().await;
    assert!(dir.path().join("facts.sled.damaged-1").exists());
    fs::remove_dir_all(&facts).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(
        (store.facts().identity, store.facts().boots),
        (Some(identity(&*store, 1)), 3)
    );
}

#[tokio::test]
async fn data_without_any_identity_are_refused() {
    let dir = sample(None).await;
    fs::remove_file(dir.path().join("IDENTITY")).unwrap();
    fs::remove_dir_all(dir.path().join("facts.sled")).unwrap();
    refused(dir.path(), &["neither IDENTITY nor facts.sled says whose"]).await;
}

#[tokio::test]
async fn newer_formats_are_told_apart_from_damage() {
    let dir = sample(Some(9)).await;
    let path = dir.path().join("IDENTITY");
    let text = fs::read_to_string(&path).unwrap();
    let newer = text.replace("format 1", "format 2");
    let body = &newer[..newer.rfind("crc32").unwrap()];
    let crc = crc32fast::hash(body.as_bytes());
    fs::write(&path, format!("{body}crc32 {crc:08x}\n")).unwrap();
    refused(
        dir.path(),
        &["IDENTITY has format 2, this version reads up to 1; start the newer version"],
    )
    .await;
    fs::write(&path, text).unwrap();

    let snapshot = files(&dir.path().join("snapshots"), ".snap").pop().unwrap();
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[9] = 2;
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_be_bytes());
    fs::write(&snapshot, bytes).unwrap();
    refused(dir.path(), &["1-1-9.snap has format 2"]).await;
}

#[tokio::test]
async fn a_first_opening_that_a_crash_cut_short_is_repeated() {
    // Everything up to the first chunk was made, and nothing was flushed.
    let dir = tempfile::tempdir().unwrap();
    for (name, chunk) in [
        ("empty", &b""[..]),
        ("zeros", &[0; 18]),
        ("torn", &[0, 0, 0, 5, 1]),
    ] {
        let dir = dir.path().join(name);
        fs::create_dir_all(dir.join("log")).unwrap();
        fs::write(dir.join("log/r-00_000_000_000_000_000_000.wal"), chunk).unwrap();
        let store = open(&dir).await.unwrap_or_else(|line| panic!("{name}: {line}"));
        append(&store, entries(1, 0..3)).await.unwrap();
        store.close().await;
        assert_eq!(
            read_all(&open(&dir).await.unwrap()).await,
            entries(1, 0..3),
            "{name}"
        );
    }
}

#[tokio::test]
async fn two_stores_never_share_a_directory() {
    let dir = sample(None).await;
    let store = open(dir.path()).await.unwrap();
    let line = open(dir.path()).await.map(drop).unwrap_err();
    let want = format!("is in use by process {}", std::process::id());
    assert!(line.contains(&want), "{line}");
    append(&store, entries(1, 40..41)).await.unwrap();
    drop(store);
    assert!(
        open(dir.path()).await.is_ok(),
        "dropping it frees the directory, too"
    );
}
