//! What to do after an attempt to have a write decided. Pure.
//!
//! # Why nothing acts twice
//!
//! A write keeps its number over all its attempts, so the machine executes at most one of them. Only a new number for the
//! same write could execute it twice; it is given one only when the machine said that it does not know the number's client
//! (any more) and every earlier attempt was answered with "nothing was executed". Otherwise the outcome is unknown for good,
//! and reported as that.

use quorate_machine::{Outcome, Refusal, RequestId};
use quorate_types::Index;

use crate::leadership::Leadership;
use crate::unavailable::Unavailable;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attempt {
    /// The machine has answered; without an outcome when that was too large to travel.
    Decided { index: Index, outcome: Option<Outcome> },
    /// Whoever was asked said why not.
    Failed(Unavailable),
    /// It left, and nobody said what became of it.
    Lost,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// It is decided.
    Answer { index: Index, outcome: Option<Outcome> },
    /// Ask again with the same number, at whoever leads then.
    Again,
    /// The number's client is unknown and the write was never executed: take another number.
    Renumber,
    /// There will be no answer.
    GiveUp(Unavailable),
}

/// Judges an attempt under the number `request`; `None` for a command that may act twice without harm. `open` says, and
/// is told, whether some attempt may have been executed without an answer.
pub(super) fn judge(attempt: Attempt, request: Option<&RequestId>, open: &mut bool) -> Next {
    match attempt {
        Attempt::Decided { index, outcome } => match (&outcome, request) {
            (Some(Err(refusal)), Some(request)) => match about_number(refusal, request) {
                AboutNumber::Nothing => Next::Answer { index, outcome },
                AboutNumber::Forgotten if *open => Next::GiveUp(Unavailable::OutcomeUnknown),
                AboutNumber::Forgotten => Next::Renumber,
                AboutNumber::NotYet => Next::Again,
            },
            _ => Next::Answer { index, outcome },
        },
        Attempt::Failed(Unavailable::OutcomeUnknown) | Attempt::Lost => {
            *open = true;
            Next::Again
        }
        Attempt::Failed(Unavailable::NotLeader { .. } | Unavailable::TimedOut) => Next::Again,
        // Somebody may have executed an earlier attempt: only the leader can say, so it is asked until it does.
        Attempt::Failed(Unavailable::Overloaded { .. }) if *open => Next::Again,
        Attempt::Failed(Unavailable::Stopped | Unavailable::TooLarge { .. }) if *open => {
            Next::GiveUp(Unavailable::OutcomeUnknown)
        }
        Attempt::Failed(
            why @ (Unavailable::Overloaded { .. } | Unavailable::Stopped | Unavailable::TooLarge { .. }),
        ) => Next::GiveUp(why),
    }
}

/// The error of a write whose deadline has passed.
pub(super) fn given_up(open: bool, leadership: &Leadership) -> Unavailable {
    match &leadership.leader {
        _ if open => Unavailable::OutcomeUnknown,
        Some(_) => Unavailable::TimedOut,
        None => Unavailable::not_leader(leadership),
    }
}

/// What a refusal says about the number instead of the command. In each case this attempt was not executed.
enum AboutNumber {
    Nothing,
    /// The machine does not know, or no longer, what became of it.
    Forgotten,
    /// There was no room to remember the answer.
    NotYet,
}

