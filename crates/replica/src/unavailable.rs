//! Why a call did not get the cluster's answer, and whether its command can have been executed.

use quorate_types::Term;
use quorate_types::limits::COMMAND_BYTES_MAX;

use crate::leadership::{Leader, Leadership};

/// See the module. Not an answer: the same call may succeed elsewhere or later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nothing was executed; another replica leads, or nobody is known to.
    #[error("{}", not_leader_text(.leader.as_ref()))]
    NotLeader {
        /// The highest term that this replica has seen.
        term: Term,
        /// Who leads.
        leader: Option<Leader>,
    },
    /// The command may or may not be executed; repeat it only with the same request id.
    #[error(
        "the outcome is not known: the command may or may not have been executed; retry with the same request id"
    )]
    OutcomeUnknown,
    /// Nothing was executed; a limit of this replica was met.
    #[error("this replica is overloaded ({what}); retry in a moment")]
    Overloaded {
        /// What there is too much of.
        what: &'static str,
    },
    /// Nothing was executed; no replica would take it.
    #[error("the command has {bytes} bytes; at most {COMMAND_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size, encoded.
        bytes: usize,
    },
    /// Nothing was executed; the deadline passed before this replica could be sure to lead.
    #[error("the deadline has passed before the answer was certain")]
    TimedOut,
    /// Nothing was executed; this replica is stopping or was stopped by a fault.
    #[error("this replica has stopped; use another one")]
    Stopped,
}

impl Unavailable {
    /// This replica does not lead; `leadership` says who does.
    pub(crate) fn not_leader(leadership: &Leadership) -> Self {
        let leader = leadership.leader.clone().filter(|_| !leadership.is_me);
        Self::NotLeader {
            term: leadership.term,
            leader,
        }
    }

    /// The command can have been executed.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown)
    }
}

fn not_leader_text(leader: Option<&Leader>) -> String {
    match leader {
        Some(leader) => {
            format!(
                "this replica does not lead; node {} does, at {}",
                leader.node, leader.client_address
            )
        }
        None => "nobody is known to lead; retry in a moment, or ask another replica".to_owned(),
    }
}
