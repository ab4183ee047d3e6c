//! `kill -9` at random moments: what was acknowledged is there when the directory is opened again.
//!
//! The writing process is this very program, started again with an environment variable; it tells its acknowledgements
//! through a pipe. (The page cache survives a kill, so this says nothing about flushes: see `power_cut`.)
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quorate_store::{DiskOptions, DiskStore, Store};
use support::small;
use support::workload::{Acknowledged, KINDS, Kind, verify, work};

const DIRECTORY: &str = "QUORATE_TEST_KILL_DIRECTORY";
const ROUNDS: usize = 25;

fn main() -> ExitCode {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        write_until_killed(Path::new(&directory));
    }
    support::trials::run(
        None,
        vec![("nothing_acknowledged_is_lost_by_kill_9", kill_rounds)],
    )
}

/// Small chunks rotate often, the default ones hardly ever.
fn options() -> DiskOptions {
    match quorate_host::entropy::random_u64() % 2 {
        0 => small(),
        _ => DiskOptions::default(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

fn write_until_killed(directory: &Path) -> ! {
    let error = runtime().block_on(async {
        let store: Arc<dyn Store> = Arc::new(DiskStore::open(directory, options()).await.unwrap());
        let tell = |kind, number| {
            // One write call for each line, so that a kill cuts none.
            let line = format!("{kind:?} {number}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        };
        work(&store, tell).await.unwrap_err()
    });
    panic!("the store stopped by itself: {error}");
}

fn kill_rounds() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    let mut told = 0;
    for round in 1..=ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        let moment = 60 + quorate_host::entropy::random_u64() % 340;
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success(), "round {round}");
        for line in reader.join().unwrap() {
            let (kind, number) = line.split_once(' ').unwrap();
            let kind: Kind = *KINDS.iter().find(|known| format!("{known:?}") == kind).unwrap();
            acknowledged.note(kind, number.parse().unwrap());
            told += 1;
        }
        runtime().block_on(async {
            let store: Arc<dyn Store> = Arc::new(DiskStore::open(dir.path(), small()).await.unwrap());
            let verified = verify(&store, &acknowledged).await;
            verified.unwrap_or_else(|lost| panic!("round {round}, killed after {moment} ms: {lost}"));
            store.close().await;
        });
    }
    for kind in KINDS {
        assert!(
            acknowledged.get(kind).is_some(),
            "no {kind:?} was ever acknowledged"
        );
    }
    println!("{ROUNDS} kills, {told} acknowledgements, all there: {acknowledged:?}");
    assert!(told > 500, "only {told} acknowledgements: nothing was tested");
}
