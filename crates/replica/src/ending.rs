//! Tasks with an owner, and the word that ends them.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a stopping replica waits for its tasks.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Tasks that end together. Whoever spawns one passes it [`Self::stop`], and it returns soon after the word is given.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Ending {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// The word; cheap to clone, and cancelled once.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// For tasks that somebody else spawns: [`Self::end`] waits until each has dropped its token of this.
    pub(crate) fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Ends the tasks and waits for them, for a while.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(JOIN_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not end in time");
        }
    }
}
