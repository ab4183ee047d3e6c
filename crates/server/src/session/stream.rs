//! One worker's stream, from its first request to the break or the last message.
//!
//! Promises: a keep-alive is answered only after its renewal was confirmed behind a barrier; a passing reason (an election,
//! a moment of isolation) delays the answer and never ends the session; when another replica leads, the stream ends with a
//! hint to it, and the session goes on there. A stream that ends in order, whatever the reason, leaves no suspicion behind.

use std::sync::Arc;
use std::time::Duration;

use quorate_api::v1;
use quorate_api::v1::attach_request::Kind as Asked;
use quorate_api::v1::attach_response::Kind as Said;
use quorate_api::v1::session_closed::Why;
use quorate_replica::machine::{LeaseId, Refusal};
use quorate_replica::{Grant, Unavailable};
use quorate_types::Epoch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::attachments::{Attachment, Attachments};
use crate::convert::Malformed;
use crate::convert::session::{Opening, opening};
use crate::leader::Led;
use crate::status;

/// A client that opens a stream has this long to say what for.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an opening, a renewal or a close is tried in one go.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries after a passing reason. What they wait for is not announced: a leader that is about to claim its
/// duties, an expiry whose outcome is on its way.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// See the module.
pub(crate) struct AttachStream {
    requests: Streaming<v1::AttachRequest>,
    led: Led,
    attachments: Arc<Attachments>,
    ending: CancellationToken,
    phase: Phase,
}

enum Phase {
    Opening,
    Open(Hold),
    Over,
}

/// What a stream does next.
enum Next {
    Say(Said),
    /// The last message.
    Last(v1::SessionClosed),
    Fail(Status),
    /// The stream broke.
    Broken,
}

impl AttachStream {
    pub(crate) fn new(
        requests: Streaming<v1::AttachRequest>,
        led: Led,
        attachments: Arc<Attachments>,
        ending: CancellationToken,
    ) -> Self {
        Self {
            requests,
            led,
            attachments,
            ending,
            phase: Phase::Opening,
        }
    }

