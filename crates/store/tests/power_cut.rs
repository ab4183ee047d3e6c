//! Power cuts: an ext4 file system loses what it had not handed to its device, at random moments, and what was
//! acknowledged must be there after the journal was replayed. Two controls show that the method does lose writes:
//! sled as it is, and a log that is not flushed.
//!
//! The simulated device keeps everything that it received, so this is the lenient case: a real disk may also lose its
//! own cache, against which the flush commands help that `fdatasync` sends and plain sled does not.
//!
//! `QUORATE_POWER_CUTS` sets the number of rounds.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_store::{DiskOptions, DiskStore, Store};
use support::device::{Device, in_own_namespace, unavailable};
use support::workload::{Acknowledged, KINDS, verify, work};
use support::{at, small};

fn main() -> ExitCode {
    if let Some(outcome) = in_own_namespace() {
        return outcome;
    }
    support::trials::run(
        unavailable(),
        vec![
            ("nothing_acknowledged_is_lost_by_a_power_cut", power_cuts),
            ("facts_survive_when_nothing_else_is_flushed", facts_alone),
            ("a_first_boot_survives_a_power_cut_at_any_moment", first_boots),
            ("control_plain_sled_loses_acknowledged_writes", plain_sled_loses),
            (
                "control_a_log_without_fsync_loses_its_writes",
                unflushed_log_loses,
            ),
        ],
    )
}

fn rounds(default: u64) -> u64 {
    let set = std::env::var("QUORATE_POWER_CUTS").ok();
    set.map_or(default, |text| {
        text.parse().expect("QUORATE_POWER_CUTS is a number")
    })
}

fn random_ms(from: u64, to: u64) -> Duration {
    Duration::from_millis(from + quorate_host::entropy::random_u64() % (to - from))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

fn power_cuts() {
    let mut device = Device::new(256).unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 1..=rounds(12) {
        // Small chunks rotate often, the default ones hardly ever.
        let options = if round % 2 == 0 {
            small()
        } else {
            DiskOptions::default()
        };
        runtime().block_on(async {
            let opened = DiskStore::open(&device.path().join("data"), options).await;
            let store: Arc<dyn Store> =
                Arc::new(opened.unwrap_or_else(|error| panic!("round {round}: {error}")));
            let verified = verify(&store, &acknowledged).await;
            verified.unwrap_or_else(|lost| panic!("round {round}: {lost}"));

            let noting = acknowledged.clone();
            let working = tokio::spawn({
                let store = Arc::clone(&store);
                async move { work(&store, move |kind, number| noting.note(kind, number)).await }
            });
            tokio::time::sleep(random_ms(50, 900)).await;
            // The machine is dead from here on: what it tells afterwards nobody hears. (The file system may still
            // finish a flush that had begun, without its effect.)
            let heard = acknowledged.until_now();
            device.shut_down();
            let stopped = working.await.unwrap().unwrap_err();
            acknowledged = heard;
            let told = acknowledged.get(KINDS[0]).unwrap_or(0);
            println!("round {round}: cut after entry {told}, then: {stopped}");
            store.close().await;
        });
        device.power_on();
    }
    runtime().block_on(async {
        let path = device.path().join("data");
        let store: Arc<dyn Store> = Arc::new(DiskStore::open(&path, small()).await.unwrap());
        verify(&store, &acknowledged).await.unwrap();
        assert!(store.facts().boots > rounds(12), "every boot was counted");
        store.close().await;
    });
    for kind in KINDS {
        assert!(
            acknowledged.get(kind).is_some(),
            "no {kind:?} was ever acknowledged"
        );
    }
    println!("all there: {acknowledged:?}");
    assert!(acknowledged.get(KINDS[0]) > Some(1000), "too little was written");
}

/// Without the log's flushes, which make the file system's journal durable on the way.
fn facts_alone() {
    let mut device = Device::new(64).unwrap();
    let path = device.path().join("data");
    for round in 1..=rounds(6) {
        let last = at(round, round * 1000);
        runtime().block_on(async {
            let store = DiskStore::open(&path, small()).await.unwrap();
            for _ in 0..round % 3 {
                store
                    .save_membership(at(round, round * 1000 - 1), Bytes::new())
                    .await
                    .unwrap();
            }
            store
                .save_membership(last, Bytes::from_static(b"last"))
                .await
                .unwrap();
            device.shut_down();
            store.close().await;
        });
        device.power_on();
        runtime().block_on(async {
            let store = DiskStore::open(&path, small()).await.unwrap();
            let facts = store.facts();
            let found = facts
                .memberships
                .last()
                .map(|fact| (fact.position, fact.membership.as_ref()));
            assert_eq!(found, Some((last, &b"last"[..])), "round {round}");
            assert_eq!(facts.boots, 2 * round, "round {round}");
            store.close().await;
        });
    }
}

/// A directory whose first opening was cut is opened again as if it were new, and one that was opened is never
/// forgotten.
fn first_boots() {
    let mut device = Device::new(64).unwrap();
    let mut completed = 0;
    for round in 0..rounds(8) {
        let path = device.path().join(format!("data-{round}"));
        let opened = runtime().block_on(async {
            let opening = tokio::spawn({
                let path = path.clone();
                async move { DiskStore::open(&path, small()).await }
            });
            tokio::time::sleep(random_ms(0, 120)).await;
            // What was acknowledged before the cut counts, what comes after it does not.
            let is_open = opening.is_finished();
            device.shut_down();
            if let Ok(store) = opening.await.unwrap() {
                store.close().await;
            }
            is_open
        });
        device.power_on();
        completed += u64::from(opened);
        runtime().block_on(async {
            let store = DiskStore::open(&path, small()).await;
            let store = store.unwrap_or_else(|error| panic!("round {round}, opened {opened}: {error}"));
            assert!(store.facts().boots > u64::from(opened), "round {round}");
            store.close().await;
        });
    }
    println!(
        "{completed} of {} first openings were complete when the power went",
        rounds(8)
    );
}

fn plain_sled_loses() {
    let mut device = Device::new(64).unwrap();
    let mut losses = 0;
    for round in 0..4 {
        let path = device.path().join(format!("sled-{round}"));
        let sled = sled::Config::new()
            .path(&path)
            .flush_every_ms(None)
            .open()
            .unwrap();
        for number in 0_u64..200 {
            sled.insert(number.to_be_bytes(), b"acknowledged").unwrap();
            sled.flush().unwrap();
        }
        device.shut_down();
        // Its drop flushes what can no longer be flushed; some of that panics.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(sled)));
        device.power_on();
        let found = std::panic::catch_unwind(|| sled::open(&path).map_or(0, |sled| sled.len()));
        losses += usize::from(found.unwrap_or(0) < 200);
    }
    assert!(losses > 0, "sled kept everything, so the power cuts are none");
    println!("plain sled lost acknowledged writes in {losses} of 4 rounds");
}

fn unflushed_log_loses() {
    let mut device = Device::new(64).unwrap();
    let path = device.path().join("log");
    let mut file = File::create(&path).unwrap();
    file.sync_all().unwrap();
    File::open(device.path()).unwrap().sync_all().unwrap();
    for number in 0_u64..10_000 {
        file.write_all(&number.to_be_bytes()).unwrap();
    }
    device.shut_down();
    drop(file);
    device.power_on();
    let left = std::fs::metadata(&path).unwrap().len();
    assert!(left < 80_000, "nothing was lost, so the power cuts are none");
    println!("{left} of 80000 bytes were left");
}