fn about_number(refusal: &Refusal, request: &RequestId) -> AboutNumber {
    match refusal {
        // Of another client it is the command that speaks.
        Refusal::ClientUnknown { client } if *client == request.client => AboutNumber::Forgotten,
        Refusal::RequestForgotten { .. } => AboutNumber::Forgotten,
        Refusal::ClientAnswersLimit => AboutNumber::NotYet,
        _ => AboutNumber::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use quorate_machine::Reply;
    use quorate_types::{ClientId, NodeId, Term};

    use super::*;
    use crate::leadership::Leader;

    const REQUEST: RequestId = RequestId {
        client: ClientId(1),
        sequence: 5,
        floor: 2,
    };

    fn decided(outcome: Outcome) -> Attempt {
        Attempt::Decided {
            index: Index(7),
            outcome: Some(outcome),
        }
    }

    fn answer(outcome: Outcome) -> Next {
        Next::Answer {
            index: Index(7),
            outcome: Some(outcome),
        }
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let accepted = || Ok(Reply::IdsAllocated { first: 1, count: 1 });
        let refused = || Err(Refusal::DatabaseLimit);
        let evicted = || {
            Err(Refusal::ClientUnknown {
                client: REQUEST.client,
            })
        };
        let other = || Err(Refusal::ClientUnknown { client: ClientId(9) });
        let forgotten = || {
            Err(Refusal::RequestForgotten {
                sequence: 5,
                floor: 6,
            })
        };
        let not_leader = || {
            Attempt::Failed(Unavailable::NotLeader {
                term: Term(3),
                leader: None,
            })
        };
        let overloaded = || Unavailable::Overloaded { what: "tests" };
        let too_large = || Unavailable::TooLarge { bytes: 1 };
        let unknown = || Next::GiveUp(Unavailable::OutcomeUnknown);
        let give_up = Next::GiveUp;
        let failed = Attempt::Failed;
        // What was said; then what follows and whether it may have been executed: at first, and after an attempt was lost.
        let cases: Vec<(&str, Attempt, (Next, bool), Next)> = vec![
            (
                "accepted",
                decided(accepted()),
                (answer(accepted()), false),
                answer(accepted()),
            ),
            (
                "refused",
                decided(refused()),
                (answer(refused()), false),
                answer(refused()),
            ),
            ("evicted", decided(evicted()), (Next::Renumber, false), unknown()),
            (
                "another client is unknown",
                decided(other()),
                (answer(other()), false),
                answer(other()),
            ),
            (
                "forgotten",
                decided(forgotten()),
                (Next::Renumber, false),
                unknown(),
            ),
            (
                "no room for the answer",
                decided(Err(Refusal::ClientAnswersLimit)),
                (Next::Again, false),
                Next::Again,
            ),
            ("another leads", not_leader(), (Next::Again, false), Next::Again),
            (
                "timed out",
                failed(Unavailable::TimedOut),
                (Next::Again, false),
                Next::Again,
            ),
            (
                "unknown",
                failed(Unavailable::OutcomeUnknown),
                (Next::Again, true),
                Next::Again,
            ),
            ("lost", Attempt::Lost, (Next::Again, true), Next::Again),
            (
                "overloaded",
                failed(overloaded()),
                (give_up(overloaded()), false),
                Next::Again,
            ),
            (
                "too large",
                failed(too_large()),
                (give_up(too_large()), false),
                unknown(),
            ),
            (
                "stopped",
                failed(Unavailable::Stopped),
                (give_up(Unavailable::Stopped), false),
                unknown(),
            ),
        ];
        for (name, attempt, (first, open_after), later) in cases {
            let mut open = false;
            assert_eq!(judge(attempt.clone(), Some(&REQUEST), &mut open), first, "{name}");
            assert_eq!(open, open_after, "{name}");
            let mut open = true;
            assert_eq!(judge(attempt, Some(&REQUEST), &mut open), later, "{name}, later");
            assert!(open, "{name}: what was lost stays lost");
        }
    }

    #[test]
    fn without_a_number_every_refusal_is_the_commands() {
        for refusal in [
            Refusal::ClientUnknown {
                client: REQUEST.client,
            },
            Refusal::ClientAnswersLimit,
        ] {
            let said = judge(decided(Err(refusal.clone())), None, &mut false);
            assert_eq!(said, answer(Err(refusal)));
        }
    }

    #[test]
    fn a_deadline_says_what_it_was_waiting_for() {
        let nobody = Leadership {
            term: Term(4),
            ..Leadership::default()
        };
        let somebody = Leadership {
            leader: Some(Leader {
                node: NodeId(2),
                client_address: "b:1".to_owned(),
            }),
            ..nobody.clone()
        };
        let no_leader = Unavailable::NotLeader {
            term: Term(4),
            leader: None,
        };
        let cases = [
            ("nobody leads", false, &nobody, no_leader),
            ("somebody leads", false, &somebody, Unavailable::TimedOut),
            ("lost, nobody leads", true, &nobody, Unavailable::OutcomeUnknown),
            (
                "lost, somebody leads",
                true,
                &somebody,
                Unavailable::OutcomeUnknown,
            ),
        ];
        for (name, open, leadership, want) in cases {
            assert_eq!(given_up(open, leadership), want, "{name}");
        }
    }
}
