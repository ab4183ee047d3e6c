//! `StaleRoot`: the catalog as this replica has it, with word of how old that may be.

use quorate_api::v1;
use tonic::Request;

use super::Answer;
use crate::leader::Led;

pub(super) struct StaleRoot(pub(super) Led);

macro_rules! stale_root {
    ($($read:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl v1::stale_root_server::StaleRoot for StaleRoot {
            $(
                async fn $read(&self, request: Request<v1::$request>) -> Answer<v1::$answer> {
                    self.0.read_stale(request)
                }
            )*
        }
    };
}

stale_root! {
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse;
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse;
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse;
    has_collection(HasCollectionRequest) -> HasCollectionResponse;
    list_collections(ListCollectionsRequest) -> ListCollectionsResponse;
    has_partition(HasPartitionRequest) -> HasPartitionResponse;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse;
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
}
