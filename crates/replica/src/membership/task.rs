//! The leader's hand on the membership: admissions, changes, and what an earlier leader left unfinished.
//!
//! Promises: one thing at a time, each seen through to its commit or given up as "not known" after [`CHANGE_TIMEOUT`];
//! a joint change that a leader left half-way is finished by the next; a replica that came back with an empty directory
//! takes the place of the voter of its name as soon as it has caught up, in one joint change. Followers change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use quorate_machine::{AllocateIds, Command, Reply};
use quorate_types::{Member, NodeId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::plan::{self, Admission, Step, View};
use super::{Applicant, MemberChange, MemberError};
use crate::failover::transfer::Transfers;
use crate::leadership::Leadership;
use crate::liveness::board::Board;
use crate::proposer::Proposer;
use crate::raft::types::{Raft, TypeConfig};

/// Requests that wait at once; more are told to come again.
const REQUESTS_MAX: usize = 16;
/// A change that is not committed within this time is given up; it may still come about.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at what is left to do.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Done<T> = oneshot::Sender<Result<T, MemberError>>;

enum Request {
    Admit(Applicant, Done<NodeId>),
    Change(MemberChange, Done<()>),
}

/// Asks for changes; cheap to clone.
#[derive(Clone)]
pub(crate) struct Members(mpsc::Sender<Request>);

impl Members {
    /// Makes the applicant a learner and gives its node id, once that is committed.
    pub(crate) async fn admit(&self, applicant: Applicant) -> Result<NodeId, MemberError> {
        self.ask(|done| Request::Admit(applicant, done)).await
    }

    /// Changes voters and members, and answers once that is committed.
    pub(crate) async fn change(&self, change: MemberChange) -> Result<(), MemberError> {
        self.ask(|done| Request::Change(change, done)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Done<T>) -> Request) -> Result<T, MemberError> {
        let (done, outcome) = oneshot::channel();
        match self.0.try_send(request(done)) {
            Ok(()) => outcome.await.unwrap_or(Err(MemberError::Stopped)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(MemberError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(MemberError::Stopped),
        }
    }
}

/// The task.
pub(crate) struct MembersTask {
    me: NodeId,
    raft: Raft,
    board: Arc<Board>,
    leadership: watch::Receiver<Leadership>,
    proposer: Proposer,
    transfers: Transfers,
    requests: mpsc::Receiver<Request>,
}

impl MembersTask {
    pub(crate) fn new(
        me: NodeId,
        raft: Raft,
        board: Arc<Board>,
        leadership: watch::Receiver<Leadership>,
        proposer: Proposer,
        transfers: Transfers,
    ) -> (Members, Self) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let task = Self {
            me,
            raft,
            board,
            leadership,
            proposer,
            transfers,
            requests,
        };
        (Members(sender), task)
    }

    /// Serves requests, and looks after what is unfinished, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let request = tokio::select! {
                Some(request) = self.requests.recv() => Some(request),
                _ = looks.tick() => None,
                () = stop.cancelled() => return,
            };
            // A change that is under way when the replica stops is finished by whoever leads then.
            tokio::select! {
                () = self.serve(request) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn serve(&self, request: Option<Request>) {
        // Who asked may have given up; the change stands all the same.
        match request {
            Some(Request::Admit(applicant, done)) => _ = done.send(self.admit(&applicant).await),
            Some(Request::Change(wish, done)) => _ = done.send(self.change(&wish).await),
            None => self.look().await,
        }
    }

    fn serves(&self) -> bool {
        self.leadership.borrow().serving
    }

    async fn admit(&self, applicant: &Applicant) -> Result<NodeId, MemberError> {
        self.finish().await?;
        let view = self.view()?;
        let after = match plan::admit(&view, applicant)? {
            Admission::Member(node) => return Ok(node),
            Admission::Admit { after } => after,
        };
        if !after.is_empty() {
            self.write(ChangeMembers::RemoveNodes(after)).await?;
        }
        let node = self.new_id(&view).await?;
        let member = applicant.member(node);
        self.write(ChangeMembers::AddNodes(BTreeMap::from([(node, member.clone())])))
            .await?;
        tracing::info!(%member, "admitted as a learner");
        Ok(node)
    }

    async fn change(&self, wish: &MemberChange) -> Result<(), MemberError> {
        self.finish().await?;
        let view = self.view()?;
        match plan::change(&view, wish)? {
            Step::Nothing => Ok(()),
            Step::HandOver => {
                // Whoever leads then is asked next; the caller is told who that is.
                let deadline = Instant::now() + CHANGE_TIMEOUT;
                match self.transfers.hand_over(None, deadline).await {
                    Ok(_) => Err(MemberError::NotLeader),
                    Err(error) => {
                        tracing::warn!(%error, "this leader cannot leave before another leads");
                        Err(MemberError::OutcomeUnknown)
                    }
                }
            }
            Step::Change { voters, forget } => {
                tracing::info!(from = %ids(&view.voters), to = %ids(&voters), "changing the voters");
                if voters != view.voters {
                    self.write(ChangeMembers::ReplaceAllVoters(voters.clone()))
                        .await?;
                }
                if !forget.is_empty() {
                    self.write(ChangeMembers::RemoveNodes(forget)).await?;
                }
                tracing::info!(voters = %ids(&voters), "the members have changed");
                Ok(())
            }
        }
    }

    /// What no request asks for.
    async fn look(&self) {
        if !self.serves() {
            return;
        }
        let done = match self.finish().await {
            Ok(()) => match self.view().map(|view| plan::successor(&view)) {
                Ok(Some(wish)) => self.change(&wish).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::debug!(%error, "the members could not be brought in order; trying again");
        }
    }

    /// Completes a joint change that was left half-way.
    async fn finish(&self) -> Result<(), MemberError> {
        if crate::raft::membership::effective(&self.raft)
            .get_joint_config()
            .len()
            < 2
        {
            return Ok(());
        }
        if !self.serves() {
            return Err(MemberError::NotLeader);
        }
        // A change to what it leads to already: openraft takes the second step alone.
        self.write(ChangeMembers::AddVoterIds(BTreeSet::new())).await
    }

    /// Writes one change; of voters as a joint change in two steps. Removed voters are forgotten.
    async fn write(&self, change: ChangeMembers<NodeId, Member>) -> Result<(), MemberError> {
        let written = timeout(CHANGE_TIMEOUT, self.raft.change_membership(change, false)).await;
        match written {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(MemberError::OutcomeUnknown),
        }
    }

    /// An id that no replica ever had: the first members have small ones, all others come from the cluster's counter.
    async fn new_id(&self, view: &View) -> Result<NodeId, MemberError> {
        let mut count = 1;
        loop {
            let deadline = Instant::now() + CHANGE_TIMEOUT;
            let decided = self
                .proposer
                .propose(&Command::AllocateIds(AllocateIds { count }), None, deadline)
                .await;
            // An id that was allocated and not used is lost, which harms nothing.
            let Ok(Ok(Reply::IdsAllocated { first, count: given })) = decided.map(|decided| decided.outcome)
            else {
                return Err(MemberError::NotLeader);
            };
            match plan::fresh_id(view, first + (given - 1)) {
                Ok(node) => return Ok(node),
                Err(more) => count = more,
            }
        }
    }

    /// The group as this leader sees it.
    fn view(&self) -> Result<View, MemberError> {
        if !self.serves() {
            return Err(MemberError::NotLeader);
        }
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let members: BTreeMap<NodeId, Member> = membership
            .nodes()
            .map(|(node, member)| (*node, member.clone()))
            .collect();
        let matched = metrics.replication.unwrap_or_default();
        let others = || members.keys().copied().filter(|node| *node != self.me);
        Ok(View {
            me: self.me,
            voters: membership.get_joint_config().last().cloned().unwrap_or_default(),
            last: metrics.last_log_index.unwrap_or(0),
            matched: others()
                .filter_map(|node| Some((node, matched.get(&node)?.as_ref()?.index())))
                .collect(),
            linked: others()
                .filter(|node| self.board.peer(*node).linked.is_some())
                .collect(),
            members,
        })
    }
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MemberError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MemberError::NotLeader,
        RaftError::APIError(error) => {
            // Its rules are ours, and they have been checked; what is left is a race with a change of leader.
            tracing::debug!(%error, "a change of members was not taken");
            MemberError::Busy
        }
        RaftError::Fatal(_) => MemberError::Stopped,
    }
}

fn ids(nodes: &BTreeSet<NodeId>) -> String {
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
