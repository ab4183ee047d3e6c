//! The catalog: databases, collections, partitions, aliases. Linearizable.
//!
//! Promises: a write is executed at most once (see [`Error::Unavailable`] for what remains open); a read shows every
//! write that was answered before it was asked. Left out on purpose: what the calls mean; that stands with the
//! messages of `quorate.v1`, which are the arguments. Request ids are filled in.

use futures_util::{FutureExt, Stream};
use quorate_api::v1;

use crate::client::Client;
use crate::error::Error;
use crate::pages::rows;
use crate::wire::ANSWER_BYTES_MAX;

/// The `Root` service. An empty database name means "default".
#[derive(Debug, Clone)]
pub struct Root {
    client: Client,
}

macro_rules! writes {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $answer:ident;)*) => {
        impl Root {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// See [`Error`].
                pub async fn $method(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                    self.client.write(request).await
                }
            )*
        }
    };
}

macro_rules! reads {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $answer:ident, $name:literal;)*) => {
        impl Root {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// See [`Error`].
                pub async fn $method(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                    self.client
                        .read($name, request, |wire, request| {
                            async move {
                                let client = v1::root_client::RootClient::new(wire);
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

writes! {
    /// Creates a database.
    create_database(CreateDatabaseRequest) -> CreateDatabaseResponse;
    /// Drops a database; refused while it has collections.
    drop_database(DropDatabaseRequest) -> DropDatabaseResponse;
    /// Merges properties of a database.
    alter_database(AlterDatabaseRequest) -> AlterDatabaseResponse;
    /// Creates a collection.
    create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
    /// Drops a collection, not by alias. Dropping what is not there is answered with `existed` false.
    drop_collection(DropCollectionRequest) -> DropCollectionResponse;
    /// Merges properties of a collection, or changes its description.
    alter_collection(AlterCollectionRequest) -> AlterCollectionResponse;
    /// Renames a collection, or moves it to another database.
    rename_collection(RenameCollectionRequest) -> RenameCollectionResponse;
    /// Creates a partition.
    create_partition(CreatePartitionRequest) -> CreatePartitionResponse;
    /// Drops a partition.
    drop_partition(DropPartitionRequest) -> DropPartitionResponse;
    /// Creates an alias.
    create_alias(CreateAliasRequest) -> CreateAliasResponse;
    /// Drops an alias.
    drop_alias(DropAliasRequest) -> DropAliasResponse;
    /// Points an existing alias at another collection.
    alter_alias(AlterAliasRequest) -> AlterAliasResponse;
}

reads! {
    /// One database.
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse, "DescribeDatabase";
    /// One page of the databases; see [`Root::list_databases_all`].
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse, "ListDatabases";
    /// One collection, by name, alias or id.
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse, "DescribeCollection";
    /// Whether a collection of that name or alias exists.
    has_collection(HasCollectionRequest) -> HasCollectionResponse, "HasCollection";
    /// One page of a database's collections; see [`Root::list_collections_all`].
    list_collections(ListCollectionsRequest) -> ListCollectionsResponse, "ListCollections";
    /// Whether a partition exists.
    has_partition(HasPartitionRequest) -> HasPartitionResponse, "HasPartition";
    /// One page of a collection's partitions; see [`Root::list_partitions_all`].
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse, "ListPartitions";
    /// One alias.
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse, "DescribeAlias";
    /// One page of the aliases; see [`Root::list_aliases_all`].
    list_aliases(ListAliasesRequest) -> ListAliasesResponse, "ListAliases";
}

impl Root {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// All databases, page after page. Each page is linearizable; the listing as a whole is not.
    pub fn list_databases_all(&self) -> impl Stream<Item = Result<v1::Database, Error>> + Send + use<> {
        let root = self.clone();
        rows(move |page| {
            let root = root.clone();
            async move {
                let answer = root
                    .list_databases(v1::ListDatabasesRequest { page: Some(page) })
                    .await?;
                Ok((answer.databases, answer.next_token))
            }
        })
    }

    /// All collections of a database, page after page. Each page is linearizable; the listing as a whole is not.
    pub fn list_collections_all(
        &self,
        database: &str,
    ) -> impl Stream<Item = Result<v1::Collection, Error>> + Send + use<> {
        let (root, database) = (self.clone(), database.to_owned());
        rows(move |page| {
            let (root, database) = (root.clone(), database.clone());
            async move {
                let page = Some(page);
                let answer = root
                    .list_collections(v1::ListCollectionsRequest { database, page })
                    .await?;
                Ok((answer.collections, answer.next_token))
            }
        })
    }

    /// All partitions of a collection, page after page. Each page is linearizable; the listing as a whole is not.
    pub fn list_partitions_all(
        &self,
        database: &str,
        collection: &str,
    ) -> impl Stream<Item = Result<v1::Partition, Error>> + Send + use<> {
        let root = self.clone();
        let request = v1::ListPartitionsRequest {
            database: database.to_owned(),
            collection: collection.to_owned(),
            page: None,
        };
        rows(move |page| {
            let (root, mut request) = (root.clone(), request.clone());
            async move {
                request.page = Some(page);
                let answer = root.list_partitions(request).await?;
                Ok((answer.partitions, answer.next_token))
            }
        })
    }

    /// All aliases of a collection, or of a database when `collection` is empty, page after page. Each page is
    /// linearizable; the listing as a whole is not.
    pub fn list_aliases_all(
        &self,
        database: &str,
        collection: &str,
    ) -> impl Stream<Item = Result<v1::Alias, Error>> + Send + use<> {
        let root = self.clone();
        let request = v1::ListAliasesRequest {
            database: database.to_owned(),
            collection: collection.to_owned(),
            page: None,
        };
        rows(move |page| {
            let (root, mut request) = (root.clone(), request.clone());
            async move {
                request.page = Some(page);
                let answer = root.list_aliases(request).await?;
                Ok((answer.aliases, answer.next_token))
            }
        })
    }
}
