//! Sessions: a worker's presence in the cluster, fenced by an epoch.
//!
//! Promises: the session outlives the leader that opened it. When its stream breaks, the keeper resumes it with the
//! same id and epoch at whoever leads, jittered, because thousands of workers do so at once.
//!
//! # What a worker may do
//!
//! | State | Work |
//! |---|---|
//! | `Connecting` | None: there is no epoch. |
//! | `Ready` | Everything. Every effect outside the worker's memory carries the epoch, or is guarded by it. |
//! | `Jeopardy` | Go on: serve reads, finish what was begun, retry reports. Nothing is lost if the session is resumed, and effects that carry the epoch are refused if it was not. Do not begin work that is exclusive and that no epoch guards: after a short grace the cluster may count the worker as dead and give its work to others. |
//! | `Fenced` | Stop at once; drop what is unfinished. Others have the work. Open a new session to go on. |
//! | `Closed` | As after `Fenced`. |
//!
//! Only the cluster's word fences: a refused resume, or the notice that a later session took over. A ttl that runs out
//! here while no leader can be asked leaves the session in `Jeopardy`: a new leader grants every session a full ttl, so
//! it may well go on. [`Session::confirmed_until`] tells cautious workers how long the cluster's promise not to let it
//! expire for want of keep-alives certainly holds; it does not cover the grace after a broken stream.
//!
//! Left out on purpose: assignments of work, which are not in the protocol yet.

mod attach;
mod keeper;
mod life;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream};
use quorate_api::v1;
use quorate_host::entropy;
use quorate_types::Epoch;
use quorate_types::limits::{SESSION_TTL_MS_MAX, SESSION_TTL_MS_MIN};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::call::{Router, Target};
use crate::client::Client;
use crate::error::{Error, Outcome};
use crate::pages::rows;
use crate::wire::ANSWER_BYTES_MAX;
use attach::{Attached, Attempt, attach};
use keeper::{Close, Keeper, millis};
use life::{Life, resume_delay};

pub use life::SessionState;

/// A session that is not open yet.
#[derive(Debug)]
pub struct OpenSession {
    client: Client,
    worker: v1::Worker,
    ttl: Duration,
    states: watch::Sender<SessionState>,
}

/// An open session. See the module for what its states permit.
///
/// Dropping it without [`Session::close`] looks to the cluster like a crash of the worker: the session ends after a
/// short grace.
#[derive(Debug)]
pub struct Session {
    client: Client,
    id: u64,
    epoch: Epoch,
    states: watch::Receiver<SessionState>,
    confirmed: watch::Receiver<Instant>,
    control: mpsc::Sender<Close>,
}

impl OpenSession {
    pub(crate) fn new(client: Client, worker: v1::Worker, ttl: Duration) -> Self {
        Self {
            client,
            worker,
            ttl,
            states: watch::Sender::new(SessionState::Connecting),
        }
    }

