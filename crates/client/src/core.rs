//! What the handles of one client share, and the tasks that serve it.
//!
//! Promises: a task that is spawned here ends when the client is closed, and [`Core::close`] joins it. Left out on
//! purpose: what the tasks do.

use std::sync::{Arc, Mutex, PoisonError};

use quorate_host::Network;
use quorate_tls::ClientTls;
use tokio::task::JoinSet;

use crate::once::Once;
use crate::topology::{Topology, closed, keep_links};

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) topology: Arc<Topology>,
    pub(crate) once: Once,
    /// `None` once the client was closed.
    tasks: Mutex<Option<JoinSet<()>>>,
}

/// What user-visible handles hold. The last one to go closes the client; tasks hold the [`Core`] only.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.topology.close();
    }
}

impl Core {
    /// Starts looking for the cluster. Must be called in a tokio runtime.
    pub(crate) fn start(seeds: Vec<String>, network: Arc<dyn Network>) -> Arc<Self> {
        let topology = Arc::new(Topology::new(seeds));
        let core = Arc::new(Self {
            topology: Arc::clone(&topology),
            once: Once::new(),
            tasks: Mutex::new(Some(JoinSet::new())),
        });
        core.spawn(keep_links(topology, network));
        core
    }

    /// Keeps what TLS works with up to date.
    pub(crate) fn keep_fresh(&self, tls: ClientTls) {
        let mut views = self.topology.views();
        self.spawn(async move {
            tokio::select! {
                () = closed(&mut views) => {}
                () = tls.keep_fresh() => {}
            }
        });
    }

    /// Runs `task` until it ends. It has to end soon after the client was closed; after that, nothing is run any more.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Ends and joins all tasks. Calls under way end as unavailable.
    pub(crate) async fn close(&self) {
        self.topology.close();
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            while tasks.join_next().await.is_some() {}
        }
    }
}
