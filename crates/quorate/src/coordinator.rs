//! A running coordinator, and its end.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use quorate_replica::{Fault, Leadership, Listed, Replica};
use quorate_server::Server;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::builder::Builder;

/// A replica of the coordinator, running in this process.
///
/// Stop it with [`Self::shutdown`]. When it is dropped instead, its clients are cut off at once, but the replica goes on
/// taking part in its group until the runtime ends.
pub struct Coordinator {
    replica: Replica,
    server: Server,
    entry: Listed,
    http_address: Option<String>,
    /// What runs beside the replica and ends with it.
    tasks: JoinSet<()>,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Coordinator");
        shown
            .field("replica", &self.entry)
            .field("http_address", &self.http_address)
            .finish_non_exhaustive()
    }
}

impl Coordinator {
    pub(crate) fn new(
        replica: Replica,
        server: Server,
        entry: Listed,
        http_address: Option<String>,
        tasks: JoinSet<()>,
    ) -> Self {
        Self {
            replica,
            server,
            entry,
            http_address,
            tasks,
        }
    }

    /// Settings for a coordinator.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// This replica as its group lists it.
    #[must_use]
    pub fn listed(&self) -> &Listed {
        &self.entry
    }

    /// Where probes, metrics and the status page are, as bound.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.http_address.as_deref()
    }

    /// Waits until clients may be sent here: the replica is part of its group, has caught up, and knows the leader or is
    /// it.
    ///
    /// # Errors
    /// The fault that stopped the replica.
    pub async fn ready(&self) -> Result<(), Arc<Fault>> {
        self.replica.ready().await
    }

    /// Who leads, as this replica knows it: now, then at every change. A slow reader misses what was in between, never the
    /// newest. Ends with the replica.
    pub fn leadership(&self) -> impl Stream<Item = Leadership> + Send + Unpin + use<> {
        values(self.replica.leadership())
    }

    /// Waits for the fault that stops this replica: a failed disk, damage, a broken invariant. The replica serves nothing
    /// after it. End the process then, or at least shut this coordinator down: its peers wait for its death.
    pub async fn fault(&self) -> Arc<Fault> {
        let mut faults = self.replica.fault();
        loop {
            let fault = faults.borrow_and_update().clone();
            if let Some(fault) = fault {
                return fault;
            }
            if faults.changed().await.is_err() {
                // Stopped in order: there will be none.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The replica itself: its verbs, status and metrics.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Stops in order: readiness off, leadership handed over while clients are still served and told of it, calls drained,
    /// the clients' port closed, then the replica, whose liveness listener closes last.
    pub async fn shutdown(mut self) {
        tracing::info!(name = %self.entry.name, "the replica stops");
        self.replica.prepare_stop().await;
        self.server.drain().await;
        self.server.close().await;
        self.replica.stop().await;
        self.tasks.shutdown().await;
        tracing::info!(name = %self.entry.name, "the replica has stopped");
    }
}

/// The present value, then each newer one.
fn values<T: Clone + Send + Sync + 'static>(
    receiver: watch::Receiver<T>,
) -> impl Stream<Item = T> + Send + Unpin + use<T> {
    Box::pin(stream::unfold(
        (receiver, true),
        |(mut receiver, is_first)| async move {
            if !is_first {
                receiver.changed().await.ok()?;
            }
            let value = receiver.borrow_and_update().clone();
            Some((value, (receiver, false)))
        },
    ))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_begins_with_what_is_and_ends_with_its_source() {
        let (sender, receiver) = watch::channel(1);
        let mut seen = values(receiver);
        assert_eq!(seen.next().await, Some(1));
        sender.send_replace(2);
        sender.send_replace(3);
        assert_eq!(seen.next().await, Some(3), "the newest counts");
        drop(sender);
        assert_eq!(seen.next().await, None);
    }
}
