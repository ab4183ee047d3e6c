//! Disks that are full, read-only, or fail: a sentence for the operator, a store that has stopped, nothing lost.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use quorate_store::{DiskOptions, DiskStore, SnapshotError, Store, StoreError};
use support::device::{Device, in_own_namespace, unavailable};
use support::{
    append, at, entries, entry_of, purge, read_all, records, save_vote, small, vote, write_snapshot,
};

fn main() -> ExitCode {
    if let Some(outcome) = in_own_namespace() {
        return outcome;
    }
    support::trials::run(
        unavailable(),
        vec![
            ("a_full_disk_stops_the_store_and_loses_nothing", || {
                run(full_disk())
            }),
            ("a_full_disk_fails_a_snapshot_and_the_log_goes_on", || {
                run(full_for_a_snapshot())
            }),
            ("a_failing_disk_stops_the_store_once", || run(failing_disk())),
            ("a_failing_disk_stops_the_facts_too", || run(failing_facts())),
            ("a_read_only_disk_is_refused", || run(read_only_disk())),
            ("a_disk_with_holes_is_refused", || run(disk_with_holes())),
        ],
    )
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    runtime.unwrap().block_on(test);
}

async fn open(path: &Path, options: DiskOptions) -> Result<Arc<dyn Store>, String> {
    match DiskStore::open(path, options).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(error.to_string()),
    }
}

/// Takes all space but so many bytes.
fn fill(device: &Device, left: u64) -> std::path::PathBuf {
    let path = device.path().join("filler");
    let free = || {
        let fs = rustix::fs::statvfs(device.path()).unwrap();
        fs.f_bavail * fs.f_frsize
    };
    let file = File::create(&path).unwrap();
    let mut length = 0;
    while free() > left {
        length += (free() - left).max(4096);
        if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length).is_err() {
            break;
        }
    }
    path
}

async fn full_disk() {
    let device = Device::new(64).unwrap();
    let path = device.path().join("data");
    let store = open(&path, small()).await.unwrap();
    append(&store, entries(1, 0..10)).await.unwrap();
    let filler = fill(&device, 300_000);
    let mut next = 10;
    let error = loop {
        match append(&store, vec![entry_of(1, next, 5_000)]).await {
            Ok(()) => next += 1,
            Err(error) => break error.to_string(),
        }
        assert!(next < 1000, "the disk never got full");
    };
    let want = format!(
        "the disk is full while writing the log: {}/log has ",
        path.display()
    );
    assert!(error.starts_with(&want), "{error}");
    assert!(
        error.ends_with("free space there and start the replica again"),
        "{error}"
    );
    assert!(
        save_vote(&store, vote(1, false)).await.is_err(),
        "nothing is tried again"
    );
    assert_eq!(store.fault().borrow().as_ref().unwrap().to_string(), error);
    store.close().await;

    // Without space it may open or be refused, but never with less than what was acknowledged.
    match open(&path, small()).await {
        Ok(store) => {
            assert!(read_all(&store).await.len() as u64 >= next);
            store.close().await;
        }
        Err(line) => assert!(line.contains("no space is left at"), "{line}"),
    }
    fs::remove_file(filler).unwrap();
    let store = open(&path, small()).await.unwrap();
    let found = read_all(&store).await;
    assert!(found.len() as u64 >= next, "{} of {next}", found.len());
    assert_eq!(
        found[10..],
        (10..found.len() as u64)
            .map(|i| entry_of(1, i, 5_000))
            .collect::<Vec<_>>()
    );
    let end = found.len() as u64;
    append(&store, entries(2, end..end + 5)).await.unwrap();
    store.close().await;
}

