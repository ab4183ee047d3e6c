//! A client without any help: it sends the message that it is given and tells every field of what comes back.
//!
//! Promises: one request, one answer, nothing tried again; a stream's answers are told as things in their order for each watch,
//! however the server packed them. Left out on purpose: what etcd's own clients make of it; see `ctl`.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::answer::{Answer, Line};
use crate::message::{self, Dynamic};

/// Nothing here takes this long; a call that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(20);
/// For one more thing of a stream.
const PATIENCE_OF_STREAM: Duration = Duration::from_secs(10);
/// Messages of a script that a stream has not sent yet; a script sends one after the other.
const UNSENT_MAX: usize = 16;
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A way to one server.
#[derive(Debug, Clone)]
pub(crate) struct Raw(Channel);

impl Raw {
    pub(crate) fn new(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Self(endpoint.connect_lazy())
    }

    async fn ready(
        &self,
        method: &MethodDescriptor,
    ) -> Result<(Grpc<Channel>, PathAndQuery, Dynamic), Status> {
        let mut client = Grpc::new(self.0.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let unreachable =
            |error: tonic::transport::Error| Status::unavailable(format!("not reached: {error:?}"));
        client.ready().await.map_err(unreachable)?;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = PathAndQuery::from_maybe_shared(path).expect("names of a proto");
        Ok((client, path, Dynamic(method.output())))
    }

    /// One call that is answered once, or with a stream that ends.
    pub(crate) async fn call(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        token: Option<&str>,
    ) -> Result<DynamicMessage, Status> {
        let calling = async {
            let (mut client, path, codec) = self.ready(method).await?;
            let answer = client.unary(with(request, token)?, path, codec).await?;
            Ok(answer.into_inner())
        };
        timeout(PATIENCE, calling).await.unwrap_or_else(|_| Err(hung()))
    }

    /// Begins a stream with its first message.
    pub(crate) async fn open(
        &self,
        method: &MethodDescriptor,
        first: DynamicMessage,
        token: Option<&str>,
    ) -> Result<Stream, Status> {
        let (mut client, path, codec) = self.ready(method).await?;
        let (requests, unsent) = mpsc::channel(UNSENT_MAX);
        // The channel has room.
        let _ = requests.try_send(first);
        let unsent = stream::unfold(unsent, |mut unsent| async move {
            let message = unsent.recv().await?;
            Some((message, unsent))
        });
        // A call that takes one message has it only when no further one can come.
        let requests = method.is_client_streaming().then_some(requests);
        let opening = client.streaming(with(unsent, token)?, path, codec);
        let answers = timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err(hung()))?;
        Ok(Stream {
            method: method.clone(),
            requests,
            answers: answers.into_inner(),
            untaken: VecDeque::new(),
            last: None,
        })
    }
}

/// A request with a token.
fn with<T>(message: T, token: Option<&str>) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let token = token
            .parse()
            .map_err(|_| Status::internal("the script is wrong: no token"))?;
        request.metadata_mut().insert("token", token);
    }
    Ok(request)
}

fn hung() -> Status {
    Status::deadline_exceeded("no answer: the test waited long enough")
}

/// An answer or an error, as lines.
pub(crate) fn told(answer: &Result<DynamicMessage, Status>) -> Answer {
    match answer {
        Ok(message) => Answer::new(message::lines("", message)),
        Err(status) => Answer::new(of_status("", status)),
    }
}

fn of_status(path: &str, status: &Status) -> Vec<Line> {
    vec![
        Line::new(format!("{path}code"), format!("{:?}", status.code())),
        Line::new(format!("{path}text"), status.message()),
    ]
}

/// An open stream.
pub(crate) struct Stream {
    method: MethodDescriptor,
    /// `None` for a call that takes one message.
    requests: Option<mpsc::Sender<DynamicMessage>>,
    answers: Streaming<DynamicMessage>,
    /// Things that came and were not taken.
    untaken: VecDeque<Thing>,
    /// Of the last answer with events: its watch and the revision that it ended with, when that should be complete.
    last: Option<(i64, i64)>,
}

/// An event, an answer without any, or the stream's end.
struct Thing {
    watch: i64,
    lines: Vec<Line>,
}

impl Stream {
    /// Sends another message.
    pub(crate) async fn send(&self, text: &str) -> Answer {
        let request = match message::parse(self.method.input(), text) {
            Ok(request) => request,
            Err(error) => return Answer::new(vec![Line::new("script", error)]),
        };
        let Some(requests) = &self.requests else {
            return Answer::new(vec![Line::new("script", "it takes one message")]);
        };
        let _ = requests.send(request).await;
        Answer::default()
    }

    /// Waits for so many things, and tells them by their watches: servers order the answers to different ones as they like.
    pub(crate) async fn take(&mut self, things: usize) -> Answer {
        while self.untaken.len() < things {
            match timeout(PATIENCE_OF_STREAM, self.answers.message()).await {
                Ok(Ok(Some(message))) => self.unpack(&message),
                Ok(ended) => {
                    let lines = match ended {
                        Err(status) => of_status("end.", &status),
                        _ => vec![Line::new("end", "in order")],
                    };
                    self.untaken.push_back(Thing {
                        watch: i64::MAX,
                        lines,
                    });
                    break;
                }
                Err(_) => break,
            }
        }
        let missing = things.saturating_sub(self.untaken.len());
        let mut taken: Vec<Thing> = self.untaken.drain(..things - missing).collect();
        taken.sort_by_key(|thing| thing.watch);
        let mut answer = Answer::default();
        for (number, thing) in taken.into_iter().enumerate() {
            let lines = thing.lines.into_iter();
            answer.extend(lines.map(|line| line.under(&format!("[{number}]."))).collect());
        }
        if missing > 0 {
            answer.push(Line::new("missing", missing.to_string()));
        }
        answer
    }

    /// What has come and was not taken.
    pub(crate) async fn close(mut self) -> Answer {
        while let Ok(Ok(Some(message))) = timeout(Duration::ZERO, self.answers.message()).await {
            self.unpack(&message);
        }
        let untaken = self.untaken.len();
        self.take(untaken).await
    }

    /// Makes things of an answer. Of an answer with events the revision in its head is left out, since that depends on how many
    /// events were packed together; that it covers them is a fact of each.
    fn unpack(&mut self, message: &DynamicMessage) {
        let watch = message::number(message, &["watch_id"]).unwrap_or_default();
        let events = message.get_field_by_name("events");
        let events = events
            .as_ref()
            .and_then(|events| events.as_list())
            .unwrap_or_default();
        if events.is_empty() {
            let lines = message::lines("", message);
            return self.untaken.push_back(Thing { watch, lines });
        }
        let covered = message::number(message, &["header", "revision"]).unwrap_or_default();
        for (index, event) in events.iter().filter_map(|event| event.as_message()).enumerate() {
            let revision = message::number(event, &["kv", "mod_revision"]).unwrap_or_default();
            let mut lines = message::lines("event", event);
            lines.insert(0, Line::new("watch_id", watch.to_string()));
            if covered < revision {
                lines.push(Line::new("head", format!("is at {covered}")));
            }
            if index == 0 && self.last == Some((watch, revision)) {
                lines.push(Line::new(
                    "atomic",
                    "false: the revision began in an earlier answer",
                ));
            }
            self.last = Some((watch, revision));
            self.untaken.push_back(Thing { watch, lines });
        }
        let fragment = message
            .get_field_by_name("fragment")
            .and_then(|value| value.as_bool());
        if fragment == Some(true) {
            self.last = None;
        }
    }
}
