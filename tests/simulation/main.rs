//! Whole clusters in one process, on a simulated network, clock and disk, each run a function of its seed.
//!
//! Each seed runs 30 simulated seconds of a three-replica cluster and three clients while replicas crash, the network
//! splits in both directions and in one, and liveness links are cut or lied to. Checked are: no acknowledged write is
//! lost, none is doubled, no read is stale, ids are unique, and once the faults end everybody gets an answer again.
//! Every seed runs twice, in processes of their own (state of `select!` leaks between runs of one process), and both
//! must leave the same trace, byte for byte.
//!
//! `cargo test --test simulation` runs the 20 seeds; `cargo test --test simulation -- --seed 7` shows one in full.

mod cluster;
mod faults;
mod load;
mod network;
mod oracle;

use std::process::{Command, ExitCode};

/// Seeds of an ordinary run.
const SEEDS: std::ops::Range<u64> = 1..21;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--seed") {
        let Some(seed) = arguments.get(at + 1).and_then(|seed| seed.parse().ok()) else {
            eprintln!("--seed needs a number");
            return ExitCode::from(2);
        };
        return run_one(seed);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("simulation: test");
        return ExitCode::SUCCESS;
    }
    run_all()
}

/// Runs one seed here; prints its trace and what it did.
fn run_one(seed: u64) -> ExitCode {
    match cluster::run(seed) {
        Ok(report) => {
            print!("{}", report.trace);
            eprintln!("seed {seed}: {}", report.summary);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print!("{}", failure.trace);
            eprintln!("seed {seed} failed: {}", failure.why);
            ExitCode::FAILURE
        }
    }
}

/// Runs every seed twice in processes of their own.
fn run_all() -> ExitCode {
    let mut failed = false;
    for seed in SEEDS {
        let runs = [spawn(seed), spawn(seed)];
        for run in &runs {
            eprint!("{}", String::from_utf8_lossy(&run.stderr));
            failed |= !run.status.success();
        }
        if runs[0].stdout != runs[1].stdout {
            failed = true;
            let lines = |index: usize| String::from_utf8_lossy(&runs[index].stdout).into_owned();
            let (one, two) = (lines(0), lines(1));
            let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
            eprintln!("seed {seed}: two runs differ, first at {differ:?}");
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn spawn(seed: u64) -> std::process::Output {
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(this);
    command.args(["--seed", &seed.to_string()]);
    command.output().expect("this program starts again")
}
