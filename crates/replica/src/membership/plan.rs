//! What may be done to the members, and how. Pure: a view of the group and a wish in, a step or a refusal out.

use std::collections::{BTreeMap, BTreeSet};

use quorate_types::limits::{GROUP_SIZES, VOTERS_MAX};
use quorate_types::{Incarnation, Member, MemberName, NodeId};

use super::{Applicant, FUTURE, MemberChange, MemberError, PRESENT};

/// A learner this many entries behind or fewer has caught up: less than a second of work, and few enough that a change of
/// voters does not wait for it.
const LAG_ENTRIES_MAX: u64 = 1_000;

/// What the leader knows of its group.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The leader.
    pub(crate) me: NodeId,
    /// The voters; while a joint change is under way, those that it leads to.
    pub(crate) voters: BTreeSet<NodeId>,
    /// All members, voters and learners.
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// The leader's last log index.
    pub(crate) last: u64,
    /// The last index that each other member is known to have.
    pub(crate) matched: BTreeMap<NodeId, u64>,
    /// The other members whose liveness link is up.
    pub(crate) linked: BTreeSet<NodeId>,
}

impl View {
    fn is_reachable(&self, node: NodeId) -> bool {
        node == self.me || self.linked.contains(&node)
    }

    /// Why `node` cannot vote yet.
    fn behind(&self, node: NodeId) -> Option<String> {
        if !self.is_reachable(node) {
            return Some("it is not connected".to_owned());
        }
        let Some(matched) = self.matched.get(&node) else {
            return Some("it has not received anything yet".to_owned());
        };
        let lag = self.last.saturating_sub(*matched);
        (lag > LAG_ENTRIES_MAX).then(|| format!("it lacks {lag} entries"))
    }

    /// Refuses voters of whom no majority can be reached.
    fn majority_of(&self, whose: &'static str, voters: &BTreeSet<NodeId>) -> Result<(), MemberError> {
        let reachable = voters.iter().filter(|node| self.is_reachable(**node)).count();
        let needed = voters.len() / 2 + 1;
        if reachable >= needed {
            return Ok(());
        }
        Err(MemberError::QuorumAtRisk {
            whose,
            voters: voters.len(),
            reachable,
            needed,
        })
    }
}

/// What to do for an applicant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is a member already.
    Member(NodeId),
    /// Make it a learner under a new id, after these have been removed: learners of its name whose directory is gone.
    Admit { after: BTreeSet<NodeId> },
}

/// Decides about an applicant.
pub(crate) fn admit(view: &View, applicant: &Applicant) -> Result<Admission, MemberError> {
    let mut after = BTreeSet::new();
    for member in view
        .members
        .values()
        .filter(|member| member.name == *applicant.name())
    {
        if member.incarnation == applicant.incarnation() {
            return Ok(Admission::Member(member.node));
        }
        if view.is_reachable(member.node) {
            return Err(MemberError::RunsAlready {
                name: member.name.clone(),
                node: member.node,
            });
        }
        // A voter stays until its successor has caught up; see `successor`.
        if !view.voters.contains(&member.node) {
            after.insert(member.node);
        }
    }
    Ok(Admission::Admit { after })
}

/// Takes a node id out of consecutive ids of the cluster's counter, of which `last` is the last; or tells how many more
/// must be allocated first.
///
/// The counter gives no number twice, so no id is used again, not even that of a member that has left. The group's first
/// members did not get theirs from it: what they can have is passed over.
pub(crate) fn fresh_id(view: &View, last: u64) -> Result<NodeId, u64> {
    let first_members = GROUP_SIZES.iter().max().copied().unwrap_or_default() as u64;
    let known = view.members.keys().max().map_or(0, |node| node.0);
    let taken = known.max(first_members);
    match last > taken {
        true => Ok(NodeId(last)),
        false => Err(taken - last + 1),
    }
}

/// A step of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything is as wished.
    Nothing,
    /// This replica is to leave: another must lead first.
    HandOver,
    /// One joint change to these voters, and then these learners are forgotten.
    Change {
        voters: BTreeSet<NodeId>,
        forget: BTreeSet<NodeId>,
    },
}

/// Decides about a change.
pub(crate) fn change(view: &View, wish: &MemberChange) -> Result<Step, MemberError> {
    for node in &wish.promote {
        if !view.members.contains_key(node) || wish.remove.contains(node) {
            return Err(MemberError::NotMember(*node));
        }
    }
    let voters: BTreeSet<NodeId> = view
        .voters
        .union(&wish.promote)
        .filter(|node| !wish.remove.contains(node))
        .copied()
        .collect();
    let forget: BTreeSet<NodeId> = wish
        .remove
        .iter()
        .filter(|node| view.members.contains_key(node) && !view.voters.contains(node))
        .copied()
        .collect();
    if voters == view.voters {
        return Ok(match forget.is_empty() {
            true => Step::Nothing,
            false => Step::Change { voters, forget },
        });
    }
    if voters.is_empty() {
        return Err(MemberError::LastVoter);
    }
    if voters.len() > VOTERS_MAX {
        return Err(MemberError::TooMany {
            voters: voters.len(),
            max: VOTERS_MAX,
        });
    }
    if voters.len().is_multiple_of(2) && !wish.force {
        return Err(MemberError::Even { voters: voters.len() });
    }
    for node in voters.difference(&view.voters) {
        if let Some(why) = view.behind(*node) {
            return Err(MemberError::Behind { node: *node, why });
        }
    }
    view.majority_of(PRESENT, &view.voters)?;
    view.majority_of(FUTURE, &voters)?;
    if wish.remove.contains(&view.me) {
        return Ok(Step::HandOver);
    }
    Ok(Step::Change { voters, forget })
}

/// A learner that has caught up and takes the place of the voter of its name, whose directory is gone: the change that
/// does it. One at a time.
pub(crate) fn successor(view: &View) -> Option<MemberChange> {
    let learners = view
        .members
        .values()
        .filter(|member| !view.voters.contains(&member.node));
    for learner in learners {
        let Some(old) = voter_named(view, &learner.name, learner.incarnation) else {
            continue;
        };
        if view.is_reachable(old) || view.behind(learner.node).is_some() {
            continue;
        }
        let wish = MemberChange {
            promote: BTreeSet::from([learner.node]),
            remove: BTreeSet::from([old]),
            // As many voters as before, whether odd or not.
            force: true,
        };
        if matches!(change(view, &wish), Ok(Step::Change { .. })) {
            return Some(wish);
        }
    }
    None
}

fn voter_named(view: &View, name: &MemberName, but: Incarnation) -> Option<NodeId> {
    let mut voters = view.voters.iter().filter_map(|node| view.members.get(node));
    voters
        .find(|voter| voter.name == *name && voter.incarnation != but)
        .map(|voter| voter.node)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
