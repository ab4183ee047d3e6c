//! How fast the log is beside the disk below it: `cargo run --release -p quorate-store --example log_bench [directory]`.
//!
//! All of it in one run on one file system, in alternation, because disks that others share change from minute to
//! minute. Figures are medians of the repetitions.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_store::{DiskOptions, DiskStore, Entry, EntryKind, SnapshotMeta, Store};
use quorate_types::{Index, NodeId, Position, Term};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

const PAYLOAD_BYTES: usize = 256;
const REPETITIONS: usize = 5;
const SINGLES: usize = 1000;
const BATCHES: usize = 200;
const BATCH: u64 = 64;
const PIPELINED: u64 = 20_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let root = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(&root).unwrap();
    println!("directory {}: {}", dir.path().display(), file_system(dir.path()));
    println!("payload {PAYLOAD_BYTES} B, {REPETITIONS} repetitions in alternation, medians of them");

    let store: Arc<dyn Store> = Arc::new(
        DiskStore::open(&dir.path().join("data"), DiskOptions::default())
            .await
            .unwrap(),
    );
    let bare = File::create(dir.path().join("bare")).unwrap();
    let (mut next, mut figures) = (0, Vec::new());
    for _ in 0..REPETITIONS {
        let bare_one = bare_loop(&bare, PAYLOAD_BYTES, SINGLES);
        let one = singles(&store, &mut next).await;
        let bare_64 = bare_loop(&bare, PAYLOAD_BYTES * 64, BATCHES);
        let batches = batches(&store, &mut next).await;
        let pipelined = pipelined(&store, &mut next).await;
        figures.push([bare_one, one, bare_64, batches, pipelined]);
    }
    let names = [
        ("bare write + fdatasync, 1 record", 1),
        ("append of 1 entry", 1),
        ("bare write + fdatasync, 64 records", BATCH),
        ("append of 64 entries", BATCH),
        ("append of 1 entry, 64 in flight", 1),
    ];
    for (column, (name, records)) in names.into_iter().enumerate() {
        let rows: Vec<&Figures> = figures.iter().map(|row| &row[column]).collect();
        let median = |pick: fn(&Figures) -> f64| middle(rows.iter().map(|row| pick(row)).collect());
        println!(
            "{name:36} p50 {:7.0} us  p99 {:7.0} us  {:9.0} records/s",
            median(|f| f.p50_us),
            median(|f| f.p99_us),
            median(|f| f.per_second) * records as f64
        );
    }
    println!("{:?}", store.stats());
    store.close().await;
    drop(store);

    boot_with_entries(dir.path()).await;
    boot_with_snapshot(dir.path()).await;
}

struct Figures {
    p50_us: f64,
    p99_us: f64,
    /// Operations, not records.
    per_second: f64,
}

