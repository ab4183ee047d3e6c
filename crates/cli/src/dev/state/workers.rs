//! The workers' sessions, counted. Pure.

use super::super::event::Session;

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Workers {
    sessions: Vec<Session>,
    /// Sessions that were fenced, over all time.
    pub(in super::super) fenced: u64,
    /// Not all have been ready since they were last told to be.
    disturbed: bool,
}

/// How many sessions are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Counts {
    pub(in super::super) connecting: usize,
    pub(in super::super) ready: usize,
    pub(in super::super) jeopardy: usize,
    pub(in super::super) fenced: usize,
}

impl Workers {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            sessions: vec![Session::Connecting; workers],
            fenced: 0,
            disturbed: true,
        }
    }

    /// A worker's session changed; true when now all are ready that were not before.
    pub(super) fn changed(&mut self, number: usize, session: Session) -> bool {
        let Some(known) = self.sessions.get_mut(number) else {
            return false;
        };
        *known = session;
        if session == Session::Fenced {
            self.fenced += 1;
        }
        let all_ready = self.counts().ready == self.sessions.len();
        let news = all_ready && self.disturbed;
        self.disturbed = !all_ready;
        news
    }

    /// How many are in which state.
    pub(in super::super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for session in &self.sessions {
            match session {
                Session::Connecting => counts.connecting += 1,
                Session::Ready { .. } => counts.ready += 1,
                Session::Jeopardy => counts.jeopardy += 1,
                Session::Fenced => counts.fenced += 1,
            }
        }
        counts
    }

    /// How many workers there are.
    pub(in super::super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ready_is_news_once_after_each_disturbance() {
        let ready = Session::Ready { epoch: 1 };
        let mut workers = Workers::new(2);
        let steps = [
            (0, ready, false),
            (1, ready, true),
            (1, ready, false),
            (0, Session::Jeopardy, false),
            (0, ready, true),
            (0, Session::Fenced, false),
            (0, Session::Connecting, false),
            (0, ready, true),
            (7, ready, false),
        ];
        for (number, (worker, session, want)) in steps.into_iter().enumerate() {
            assert_eq!(workers.changed(worker, session), want, "step {number}");
        }
        assert_eq!(workers.fenced, 1);
        assert_eq!(
            workers.counts(),
            Counts {
                ready: 2,
                ..Counts::default()
            }
        );
    }
}
