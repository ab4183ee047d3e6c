//! Watches, through the client and by hand.

use std::collections::BTreeMap;

use quorate_api::v1;
use quorate_client::{OnCompaction, Watch, WatchItem};
use tonic::Streaming;

use crate::cluster::{Cluster, collection, database, malformed_field, schema, soon};

fn with_state(kinds: &[v1::ResourceKind]) -> v1::WatchRequest {
    let kinds = kinds.iter().map(|kind| i32::from(*kind)).collect();
    v1::WatchRequest {
        with_state: true,
        kinds,
        from_revision: 0,
    }
}

fn from(from_revision: u64) -> v1::WatchRequest {
    v1::WatchRequest {
        from_revision,
        ..Default::default()
    }
}

fn name_of(resource: &v1::Resource) -> String {
    use v1::resource::Kind;
    match resource.kind.as_ref().unwrap() {
        Kind::Database(database) => database.name.clone(),
        Kind::Collection(collection) => collection.name.clone(),
        Kind::Partition(partition) => partition.name.clone(),
        Kind::Alias(alias) => alias.name.clone(),
        Kind::Session(session) => session.worker.as_ref().unwrap().name.clone(),
    }
}

/// Reads until "synced"; gives the names and the revision.
async fn synced(watch: &mut Watch) -> (Vec<String>, u64) {
    let mut names = Vec::new();
    loop {
        match soon(watch.next()).await.unwrap().unwrap() {
            WatchItem::Events { events, .. } => {
                names.extend(events.iter().map(|event| name_of(event.after.as_ref().unwrap())));
            }
            WatchItem::Synced { revision } => return (names, revision),
            other => panic!("{other:?}"),
        }
    }
}

