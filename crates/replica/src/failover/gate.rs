//! The vote gate: when a voter may set the lease aside, and when it grants nothing at all. Pure.
//!
//! openraft lets a vote request bypass the voter's lease by a flag on the wire. A voter must not take a candidate's
//! word for it. Promises: the flag survives only on this voter's own knowledge: its own evidence that the leader it
//! follows is dead, that leader's transfer to this very candidate as received by this voter, or being that leader and
//! having started that transfer. And for one lease after boot nothing is granted without such knowledge, because a
//! restart forgets the promise not to vote (openraft restores a vote with an expired lease).

use std::time::Duration;

use quorate_types::NodeId;

use super::Reign;

/// What a voter knows at the moment of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Knowledge {
    /// The reign that this voter's vote is for, when it is a committed one.
    pub(crate) follows: Option<Reign>,
    /// Its own evidence says that this reign's leader is gone.
    pub(crate) leader_is_dead: bool,
    /// The last transfer that it received or, leading, started: from which reign, to whom.
    pub(crate) transfer: Option<(Reign, NodeId)>,
    /// How much of the silence after boot is left; zero when there is none.
    pub(crate) silence_left: Duration,
}

/// How to treat a vote request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Hand it to Raft, with the flag as given here.
    Pass {
        /// The lease of the present leader does not count.
        bypass_lease: bool,
    },
    /// Answer no without touching Raft.
    Refuse,
}

/// Judges a request of `candidate` that does or does not ask to bypass the lease.
pub(crate) fn judge(knowledge: &Knowledge, candidate: NodeId, asks_bypass: bool) -> Judgement {
    let knows_better = knows_better(knowledge, candidate);
    if knowledge.silence_left > Duration::ZERO && !knows_better {
        return Judgement::Refuse;
    }
    Judgement::Pass {
        bypass_lease: asks_bypass && knows_better,
    }
}

/// This voter itself knows why the lease no longer matters for `candidate`.
pub(crate) fn knows_better(knowledge: &Knowledge, candidate: NodeId) -> bool {
    let Some(follows) = knowledge.follows else {
        return false;
    };
    knowledge.leader_is_dead || knowledge.transfer == Some((follows, candidate))
}

#[cfg(test)]
mod tests {
    use quorate_types::Term;

    use super::*;

    const CANDIDATE: NodeId = NodeId(2);
    const REIGN: Reign = Reign {
        term: Term(4),
        leader: NodeId(1),
    };
    const OLD: Reign = Reign {
        term: Term(3),
        leader: NodeId(1),
    };

    #[test]
    fn whose_word_counts() {
        let idle = Knowledge {
            follows: Some(REIGN),
            leader_is_dead: false,
            transfer: None,
            silence_left: Duration::ZERO,
        };
        let booted = Knowledge {
            silence_left: Duration::from_millis(1),
            ..idle
        };
        let dead = |base: Knowledge| Knowledge {
            leader_is_dead: true,
            ..base
        };
        let transfer = |base: Knowledge, from, to| Knowledge {
            transfer: Some((from, NodeId(to))),
            ..base
        };
        let pass = |bypass_lease| Judgement::Pass { bypass_lease };
        let cases: &[(&str, Knowledge, bool, Judgement)] = &[
            ("an ordinary request", idle, false, pass(false)),
            ("a candidate's word alone", idle, true, pass(false)),
            ("our own evidence", dead(idle), true, pass(true)),
            (
                "our own evidence does not force the flag",
                dead(idle),
                false,
                pass(false),
            ),
            (
                "our leader's transfer to it",
                transfer(idle, REIGN, 2),
                true,
                pass(true),
            ),
            (
                "our leader's transfer to another",
                transfer(idle, REIGN, 3),
                true,
                pass(false),
            ),
            (
                "a transfer of an earlier reign",
                transfer(idle, OLD, 2),
                true,
                pass(false),
            ),
            (
                "we follow nobody",
                Knowledge {
                    follows: None,
                    ..idle
                },
                true,
                pass(false),
            ),
            ("after boot", booted, false, Judgement::Refuse),
            ("after boot, a candidate's word", booted, true, Judgement::Refuse),
            ("after boot, our own evidence", dead(booted), true, pass(true)),
            (
                "after boot, our leader's transfer",
                transfer(booted, REIGN, 2),
                true,
                pass(true),
            ),
            (
                "after boot, a transfer to another",
                transfer(booted, REIGN, 3),
                true,
                Judgement::Refuse,
            ),
        ];
        for (name, knowledge, asks, want) in cases {
            assert_eq!(judge(knowledge, CANDIDATE, *asks), *want, "{name}");
        }
    }
}
