//! The catalog as some replica knows it: fast, from anywhere, perhaps not the latest.
//!
//! Promises: the answer is a state that the cluster once had, and says which ([`v1::ReadPosition`]). Two answers in a
//! row may come from different replicas, the second from an older state. Left out on purpose: any choice of a fresh
//! one; who needs the latest asks [`crate::Root`].

use std::time::Duration;

use futures_util::FutureExt;
use quorate_api::v1;
use quorate_types::NodeId;
use tonic::Response;

use crate::call::{Effect, Method, Plan, Target};
use crate::client::Client;
use crate::error::Error;
use crate::wire::ANSWER_BYTES_MAX;

/// The `StaleRoot` service.
#[derive(Debug, Clone)]
pub struct StaleRoot {
    client: Client,
    target: Target,
}

/// An answer and its age.
#[derive(Debug, Clone, PartialEq)]
pub struct Stale<T> {
    /// What was asked for.
    pub answer: T,
    /// How long ago the replica last heard from the leader, zero on the leader: a bound of the answer's age while the
    /// network is healthy. `None` when the replica does not say.
    pub leader_contact: Option<Duration>,
}

macro_rules! reads {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $answer:ident, $name:literal;)*) => {
        impl StaleRoot {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// See [`Error`].
                pub async fn $method(&self, request: v1::$request) -> Result<Stale<v1::$answer>, Error> {
                    self.read($name, request, |wire, request| {
                        async move {
                            let client = v1::stale_root_client::StaleRootClient::new(wire);
                            client.max_decoding_message_size(ANSWER_BYTES_MAX).$method(request).await
                        }
                        .boxed()
                    })
                    .await
                }
            )*
        }
    };
}

reads! {
    /// One database.
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse, "DescribeDatabase";
    /// One page of the databases.
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse, "ListDatabases";
    /// One collection, by name, alias or id.
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse, "DescribeCollection";
    /// Whether a collection of that name or alias exists.
    has_collection(HasCollectionRequest) -> HasCollectionResponse, "HasCollection";
    /// One page of a database's collections.
    list_collections(ListCollectionsRequest) -> ListCollectionsResponse, "ListCollections";
    /// Whether a partition exists.
    has_partition(HasPartitionRequest) -> HasPartitionResponse, "HasPartition";
    /// One page of a collection's partitions.
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse, "ListPartitions";
    /// One alias.
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse, "DescribeAlias";
    /// One page of the aliases.
    list_aliases(ListAliasesRequest) -> ListAliasesResponse, "ListAliases";
}

impl StaleRoot {
    pub(crate) fn new(client: Client) -> Self {
        let target = Target::Any;
        Self { client, target }
    }

    /// The same reads from this replica only.
    #[must_use]
    pub fn at(&self, node: NodeId) -> Self {
        Self {
            client: self.client.clone(),
            target: Target::Node(node),
        }
    }

    async fn read<Q, A>(
        &self,
        name: &'static str,
        message: Q,
        method: Method<Q, A>,
    ) -> Result<Stale<A>, Error>
    where
        Q: prost::Message + Clone,
    {
        let plan = Plan::new(name, self.target, Effect::None, self.client.patience());
        let answer: Response<A> = self.client.core().call(plan, message, method).await?;
        let contact = answer.metadata().get("quorate-leader-contact-ms");
        let leader_contact_ms = contact.and_then(|ms| ms.to_str().ok()?.parse().ok());
        Ok(Stale {
            leader_contact: leader_contact_ms.map(Duration::from_millis),
            answer: answer.into_inner(),
        })
    }
}