async fn full_for_a_snapshot() {
    let device = Device::new(64).unwrap();
    let path = device.path().join("data");
    let store = open(&path, small()).await.unwrap();
    append(&store, entries(1, 0..10)).await.unwrap();
    write_snapshot(&store, Some(at(1, 5)), &records(10))
        .await
        .unwrap();
    let filler = fill(&device, 2_000_000);
    let error = write_snapshot(&store, Some(at(1, 9)), &records(40_000))
        .await
        .unwrap_err();
    let StoreError::Snapshot(SnapshotError::Io { cause, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
    append(&store, entries(1, 10..20)).await.unwrap();
    assert!(store.fault().borrow().is_none());
    let snapshots = fs::read_dir(path.join("snapshots")).unwrap().count();
    assert_eq!(snapshots, 1, "what was begun is removed");
    fs::remove_file(filler).unwrap();
    let written = write_snapshot(&store, Some(at(1, 9)), &records(40_000))
        .await
        .unwrap();
    assert_eq!(store.snapshot(), Some(written));
    store.close().await;
}

async fn failing_disk() {
    let mut device = Device::new(64).unwrap();
    let path = device.path().join("data");
    let store = open(&path, small()).await.unwrap();
    append(&store, entries(1, 0..10)).await.unwrap();
    device.shut_down();
    let (first, second) = tokio::join!(
        append(&store, entries(1, 10..11)),
        save_vote(&store, vote(1, false)),
    );
    let error = first.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the disk failed while writing the log in"),
        "{error}"
    );
    assert!(
        std::error::Error::source(&error).is_some(),
        "it carries its cause"
    );
    assert_eq!(
        second.unwrap_err().to_string(),
        error.to_string(),
        "the first fault is told to all"
    );
    assert!(store.read(0, 1, 1).await.is_err());
    store.close().await;
    drop(store);
    device.power_on();
    let store = open(&path, small()).await.unwrap();
    assert_eq!(read_all(&store).await, entries(1, 0..10));
    store.close().await;
}

async fn failing_facts() {
    let mut device = Device::new(64).unwrap();
    let path = device.path().join("data");
    let store = open(&path, small()).await.unwrap();
    store
        .save_membership(at(1, 1), records(1)[0].clone())
        .await
        .unwrap();
    device.shut_down();
    let error = store
        .save_membership(at(1, 2), records(1)[0].clone())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Fault(_)), "{error}");
    assert!(error.to_string().contains("while writing facts"), "{error}");
    assert!(
        append(&store, entries(1, 0..1)).await.is_err(),
        "all of the store has stopped"
    );
    store.close().await;
    drop(store);
    device.power_on();
    let store = open(&path, small()).await.unwrap();
    assert_eq!(store.facts().memberships.len(), 1);
    store.close().await;
}

async fn read_only_disk() {
    let mut device = Device::new(64).unwrap();
    let path = device.path().join("data");
    let store = open(&path, small()).await.unwrap();
    append(&store, entries(1, 0..10)).await.unwrap();
    store.close().await;
    drop(store);
    device.unmount().unwrap();
    device.mount("ro").unwrap();
    for path in [path.clone(), device.path().join("new")] {
        let line = open(&path, small()).await.map(drop).unwrap_err();
        assert!(
            line.contains("cannot be written; give the replica's user write access"),
            "{line}"
        );
    }
    device.unmount().unwrap();
    device.mount("rw").unwrap();
    assert_eq!(
        read_all(&open(&path, small()).await.unwrap()).await,
        entries(1, 0..10)
    );
}

async fn disk_with_holes() {
    let mut device = Device::new(64).unwrap();
    let path = device.path().join("data");
    let store = open(&path, small()).await.unwrap();
    for batch in 0..40 {
        let entries = (batch * 10..batch * 10 + 10)
            .map(|index| entry_of(1, index, 90_000))
            .collect();
        append(&store, entries).await.unwrap();
    }
    write_snapshot(&store, Some(at(1, 99)), &records(10))
        .await
        .unwrap();
    purge(&store, at(1, 50)).await.unwrap();
    store.close().await;
    drop(store);
    // Nothing of it is in memory after this, and then half of the device is gone.
    device.power_on();
    let image = OpenOptions::new().write(true).open(device.image()).unwrap();
    image.set_len(24 << 20).unwrap();
    let line = open(&path, small()).await.map(drop).unwrap_err();
    assert!(line.contains(&*path.to_string_lossy()), "{line}");
    image.set_len(64 << 20).unwrap();
}
