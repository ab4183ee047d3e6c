//! At the leader: what its followers forward.
//!
//! Promises: a replica that does not lead says so at once and proposes nothing, so that whoever asked can go on to the one
//! that does. A command is read before it is proposed, and stamped with the leader's own clock: an entry that this build
//! cannot apply never reaches the log. Limits are the proposer's and the barrier's own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use quorate_machine::Command;
use quorate_types::Index;
use tokio::time::Instant;

use crate::duties::kv_leases::{LeaseQuestion, LeaseSaid};
use crate::group::Group;
use crate::peer::forwarded::{Proposal, Proposed};
use crate::unavailable::Unavailable;

/// Proposes each of `proposals`; gives their places and what became of them, as it becomes known.
pub(crate) fn propose(
    group: Arc<Group>,
    proposals: Vec<Proposal>,
) -> impl Stream<Item = (usize, Result<Proposed, Unavailable>)> + Send + 'static {
    let arrived = Instant::now();
    let outcomes = proposals.into_iter().enumerate().map(|(place, proposal)| {
        let group = Arc::clone(&group);
        async move { (place, propose_one(&group, proposal, arrived).await) }
    });
    outcomes.collect::<FuturesUnordered<_>>()
}

async fn propose_one(group: &Group, proposal: Proposal, arrived: Instant) -> Result<Proposed, Unavailable> {
    lead(group)?;
    let Some((command, request)) = Command::decode(&proposal.entry) else {
        // Of a later release, most likely: while replicas are being replaced, the next leader may know it.
        tracing::warn!("a follower forwards a command that this build does not know; it was not proposed");
        let term = group.leadership.borrow().term;
        return Err(Unavailable::NotLeader { term, leader: None });
    };
    let deadline = arrived + proposal.patience;
    let decided = group.proposer.propose(&command, request, deadline).await?;
    Ok(Proposed {
        index: decided.index,
        outcome: Some(decided.outcome),
    })
}

/// The index that a state must have applied to be new enough for a read that arrived before this call.
pub(crate) async fn read_index(group: Arc<Group>, patience: Duration) -> Result<Index, Unavailable> {
    lead(&group)?;
    Ok(group.barrier.pass(Instant::now() + patience).await?.index)
}

/// Renews leases of etcd's, or says how long they have.
pub(crate) async fn ask_leases(
    group: Arc<Group>,
    questions: &[LeaseQuestion],
    patience: Duration,
) -> Result<Vec<LeaseSaid>, Unavailable> {
    lead(&group)?;
    group.kv_leases.ask(questions, Instant::now() + patience).await
}

fn lead(group: &Group) -> Result<(), Unavailable> {
    let leadership = group.leadership.borrow();
    match leadership.is_me {
        true => Ok(()),
        false => Err(Unavailable::not_leader(&leadership)),
    }
}