    /// The next message; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<v1::AttachResponse, Status>> {
        let next = match &self.phase {
            Phase::Opening => self.open().await,
            Phase::Open(hold) => {
                let over = hold.attachment.over.clone();
                self.go_on(&over).await
            }
            Phase::Over => return None,
        };
        match next {
            Next::Say(kind) => Some(Ok(said(kind))),
            Next::Last(closed) => {
                self.settle();
                Some(Ok(said(Said::Closed(closed))))
            }
            // Letting go of the hold makes the session suspect.
            Next::Fail(status) => {
                self.phase = Phase::Over;
                Some(Err(status))
            }
            Next::Broken => {
                self.phase = Phase::Over;
                None
            }
        }
    }

    /// Ends in order: nothing is suspected.
    fn settle(&mut self) {
        if let Phase::Open(hold) = &mut self.phase {
            hold.in_order = true;
        }
        self.phase = Phase::Over;
    }

    async fn open(&mut self) -> Next {
        let first = timeout(FIRST_REQUEST_TIMEOUT, self.requests.message());
        let first = tokio::select! {
            first = first => first,
            () = self.ending.cancelled() => return Next::Fail(status::stopping(&self.led.leadership())),
        };
        let open = match first {
            Ok(Ok(Some(v1::AttachRequest {
                kind: Some(Asked::Open(open)),
            }))) => open,
            Ok(Ok(Some(_))) => {
                return Next::Fail(status::malformed(Malformed::new(
                    "open",
                    "must be the first request",
                )));
            }
            Ok(Ok(None)) => return Next::Fail(status::malformed(Malformed::missing("open"))),
            Ok(Err(broken)) => return unreadable(&broken),
            Err(_) => {
                let why = format!("did not come within {FIRST_REQUEST_TIMEOUT:?}");
                return Next::Fail(status::malformed(Malformed::new("open", why)));
            }
        };
        let opening = match opening(open) {
            Ok(opening) => opening,
            Err(malformed) => return Next::Fail(status::malformed(malformed.under("open"))),
        };
        if let Err(redirect) = self.led.here() {
            return Next::Fail(redirect);
        }
        tokio::select! {
            next = self.grant(opening) => match next {
                Ok((grant, resumed)) => self.opened(grant, resumed),
                Err(next) => next,
            },
            _ = self.led.elsewhere() => Next::Fail(status::stopping(&self.led.leadership())),
            () = self.ending.cancelled() => Next::Fail(status::stopping(&self.led.leadership())),
        }
    }

    async fn grant(&self, opening: Opening) -> Result<(Grant, bool), Next> {
        let deadline = Instant::now() + PATIENCE;
        let fail = |unavailable: Unavailable| Next::Fail(status::unavailable(&unavailable));
        match opening {
            Opening::New { worker, ttl_ms } => {
                let sessions = self.led.replica().sessions().map_err(fail)?;
                let granted = sessions.open(worker, ttl_ms, deadline).await.map_err(fail)?;
                let grant = granted.map_err(|refusal| Next::Fail(status::refused(&refusal)))?;
                Ok((grant, false))
            }
            Opening::Resume { session, epoch } => {
                let renewed = self
                    .renew(session, epoch, Some(deadline))
                    .await
                    .map_err(Next::Fail)?;
                match renewed {
                    Ok(grant) => Ok((grant, true)),
                    // Whatever the reason, it is over for good.
                    Err(_) => Err(Next::Last(closed(Why::Fenced))),
                }
            }
        }
    }

    fn opened(&mut self, grant: Grant, resumed: bool) -> Next {
        let attachment = self.attachments.attach(grant.session, grant.epoch);
        // What ended between the grant and the attachment went by unheard.
        if let Ok(stale) = self.led.replica().read_stale()
            && !stale.image.session_is_live(grant.session, grant.epoch)
        {
            attachment.over.cancel();
        }
        let (led, ending) = (self.led.clone(), self.ending.clone());
        self.phase = Phase::Open(Hold {
            attachment,
            led,
            ending,
            in_order: false,
        });
        Next::Say(Said::Opened(v1::SessionOpened {
            session_id: grant.session.0,
            epoch: grant.epoch.0,
            ttl_ms: millis(grant.ttl),
            resumed,
        }))
    }

    /// Serves the open session until there is something to say.
    async fn go_on(&mut self, over: &CancellationToken) -> Next {
        let Phase::Open(hold) = &self.phase else {
            return Next::Broken;
        };
        let (session, epoch) = (hold.attachment.session, hold.attachment.epoch);
        let asked = tokio::select! {
            biased;
            () = over.cancelled() => return Next::Last(closed(Why::Fenced)),
            hint = self.led.elsewhere() => return Next::Last(moved(Some(hint))),
            () = self.ending.cancelled() => return Next::Last(self.stopping()),
            asked = self.requests.message() => asked,
        };
        let closes = match asked {
            Ok(Some(v1::AttachRequest {
                kind: Some(Asked::KeepAlive(_)),
            })) => false,
            Ok(Some(v1::AttachRequest {
                kind: Some(Asked::Close(_)),
            })) => true,
            Ok(Some(v1::AttachRequest {
                kind: Some(Asked::Open(_)),
            })) => {
                let malformed = Malformed::new(
                    "open",
                    "was sent already; open another stream for another session",
                );
                return Next::Fail(status::malformed(malformed));
            }
            Ok(Some(v1::AttachRequest { kind: None })) => {
                return Next::Fail(status::malformed(Malformed::missing("kind")));
            }
            Ok(None) => return Next::Broken,
            Err(broken) => return unreadable(&broken),
        };
        if closes {
            // Our own close ends the session, too: it must not be taken for a fence.
            return tokio::select! {
                next = self.close(session, epoch) => next,
                hint = self.led.elsewhere() => Next::Last(moved(Some(hint))),
                () = self.ending.cancelled() => Next::Last(self.stopping()),
            };
        }
        tokio::select! {
            renewed = self.renew(session, epoch, None) => match renewed {
                Ok(Ok(grant)) => Next::Say(Said::KeptAlive(v1::KeptAlive { ttl_ms: millis(grant.ttl) })),
                Ok(Err(_)) => Next::Last(closed(Why::Fenced)),
                Err(_) => Next::Last(self.stopping()),
            },
            () = over.cancelled() => Next::Last(closed(Why::Fenced)),
            hint = self.led.elsewhere() => Next::Last(moved(Some(hint))),
            () = self.ending.cancelled() => Next::Last(self.stopping()),
        }
    }

    /// Renews until there is an answer, the replica has stopped, or `until`. A leader elsewhere is for the caller to see.
    async fn renew(
        &self,
        session: LeaseId,
        epoch: Epoch,
        until: Option<Instant>,
    ) -> Result<Result<Grant, Refusal>, Status> {
        loop {
            let deadline = until.unwrap_or_else(|| Instant::now() + PATIENCE);
            let sessions = self.led.replica().sessions();
            let unavailable = match sessions {
                Ok(sessions) => match sessions.renew(session, epoch, deadline).await {
                    Ok(renewed) => return Ok(renewed),
                    Err(unavailable) => unavailable,
                },
                Err(unavailable) => unavailable,
            };
            let is_late = until.is_some_and(|until| Instant::now() + RETRY_PAUSE >= until);
            if is_late || unavailable == Unavailable::Stopped {
                return Err(status::unavailable(&unavailable));
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Closes, again and again until it is certain: closing twice is harmless.
    async fn close(&self, session: LeaseId, epoch: Epoch) -> Next {
        let mut perhaps_closed = false;
        loop {
            let Ok(sessions) = self.led.replica().sessions() else {
                return Next::Last(self.stopping());
            };
            match sessions.close(session, epoch, Instant::now() + PATIENCE).await {
                Ok(Ok(())) => return Next::Last(closed(Why::Closed)),
                // Over already: by an earlier try of ours, or by somebody else's doing.
                Ok(Err(_)) if perhaps_closed => return Next::Last(closed(Why::Closed)),
                Ok(Err(_)) => return Next::Last(closed(Why::Fenced)),
                Err(Unavailable::Stopped) => return Next::Last(self.stopping()),
                Err(unavailable) => perhaps_closed |= unavailable.outcome_unknown(),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// This replica is about to stop; the session goes on at whoever leads.
    fn stopping(&self) -> v1::SessionClosed {
        moved(status::leader_elsewhere(&self.led.leadership()))
    }
}

/// An open session's stream, as seen by the session. Dropping it is how a break is noticed: HTTP/2 drops the stream's
/// answers when the connection is gone.
struct Hold {
    attachment: Attachment,
    led: Led,
    ending: CancellationToken,
    in_order: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let was_ours = self.attachment.detach();
        // A replica that stops or no longer leads breaks streams of workers that are well.
        let is_telling = self.led.leadership().serving && !self.ending.is_cancelled();
        if was_ours
            && is_telling
            && !self.in_order
            && let Ok(sessions) = self.led.replica().sessions()
        {
            tracing::info!(session = %self.attachment.session, "a worker's stream broke");
            sessions.suspect(self.attachment.session);
        }
    }
}

fn said(kind: Said) -> v1::AttachResponse {
    v1::AttachResponse { kind: Some(kind) }
}

fn closed(why: Why) -> v1::SessionClosed {
    v1::SessionClosed {
        why: why.into(),
        leader: None,
    }
}

fn moved(leader: Option<v1::LeaderHint>) -> v1::SessionClosed {
    v1::SessionClosed {
        why: Why::LeaderChanged.into(),
        leader,
    }
}

fn unreadable(broken: &Status) -> Next {
    status::unreadable(broken).map_or(Next::Broken, Next::Fail)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
