//! Speed of etcd's API: three replicas of Quorate beside a real etcd of three members, in one run.
//!
//! Promises: one load generator, this process, speaks plain tonic to both; the two take turns, stretch by stretch; fsync is on at
//! both; the processor time of all three server processes is counted, and that of the load generator, which shares the machine.
//! `kill` strikes the leader under 1,000 puts per second of the crate `etcd-client`. Left out on purpose: verdicts, because
//! a figure of a shared machine says too little to fail a build; and correctness, which other tests judge.

mod cpu;
mod figures;
mod kill;
mod load;
mod options;
mod plan;
mod report;
mod run;
mod system;

use std::process::ExitCode;

use clap::Parser;
use quorate_bench::parts::with_causes;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run::run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {}", with_causes(error));
    ExitCode::FAILURE
}
