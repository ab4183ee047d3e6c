//! What may sit at an address besides a replica. Partly over real TCP.

use std::sync::Arc;
use std::time::Duration;

use quorate_client::{Client, Error, v1};
use quorate_host::{Network, Tcp};
use quorate_types::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Cluster;
use crate::replica::address;

fn over(cluster: &Cluster, seeds: &[&str]) -> Client {
    Client::builder(seeds.iter().copied())
        .network(Arc::new(cluster.network.clone()))
        .connect()
        .expect("good seeds")
}

#[tokio::test(start_paused = true)]
async fn seeds_that_are_no_addresses_are_told_at_once() {
    let many: Vec<String> = (0..17).map(|n| format!("q{n}:1")).collect();
    let cases: &[(&str, Vec<String>)] = &[
        ("none", vec![]),
        ("no port", vec!["q1".to_owned()]),
        ("a scheme", vec!["http://q1:2379".to_owned()]),
        ("one wrong of two", vec!["q1:2379".to_owned(), String::new()]),
        ("too many", many),
    ];
    for (name, seeds) in cases {
        let error = Client::connect(seeds.iter().map(String::as_str)).expect_err("wrong");
        assert!(
            matches!(&error, Error::Invalid { field, .. } if field == "seeds"),
            "{name}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_good_seed_among_bad_ones_is_enough() {
    let cluster = Cluster::three().await;
    // One accepts and never answers, one does not resolve, one cannot even stand in a URI.
    let mut mute = cluster.network.listen("mute:1").await.expect("listening");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(stream) = mute.accept().await {
            held.push(stream);
        }
    });
    let client = over(&cluster, &["mute:1", "nowhere:1", "a%zz:1", "q2:2379"]);
    client.ids().allocate(1).await.expect("allocated");
    assert_eq!(client.members().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn seeds_that_do_not_resolve_are_named_with_the_reason() {
    let cluster = Cluster::three().await;
    let client = over(&cluster, &["nowhere:1", "nirvana:2"]).with_deadline(Duration::from_secs(3));
    for error in [
        client.ready().await.expect_err("nobody"),
        client.ids().allocate(1).await.expect_err("nobody"),
    ] {
        let text = error.to_string();
        for part in [
            "nowhere:1",
            "nirvana:2",
            "failed to lookup address",
            "nothing was executed",
        ] {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_accepts_and_never_answers_is_given_up_and_asked_again() {
    let cluster = Cluster::leaderless(1).await;
    cluster.elect(1, 1);
    cluster.network.freeze(&address(1), true);
    let client = over(&cluster, &["q1:2379"]);
    let error = client
        .with_deadline(Duration::from_secs(5))
        .ready()
        .await
        .expect_err("mute");
    assert!(error.to_string().contains("no answer within"), "{error}");
    cluster.network.freeze(&address(1), false);
    client.ids().allocate(1).await.expect("allocated");
}

#[tokio::test(start_paused = true)]
async fn replicas_of_another_cluster_are_not_asked() {
    let cluster = Cluster::three().await;
    let other = Cluster::leaderless(1).await;
    other[1].think(99, Some(1));
    let listener = cluster.network.listen("other:1").await.expect("listening");
    let foreign = Foreign;
    let server = tonic::transport::Server::builder()
        .add_service(v1::cluster_server::ClusterServer::new(foreign))
        .serve_with_incoming(quorate_host::incoming(listener));
    tokio::spawn(server);
    let client = over(&cluster, &["q1:2379"]);
    client.ready().await.expect("a leader");
    drop(client);

    // Both are seeds: whichever answers first is the cluster, and the other is named as foreign.
    let client = over(&cluster, &["other:1", "q1:2379"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let error = client
        .with_deadline(Duration::from_secs(1))
        .cluster()
        .status(NodeId(77))
        .await
        .expect_err("none");
    assert!(
        error
            .to_string()
            .contains("make a new client for the other cluster"),
        "{error}"
    );
}

/// A replica of another cluster.
struct Foreign;

#[tonic::async_trait]
impl v1::cluster_server::Cluster for Foreign {
    type WatchTopologyStream = futures_util::stream::BoxStream<'static, Result<v1::Topology, tonic::Status>>;

    async fn watch_topology(
        &self,
        _: tonic::Request<v1::WatchTopologyRequest>,
    ) -> Result<tonic::Response<Self::WatchTopologyStream>, tonic::Status> {
        use futures_util::{StreamExt, stream};
        let topology = v1::Topology {
            cluster_id: vec![8; 16],
            node_id: 1,
            term: 99,
            ..Default::default()
        };
        let said = stream::iter([Ok(topology)]).chain(stream::pending());
        Ok(tonic::Response::new(said.boxed()))
    }

    async fn status(
        &self,
        _: tonic::Request<v1::StatusRequest>,
    ) -> Result<tonic::Response<v1::StatusResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented("foreign"))
    }

    async fn transfer_leadership(
        &self,
        _: tonic::Request<v1::TransferLeadershipRequest>,
    ) -> Result<tonic::Response<v1::TransferLeadershipResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented("foreign"))
    }
}

/// Over TCP: an address where another program answers anything with garbage.
#[tokio::test]
async fn garbage_on_the_port_harms_nothing() {
    let mut listener = Tcp.listen("127.0.0.1:0").await.expect("a free port");
    let seed = listener.local_address().expect("an address");
    tokio::spawn(async move {
        let garbage: [&[u8]; 3] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[0xff; 4096],
            b"\0\0\0\x04\0\0\0\0\0",
        ];
        for answer in garbage.iter().cycle() {
            let Ok(mut stream) = listener.accept().await else {
                return;
            };
            let mut some = [0; 24];
            let _ = stream.read(&mut some).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    let client = Client::connect([seed.clone()])
        .expect("a good seed")
        .with_deadline(Duration::from_millis(500));
    let error = client.ids().allocate(1).await.expect_err("garbage");
    assert!(error.to_string().contains(&seed), "{error}");
    client.close().await;
}

/// Over TCP: the whole way once.
#[tokio::test]
async fn the_same_over_tcp() {
    let cluster = Cluster::leaderless(1).await;
    let listener = Tcp.listen("127.0.0.1:0").await.expect("a free port");
    let seed = listener.local_address().expect("an address");
    drop(listener);
    cluster[1].serve(&Tcp, &seed).await;
    // It advertises an address that does not resolve from here, as behind a port forward.
    cluster.elect(1, 1);
    let client = Client::connect([seed]).expect("a good seed");
    assert_eq!(client.ids().allocate(3).await.expect("allocated"), 1..4);
    client.close().await;
}
