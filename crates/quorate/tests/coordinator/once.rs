//! Numbered writes happen once, whatever is sent twice.

use quorate_api::v1;
use tonic::{Code, Status};

use crate::cluster::{Cluster, database, malformed_field, trailer};

const ME: [u8; 16] = [42; 16];

fn numbered(name: &str, sequence: u64, floor: u64) -> v1::CreateDatabaseRequest {
    let request = Some(v1::RequestId {
        client_id: ME.to_vec(),
        sequence,
        floor,
    });
    v1::CreateDatabaseRequest {
        request,
        ..database(name)
    }
}

fn reason(status: &Status) -> (Code, Option<&str>) {
    (status.code(), trailer(status, "quorate-reason"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_gets_the_first_answer_also_from_the_next_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(leader));
    let status = root
        .create_database(numbered("a", 1, 1))
        .await
        .expect_err("not registered");
    assert_eq!(reason(&status), (Code::Aborted, Some("CLIENT_UNKNOWN")));

    let mut clients = v1::clients_client::ClientsClient::new(cluster.channel(leader));
    for _ in 0..2 {
        let registered = clients
            .register(v1::RegisterRequest {
                client_id: ME.to_vec(),
            })
            .await
            .unwrap();
        let registered = registered.into_inner();
        assert_eq!((registered.answers_max, registered.idle_ms), (1_024, 3_600_000));
    }
    let first = root
        .create_database(numbered("a", 1, 1))
        .await
        .unwrap()
        .into_inner();
    let again = root
        .create_database(numbered("a", 1, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, again);
    // A refusal is an answer, too: it stays the same although the reason for it has gone.
    let status = root
        .create_database(numbered("a", 2, 1))
        .await
        .expect_err("it exists");
    assert_eq!(reason(&status), (Code::AlreadyExists, Some("DATABASE_EXISTS")));
    root.drop_database(v1::DropDatabaseRequest {
        name: "a".to_owned(),
        request: None,
    })
    .await
    .unwrap();

    let leader = cluster.transfer().await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(leader));
    let again = root
        .create_database(numbered("a", 1, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, again, "answered, and not executed: it was dropped since");
    let status = root
        .create_database(numbered("a", 2, 1))
        .await
        .expect_err("as before");
    assert_eq!(reason(&status), (Code::AlreadyExists, Some("DATABASE_EXISTS")));
    let describe = v1::DescribeDatabaseRequest { name: "a".to_owned() };
    assert!(root.describe_database(describe).await.is_err());

    // Another write under a used number is a mistake of the client's, and is told so.
    let request = Some(v1::RequestId {
        client_id: ME.to_vec(),
        sequence: 1,
        floor: 1,
    });
    let drop = v1::DropDatabaseRequest {
        name: "default".to_owned(),
        request,
    };
    let status = root.drop_database(drop).await.expect_err("used");
    assert_eq!(malformed_field(&status), "request.sequence");

    // What was acknowledged is forgotten.
    root.create_database(numbered("b", 3, 3)).await.unwrap();
    let status = root
        .create_database(numbered("a", 1, 1))
        .await
        .expect_err("forgotten");
    assert_eq!(reason(&status), (Code::Aborted, Some("REQUEST_FORGOTTEN")));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_are_none_are_malformed() {
    let cluster = Cluster::start(1).await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(0));
    let mut clients = v1::clients_client::ClientsClient::new(cluster.channel(0));
    for length in [0, 15, 17, 10_000] {
        let status = clients
            .register(v1::RegisterRequest {
                client_id: vec![1; length],
            })
            .await
            .expect_err("no id");
        assert_eq!(malformed_field(&status), "client_id");
        let request = Some(v1::RequestId {
            client_id: vec![1; length],
            sequence: 1,
            floor: 0,
        });
        let status = root
            .create_database(v1::CreateDatabaseRequest {
                request,
                ..database("a")
            })
            .await;
        assert_eq!(malformed_field(&status.expect_err("no id")), "request.client_id");
    }
    let status = root
        .create_database(numbered("a", 0, 0))
        .await
        .expect_err("no number");
    assert_eq!(malformed_field(&status), "request.sequence");
    clients
        .register(v1::RegisterRequest {
            client_id: ME.to_vec(),
        })
        .await
        .unwrap();
    let status = root
        .create_database(numbered("a", 1, 2))
        .await
        .expect_err("a floor above it");
    assert_eq!(
        reason(&status),
        (Code::InvalidArgument, Some("INVALID_PARAMETER"))
    );
    cluster.stop().await;
}
