//! Sessions as their streams use them: open, resume, renew, suspect, close.
//!
//! Promises: see [`super::lease_keeper`] for renewals. A session that is resumed keeps its id and epoch. What is refused
//! here as fenced is over for good: its worker must stop working under that epoch.

use std::sync::Arc;
use std::time::Duration;

use quorate_machine::{Command, LeaseId, OpenSession, Refusal, Reply, Worker};
use quorate_types::Epoch;
use tokio::time::Instant;

use super::lease_keeper::LeaseKeeper;
use crate::barrier::Barrier;
use crate::proposer::Proposer;
use crate::published::Published;
use crate::unavailable::Unavailable;

/// A session as its worker holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The session.
    pub session: LeaseId,
    /// Its fencing number.
    pub epoch: Epoch,
    /// Renew at least this often.
    pub ttl: Duration,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    pub(crate) proposer: Proposer,
    pub(crate) barrier: Barrier,
    pub(crate) published: Published,
    pub(crate) leases: Arc<LeaseKeeper>,
    pub(crate) grace: Duration,
}

impl Sessions {
    /// Opens a session; a live one of the same worker is fenced by it.
    ///
    /// # Errors
    /// [`Unavailable`]; after an unknown outcome open again, which fences what may have been opened.
    pub async fn open(
        &self,
        worker: Worker,
        ttl_ms: u64,
        deadline: Instant,
    ) -> Result<Result<Grant, Refusal>, Unavailable> {
        let command = Command::OpenSession(OpenSession { worker, ttl_ms });
        let decided = self.proposer.propose(&command, None, deadline).await?;
        Ok(decided.outcome.map(|reply| match reply {
            Reply::SessionOpened { session, epoch, .. } => Grant {
                session,
                epoch,
                ttl: Duration::from_millis(ttl_ms),
            },
            other => unreachable!("opening a session answers with one, not with {other:?}"),
        }))
    }

    /// Renews a session, or resumes it after its stream broke: the same thing.
    ///
    /// # Errors
    /// [`Unavailable`]; nothing is known of the session then, ask whoever leads.
    pub async fn renew(
        &self,
        session: LeaseId,
        epoch: Epoch,
        deadline: Instant,
    ) -> Result<Result<Grant, Refusal>, Unavailable> {
        let arrived = Instant::now();
        self.barrier.pass(deadline).await?;
        // The state is as new as the barrier: a session that is not in it is over.
        if !self.published.image().session_is_live(session, epoch) {
            return Ok(Err(Refusal::SessionFenced { session, epoch }));
        }
        match self.leases.renew(session, arrived) {
            Some(ttl) => Ok(Ok(Grant { session, epoch, ttl })),
            // Alive, and its clock does not run: its expiry is proposed, or this replica leads and has not claimed its
            // duties yet. Neither may be answered with a renewal; the next attempt will know more.
            None => Err(Unavailable::NotLeader {
                term: quorate_types::Term(0),
                leader: None,
            }),
        }
    }

    /// The session's stream broke: it dies after the grace unless it is renewed. Does nothing on a follower.
    pub fn suspect(&self, session: LeaseId) {
        self.leases.suspect(session, self.grace);
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Unavailable`]; closing again is harmless.
    pub async fn close(
        &self,
        session: LeaseId,
        epoch: Epoch,
        deadline: Instant,
    ) -> Result<Result<(), Refusal>, Unavailable> {
        let command = Command::CloseSession(quorate_machine::CloseSession { session, epoch });
        let decided = self.proposer.propose(&command, None, deadline).await?;
        Ok(decided.outcome.map(|_| ()))
    }
}
