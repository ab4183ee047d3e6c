//! What the simulated disk can do that a real one does only on bad days.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use quorate_store::{Done, MemoryDisk, MemoryLatency, MemoryStore, OpenError, Store, StoreError};
use support::{
    Place, append, at, entries, raw_snapshot, read_all, read_snapshot, records, save_vote, told, vote,
    write_snapshot,
};
use tokio::time::{Instant, sleep, timeout};

fn place(disk: &MemoryDisk) -> Place {
    Place::Memory(disk.clone())
}

#[tokio::test(start_paused = true)]
async fn a_crash_takes_what_was_not_acknowledged() {
    let disk = MemoryDisk::new();
    let store = place(&disk).open().await;
    append(&store, entries(1, 0..3)).await.unwrap();
    save_vote(&store, vote(1, false)).await.unwrap();
    let (done, told) = told();
    store.append(entries(1, 3..9), done);
    store.save_committed(Some(at(1, 2)));
    disk.crash();
    assert!(told.await.is_err(), "nobody is told anything");
    let error = append(&store, entries(1, 9..10)).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "the old store is dead");

    let again = place(&disk).open().await;
    assert_eq!(read_all(&again).await, entries(1, 0..3));
    assert_eq!(again.log_state().vote, Some(vote(1, false)));
    assert_eq!(again.log_state().committed, None);
    assert_eq!(again.facts().boots, 2);
    drop(store);
    append(&again, entries(1, 3..4)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crash_takes_partial_snapshots_and_unsaved_facts() {
    let disk = MemoryDisk::new();
    let store = place(&disk).open().await;
    write_snapshot(&store, Some(at(1, 1)), &records(500))
        .await
        .unwrap();
    let (id, raw) = raw_snapshot(&store).await;
    let mut writer = store
        .create_snapshot(support::meta(Some(at(1, 5))))
        .await
        .unwrap();
    writer.write(records(10)).await.unwrap();
    let mut inbox = store.receive_snapshot(id).await.unwrap();
    inbox.write(0, raw.slice(..1000)).await.unwrap();
    let saving = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.save_membership(at(1, 1), raw).await }
    });
    tokio::task::yield_now().await;
    disk.crash();
    assert!(saving.await.unwrap().is_err());
    assert!(writer.finish(None).await.is_err());

    let store = place(&disk).open().await;
    assert_eq!(store.receive_snapshot(id).await.unwrap().offset(), 0);
    assert_eq!(
        read_snapshot(&store).await.unwrap().1,
        records(500),
        "the complete one stays"
    );
    assert!(store.facts().memberships.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_without_closing_is_a_crash_and_two_stores_never_share_a_disk() {
    let disk = MemoryDisk::new();
    let store = MemoryStore::open(&disk, MemoryLatency::default()).unwrap();
    let second = MemoryStore::open(&disk, MemoryLatency::default()).map(drop);
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    let ignore: Done = Box::new(drop);
    store.append(entries(1, 0..3), ignore);
    drop(store);
    assert!(read_all(&place(&disk).open().await).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stalled_disk_shows_its_age_and_goes_on() {
    let disk = MemoryDisk::new();
    let store = place(&disk).open().await;
    disk.stall(true);
    let (done, mut told) = told();
    store.append(entries(1, 0..3), done);
    let (second, _) = support::told();
    sleep(Duration::from_secs(2)).await;
    store.save_vote(vote(1, false), second);
    sleep(Duration::from_secs(1)).await;
    assert!(told.try_recv().is_err());
    assert_eq!(store.stats().oldest_unfinished, Some(Duration::from_secs(3)));
    assert_eq!(store.read(0, 9, 9999).await.unwrap().len(), 3, "reads go on");
    disk.stall(false);
    told.await.unwrap().unwrap();
    save_vote(&store, vote(2, false)).await.unwrap();
    assert_eq!(store.stats().oldest_unfinished, None);
    assert!(store.stats().flush_p99 >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_disk_holds_back_who_asks_for_room() {
    let disk = MemoryDisk::new();
    let store = place(&disk).open().await;
    disk.stall(true);
    let mut index = 0;
    while timeout(Duration::from_millis(1), store.room()).await.is_ok() {
        let ignore: Done = Box::new(drop);
        store.append(vec![support::entry_of(1, index, 1 << 20)], ignore);
        index += 1;
    }
    assert_eq!(index, 64, "64 MiB wait");
    disk.stall(false);
    store.room().await;
    append(&store, vec![support::entry(1, index)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_and_a_full_disk_stop_the_store_with_a_sentence() {
    type Break = fn(&MemoryDisk);
    let cases: [(&str, Break, &str); 2] = [
        (
            "failing",
            |disk| disk.fail_writes(true),
            "the disk failed while writing the log",
        ),
        (
            "full",
            |disk| disk.limit_bytes(Some(150)),
            "the disk is full while writing the log: /simulated",
        ),
    ];
    for (name, harm, want) in cases {
        let disk = MemoryDisk::new();
        let store = place(&disk).open().await;
        append(&store, entries(1, 0..1)).await.unwrap();
        harm(&disk);
        let error = append(&store, entries(1, 1..9)).await.unwrap_err();
        assert!(error.to_string().contains(want), "{name}: {error}");
        let fault = store.fault().borrow().clone().unwrap();
        assert_eq!(fault.to_string(), error.to_string(), "{name}");
        disk.fail_writes(false);
        disk.limit_bytes(None);
        assert!(
            save_vote(&store, vote(1, false)).await.is_err(),
            "{name}: nothing is tried again"
        );
        store.close().await;
        drop(store);
        assert_eq!(
            read_all(&place(&disk).open().await).await,
            entries(1, 0..1),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_fails_a_snapshot_and_the_log_goes_on() {
    let disk = MemoryDisk::new();
    let store = place(&disk).open().await;
    disk.limit_bytes(Some(10_000));
    let error = write_snapshot(&store, Some(at(1, 1)), &records(1000))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Snapshot(_)), "{error}");
    append(&store, entries(1, 0..1)).await.unwrap();
    assert!(store.fault().borrow().is_none());
}

/// Times and outcomes of a run are a function of the seed.
#[test]
fn a_seed_repeats_itself() {
    let run = |seed| {
        std::thread::spawn(move || {
            quorate_host::entropy::seed(seed);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let disk = MemoryDisk::new();
                let mut trace = Vec::new();
                for round in 0..20 {
                    let store = place(&disk).open().await;
                    let began = Instant::now();
                    let next = store.log_state().last.map_or(0, |last| last.index.0 + 1);
                    append(&store, entries(1, next..next + 3)).await.unwrap();
                    trace.push((began.elapsed(), next));
                    for index in next + 3..next + 9 {
                        let ignore: Done = Box::new(drop);
                        store.append(entries(1, index..index + 1), ignore);
                    }
                    if round % 2 == 0 {
                        sleep(Duration::from_micros(300)).await;
                    }
                    disk.crash_in_flight();
                }
                trace
            })
        })
        .join()
        .unwrap()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let lengths: Vec<u64> = run(7).windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(
        lengths.iter().any(|length| *length > 3 && *length < 9),
        "parts of it survive: {lengths:?}"
    );
}
