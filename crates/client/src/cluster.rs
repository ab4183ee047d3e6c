//! The group of replicas itself: how each is doing, and who should lead.

use futures_util::FutureExt;
use quorate_api::v1;
use quorate_types::{NodeId, Term};

use crate::call::{Effect, Plan, Target};
use crate::client::Client;
use crate::error::{Error, Outcome};
use crate::topology::Leader;

/// The `Cluster` service. Its stream of changes is [`Client::leader`] and [`Client::members`].
#[derive(Debug, Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// What the replica `node` knows of itself.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer before the deadline; the message says why. Choose a short one
    /// ([`Client::with_deadline`]) where a dead replica is to be expected.
    pub async fn status(&self, node: NodeId) -> Result<v1::StatusResponse, Error> {
        let plan = Plan::new("Status", Target::Node(node), Effect::None, self.client.patience());
        let answer = self
            .client
            .core()
            .call(plan, v1::StatusRequest {}, |wire, request| {
                async move { v1::cluster_client::ClusterClient::new(wire).status(request).await }.boxed()
            });
        Ok(answer.await?.into_inner())
    }

    /// Hands leadership to the voter `to`, or to the most advanced one; answers when it leads.
    ///
    /// Asking twice with `to` changes nothing. Without, a second attempt could move leadership again, so when the first
    /// one's answer is lost, a change of leader seen before the deadline counts as success.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<Leader, Error> {
        let effect = if to.is_some() { Effect::None } else { Effect::Once };
        let plan = Plan::new(
            "TransferLeadership",
            Target::Leader,
            effect,
            self.client.patience(),
        );
        let before = self.client.leading();
        let request = v1::TransferLeadershipRequest {
            to: to.map_or(0, |node| node.0),
        };
        let answer = self.client.core().call(plan, request, |wire, request| {
            async move {
                v1::cluster_client::ClusterClient::new(wire)
                    .transfer_leadership(request)
                    .await
            }
            .boxed()
        });
        match answer.await {
            Ok(answer) => {
                let hint = answer.into_inner().leader.as_ref().and_then(Leader::from_hint);
                let leader = hint.ok_or_else(|| Error::protocol("leadership was handed over to nobody"))?;
                self.client.core().topology.hinted(leader.clone());
                Ok(leader)
            }
            Err(
                error @ Error::Unavailable {
                    outcome: Outcome::Unknown,
                    ..
                },
            ) => self.successor(before, &plan).await.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Promotes learners to voters and removes members, together in one joint change; answers with the members once it is
    /// committed. Asking again changes nothing, so it is repeated until the deadline.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn change_members(
        &self,
        change: v1::ChangeMembersRequest,
    ) -> Result<Vec<v1::MemberInfo>, Error> {
        let plan = Plan::new(
            "ChangeMembers",
            Target::Leader,
            Effect::None,
            self.client.patience(),
        );
        let answer = self.client.core().call(plan, change, |wire, request| {
            async move { v1::members_client::MembersClient::new(wire).change(request).await }.boxed()
        });
        Ok(answer.await?.into_inner().members)
    }

    /// Waits until another leads than `before`.
    async fn successor(&self, before: Option<(Term, NodeId)>, plan: &Plan) -> Option<Leader> {
        let mut leaders = self.client.leader();
        let changed = leaders.wait_for(|leader| {
            let now = leader.as_ref().map(|leader| (leader.term, leader.node));
            now.is_some() && now > before
        });
        let leader = tokio::time::timeout_at(plan.deadline(), changed)
            .await
            .ok()?
            .ok()?;
        leader.clone()
    }
}
