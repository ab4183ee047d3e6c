//! Backups over the public interface, and what they are to a Rust program.

use std::collections::BTreeMap;

use quorate::backup::inspect;
use quorate_api::v1;
use quorate_api::v1::save_snapshot_response::Part;
use tokio::time::Instant;
use tonic::{Code, Streaming};

use crate::cluster::{Cluster, LONG, database, soon, trailer, until};

async fn save(
    cluster: &Cluster,
    number: usize,
) -> Result<Streaming<v1::SaveSnapshotResponse>, tonic::Status> {
    let mut client = v1::snapshots_client::SnapshotsClient::new(cluster.channel(number));
    let request = v1::SaveSnapshotRequest {};
    Ok(soon(client.save(request)).await?.into_inner())
}

/// Some megabytes, so that a backup does not fit into what a connection has under way.
async fn fill(cluster: &Cluster) {
    let client = cluster.client();
    for number in 0..40 {
        let properties: BTreeMap<String, String> = (0..60)
            .map(|key| (format!("p{key}"), "x".repeat(4_000)))
            .collect();
        let request = v1::CreateDatabaseRequest {
            properties,
            ..database(&format!("d{number}"))
        };
        client.root().create_database(request).await.unwrap();
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_the_leaders_and_says_first_what_it_holds() {
    let cluster = Cluster::start(3).await;
    // Two backups of one state are compared: the leader must not raise the level between them.
    cluster.settled().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let status = save(&cluster, follower).await.expect_err("it does not lead");
    assert_eq!(trailer(&status, "quorate-outcome"), Some("not-executed"));
    assert!(trailer(&status, "quorate-leader-address").is_some(), "{status:?}");

    let mut messages = save(&cluster, leader).await.unwrap();
    let first = soon(messages.message())
        .await
        .unwrap()
        .and_then(|message| message.part);
    let Some(Part::Summary(summary)) = first else {
        panic!("{first:?}");
    };
    let mut bytes = Vec::new();
    while let Some(message) = soon(messages.message()).await.unwrap() {
        match message.part {
            Some(Part::Chunk(chunk)) => bytes.extend(chunk),
            other => panic!("{other:?}"),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    std::fs::write(&path, &bytes).unwrap();
    let contents = inspect(&path).unwrap();
    assert_eq!(contents.cluster.to_bytes(), *summary.cluster_id);
    assert_eq!(contents.digest.to_be_bytes(), *summary.state_digest);
    assert_eq!(
        (contents.last.index.0, contents.revision.0),
        (summary.index, summary.revision)
    );
    let names: Vec<&str> = contents
        .members
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");

    // The same without the wire.
    let backup = cluster.at(leader).replica().backup(Instant::now() + LONG);
    let backup = backup.await.unwrap();
    assert_eq!(backup.cluster, contents.cluster);
    std::fs::write(&path, backup.flatten().collect::<Vec<u8>>()).unwrap();
    assert_eq!(inspect(&path).unwrap().content_digest, contents.content_digest);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_do_not_read_hold_up_nobody_but_one_another() {
    let cluster = Cluster::start(1).await;
    fill(&cluster).await;
    let (first, _second) = (save(&cluster, 0).await.unwrap(), save(&cluster, 0).await.unwrap());
    let status = save(&cluster, 0).await.expect_err("two are under way");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(trailer(&status, "quorate-outcome"), Some("not-executed"));
    // Writes go on meanwhile.
    let client = cluster.client();
    client
        .root()
        .create_database(database("meanwhile"))
        .await
        .unwrap();
    client.close().await;
    drop(first);
    let third = until("a turn", || async { save(&cluster, 0).await.ok() }).await;
    drop(third);
    // A stop does not wait for readers.
    cluster.stop().await;
}
