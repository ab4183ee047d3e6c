//! When the steps of a failover happened, for people who measure it.
//!
//! Promises: the first occurrence of each step counts; a new leadership closes the timeline and starts the next. Moments
//! are of the machine-wide monotonic clock, so that `quorate bench failover` can lay the timelines of several processes
//! over the moment of its own fault.

use std::sync::{Arc, Mutex, PoisonError};

use quorate_host::Clock;

/// A step, in the order in which steps usually happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// This replica's own evidence is complete: the leader's process is gone.
    Detected,
    /// A majority of voters has witnessed it.
    Witnessed,
    /// This replica stands for election.
    Candidate,
    /// A majority has voted for it.
    Elected,
    /// Its first entry is committed and applied: it serves.
    FirstCommit,
}

impl Step {
    /// The name in status output and in the bench's records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Witnessed => "witnessed",
            Self::Candidate => "candidate",
            Self::Elected => "elected",
            Self::FirstCommit => "first_commit",
        }
    }
}

/// The steps of the failover that is under way, or of the last one.
pub(crate) struct Timeline {
    clock: Arc<dyn Clock>,
    steps: Mutex<Vec<(Step, u64)>>,
}

impl Timeline {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            steps: Mutex::default(),
        })
    }

    /// Notes that `step` happened now, unless it happened already.
    pub(crate) fn mark(&self, step: Step) {
        let now = self.clock.monotonic_ns();
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if !steps.iter().any(|(known, _)| *known == step) {
            steps.push((step, now));
        }
    }

    /// The steps so far, in order of time.
    pub(crate) fn steps(&self) -> Vec<(Step, u64)> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the steps: the next failover starts anew.
    pub(crate) fn clear(&self) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
