//! Everything on its listeners: start, drain, close.
//!
//! Promises: whatever the server starts is a task that [`Server::close`] joins, the streams of single calls among them; a
//! client that misbehaves loses its own connection and nothing else. [`Server::drain`] lets calls end and sends streams
//! elsewhere, within a bound. Left out on purpose: the order in which a process stops; see the crate `quorate`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use quorate_host::{Listener, ServedConnection, Stream};
use quorate_replica::Replica;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::accept::accept;
use crate::ended::{Seen, judge};
use crate::http;
use crate::leader::Led;
use crate::limits::{
    CLIENT_CONNECTIONS_MAX, CONNECTION_WINDOW_BYTES, HTTP_CONNECTIONS_MAX, PING_EVERY, STREAM_WINDOW_BYTES,
    STREAMS_PER_CONNECTION_MAX,
};
use crate::preface;
use crate::service::Services;
use crate::session::attachments::Attachments;

/// How long [`Server::close`] waits for tasks that were told to end.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The bound addresses.
pub struct Listeners {
    /// Of the clients' gRPC.
    pub clients: Listener,
    /// Of probes, metrics and the status page; absent when they are turned off.
    pub http: Option<Listener>,
}

/// Settings of a server.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long [`Server::drain`] waits for calls to end.
    pub drain_timeout: Duration,
}

impl Default for Options {
    /// Five seconds: what is held for longer is held for want of a leader, and is as well sent elsewhere.
    fn default() -> Self {
        Self {
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// What the services of other packages share with the server.
#[derive(Debug, Clone)]
pub struct Life {
    /// Streams are to end, so that they go on elsewhere.
    pub ending: CancellationToken,
    /// For tasks that end with `ending`: [`Server::close`] joins them.
    pub tasks: TaskTracker,
}

/// A running server. Dropping it ends its tasks without waiting for them.
#[derive(Debug)]
pub struct Server {
    options: Options,
    /// Streams end, so that they go on elsewhere: the replica is about to stop, or a fault has stopped it.
    ending: CancellationToken,
    /// No new connection and no new call.
    draining: CancellationToken,
    /// What is left is cut off.
    cut: CancellationToken,
    /// Connections of clients.
    clients: TaskTracker,
    /// Everything else.
    tasks: TaskTracker,
}

impl Server {
    /// Serves `replica` on `listeners`, and beside the services of `quorate.v1` those of other packages that `beside` makes,
    /// which answer with errors of their own kind. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(
        replica: Replica,
        listeners: Listeners,
        options: Options,
        beside: impl FnOnce(&Life) -> Routes,
    ) -> Self {
        let server = Self {
            options,
            ending: CancellationToken::new(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
            clients: TaskTracker::new(),
            tasks: TaskTracker::new(),
        };
        let attachments = Arc::new(Attachments::default());
        let services = Services {
            led: Led::new(replica.clone()),
            attachments: Arc::clone(&attachments),
            ending: server.ending.clone(),
        };
        let tasks = &server.tasks;
        tasks.spawn(attachments.follow(replica.clone(), server.cut.clone()));
        tasks.spawn(end_on_fault(replica.clone(), server.ending.clone()));

        let life = Life {
            ending: server.ending.clone(),
            tasks: tasks.clone(),
        };
        let connections = Connections {
            routes: services.routes(beside(&life)),
            tasks: server.clients.clone(),
            draining: server.draining.clone(),
            cut: server.cut.clone(),
        };
        let serve = move |stream| connections.clone().serve(stream);
        let (clients, draining) = (server.clients.clone(), server.draining.clone());
        tasks.spawn(accept(
            listeners.clients,
            CLIENT_CONNECTIONS_MAX,
            clients,
            draining,
            serve,
        ));
        if let Some(listener) = listeners.http {
            let (pages, cut) = (http::router(replica), server.cut.clone());
            let serve = move |stream| http::serve(stream, pages.clone(), cut.clone());
            let (tracker, cut) = (tasks.clone(), server.cut.clone());
            tasks.spawn(accept(listener, HTTP_CONNECTIONS_MAX, tracker, cut, serve));
        }
        server
    }

    /// Accepts no more clients, ends their streams so that they go on elsewhere, and waits for their calls to end, for
    /// [`Options::drain_timeout`] at most. The HTTP side goes on.
    pub async fn drain(&self) {
        self.ending.cancel();
        self.draining.cancel();
        self.clients.close();
        if timeout(self.options.drain_timeout, self.clients.wait())
            .await
            .is_err()
        {
            tracing::info!(
                tasks = self.clients.len(),
                "some clients' calls did not end in time"
            );
        }
    }

    /// Cuts off whatever is left and waits until nothing of the server runs any more.
    pub async fn close(self) {
        self.ending.cancel();
        self.draining.cancel();
        self.cut.cancel();
        self.clients.close();
        self.tasks.close();
        let ended = async {
            self.clients.wait().await;
            self.tasks.wait().await;
        };
        if timeout(JOIN_TIMEOUT, ended).await.is_err() {
            let tasks = self.clients.len() + self.tasks.len();
            tracing::warn!(tasks, "some tasks of the server did not end in time");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.cancel();
        self.draining.cancel();
        self.cut.cancel();
    }
}

/// A replica that a fault has stopped has nothing to say on streams: clients are to go on elsewhere. It still tells its
/// status to whoever asks.
async fn end_on_fault(replica: Replica, ending: CancellationToken) {
    let mut fault = replica.fault();
    tokio::select! {
        faulted = fault.wait_for(Option::is_some) => if faulted.is_ok() {
            ending.cancel();
        },
        () = ending.cancelled() => {}
    }
}

/// What a client's connection is served with.
#[derive(Clone)]
struct Connections {
    routes: Routes,
    tasks: TaskTracker,
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Connections {
    async fn serve(self, stream: Stream) {
        let served = ServedConnection::new(stream.remote());
        let greeted = tokio::select! {
            greeted = preface::expect(stream) => greeted,
            () = self.draining.cancelled() => None,
        };
        let Some(greeted) = greeted else {
            return;
        };
        let mut builder = http2::Builder::new(Owned(self.tasks.clone()));
        builder
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        let connection = served.connection();
        let routes = self
            .routes
            .map_request(move |mut request: ::http::Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                request
            });
        let (seen, sight) = Seen::new(greeted);
        let connection = builder.serve_connection(TokioIo::new(seen), TowerToHyperService::new(routes));
        let mut connection = Box::pin(connection);
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = self.draining.cancelled() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        let is_ending = self.draining.is_cancelled();
        served.ended(judge(sight.met(), (&ended).into(), is_ending));
        if let Err(error) = ended {
            tracing::debug!(%error, "a client's connection broke");
        }
    }
}

/// Runs the streams of a connection as tasks that the server joins.
#[derive(Clone)]
struct Owned(TaskTracker);

impl<F> hyper::rt::Executor<F> for Owned
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}
