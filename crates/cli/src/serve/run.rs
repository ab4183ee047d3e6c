//! The life of a served replica: start, ready, until a signal or a fault.

use quorate::{StartError, chain};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::settings::Settings;
use crate::exit::Failure;

/// Worker threads: consensus, storage replies and clients must not wait for one another even on one core.
const WORKERS_MIN: usize = 2;
const WORKERS_MAX: usize = 8;

/// Runs until told to stop.
pub(crate) fn run(settings: Settings) -> Result<(), Failure> {
    runtime()?.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Before anything is opened: a stop that comes during the start is not lost.
    let mut signals = Signals::new()?;
    let coordinator = tokio::select! {
        started = settings.builder().start() => started.map_err(|error| failure(&error))?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before it had started");
            return Ok(());
        }
    };
    let mut is_ready = false;
    loop {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping in order; a second signal stops at once");
                break;
            }
            fault = coordinator.fault() => {
                // At once: whatever this process still holds, its peers wait for its end.
                return Err(Failure::Fault(chain(&*fault)));
            }
            ready = coordinator.ready(), if !is_ready => {
                // A fault is told by its own branch.
                if ready.is_ok() {
                    tracing::info!("ready: part of the group, caught up, and the leader is known");
                }
                is_ready = true;
            }
        }
    }
    tokio::select! {
        () = coordinator.shutdown() => Ok(()),
        name = signals.next() => Err(Failure::Failed(format!("stopped at once by a second signal ({name})"))),
    }
}

pub(crate) fn failure(error: &StartError) -> Failure {
    let line = chain(error);
    match error {
        StartError::NoName
        | StartError::Name(_)
        | StartError::Config(_)
        | StartError::PortZero { .. }
        | StartError::Tls(_)
        | StartError::Leases(_)
        | StartError::NoStore => Failure::Usage(line),
        StartError::Listen { .. } | StartError::Store(_) => Failure::Failed(line),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
    Builder::new_multi_thread()
        .worker_threads(cores.clamp(WORKERS_MIN, WORKERS_MAX))
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the runtime cannot be started: {error}")))
}

/// The signals that ask a process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
