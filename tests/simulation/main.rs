//! Whole clusters in one process, on a simulated network, clock and disk, each run a function of its seed.
//!
//! Each seed runs 30 simulated seconds of three or five replicas and three clients while processes are killed, machines
//! lose power, replicas stop in order, the network splits in both directions and in one, holds messages or is slow,
//! disks stall, and liveness links are cut or lied to. Then everything heals. Checked are: no acknowledged write is
//! lost, none is done twice, no read is stale, ids are unique, one replica leads in a term, the same index has the same
//! digest everywhere and for ever, and once the faults have ended every call is answered. Every seed runs twice, in
//! processes of their own (randomness of libraries outlives a run), and both must leave the same trace, byte for byte.
//!
//! `QUORATE_SIM_SEED=7 cargo test -p quorate-cli --test simulation` shows one seed in full;
//! `QUORATE_SIM_SEEDS=1..200` runs others than the usual 20. `QUORATE_SIM_LOG` takes a filter for the replicas' logs.
//! Left out on purpose: damaged disks, clocks that jump, and membership changes.
#![allow(missing_docs)]

mod clock;
mod cluster;
mod faults;
mod load;
mod network;
mod oracle;

use std::ops::Range;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Shows one seed.
const SEED: &str = "QUORATE_SIM_SEED";
/// The seeds to run, `first..end`.
const SEEDS: &str = "QUORATE_SIM_SEEDS";
const SEEDS_DEFAULT: Range<u64> = 1..21;
/// A filter for logs, which go to standard output with the trace.
const LOG: &str = "QUORATE_SIM_LOG";
/// Seeds that run at the same time.
const THREADS: usize = 2;

fn main() -> ExitCode {
    if let Some(seed) = std::env::var(SEED).ok().filter(|seed| !seed.is_empty()) {
        let Ok(seed) = seed.parse() else {
            eprintln!("{SEED} is {seed:?}; give a number");
            return ExitCode::from(2);
        };
        return run_one(seed);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("simulation: test");
        return ExitCode::SUCCESS;
    }
    // A name that is not ours was asked for.
    let mut names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    if names.peek().is_some() && !names.any(|name| "simulation".contains(name.as_str())) {
        return ExitCode::SUCCESS;
    }
    let missed = oracle::missed();
    if !missed.is_empty() {
        eprintln!("the judge is wrong about: {}", missed.join("; "));
        return ExitCode::FAILURE;
    }
    let Some(seeds) = seeds() else {
        eprintln!("{SEEDS} is no range of numbers; give first..end, for example 1..21");
        return ExitCode::from(2);
    };
    run_all(seeds)
}

fn seeds() -> Option<Range<u64>> {
    let Some(text) = std::env::var(SEEDS).ok().filter(|text| !text.is_empty()) else {
        return Some(SEEDS_DEFAULT);
    };
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

/// The simulated time, for logs.
struct SimTime;

impl FormatTime for SimTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(
            w,
            "{:>9.3}",
            turmoil::sim_elapsed().unwrap_or_default().as_secs_f64()
        )
    }
}

/// Runs one seed here; prints its trace and what it did.
fn run_one(seed: u64) -> ExitCode {
    if let Ok(filter) = std::env::var(LOG) {
        let filter = EnvFilter::builder().parse_lossy(filter);
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(SimTime)
            .with_ansi(false)
            .init();
    }
    let report = cluster::run(seed);
    print!("{}", report.trace);
    eprintln!("seed {seed}: {}", report.summary);
    for violation in report.violations.iter().take(5) {
        eprintln!("seed {seed}: {violation}");
    }
    if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs every seed twice in processes of their own.
fn run_all(seeds: Range<u64>) -> ExitCode {
    let began = Instant::now();
    let count = seeds.end.saturating_sub(seeds.start);
    let queue = Mutex::new(seeds);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(seed) = queue.lock().expect("no panic holds it").next() {
                    if !run_twice(seed) {
                        failed.lock().expect("no panic holds it").push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no panic holds it");
    failed.sort_unstable();
    eprintln!(
        "{count} seeds, {} failed, {:.0} s",
        failed.len(),
        began.elapsed().as_secs_f64()
    );
    for seed in &failed {
        eprintln!(
            "to see it again: {SEED}={seed} cargo test -p {} --test simulation",
            env!("CARGO_PKG_NAME")
        );
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_twice(seed: u64) -> bool {
    let runs = [spawn(seed), spawn(seed)];
    let [one, two] = &runs;
    eprint!("{}", String::from_utf8_lossy(&one.stderr));
    let mut is_good = one.status.success() && two.status.success();
    if one.stdout != two.stdout {
        is_good = false;
        let (one, two) = (
            String::from_utf8_lossy(&one.stdout),
            String::from_utf8_lossy(&two.stdout),
        );
        let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
        eprintln!("seed {seed}: two runs differ, first at {differ:?}");
    }
    is_good
}

fn spawn(seed: u64) -> Output {
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(this);
    command.env(SEED, seed.to_string()).stdin(Stdio::null());
    command.output().expect("this program starts again")
}
