//! One attempt to attach a session's stream, and what came of it.

use std::time::Duration;

use quorate_api::v1;
use quorate_api::v1::{attach_request, attach_response, session_closed};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::call::{Flown, Router, Verdict, words};
use crate::error::Error;
use crate::topology::{Leader, Route, Topology};

/// A leader that does not answer within this time is asked again, or another one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Requests that wait to be sent on one stream. Keep-alives are rare; when it is full, nothing gets through any more.
pub(super) const QUEUE: usize = 8;

/// An attached stream.
pub(super) struct Attached {
    pub(super) route: Route,
    pub(super) requests: mpsc::Sender<v1::AttachRequest>,
    pub(super) answers: Streaming<v1::AttachResponse>,
    pub(super) opened: v1::SessionOpened,
    /// When the request was sent.
    pub(super) sent: Instant,
}

/// What came of an attempt.
pub(super) enum Attempt {
    Attached(Box<Attached>),
    /// Not this time; what was said.
    Again(String),
    /// The session is gone.
    Fenced,
    /// The worker cannot have the session.
    Refused(Error),
    /// The client was closed.
    Closed,
}

/// What the end of a stream means.
pub(super) enum Ending {
    Closed,
    Fenced,
    /// Another leads, perhaps this one.
    Moved(Option<Leader>),
}

pub(super) fn ending(closed: &v1::SessionClosed) -> Ending {
    match closed.why() {
        session_closed::Why::Closed => Ending::Closed,
        session_closed::Why::Fenced => Ending::Fenced,
        session_closed::Why::LeaderChanged | session_closed::Why::Unspecified => {
            Ending::Moved(closed.leader.as_ref().and_then(Leader::from_hint))
        }
    }
}

/// A request of that kind.
pub(super) fn request(kind: attach_request::Kind) -> v1::AttachRequest {
    v1::AttachRequest { kind: Some(kind) }
}

/// Attaches at `route` after `delay`, unless somebody else, or the same replica anew, leads in the meantime.
pub(super) async fn attach(
    topology: &Topology,
    router: &mut Router,
    route: Route,
    delay: Duration,
    open: v1::OpenSession,
) -> Attempt {
    let overtaken = || Attempt::Again(format!("{} was overtaken by another leader", route.address));
    match router.hold(&route, delay).await {
        Flown::Landed(()) => {}
        Flown::Overtaken => return overtaken(),
        Flown::Closed => return Attempt::Closed,
    }
    let resumes = open.session_id != 0;
    let (requests, outgoing) = mpsc::channel(QUEUE);
    // The queue is new and empty.
    let _ = requests.try_send(request(attach_request::Kind::Open(open)));
    let mut client = v1::sessions_client::SessionsClient::new(route.wire.clone());
    let opening = async {
        let sent = Instant::now();
        let answered = timeout(ANSWER_TIMEOUT, async {
            let mut answers = client.attach(ReceiverStream::new(outgoing)).await?.into_inner();
            let first = answers.message().await?;
            Ok::<_, Status>((answers, first.and_then(|first| first.kind)))
        });
        answered
            .await
            .map(|answered| answered.map(|(answers, first)| (sent, answers, first)))
    };
    let (sent, answers, first) = match router.fly(&route, Box::pin(opening)).await {
        Flown::Landed(Ok(Ok(opened))) => opened,
        Flown::Landed(Ok(Err(status))) => return judge(topology, router, &route, &status, resumes).await,
        Flown::Landed(Err(_)) => {
            router.failed(&route);
            return Attempt::Again(format!(
                "{} did not answer within {ANSWER_TIMEOUT:?}",
                route.address
            ));
        }
        Flown::Overtaken => return overtaken(),
        Flown::Closed => return Attempt::Closed,
    };
    match first {
        Some(attach_response::Kind::Opened(opened)) => Attempt::Attached(Box::new(Attached {
            route,
            requests,
            answers,
            opened,
            sent,
        })),
        Some(attach_response::Kind::Closed(closed)) => match ending(&closed) {
            Ending::Fenced if resumes => Attempt::Fenced,
            Ending::Moved(hint) => {
                router.redirected(&route, hint, topology);
                Attempt::Again(format!("{} does not lead any more", route.address))
            }
            Ending::Closed | Ending::Fenced => {
                router.failed(&route);
                Attempt::Again(format!(
                    "{} closed the session before it was opened",
                    route.address
                ))
            }
        },
        Some(attach_response::Kind::KeptAlive(_)) | None => {
            router.failed(&route);
            Attempt::Again(format!(
                "{} answered with something else than `opened`",
                route.address
            ))
        }
    }
}

async fn judge(
    topology: &Topology,
    router: &mut Router,
    route: &Route,
    status: &Status,
    resumes: bool,
) -> Attempt {
    match Verdict::of(status) {
        Verdict::Redirected(hint) => router.redirected(route, hint, topology),
        Verdict::Overloaded { retry_after } => router.rest(route, retry_after).await,
        Verdict::Final(Error::Refused {
            reason: v1::Reason::SessionFenced | v1::Reason::SessionNotFound,
            ..
        }) if resumes => return Attempt::Fenced,
        Verdict::Final(error) => return Attempt::Refused(error),
        Verdict::Foreign(error) if route.leads => return Attempt::Refused(error),
        Verdict::Foreign(_) | Verdict::Lost | Verdict::ClientUnknown | Verdict::RequestForgotten => {
            router.failed(route);
        }
    }
    Attempt::Again(format!("{} said: {}", route.address, words(status)))
}
