//! The task that keeps one session alive.
//!
//! Promises: keep-alives every third of the ttl on tokio's clock; after the loss of the stream, the same session is
//! resumed at whoever leads, again and again, until the cluster says that it is over. A stream on which keep-alives
//! stay unanswered for two thirds of the ttl counts as lost. Left out on purpose: what the states mean; see
//! [`super::life`].

use std::sync::Arc;
use std::time::Duration;

use quorate_api::v1;
use quorate_api::v1::{attach_request, attach_response};
use quorate_host::entropy;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::attach::{Attached, Attempt, Ending, attach, ending, request};
use super::life::{Life, SessionState, resume_delay};
use crate::call::{Flown, Router, Target, Verdict};
use crate::core::Core;
use crate::topology::Leader;

/// Asks the keeper to close the session; answered when the cluster has closed it.
pub(super) type Close = oneshot::Sender<()>;

/// See the module.
pub(super) struct Keeper {
    pub(super) core: Arc<Core>,
    pub(super) worker: v1::Worker,
    pub(super) id: u64,
    pub(super) epoch: u64,
    pub(super) ttl: Duration,
    pub(super) life: Life,
    pub(super) states: watch::Sender<SessionState>,
    pub(super) confirmed: watch::Sender<Instant>,
    pub(super) control: mpsc::Receiver<Close>,
    pub(super) closing: Option<Close>,
}

/// How often the session was tried with the present leader: a new one is not made to wait for what others failed.
#[derive(Default)]
struct Tries {
    belief: u64,
    tries: u32,
}

impl Tries {
    /// The failures so far under this belief; counts another try.
    fn next(&mut self, belief: u64) -> u32 {
        if belief != self.belief {
            *self = Self { belief, tries: 0 };
        }
        let failures = self.tries;
        self.tries = self.tries.saturating_add(1);
        failures
    }
}

/// How a stream ended.
enum End {
    Lost(String),
    Moved(Option<Leader>),
    Fenced,
    /// The cluster closed it as asked.
    Closed,
    /// Nobody holds the session any more.
    Abandoned,
}

impl Keeper {
    /// Runs until the session is over, the handle is gone or the client is closed.
    pub(super) async fn run(mut self, attached: Box<Attached>) {
        let mut router = Router::new(&self.core.topology, Target::Leader);
        let mut next = Some(attached);
        while let Some(attached) = next {
            let route = attached.route.clone();
            let attended = Box::pin(self.attend(attached));
            let end = match router.fly(&route, attended).await {
                Flown::Landed(end) => end,
                Flown::Overtaken => End::Lost("another replica leads".to_owned()),
                Flown::Closed => End::Abandoned,
            };
            match end {
                End::Lost(why) => {
                    tracing::debug!(session = self.id, why, "a session's stream is lost");
                    router.failed(&route);
                }
                End::Moved(hint) => router.redirected(&route, hint, &self.core.topology),
                End::Fenced => return self.fenced(),
                End::Closed | End::Abandoned => return self.closed(),
            }
            self.life.lost(Instant::now());
            self.publish();
            next = Box::pin(self.resume(&mut router)).await;
        }
    }

