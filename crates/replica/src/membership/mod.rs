//! Changing who is a member: admitting learners, promoting, removing, replacing.
//!
//! Promises:
//! - A replica joins as a learner under a node id that no replica ever had before, and votes only once it has caught up. A
//!   directory that was wiped is a new replica: it never acts under the id that the old one had.
//! - One change at a time, and each change of voters is one joint change: at every moment of it, whatever was committed is
//!   on a majority of whoever can elect. A change that a leader did not finish is finished by the next one.
//! - A change that could leave the cluster without a majority is refused before anything is written, with the reason.
//!
//! What may be done is decided in [`plan`], without IO; [`task`] does it, on the leader; [`removed`] tells a replica that it
//! is no member any more. Left out on purpose: a member's addresses. They are names, resolved at each dial; a member that
//! moves to other names is replaced.

pub(crate) mod plan;
pub(crate) mod removed;
pub(crate) mod task;

use std::collections::BTreeSet;

use quorate_types::{Incarnation, Member, MemberName, NodeId};

/// Whose majority is at risk, in [`MemberError::QuorumAtRisk`].
pub(crate) const PRESENT: &str = "present";
/// See [`PRESENT`].
pub(crate) const FUTURE: &str = "future";

/// A replica with an empty directory that asks to become a member: itself as a member, but for the node id, which it is
/// given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applicant(Member);

impl Applicant {
    /// Whatever node id `member` has counts for nothing.
    pub(crate) fn new(member: Member) -> Self {
        Self(member)
    }

    pub(crate) fn name(&self) -> &MemberName {
        &self.0.name
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// The member that it becomes.
    pub(crate) fn member(&self, node: NodeId) -> Member {
        Member {
            node,
            ..self.0.clone()
        }
    }
}

/// Members that are to vote or to leave, together in one joint change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberChange {
    /// Learners that are to vote.
    pub promote: BTreeSet<NodeId>,
    /// Members that are to leave for good.
    pub remove: BTreeSet<NodeId>,
    /// Accept an even number of voters.
    pub force: bool,
}

/// Why the members are as they were, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Ask the leader.
    #[error("this replica does not lead; ask the leader to change the members")]
    NotLeader,
    /// No such member.
    #[error("no member has the node id {0}; see `quorate member list` for those that there are")]
    NotMember(NodeId),
    /// A replica of that name is alive.
    #[error(
        "replica {name} runs already as node {node}; give the new one another name, or stop the old one for good first"
    )]
    RunsAlready {
        /// The name.
        name: MemberName,
        /// Who has it.
        node: NodeId,
    },
    /// It lacks entries, or cannot be reached.
    #[error("node {node} cannot vote yet: {why}; try again when it has caught up")]
    Behind {
        /// Who.
        node: NodeId,
        /// How far behind, or that it is not connected.
        why: String,
    },
    /// An even number of voters.
    #[error(
        "there would be {voters} voters, which bear no more failures than {}; change two at once, or use --force",
        voters - 1
    )]
    Even {
        /// How many there would be.
        voters: usize,
    },
    /// The cluster would stop, or has too few voters to decide anything.
    #[error(
        "only {reachable} of the {voters} {whose} voters can be reached, and {needed} are needed to decide; start the \
         others first"
    )]
    QuorumAtRisk {
        /// `present` or `future`.
        whose: &'static str,
        /// How many there are or would be.
        voters: usize,
        /// How many of these are connected.
        reachable: usize,
        /// The majority.
        needed: usize,
    },
    /// Nobody would be left.
    #[error("the last voter cannot be removed; to end a cluster, stop it and delete its directories")]
    LastVoter,
    /// Too many.
    #[error(
        "there would be {voters} voters; {max} are the most, because each write waits for a majority of them"
    )]
    TooMany {
        /// How many there would be.
        voters: usize,
        /// The limit.
        max: usize,
    },
    /// Too many ask at once.
    #[error("other changes of members are waiting already; try again when they are done")]
    Busy,
    /// The outcome is not known: the change may be completed later.
    #[error("the change was not completed in time; look at `quorate member list` whether it has come about")]
    OutcomeUnknown,
    /// The replica stops.
    #[error("this replica is stopping")]
    Stopped,
}
