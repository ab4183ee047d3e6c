//! Streams of writes.

use quorate_api::v1::write_request::Write;
use quorate_api::v1::write_response::Answer;
use quorate_api::{decode_status, v1};
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use crate::cluster::{Cluster, collection, malformed_field, soon, trailer};

/// Room for every write of a test.
const ROOM: usize = 4_096;

async fn open(
    cluster: &Cluster,
    number: usize,
) -> (mpsc::Sender<v1::WriteRequest>, Streaming<v1::WriteResponse>) {
    let mut client = v1::writes_client::WritesClient::new(cluster.channel(number));
    let (requests, outgoing) = mpsc::channel(ROOM);
    let outgoing = futures_util::stream::unfold(outgoing, |mut outgoing| async move {
        Some((outgoing.recv().await?, outgoing))
    });
    (requests, soon(client.write(outgoing)).await.unwrap().into_inner())
}

fn allocate(count: u64) -> Option<Write> {
    Some(Write::AllocateIds(v1::AllocateIdsRequest {
        request: None,
        count,
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_writes_of_the_client_are_each_executed_once() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let writes = client.writes();
    let mut answers = Vec::new();
    for number in 0..10_000 {
        let request = v1::AllocateIdsRequest {
            request: None,
            count: 1,
        };
        answers.push(tokio::spawn(writes.send(request).await.unwrap()));
        if number == 5_000 {
            cluster.transfer().await;
        }
    }
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(soon(answer).await.unwrap().unwrap().first);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10_000);
    // An id that nobody got would be one of a write that was executed twice.
    assert_eq!(ids[9_999] - ids[0], 9_999);
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_decided_in_the_order_sent_and_the_stream_ends_when_all_are_answered() {
    let cluster = Cluster::start(1).await;
    let (requests, mut answers) = open(&cluster, 0).await;
    for tag in 0..3_000 {
        requests
            .send(v1::WriteRequest {
                tag,
                write: allocate(1),
            })
            .await
            .unwrap();
    }
    drop(requests);
    let mut firsts = Vec::new();
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        let Some(Answer::AllocateIds(ids)) = answer.answer else {
            panic!("{answer:?}");
        };
        firsts.push((answer.tag, ids.first));
    }
    assert_eq!(firsts.len(), 3_000);
    firsts.sort_unstable();
    assert!(
        firsts.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1),
        "ids follow the tags"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_costs_its_own_answer_only() {
    let cluster = Cluster::start(1).await;
    let (requests, mut answers) = open(&cluster, 0).await;
    let bad_enum = v1::CreateCollectionRequest {
        consistency_level: 99,
        ..collection("x")
    };
    let unregistered = v1::RequestId {
        client_id: vec![1; 16],
        sequence: 1,
        floor: 1,
    };
    let unregistered = v1::AllocateIdsRequest {
        request: Some(unregistered),
        count: 1,
    };
    let missing = v1::DropDatabaseRequest {
        name: "n".repeat(300),
        request: None,
    };
    let writes = [
        allocate(1),
        None,
        Some(Write::CreateCollection(bad_enum)),
        allocate(0),
        Some(Write::AllocateIds(unregistered)),
        Some(Write::DropDatabase(missing)),
        Some(Write::CreateCollection(collection("fine"))),
    ];
    for (tag, write) in (0..).zip(writes) {
        requests.send(v1::WriteRequest { tag, write }).await.unwrap();
    }
    let mut got = Vec::new();
    while got.len() < 7 {
        let answer = soon(answers.message())
            .await
            .unwrap()
            .expect("the stream goes on");
        got.push((answer.tag, answer.answer.unwrap()));
    }
    got.sort_by_key(|(tag, _)| *tag);
    let said: Vec<String> = got
        .iter()
        .map(|(_, answer)| match answer {
            Answer::Error(bytes) => {
                let status = decode_status(bytes).unwrap();
                match trailer(&status, "quorate-reason") {
                    Some(reason) => reason.to_owned(),
                    None => malformed_field(&status),
                }
            }
            Answer::AllocateIds(_) => "ids".to_owned(),
            Answer::CreateCollection(created) => format!("{} shard", created.shards.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    let want = [
        "ids",
        "write",
        "create_collection.consistency_level",
        "INVALID_PARAMETER",
        "CLIENT_UNKNOWN",
        "drop_database.name",
        "1 shard",
    ];
    assert_eq!(said, want);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_a_redirect_when_its_replica_leads_no_more() {
    let cluster = Cluster::start(3).await;
    let (requests, mut answers) = open(&cluster, cluster.leader().await).await;
    requests
        .send(v1::WriteRequest {
            tag: 1,
            write: allocate(1),
        })
        .await
        .unwrap();
    assert_eq!(soon(answers.message()).await.unwrap().unwrap().tag, 1);
    let leader = cluster.transfer().await;
    let status = loop {
        match soon(answers.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
    let address = trailer(&status, "quorate-leader-address");
    assert_eq!(address, Some(cluster.listed[leader].client_address.as_str()));
    cluster.stop().await;
}