fn figures(mut times: Vec<Duration>, whole: Duration) -> Figures {
    let per_second = times.len() as f64 / whole.as_secs_f64();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    Figures {
        p50_us: at(50),
        p99_us: at(99),
        per_second,
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn bare_loop(mut file: &File, bytes: usize, count: usize) -> Figures {
    let data = vec![7; bytes];
    let began = Instant::now();
    let times = (0..count).map(|_| {
        let began = Instant::now();
        file.write_all(&data).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    });
    let times = times.collect();
    figures(times, began.elapsed())
}

fn entries(next: &mut u64, count: u64) -> Vec<Entry> {
    let first = *next;
    *next += count;
    (first..*next)
        .map(|index| Entry {
            position: position(index),
            kind: EntryKind::Command,
            payload: Bytes::from(vec![u8::try_from(index % 251).unwrap(); PAYLOAD_BYTES]),
        })
        .collect()
}

fn position(index: u64) -> Position {
    Position {
        term: Term(1),
        leader: NodeId(1),
        index: Index(index),
    }
}

async fn append(store: &Arc<dyn Store>, entries: Vec<Entry>) {
    let (sender, receiver) = oneshot::channel();
    store.append(entries, Box::new(move |result| drop(sender.send(result))));
    receiver.await.unwrap().unwrap();
}

async fn singles(store: &Arc<dyn Store>, next: &mut u64) -> Figures {
    timed(store, next, 1, SINGLES).await
}

async fn batches(store: &Arc<dyn Store>, next: &mut u64) -> Figures {
    timed(store, next, BATCH, BATCHES).await
}

async fn timed(store: &Arc<dyn Store>, next: &mut u64, size: u64, count: usize) -> Figures {
    let mut times = Vec::with_capacity(count);
    let whole = Instant::now();
    for _ in 0..count {
        let entries = entries(next, size);
        let began = Instant::now();
        append(store, entries).await;
        times.push(began.elapsed());
    }
    figures(times, whole.elapsed())
}

/// As a busy leader does it: always 64 appends on their way, which the store groups by itself.
async fn pipelined(store: &Arc<dyn Store>, next: &mut u64) -> Figures {
    let in_flight = Arc::new(Semaphore::new(64));
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let whole = Instant::now();
    for _ in 0..PIPELINED {
        let permit = Arc::clone(&in_flight).acquire_owned().await.unwrap();
        let (times, began) = (Arc::clone(&times), Instant::now());
        let done = move |result: Result<(), _>| {
            result.unwrap();
            times.lock().unwrap().push(began.elapsed());
            drop(permit);
        };
        store.append(entries(next, 1), Box::new(done));
    }
    drop(in_flight.acquire_many(64).await.unwrap());
    let whole = whole.elapsed();
    let times = std::mem::take(&mut *times.lock().unwrap());
    figures(times, whole)
}

async fn boot_with_entries(dir: &Path) {
    let path = dir.join("entries");
    let store: Arc<dyn Store> = Arc::new(DiskStore::open(&path, DiskOptions::default()).await.unwrap());
    let mut next = 0;
    while next < 100_000 {
        append(&store, entries(&mut next, 1000)).await;
    }
    store.close().await;
    drop(store);
    let mut times = Vec::new();
    for _ in 0..REPETITIONS {
        let began = Instant::now();
        let store = DiskStore::open(&path, DiskOptions::default()).await.unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e3);
        store.close().await;
    }
    let store = DiskStore::open(&path, DiskOptions::default()).await.unwrap();
    let began = Instant::now();
    let mut from = 0;
    while let Some(last) = store.read(from, u64::MAX, 4 << 20).await.unwrap().last() {
        from = last.position.index.0 + 1;
    }
    let read_ms = began.elapsed().as_secs_f64() * 1e3;
    println!(
        "boot with {next} entries: {:.0} ms (page cache warm), then reading all of them {read_ms:.0} ms",
        middle(times)
    );
    store.close().await;
}

async fn boot_with_snapshot(dir: &Path) {
    let path = dir.join("snapshot");
    let store = DiskStore::open(&path, DiskOptions::default()).await.unwrap();
    let meta = SnapshotMeta {
        last: Some(position(9)),
        ..SnapshotMeta::default()
    };
    let record = |n: u32| Bytes::from([&n.to_be_bytes()[..], &[5; 296]].concat());
    let records: Vec<Bytes> = (0..100_000).map(record).collect();
    let began = Instant::now();
    let mut writer = store.create_snapshot(meta).await.unwrap();
    for batch in records.chunks(1000) {
        writer.write(batch.to_vec()).await.unwrap();
    }
    let snapshot = writer.finish(None).await.unwrap();
    let wrote_ms = began.elapsed().as_secs_f64() * 1e3;
    store.close().await;
    drop(store);
    let mut boots = Vec::new();
    let mut reads = Vec::new();
    for _ in 0..REPETITIONS {
        let began = Instant::now();
        let store = DiskStore::open(&path, DiskOptions::default()).await.unwrap();
        boots.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        let mut reader = store.open_snapshot().await.unwrap().unwrap();
        while reader.next().await.unwrap().is_some() {}
        reads.push(began.elapsed().as_secs_f64() * 1e3);
        store.close().await;
    }
    println!(
        "snapshot of {} records of 300 B ({} bytes): written in {wrote_ms:.0} ms, boot with it {:.0} ms (all of it \
         checked), read in {:.0} ms",
        snapshot.records,
        snapshot.id.bytes,
        middle(boots),
        middle(reads)
    );
}

/// The line of the mount that `path` is on.
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = mounts
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|at| path.starts_with(at)))
        .max_by_key(|line| line.split(' ').nth(1).map(str::len));
    mount.unwrap_or("an unknown file system").to_owned()
}
