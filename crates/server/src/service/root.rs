//! `Root`: the catalog, linearizable. What the calls mean stands with the commands and the images of the machine.

use quorate_api::v1;
use tonic::Request;

use super::Answer;
use crate::leader::Led;

pub(super) struct Root(pub(super) Led);

macro_rules! root {
    (
        writes { $($write:ident($write_request:ident) -> $write_answer:ident;)* }
        reads { $($read:ident($read_request:ident) -> $read_answer:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl v1::root_server::Root for Root {
            $(
                async fn $write(&self, request: Request<v1::$write_request>) -> Answer<v1::$write_answer> {
                    self.0.write(request).await
                }
            )*
            $(
                async fn $read(&self, request: Request<v1::$read_request>) -> Answer<v1::$read_answer> {
                    self.0.read(request).await
                }
            )*
        }
    };
}

root! {
    writes {
        create_database(CreateDatabaseRequest) -> CreateDatabaseResponse;
        drop_database(DropDatabaseRequest) -> DropDatabaseResponse;
        alter_database(AlterDatabaseRequest) -> AlterDatabaseResponse;
        create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
        drop_collection(DropCollectionRequest) -> DropCollectionResponse;
        alter_collection(AlterCollectionRequest) -> AlterCollectionResponse;
        rename_collection(RenameCollectionRequest) -> RenameCollectionResponse;
        create_partition(CreatePartitionRequest) -> CreatePartitionResponse;
        drop_partition(DropPartitionRequest) -> DropPartitionResponse;
        create_alias(CreateAliasRequest) -> CreateAliasResponse;
        drop_alias(DropAliasRequest) -> DropAliasResponse;
        alter_alias(AlterAliasRequest) -> AlterAliasResponse;
    }
    reads {
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
}
