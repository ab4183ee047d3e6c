//! A service on a machine in memory, and a client of it, for the tests of streams.

use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest};
use quorate_api::mvccpb::Event;
use quorate_api::mvccpb::event::EventType;
use quorate_types::Revision;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Code;

use super::*;
use crate::auth::testing::by;
use crate::testing::{Memory, bytes};

pub(super) type Requests = Pin<Box<dyn Stream<Item = Result<WatchRequest, Status>> + Send>>;

/// A service, and its task.
pub(super) struct Served {
    pub(super) node: Memory,
    pub(super) watch: Arc<Watch<Memory>>,
    pub(super) work: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// A client's end of a stream.
pub(super) struct Client {
    pub(super) requests: Option<mpsc::UnboundedSender<Result<WatchRequest, Status>>>,
    pub(super) stream: WatchStream<Memory, Requests>,
}

pub(super) async fn serve(node: Memory) -> Served {
    served(Watch::new(node, Guard::new(), CancellationToken::new())).await
}

/// The task has begun: what happens from now on is handed out.
pub(super) async fn served(watch: Watch<Memory>) -> Served {
    let work = tokio::spawn(watch.work());
    let feed = watch.hub.open().expect("a place");
    while feed.distributed() == Revision(0) {
        tokio::task::yield_now().await;
    }
    Served {
        node: watch.node.clone(),
        work,
        watch: Arc::new(watch),
    }
}

impl Served {
    pub(super) fn client(&self) -> Client {
        self.client_that(false).expect("a stream")
    }

    /// A client that shows a user's token, or none.
    pub(super) fn client_by(&self, user: &str) -> Client {
        let shown = Credentials::of(by(user, ()).metadata());
        self.client_who(shown, false).expect("a stream")
    }

    pub(super) fn client_that(&self, wants_leader: bool) -> Result<Client, Status> {
        self.client_who(Credentials::default(), wants_leader)
    }

    pub(super) fn client_who(&self, shown: Credentials, wants_leader: bool) -> Result<Client, Status> {
        let (requests, asked) = mpsc::unbounded_channel();
        let asked = streams::unfold(
            asked,
            |mut asked| async move { Some((asked.recv().await?, asked)) },
        );
        let requests_stream: Requests = Box::pin(asked);
        Ok(Client {
            requests: Some(requests),
            stream: self.watch.open(requests_stream, shown, wants_leader)?,
        })
    }
}

pub(super) fn on(key: &str, range_end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        ..WatchCreateRequest::default()
    }
}

pub(super) fn since(key: &str, range_end: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        start_revision,
        ..on(key, range_end)
    }
}

impl Client {
    pub(super) fn ask(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.send(Ok(request));
    }

    pub(super) fn send(&self, request: Result<WatchRequest, Status>) {
        let requests = self.requests.as_ref().expect("half a stream");
        requests.send(request).expect("a stream that reads");
    }

    pub(super) async fn next(&mut self) -> WatchResponse {
        self.stream
            .next()
            .await
            .expect("not the end")
            .expect("a response")
    }

    /// Creates a watch, and gives its id.
    pub(super) async fn create(&mut self, request: WatchCreateRequest) -> i64 {
        self.ask(RequestUnion::CreateRequest(request));
        let created = self.next().await;
        assert!(created.created && !created.canceled, "{created:?}");
        created.watch_id
    }

    pub(super) async fn refused(&mut self, request: WatchCreateRequest) -> String {
        self.ask(RequestUnion::CreateRequest(request));
        let created = self.next().await;
        assert!(
            created.created && created.canceled && created.watch_id == -1,
            "{created:?}"
        );
        created.cancel_reason
    }

    pub(super) async fn cancel(&mut self, watch_id: i64) {
        self.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
        let canceled = self.next().await;
        assert!(canceled.canceled && canceled.watch_id == watch_id, "{canceled:?}");
    }

    /// Everything has come: the answer to a request for progress is next. Gives its revision.
    pub(super) async fn is_quiet(&mut self) -> i64 {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
        let progress = self.next().await;
        assert_eq!(
            (progress.watch_id, progress.events.len()),
            (-1, 0),
            "{progress:?}"
        );
        revision(&progress)
    }

    /// How the stream ends.
    pub(super) async fn end(&mut self) -> (Code, String) {
        let status = self
            .stream
            .next()
            .await
            .expect("a last word")
            .expect_err("the end");
        assert!(self.stream.next().await.is_none());
        (status.code(), status.message().to_owned())
    }
}

pub(super) fn revision(response: &WatchResponse) -> i64 {
    response.header.expect("a head").revision
}

pub(super) fn shown(event: &Event) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let kv = event.kv.as_ref().expect("a key");
    let kind = match event.r#type() {
        EventType::Put => "+",
        EventType::Delete => "-",
    };
    let before = event
        .prev_kv
        .as_ref()
        .map(|kv| format!(" was {}", text(&kv.value)));
    format!(
        "{kind}{}={}@{}{}",
        text(&kv.key),
        text(&kv.value),
        kv.mod_revision,
        before.unwrap_or_default()
    )
}

/// The watch, the revision in the head, the events.
pub(super) fn told(response: &WatchResponse) -> (i64, i64, Vec<String>) {
    assert!(
        !response.created && !response.canceled && !response.fragment,
        "{response:?}"
    );
    let events = response.events.iter().map(shown).collect();
    (response.watch_id, revision(response), events)
}

pub(super) fn events(id: i64, revision: i64, events: &[&str]) -> (i64, i64, Vec<String>) {
    (
        id,
        revision,
        events.iter().map(|event| (*event).to_owned()).collect(),
    )
}
