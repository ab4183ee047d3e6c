//! Accepting connections, a bounded number of them, each in a task that somebody joins.
//!
//! Promises: a connection beyond the bound is closed at once; a listener that cannot accept (out of file descriptors, most
//! likely) is tried again after a pause and does not spin. Left out on purpose: what is spoken on a connection.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Listener, Stream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After a failed accept.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`, then closes the listener. Each connection runs `serve` as a task of `tasks`.
pub(crate) async fn accept<F>(
    mut listener: Listener,
    connections_max: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
    serve: impl Fn(Stream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let seats = Arc::new(Semaphore::new(connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            tracing::debug!(connections_max, "too many connections; a further one is closed");
            continue;
        };
        let served = serve(stream);
        tasks.spawn(async move {
            served.await;
            drop(seat);
        });
    }
}

#[cfg(test)]
mod tests {
    use quorate_host::{Network, Tcp};
    use tokio::io::AsyncReadExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_connection_beyond_the_bound_is_closed_and_its_seat_comes_free_again() {
        let listener = Tcp.listen("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_address().expect("an address");
        let (tasks, stop, release) = (
            TaskTracker::new(),
            CancellationToken::new(),
            Arc::new(Notify::new()),
        );
        let serve = {
            let release = Arc::clone(&release);
            move |stream: Stream| {
                let release = Arc::clone(&release);
                async move {
                    release.notified().await;
                    drop(stream);
                }
            }
        };
        let accepting = tokio::spawn(accept(listener, 1, tasks.clone(), stop.clone(), serve));

        let mut first = Tcp.dial(&address).await.expect("dialled");
        let mut second = Tcp.dial(&address).await.expect("dialled");
        let mut byte = [0];
        assert_eq!(second.read(&mut byte).await.ok(), Some(0), "closed at once");
        release.notify_one();
        assert_eq!(first.read(&mut byte).await.ok(), Some(0), "served to its end");
        tasks.close();
        tasks.wait().await;

        let mut third = Tcp.dial(&address).await.expect("dialled");
        release.notify_one();
        assert_eq!(third.read(&mut byte).await.ok(), Some(0));
        stop.cancel();
        accepting.await.expect("no panic");
        assert!(Tcp.dial(&address).await.is_err(), "the listener is closed");
    }
}