    /// The session's state from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.states.subscribe()
    }

    /// Opens the session. If an attempt was executed and its answer lost, the next one takes its place.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the ttl is not 1 second to 1 day; [`Error::Refused`], for example when there are too
    /// many sessions; [`Error::Unavailable`] at the client's deadline: a session of unknown outcome expires by itself.
    pub async fn open(self) -> Result<Session, Error> {
        let allowed = Duration::from_millis(SESSION_TTL_MS_MIN)..=Duration::from_millis(SESSION_TTL_MS_MAX);
        if !allowed.contains(&self.ttl) {
            let message = format!("it is {:?}; 1 second to 1 day are allowed", self.ttl);
            return Err(Error::invalid("ttl", message));
        }
        let patience = self.client.patience();
        let mut said = String::new();
        let attached = match timeout(patience, Box::pin(self.attach(&mut said))).await {
            Ok(attached) => attached?,
            Err(_) => {
                let topology = &self.client.core().topology;
                let outcome = if said.is_empty() {
                    Outcome::NotExecuted
                } else {
                    Outcome::Unknown
                };
                return Err(Error::Unavailable {
                    outcome,
                    why: format!(
                        "no session within {patience:?}; {said}; now {}",
                        topology.describe()
                    ),
                });
            }
        };
        Ok(self.kept(attached))
    }

    async fn attach(&self, said: &mut String) -> Result<Box<Attached>, Error> {
        let core = self.client.core();
        let mut router = Router::new(&core.topology, Target::Leader);
        let open = v1::OpenSession {
            worker: Some(self.worker.clone()),
            ttl_ms: millis(self.ttl),
            session_id: 0,
            epoch: 0,
        };
        for failures in 0.. {
            let Some(route) = router.next().await else {
                break;
            };
            let delay = match failures {
                0 => Duration::ZERO,
                _ => resume_delay(failures, self.ttl, entropy::random_fraction()),
            };
            *said = format!("{} did not answer yet", route.address);
            match attach(&core.topology, &mut router, route, delay, open.clone()).await {
                Attempt::Attached(attached) => return Ok(attached),
                Attempt::Again(words) => *said = words,
                Attempt::Refused(error) => return Err(error),
                Attempt::Fenced | Attempt::Closed => break,
            }
        }
        Err(Error::closed(Outcome::NotExecuted))
    }

    fn kept(self, attached: Box<Attached>) -> Session {
        let opened = attached.opened;
        let (control, requests) = mpsc::channel(1);
        let (confirmed, confirmations) = watch::channel(attached.sent);
        let mut life = Life::new(attached.sent);
        life.opened(attached.sent, Duration::from_millis(opened.ttl_ms));
        let session = Session {
            client: self.client,
            id: opened.session_id,
            epoch: Epoch(opened.epoch),
            states: self.states.subscribe(),
            confirmed: confirmations,
            control,
        };
        confirmed.send_replace(life.confirmed_until());
        self.states.send_replace(life.state());
        let keeper = Keeper {
            core: Arc::clone(session.client.core()),
            worker: self.worker,
            id: opened.session_id,
            epoch: opened.epoch,
            ttl: self.ttl,
            life,
            states: self.states,
            confirmed,
            control: requests,
            closing: None,
        };
        session.client.core().spawn(keeper.run(attached));
        session
    }
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number that fences the worker's earlier sessions, and by which later ones fence this.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its state, now and at every change.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.states.clone()
    }

    /// Until when the session certainly does not expire for want of keep-alives: the ttl after the last answered
    /// keep-alive was sent.
    #[must_use]
    pub fn confirmed_until(&self) -> Instant {
        *self.confirmed.borrow()
    }

    /// Ends the session; its work is handed to others. Finish or drop the work before.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no leader confirmed it before the deadline; the session then expires by itself.
    pub async fn close(self) -> Result<(), Error> {
        let (closing, closed) = oneshot::channel();
        let asked = async {
            if self.control.send(closing).await.is_ok() {
                // The keeper drops it when the session was over anyway.
                let _ = closed.await;
            }
        };
        let patience = self.client.patience();
        timeout(patience, asked).await.map_err(|_| Error::Unavailable {
            outcome: Outcome::Unknown,
            why: format!(
                "session {} was not closed within {patience:?} and will expire by itself; {}",
                self.id,
                self.client.core().topology.describe()
            ),
        })
    }
}

/// The sessions of all workers.
#[derive(Debug, Clone)]
pub struct Sessions {
    client: Client,
}

impl Sessions {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// One page of the live sessions, linearizable; see [`Sessions::list_all`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, request: v1::ListSessionsRequest) -> Result<v1::ListSessionsResponse, Error> {
        let method = |wire, request| {
            async move {
                let client = v1::sessions_client::SessionsClient::new(wire);
                client
                    .max_decoding_message_size(ANSWER_BYTES_MAX)
                    .list_sessions(request)
                    .await
            }
            .boxed()
        };
        self.client.read("ListSessions", request, method).await
    }

    /// All live sessions of a kind, or of all kinds, page after page. Each page is linearizable; the listing as a whole
    /// is not.
    pub fn list_all(
        &self,
        kind: Option<v1::WorkerKind>,
    ) -> impl Stream<Item = Result<v1::Session, Error>> + Send + use<> {
        let sessions = self.clone();
        rows(move |page| {
            let sessions = sessions.clone();
            async move {
                let mut request = v1::ListSessionsRequest::default();
                request.set_kind(kind.unwrap_or(v1::WorkerKind::Unspecified));
                request.page = Some(page);
                let answer = sessions.list(request).await?;
                Ok((answer.sessions, answer.next_token))
            }
        })
    }
}
