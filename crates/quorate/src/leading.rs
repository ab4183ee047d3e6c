//! Work that only the leader does.
//!
//! Promises: [`Coordinator::while_leader`] starts the work when this replica leads and has applied everything that earlier leaders
//! acknowledged, and drops it at the first sign that it no longer does; at most one run of it goes on here at a time. Left out
//! on purpose, because no program can have it: that no other replica has begun while the last steps of this one are still
//! under way. A process that is paused does not notice that it was replaced. So whatever the work changes outside must be
//! fenced by [`LeaderGuard::term`], or be preceded by [`LeaderGuard::confirm`] where a late step does no harm.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quorate_replica::{Leadership, Replica, Unavailable};
use quorate_types::Term;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::coordinator::Coordinator;

/// Proof of a leadership, for work that depends on it. Cheap to clone.
#[derive(Clone)]
pub struct LeaderGuard {
    term: Term,
    replica: Replica,
    leadership: watch::Receiver<Leadership>,
}

/// This replica no longer leads in the guard's term, or cannot prove it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotLeading {
    /// Another term has begun, or this replica has stopped to present itself as the leader.
    #[error("this replica no longer leads in term {0}")]
    Lost(Term),
    /// No majority confirmed it in time.
    #[error("no majority confirmed the leadership of term {term}: {cause:?}")]
    Unconfirmed {
        /// The guard's term.
        term: Term,
        /// Why not.
        cause: Arc<Unavailable>,
    },
}

impl LeaderGuard {
    /// The fencing number: every later leader's is higher. A system that remembers the highest number it was given and
    /// refuses lower ones is safe from a leader that does not know that it was replaced.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// This replica leads in this term as far as it knows itself; costs nothing and proves nothing about others.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        leads(&self.leadership.borrow(), self.term)
    }

    /// Waits until the leadership is lost.
    pub async fn lost(&self) {
        let mut leadership = self.leadership.clone();
        // A replica that has stopped does not lead.
        let _ = leadership.wait_for(|now| !leads(now, self.term)).await;
    }

    /// Proves by an exchange with a majority that this replica led in this term at a moment after the call.
    ///
    /// # Errors
    /// [`NotLeading`]; stop the work then.
    pub async fn confirm(&self, patience: Duration) -> Result<(), NotLeading> {
        match self.replica.confirm_leadership(Instant::now() + patience).await {
            Ok(term) if term == self.term => Ok(()),
            Ok(_) | Err(Unavailable::NotLeader { .. } | Unavailable::Stopped) => Err(NotLeading::Lost(self.term)),
            Err(cause) => Err(NotLeading::Unconfirmed { term: self.term, cause: Arc::new(cause) }),
        }
    }
}

impl std::fmt::Debug for LeaderGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderGuard").field("term", &self.term).field("is_valid", &self.is_valid()).finish_non_exhaustive()
    }
}

impl Coordinator {
    /// Runs `work` whenever this replica leads, once for each of its terms, and drops it when the leadership is lost. Work
    /// that ends early is not started again in the same term. Returns when the replica stops; drop the future to end it
    /// before.
    pub async fn while_leader<W, F>(&self, mut work: W)
    where
        W: FnMut(LeaderGuard) -> F,
        F: Future<Output = ()>,
    {
        let mut leadership = self.replica().leadership();
        loop {
            let Ok(term) = leadership.wait_for(|now| now.serving).await.map(|now| now.term) else { return };
            let guard = LeaderGuard { term, replica: self.replica().clone(), leadership: self.replica().leadership() };
            let lost = guard.clone();
            tokio::select! {
                () = work(guard) => lost.lost().await,
                () = lost.lost() => {}
            }
            if leadership.has_changed().is_err() {
                return;
            }
        }
    }
}

fn leads(now: &Leadership, term: Term) -> bool {
    now.serving && now.term == term
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_holds_for_one_term_of_a_serving_leader() {
        let now = |term, serving| Leadership { term: Term(term), leader: None, is_me: serving, serving };
        let cases = [
            ("its own term", now(3, true), true),
            ("not serving", now(3, false), false),
            ("leads again, later", now(5, true), false),
            ("follows another", now(4, false), false),
        ];
        for (name, leadership, want) in cases {
            assert_eq!(leads(&leadership, Term(3)), want, "{name}");
        }
    }
}