    /// Serves the stream while it lasts.
    async fn attend(&mut self, mut stream: Box<Attached>) -> End {
        let mut asked_to_close = false;
        loop {
            if self.closing.is_some() && !asked_to_close {
                asked_to_close = true;
                let close = request(attach_request::Kind::Close(v1::CloseSession {}));
                if stream.requests.try_send(close).is_err() {
                    return End::Lost("requests are not taken any more".to_owned());
                }
            }
            let overdue = self.life.overdue();
            tokio::select! {
                biased;
                answer = stream.answers.message() => match answer {
                    Ok(Some(v1::AttachResponse { kind: Some(kind) })) => match kind {
                        attach_response::Kind::KeptAlive(kept) => {
                            self.life.kept(Duration::from_millis(kept.ttl_ms));
                            self.publish();
                        }
                        attach_response::Kind::Closed(closed) => return match ending(&closed) {
                            Ending::Closed => End::Closed,
                            Ending::Fenced => End::Fenced,
                            Ending::Moved(hint) => End::Moved(hint),
                        },
                        // Opened twice: no harm in it.
                        attach_response::Kind::Opened(_) => {}
                    },
                    Ok(_) => return End::Lost("the stream was ended".to_owned()),
                    Err(status) => return match Verdict::of(&status) {
                        Verdict::Redirected(hint) => End::Moved(hint),
                        _ => End::Lost(crate::call::words(&status)),
                    },
                },
                close = self.control.recv(), if self.closing.is_none() => match close {
                    Some(close) => self.closing = Some(close),
                    None => return End::Abandoned,
                },
                () = sleep_until(self.life.due()) => {
                    let keep_alive = request(attach_request::Kind::KeepAlive(v1::KeepAlive {}));
                    if stream.requests.try_send(keep_alive).is_err() {
                        return End::Lost("requests are not taken any more".to_owned());
                    }
                    self.life.sent(Instant::now());
                }
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    return End::Lost("keep-alives are not answered".to_owned());
                }
            }
        }
    }

    /// Attaches the same session again; `None` when there is nothing more to keep.
    async fn resume(&mut self, router: &mut Router) -> Option<Box<Attached>> {
        let mut tries = Tries::default();
        loop {
            let Some(attempt) = self.attempt(router, &mut tries).await else {
                self.closed();
                return None;
            };
            match attempt {
                Attempt::Attached(attached) if self.is_ours(&attached.opened) => {
                    self.life
                        .opened(attached.sent, Duration::from_millis(attached.opened.ttl_ms));
                    self.publish();
                    return Some(attached);
                }
                Attempt::Attached(other) => {
                    // Not resumed but opened anew: what was ours is gone, and this one is not wanted.
                    let close = request(attach_request::Kind::Close(v1::CloseSession {}));
                    let _ = other.requests.try_send(close);
                    self.fenced();
                    return None;
                }
                Attempt::Fenced => {
                    self.fenced();
                    return None;
                }
                Attempt::Closed => {
                    self.closed();
                    return None;
                }
                Attempt::Refused(error) => {
                    tracing::warn!(session = self.id, %error, "a session could not be resumed; trying again");
                }
                Attempt::Again(why) => tracing::debug!(session = self.id, why, "a session was not resumed"),
            }
        }
    }

    /// One attempt, once a leader is known and after a jittered delay; `None` when the handle is gone.
    async fn attempt(&mut self, router: &mut Router, tries: &mut Tries) -> Option<Attempt> {
        let open = v1::OpenSession {
            worker: Some(self.worker.clone()),
            ttl_ms: millis(self.ttl),
            session_id: self.id,
            epoch: self.epoch,
        };
        let (core, ttl) = (Arc::clone(&self.core), self.ttl);
        let attempt = async {
            let Some(route) = router.next().await else {
                return Attempt::Closed;
            };
            let delay = resume_delay(tries.next(route.belief), ttl, entropy::random_fraction());
            attach(&core.topology, router, route, delay, open).await
        };
        let mut attempt = Box::pin(attempt);
        loop {
            tokio::select! {
                biased;
                attempt = &mut attempt => return Some(attempt),
                () = given_up(&mut self.closing) => return None,
                close = self.control.recv(), if self.closing.is_none() => self.closing = Some(close?),
            }
        }
    }

    fn is_ours(&self, opened: &v1::SessionOpened) -> bool {
        opened.resumed && opened.session_id == self.id && opened.epoch == self.epoch
    }

    fn fenced(&mut self) {
        self.life.fenced();
        self.publish();
    }

    fn closed(&mut self) {
        self.life.closed();
        self.publish();
        if let Some(close) = self.closing.take() {
            // Whoever asked may have gone.
            let _ = close.send(());
        }
    }

    fn publish(&self) {
        self.confirmed.send_replace(self.life.confirmed_until());
        self.states.send_if_modified(|state| {
            let modified = *state != self.life.state();
            *state = self.life.state();
            modified
        });
    }
}

/// Returns once whoever asked to close the session waits no longer; never while nobody has asked.
async fn given_up(closing: &mut Option<Close>) {
    match closing {
        Some(closing) => closing.closed().await,
        None => std::future::pending().await,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
