//! Reads of whatever a replica has.

use std::time::Duration;

use quorate_api::v1;
use quorate_types::NodeId;

use crate::cluster::{Cluster, collection, database, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_answers_and_says_how_old_that_may_be() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let root = client.root();
    root.create_database(database("db")).await.unwrap();
    root.create_collection(collection("books")).await.unwrap();
    let alias = v1::CreateAliasRequest {
        collection: "books".to_owned(),
        alias: "read".to_owned(),
        ..Default::default()
    };
    root.create_alias(alias).await.unwrap();
    let latest = root
        .has_collection(v1::HasCollectionRequest::default())
        .await
        .unwrap()
        .position
        .unwrap();
    let leader = cluster.leader().await;
    for number in 0..3 {
        let stale = client.stale_root().at(NodeId(cluster.node(number)));
        let name = || "books".to_owned();
        let has = v1::HasCollectionRequest {
            name: name(),
            ..Default::default()
        };
        let caught_up = until("the replica has caught up", || async {
            let answer = stale.has_collection(has.clone()).await.unwrap();
            (answer.answer.position.unwrap().revision >= latest.revision).then_some(answer)
        })
        .await;
        assert!(caught_up.answer.exists);
        let contact = caught_up.leader_contact.expect("it says so");
        if number == leader {
            assert_eq!(contact, Duration::ZERO);
        }

        let described = v1::DescribeCollectionRequest {
            name: "read".to_owned(),
            ..Default::default()
        };
        let described = stale.describe_collection(described).await.unwrap().answer;
        assert_eq!(described.collection.unwrap().name, "books");
        let described = stale.describe_database(v1::DescribeDatabaseRequest {
            name: "db".to_owned(),
        });
        assert!(described.await.unwrap().answer.database.is_some());
        let listed = stale
            .list_databases(v1::ListDatabasesRequest::default())
            .await
            .unwrap()
            .answer;
        assert_eq!(listed.databases.len(), 2);
        let listed = stale
            .list_collections(v1::ListCollectionsRequest::default())
            .await
            .unwrap()
            .answer;
        assert_eq!(listed.collections.len(), 1);
        let partition = v1::HasPartitionRequest {
            collection: name(),
            name: "_default".to_owned(),
            ..Default::default()
        };
        assert!(stale.has_partition(partition).await.unwrap().answer.exists);
        let partitions = v1::ListPartitionsRequest {
            collection: name(),
            ..Default::default()
        };
        assert_eq!(
            stale
                .list_partitions(partitions)
                .await
                .unwrap()
                .answer
                .partitions
                .len(),
            1
        );
        let alias = v1::DescribeAliasRequest {
            alias: "read".to_owned(),
            ..Default::default()
        };
        assert!(stale.describe_alias(alias).await.unwrap().answer.alias.is_some());
        let aliases = stale
            .list_aliases(v1::ListAliasesRequest::default())
            .await
            .unwrap()
            .answer;
        assert_eq!(aliases.aliases.len(), 1);
    }
    client.close().await;
    cluster.stop().await;
}
