//! The catalog's services of a scripted replica: three calls that the model knows; the others are not implemented.

use quorate_api::v1;
use tonic::{Request, Response, Status};

use crate::model::{Done, Model, Wish};
use crate::replica::Replica;

macro_rules! root {
    ($($method:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl v1::root_server::Root for Replica {
            async fn create_database(
                &self,
                request: Request<v1::CreateDatabaseRequest>,
            ) -> Result<Response<v1::CreateDatabaseResponse>, Status> {
                let request = request.into_inner();
                match self.write(request.request, Wish::Database(request.name)).await? {
                    Done::Database(database) => Ok(Response::new(database)),
                    _ => Err(Status::internal("another write had this number")),
                }
            }

            async fn has_collection(
                &self,
                request: Request<v1::HasCollectionRequest>,
            ) -> Result<Response<v1::HasCollectionResponse>, Status> {
                let exists = |model: &mut Model| model.collections.contains(&request.get_ref().name);
                self.run(|model| Ok(v1::HasCollectionResponse { exists: exists(model), position: None })).await
            }

            /// Two rows a page, whatever was asked.
            async fn list_collections(
                &self,
                request: Request<v1::ListCollectionsRequest>,
            ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
                let token = request.into_inner().page.expect("a page").token;
                let begin: usize = if token.is_empty() { 0 } else { token.parse().expect("our token") };
                self.run(|model| {
                    let rows = model.collections.iter().skip(begin).take(2);
                    let collections = rows.map(|name| v1::Collection { name: name.clone(), ..Default::default() });
                    let end = begin + 2;
                    let next_token = if end < model.collections.len() { end.to_string() } else { String::new() };
                    let collections = collections.collect();
                    Ok(v1::ListCollectionsResponse { collections, next_token, position: None })
                })
                .await
            }

            $(
                async fn $method(&self, _: Request<v1::$request>) -> Result<Response<v1::$answer>, Status> {
                    Err(Status::unimplemented("not in this model"))
                }
            )*
        }
    };
}

root! {
    drop_database(DropDatabaseRequest) -> DropDatabaseResponse;
    alter_database(AlterDatabaseRequest) -> AlterDatabaseResponse;
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse;
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse;
    create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
    drop_collection(DropCollectionRequest) -> DropCollectionResponse;
    alter_collection(AlterCollectionRequest) -> AlterCollectionResponse;
    rename_collection(RenameCollectionRequest) -> RenameCollectionResponse;
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse;
    create_partition(CreatePartitionRequest) -> CreatePartitionResponse;
    drop_partition(DropPartitionRequest) -> DropPartitionResponse;
    has_partition(HasPartitionRequest) -> HasPartitionResponse;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse;
    create_alias(CreateAliasRequest) -> CreateAliasResponse;
    drop_alias(DropAliasRequest) -> DropAliasResponse;
    alter_alias(AlterAliasRequest) -> AlterAliasResponse;
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
}

macro_rules! stale_root {
    ($($method:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl v1::stale_root_server::StaleRoot for Replica {
            async fn has_collection(
                &self,
                request: Request<v1::HasCollectionRequest>,
            ) -> Result<Response<v1::HasCollectionResponse>, Status> {
                let exists = self.model().collections.contains(&request.into_inner().name);
                let mut response = Response::new(v1::HasCollectionResponse { exists, position: None });
                response.metadata_mut().insert("quorate-leader-contact-ms", 3.into());
                Ok(response)
            }

            $(
                async fn $method(&self, _: Request<v1::$request>) -> Result<Response<v1::$answer>, Status> {
                    Err(Status::unimplemented("not in this model"))
                }
            )*
        }
    };
}

stale_root! {
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse;
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse;
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse;
    list_collections(ListCollectionsRequest) -> ListCollectionsResponse;
    has_partition(HasPartitionRequest) -> HasPartitionResponse;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse;
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
}