async fn next_events(watch: &mut Watch) -> Vec<v1::Event> {
    match soon(watch.next()).await.unwrap().unwrap() {
        WatchItem::Events { events, .. } => events,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_then_every_change_once_also_past_a_change_of_leader() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let root = client.root();
    root.create_database(database("d0")).await.unwrap();
    let mut watch = client.watch(with_state(&[v1::ResourceKind::Database]), OnCompaction::End);
    let (names, revision) = synced(&mut watch).await;
    let mut have: Vec<String> = names;
    have.sort();
    // A replica that lags may begin without d0, which is news then.
    assert!(have == ["d0", "default"] || have == ["default"], "{have:?}");
    let mut last = revision;
    for number in 1..20 {
        root.create_collection(collection(&format!("c{number}")))
            .await
            .unwrap();
        root.create_database(database(&format!("d{number}")))
            .await
            .unwrap();
        if number == 10 {
            cluster.transfer().await;
        }
    }
    while have.len() < 21 {
        for event in next_events(&mut watch).await {
            assert!(
                event.revision > last,
                "in order, once, and news: {event:?} after {last}"
            );
            last = event.revision;
            assert_eq!((event.kind(), event.before), (v1::ResourceKind::Database, None));
            have.push(name_of(&event.after.unwrap()));
        }
    }
    let mut want: Vec<String> = (0..20).map(|number| format!("d{number}")).collect();
    want.push("default".to_owned());
    have.sort();
    want.sort();
    assert_eq!(have, want);
    client.close().await;
    cluster.stop().await;
}

async fn watch_at(
    cluster: &Cluster,
    number: usize,
    request: v1::WatchRequest,
) -> Streaming<v1::WatchResponse> {
    let mut client = v1::watch_client::WatchClient::new(cluster.channel(number));
    client.watch(request).await.unwrap().into_inner()
}

async fn message(stream: &mut Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    soon(stream.message()).await.unwrap().expect("the stream goes on")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_resumes_at_any_replica_from_where_it_stood() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let root = client.root();
    let mut stream = watch_at(&cluster, cluster.leader().await, from(0)).await;
    let now = message(&mut stream).await;
    assert!(
        now.synced && now.events.is_empty(),
        "from now on begins with where now is"
    );
    for number in 0..4 {
        root.create_database(database(&format!("d{number}")))
            .await
            .unwrap();
    }
    let mut revisions = Vec::new();
    while revisions.len() < 4 {
        revisions.extend(
            message(&mut stream)
                .await
                .events
                .iter()
                .map(|event| event.revision),
        );
    }
    assert_eq!(
        revisions,
        (now.revision + 1..=now.revision + 4).collect::<Vec<_>>()
    );
    drop(stream);

    // From the middle, at each of them: the changes that follow, whole.
    for number in 0..3 {
        let mut stream = watch_at(&cluster, number, from(revisions[1])).await;
        let mut again = Vec::new();
        let mut was_synced = false;
        while again.len() < 3 || !was_synced {
            let message = message(&mut stream).await;
            assert!(
                message
                    .events
                    .iter()
                    .all(|event| event.revision <= message.revision)
            );
            was_synced |= message.synced;
            again.extend(
                message
                    .events
                    .into_iter()
                    .map(|event| name_of(&event.after.unwrap())),
            );
        }
        assert_eq!(again, ["d1", "d2", "d3"], "replica {number}");
    }

    // From a revision that is still to come.
    let mut stream = watch_at(&cluster, cluster.leader().await, from(revisions[3] + 2)).await;
    let first = message(&mut stream).await;
    assert_eq!((first.synced, first.revision), (true, revisions[3] + 1));
    root.create_database(database("skipped")).await.unwrap();
    root.create_database(database("wanted")).await.unwrap();
    let next = message(&mut stream).await;
    assert_eq!(next.events.len(), 1);
    assert_eq!(name_of(next.events[0].after.as_ref().unwrap()), "wanted");
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_every_kind_of_change_and_progress_for_what_is_not_selected() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let root = client.root();
    let mut all = watch_at(&cluster, 0, from(0)).await;
    let others = v1::WatchRequest {
        kinds: vec![v1::ResourceKind::Session.into()],
        ..from(0)
    };
    let mut others = watch_at(&cluster, 0, others).await;
    let first = message(&mut others).await;
    message(&mut all).await;

    root.create_collection(collection("books")).await.unwrap();
    let (name, request) = ("books".to_owned(), None);
    let alter = v1::AlterCollectionRequest {
        name: name.clone(),
        description: Some("new".to_owned()),
        ..Default::default()
    };
    root.alter_collection(alter).await.unwrap();
    root.drop_collection(v1::DropCollectionRequest {
        name,
        request,
        database: String::new(),
    })
    .await
    .unwrap();

    let mut seen: BTreeMap<(u64, v1::ResourceKind), (bool, bool)> = BTreeMap::new();
    while seen.len() < 5 {
        for event in message(&mut all).await.events {
            seen.insert(
                (event.revision, event.kind()),
                (event.before.is_some(), event.after.is_some()),
            );
        }
    }
    let r = first.revision;
    let (collection, partition) = (v1::ResourceKind::Collection, v1::ResourceKind::Partition);
    let want: BTreeMap<_, _> = [
        ((r + 1, collection), (false, true)),
        ((r + 1, partition), (false, true)),
        ((r + 2, collection), (true, true)),
        ((r + 3, collection), (true, false)),
        ((r + 3, partition), (true, false)),
    ]
    .into();
    assert_eq!(seen, want);
    // Nothing was selected, and still the watch says how far it has come.
    let progress = message(&mut others).await;
    assert_eq!(
        (progress.revision, progress.events.len(), progress.synced),
        (r + 3, 0, false)
    );
    client.close().await;
    cluster.stop().await;
}

fn many_partitions(name: &str) -> v1::CreateCollectionRequest {
    let mut schema = schema();
    schema.fields.push(v1::Field {
        name: "tenant".to_owned(),
        data_type: v1::DataType::Int64.into(),
        partition_key: true,
        ..Default::default()
    });
    v1::CreateCollectionRequest {
        schema: Some(schema),
        partitions: 4_096,
        ..collection(name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_too_far_behind_is_told_where_history_begins() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let root = client.root();
    // Reads nothing meanwhile: it makes nobody wait.
    let mut slow = watch_at(&cluster, 0, from(0)).await;
    let began = message(&mut slow).await.revision;
    // Each makes more than eight thousand changes; history keeps 65,536.
    for round in 0..10 {
        root.create_collection(many_partitions(&format!("c{round}")))
            .await
            .unwrap();
        let name = format!("c{round}");
        root.drop_collection(v1::DropCollectionRequest {
            name,
            ..Default::default()
        })
        .await
        .unwrap();
    }
    let latest = root
        .has_collection(v1::HasCollectionRequest::default())
        .await
        .unwrap()
        .position
        .unwrap();
    let mut stream = watch_at(&cluster, 0, from(1)).await;
    let floor = loop {
        let message = message(&mut stream).await;
        if let Some(cancelled) = message.cancelled {
            assert!(!cancelled.why.is_empty());
            break cancelled.compacted_below;
        }
    };
    assert!(floor > 1 && floor <= latest.revision, "{floor}");
    assert!(
        soon(stream.message()).await.unwrap().is_none(),
        "that was the last message"
    );

    // From the floor on, everything is there; one revision is never torn apart.
    let mut stream = watch_at(&cluster, 0, from(floor)).await;
    let mut next = floor;
    while next <= latest.revision {
        let message = message(&mut stream).await;
        let mut events: BTreeMap<u64, usize> = BTreeMap::new();
        message
            .events
            .iter()
            .for_each(|event| *events.entry(event.revision).or_default() += 1);
        for (revision, count) in events {
            assert_eq!(
                (revision, count),
                (next, 4_097),
                "a collection and its partitions"
            );
            next += 1;
        }
    }

    // The slow one gets what was on its way to it, then the truth.
    let mut last = began;
    let cancelled = loop {
        let message = message(&mut slow).await;
        if let Some(cancelled) = message.cancelled {
            break cancelled;
        }
        for event in message.events {
            assert!(
                event.revision == last || event.revision == last + 1,
                "no gap before the cancellation"
            );
            last = event.revision;
        }
        if last == latest.revision {
            // Buffers were large enough to hold it all.
            break v1::WatchCancelled {
                compacted_below: floor,
                why: String::new(),
            };
        }
    };
    assert!(cancelled.compacted_below > began);

    // The client begins anew when asked to.
    let mut watch = client.watch(from(1), OnCompaction::Restart);
    assert!(matches!(
        soon(watch.next()).await.unwrap().unwrap(),
        WatchItem::Reset
    ));
    let (names, _) = synced(&mut watch).await;
    assert_eq!(names, ["default"]);
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_comes_in_bounded_messages_and_is_whole() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    client
        .root()
        .create_collection(many_partitions("books"))
        .await
        .unwrap();
    let mut stream = watch_at(&cluster, 0, with_state(&[v1::ResourceKind::Partition])).await;
    let (mut ids, mut revisions) = (Vec::new(), Vec::new());
    loop {
        let message = message(&mut stream).await;
        assert!(message.events.len() <= 1_024);
        revisions.push(message.revision);
        for event in message.events {
            assert_eq!(event.revision, message.revision);
            let Some(v1::resource::Kind::Partition(partition)) = event.after.unwrap().kind else {
                panic!("not a partition");
            };
            ids.push(partition.id);
        }
        if message.synced {
            break;
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4_096);
    revisions.dedup();
    assert_eq!(revisions.len(), 1, "all of one revision");
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_malformed() {
    let cluster = Cluster::start(1).await;
    let mut client = v1::watch_client::WatchClient::new(cluster.channel(0));
    let cases = [
        (
            v1::WatchRequest {
                with_state: true,
                from_revision: 3,
                kinds: vec![],
            },
            "with_state",
        ),
        (
            v1::WatchRequest {
                kinds: vec![1, 77],
                ..Default::default()
            },
            "kinds[1]",
        ),
        (
            v1::WatchRequest {
                kinds: vec![1; 1_000],
                ..Default::default()
            },
            "kinds",
        ),
    ];
    for (request, field) in cases {
        let status = client.watch(request).await.expect_err(field);
        assert_eq!(malformed_field(&status), field);
    }
    cluster.stop().await;
}
