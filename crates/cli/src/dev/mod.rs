//! `quorate dev`: a whole cluster on this machine, with workers and load, to look at and to break.
//!
//! Promises: one command brings it up and one key ends it, and nothing is left behind: no process, no temporary directory,
//! no strange terminal. What is shown is what clients and replicas say; nothing is guessed. The pure parts (verbs, state,
//! screen) know neither clock nor IO. Left out on purpose: anything that a real cluster has and a laptop has not: other
//! machines, networks that fail, measurements (see `quorate bench`).

mod arguments;
mod event;
mod face;
mod hands;
mod input;
mod moment;
mod output;
mod place;
mod poll;
mod run;
mod screen;
mod signals;
mod state;
mod terminal;
mod verbs;
mod words;
mod workload;

pub(crate) use arguments::Arguments;

use tokio::runtime::Builder;

use crate::exit::Failure;

/// Threads of the runtime: watching must not wait for the load.
const THREADS: usize = 2;

/// Runs until the user ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("the runtime cannot be started: {error}")))?;
    runtime.block_on(run::run(arguments))
}
