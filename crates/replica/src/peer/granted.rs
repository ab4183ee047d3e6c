//! What a granted vote tells a new leader about the voter's log, so that it need not search for it.
//!
//! openraft lets a fresh leader bisect each follower's log, one call per step, over all entries that are kept (openraft issue
//! 2073): some thirteen round trips of 20,000 entries, which were half of a failover. Yet the voter has said with its
//! vote which entry is its last. So the steps of the search that ask for what is known already are answered here, on the leader's
//! side; the first call that crosses the network carries what the follower lacks.
//!
//! Promises: what is answered is what the follower itself would have said, and did: at the moment of the vote, which is
//! durable before it is heard and comes after every entry before it, the voter held its last entry and all before it. Both
//! logs agree up to there when both end in entries of one leader and the voter's is not the longer one, because a leader's
//! entries are one sequence (log matching, Raft section 5.3). Whoever grants a vote takes entries of that candidate or of a
//! later term only, so the answer is true for the whole reign, and old like any answer that was long under way. All it
//! speaks of are entries of earlier terms, which no count of replicas commits (section 5.4.2).
//!
//! What it must not do is prove leadership to a read: openraft takes any answer for a sign of life at the moment the
//! question was asked. So nothing is answered here once the reign's first entry is applied, and reads count only from then
//! on ([`crate::barrier`]). Left out on purpose: voters whose last entry is of another leader than the candidate's; they are
//! searched as ever.

use openraft::raft::{AppendEntriesRequest, VoteRequest, VoteResponse};
use tokio::sync::watch;

use crate::failover::Reign;
use crate::raft::types::{LeaderId, LogId, TypeConfig};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    to: LeaderId,
    /// The voter's last entry, which the candidate has, too.
    last: LogId,
}

impl Granted {
    /// What `response` tells the candidate who sent `request`.
    pub(crate) fn of(request: &VoteRequest<TypeConfig>, response: &VoteResponse<TypeConfig>) -> Option<Self> {
        let (ours, last) = (request.last_log_id?, response.last_log_id?);
        let is_granted = response.vote_granted && response.vote == request.vote;
        let is_ours =
            last.committed_leader_id() == ours.committed_leader_id() && last.index() <= ours.index();
        (is_granted && is_ours).then_some(Self {
            to: request.vote.leader_id,
            last,
        })
    }

    /// The last entry of `request` when the voter holds all of them.
    pub(crate) fn holds(&self, request: &AppendEntriesRequest<TypeConfig>) -> Option<LogId> {
        let last = request.entries.last()?.log_id;
        let is_to_us = request.vote.committed && request.vote.leader_id == self.to;
        (is_to_us && last.index() <= self.last.index()).then_some(last)
    }

    /// Whether the reign that the vote was for has begun to serve, after which nothing is answered for the voter.
    pub(crate) fn is_over(&self, applied: &watch::Receiver<Option<Reign>>) -> bool {
        *applied.borrow() >= Some(Reign::of(&self.to))
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use quorate_types::{NodeId, Term};

    use super::*;
    use crate::raft::types::{Entry, Vote};

    fn leader(term: u64, node: u64) -> LeaderId {
        LeaderId {
            term,
            node_id: NodeId(node),
        }
    }

    fn vote(of: LeaderId, committed: bool) -> Vote {
        crate::raft::types::vote(Term(of.term), of.node_id, committed)
    }

    #[test]
    fn what_a_vote_tells() {
        let (old, older) = (leader(6, 1), leader(5, 2));
        let candidate = vote(leader(7, 3), false);
        let another = vote(leader(8, 2), false);
        let at = |of, index| Some(LogId::new(of, index));
        type Case<'a> = (&'a str, Option<LogId>, (Vote, bool, Option<LogId>), Option<u64>);
        let cases: &[Case] = &[
            (
                "as far as we",
                at(old, 90),
                (candidate, true, at(old, 90)),
                Some(90),
            ),
            (
                "a little behind",
                at(old, 90),
                (candidate, true, at(old, 84)),
                Some(84),
            ),
            (
                "a vote that was not granted",
                at(old, 90),
                (candidate, false, at(old, 90)),
                None,
            ),
            (
                "granted to another",
                at(old, 90),
                (another, true, at(old, 90)),
                None,
            ),
            (
                "its last entry may not be ours",
                at(old, 90),
                (candidate, true, at(older, 84)),
                None,
            ),
            (
                "longer than ours",
                at(old, 90),
                (candidate, true, at(old, 91)),
                None,
            ),
            ("an empty log", at(old, 90), (candidate, true, None), None),
            ("ours is empty", None, (candidate, true, None), None),
        ];
        for (name, ours, (their_vote, granted, last), want) in cases {
            let request = VoteRequest::new(candidate, *ours);
            let response = VoteResponse::new(their_vote, *last, *granted);
            let got = Granted::of(&request, &response);
            assert_eq!(got.map(|granted| granted.last.index()), *want, "{name}");
        }
    }

    #[test]
    fn only_what_the_voter_holds_is_answered() {
        let (old, us) = (leader(6, 1), leader(7, 3));
        let granted = Granted {
            to: us,
            last: LogId::new(old, 90),
        };
        let entries = |from: u64, to: u64| -> Vec<Entry> {
            (from..=to)
                .map(|index| Entry {
                    log_id: LogId::new(old, index),
                    payload: EntryPayload::Blank,
                })
                .collect()
        };
        let cases: &[(&str, Vote, Vec<Entry>, Option<u64>)] = &[
            ("in the middle", vote(us, true), entries(40, 47), Some(47)),
            ("up to its last", vote(us, true), entries(83, 90), Some(90)),
            ("one more than that", vote(us, true), entries(84, 91), None),
            ("a heartbeat", vote(us, true), Vec::new(), None),
            ("not yet elected", vote(us, false), entries(40, 47), None),
            (
                "a later reign of ours",
                vote(leader(9, 3), true),
                entries(40, 47),
                None,
            ),
        ];
        for (name, of, entries, want) in cases {
            let request = AppendEntriesRequest {
                vote: *of,
                prev_log_id: Some(LogId::new(old, 1)),
                entries: entries.clone(),
                leader_commit: None,
            };
            let got = granted.holds(&request);
            assert_eq!(got.map(|last| last.index()), *want, "{name}");
        }
    }

    #[test]
    fn a_vote_says_nothing_more_once_its_reign_serves() {
        let granted = Granted {
            to: leader(7, 3),
            last: LogId::new(leader(6, 1), 90),
        };
        let reign = |term, node| Some(Reign::of(&leader(term, node)));
        let cases = [
            (None, false),
            (reign(6, 1), false),
            (reign(7, 3), true),
            (reign(8, 1), true),
        ];
        for (applied, want) in cases {
            let (_sender, applied) = watch::channel(applied);
            assert_eq!(granted.is_over(&applied), want, "{applied:?}");
        }
    }
}
