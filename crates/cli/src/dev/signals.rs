//! The signals that end the command.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// SIGINT, SIGTERM, and those that a terminal sends when it goes.
#[derive(Debug)]
pub(super) struct Signals {
    all: [Signal; 4],
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))
        };
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()];
        let [hangup, quit] = [SignalKind::hangup(), SignalKind::quit()];
        Ok(Self {
            all: [
                listen(interrupt)?,
                listen(terminate)?,
                listen(hangup)?,
                listen(quit)?,
            ],
        })
    }

    /// The next one. Cancel-safe.
    pub(super) async fn next(&mut self) {
        let [one, two, three, four] = &mut self.all;
        tokio::select! {
            _ = one.recv() => {}
            _ = two.recv() => {}
            _ = three.recv() => {}
            _ = four.recv() => {}
        }
    }
}
