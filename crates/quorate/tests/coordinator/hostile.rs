//! What strangers, broken clients and enemies send. Nothing of it may harm anybody else.

use std::time::Duration;

use bytes::Bytes;
use quorate_api::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codegen::http::{Method, Request, uri::PathAndQuery};
use tonic::{Code, Status};

use crate::cluster::{Cluster, channel, collection, database, malformed_field, schema, soon, trailer};
use crate::http;

async fn still_answers(cluster: &Cluster, name: &str) {
    let client = cluster.client();
    client.root().create_database(database(name)).await.unwrap();
    client.close().await;
}

/// Sends bytes; gives what comes back before the other side closes or has been silent for a while.
async fn send(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may close in the middle of it.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_harms_nothing() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let frames = [preface, &noise].concat();
    let settings_flood = [preface, &[0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(20_000)].concat();
    let huge_frame = [preface, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &[0; 70_000]].concat();
    let garbage: Vec<&[u8]> = vec![
        b"",
        b"\0",
        &noise,
        &frames,
        &settings_flood,
        &huge_frame,
        &preface[..12],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
    ];
    let listed = &cluster.listed[leader];
    let http = cluster.at(leader).http_address().unwrap();
    for address in [
        &listed.client_address,
        &listed.peer_address,
        &listed.liveness_address,
        http,
    ] {
        let sent: Vec<_> = garbage.iter().map(|bytes| send(address, bytes)).collect();
        futures_util::future::join_all(sent).await;
    }
    still_answers(&cluster, "after_garbage").await;
    assert_eq!(cluster.leader().await, leader, "nobody took it for a death");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_and_silent_heads_are_cut_off() {
    let cluster = Cluster::start(1).await;
    let http = cluster.at(0).http_address().unwrap().to_owned();
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let answer = send(&http, long.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    let body = "POST /status.json HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
    assert!(send(&http, body.as_bytes()).await.starts_with(b"HTTP/1.1 405"));

    // Silent ones hold their seats only for a while, and there are enough seats.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(&http).await.unwrap());
        silent.push(
            TcpStream::connect(&cluster.listed[0].client_address)
                .await
                .unwrap(),
        );
    }
    assert_eq!(http::get(&http, "/livez").await.code, 200);
    still_answers(&cluster, "beside_silence").await;
    for mut stream in silent {
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.unwrap();
    }
    cluster.stop().await;
}

/// A unary call with a body of our own making.
async fn call_with(cluster: &Cluster, path: &str, frame: Vec<u8>) -> Status {
    let mut channel = cluster.channel(0);
    let body = tonic::body::Body::new(Whole(Some(Bytes::from(frame))));
    let request = Request::builder()
        .method(Method::POST)
        .uri(PathAndQuery::try_from(path).unwrap().to_string())
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    use tonic::codegen::Service;
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = soon(channel.call(request)).await.unwrap();
    Status::from_header_map(response.headers()).expect("an error at once")
}

/// A body of one piece.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_message_are_malformed_and_nothing_was_executed() {
    let cluster = Cluster::start(1).await;
    let create = "/quorate.v1.Root/CreateDatabase";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no message", vec![]),
        ("not protobuf", framed(&[0xff; 64])),
        ("a length beyond the end", framed(&[0x0a, 0x7f, 1, 2, 3])),
        ("text that is not UTF-8", framed(&[0x12, 2, 0xc3, 0x28])),
        (
            "a frame that promises four gigabytes",
            vec![0, 0xff, 0xff, 0xff, 0xff],
        ),
        ("nested without end", framed(&[0x0a; 5_000])),
    ];
    for (case, body) in cases {
        let status = call_with(&cluster, create, body).await;
        assert_eq!(malformed_field(&status), "request", "{case}");
    }
    let status = call_with(&cluster, "/quorate.v1.Root/Nothing", framed(&[])).await;
    assert_eq!(status.code(), Code::Unimplemented);
    let status = call_with(&cluster, "/quorate.v9.Root/CreateDatabase", framed(&[])).await;
    assert_eq!(status.code(), Code::Unimplemented);

    // A field that this release does not know is skipped, as protobuf wants.
    let mut root = v1::root_client::RootClient::new(cluster.channel(0));
    still_answers(&cluster, "after_bodies").await;
    let listed = root
        .list_databases(v1::ListDatabasesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.databases.len(), 2, "default and this test's own");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_before_it_is_proposed() {
    let cluster = Cluster::start(1).await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(0));
    let status = root
        .create_database(database(&"x".repeat(4 << 20)))
        .await
        .expect_err("four megabytes");
    assert_eq!(malformed_field(&status), "request");
    let status = root
        .create_database(database(&"x".repeat(100_000)))
        .await
        .expect_err("a long name");
    assert_eq!(malformed_field(&status), "name");
    assert!(
        status.message().contains("100000 bytes; at most 255"),
        "{status:?}"
    );

    // Each part within its limits, all together beyond the log's.
    let mut schema = schema();
    let properties = (0..64).map(|key| (format!("k{key}"), "v".repeat(4_096)));
    let properties: std::collections::BTreeMap<String, String> = properties.collect();
    for field in 0..6 {
        schema.fields.push(v1::Field {
            name: format!("f{field}"),
            data_type: v1::DataType::Int8.into(),
            properties: properties.clone(),
            ..Default::default()
        });
    }
    let request = v1::CreateCollectionRequest {
        schema: Some(schema),
        ..collection("large")
    };
    let status = root
        .create_collection(request)
        .await
        .expect_err("beyond the log's limit");
    assert_eq!(malformed_field(&status), "request");
    assert_eq!(trailer(&status, "quorate-outcome"), Some("not-executed"));

    // In streams, too.
    let mut writes = v1::writes_client::WritesClient::new(cluster.channel(0));
    let write = v1::write_request::Write::CreateDatabase(database(&"x".repeat(4 << 20)));
    let write = v1::WriteRequest {
        tag: 1,
        write: Some(write),
    };
    let mut answers = writes
        .write(futures_util::stream::iter([write]))
        .await
        .unwrap()
        .into_inner();
    let status = soon(answers.message()).await.expect_err("four megabytes");
    assert_eq!(malformed_field(&status), "request");
    still_answers(&cluster, "after_size").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_the_future_and_of_nowhere_name_their_field() {
    let cluster = Cluster::start(1).await;
    let mut root = v1::root_client::RootClient::new(cluster.channel(0));
    let with_field = |change: fn(&mut v1::Field)| {
        let mut schema = schema();
        change(&mut schema.fields[1]);
        v1::CreateCollectionRequest {
            schema: Some(schema),
            ..collection("c")
        }
    };
    let cases: Vec<(v1::CreateCollectionRequest, &str)> = vec![
        (
            with_field(|field| field.data_type = 9_999),
            "schema.fields[1].data_type",
        ),
        (
            with_field(|field| field.data_type = i32::MIN),
            "schema.fields[1].data_type",
        ),
        (
            with_field(|field| field.element_type = 24),
            "schema.fields[1].element_type",
        ),
        (
            with_field(|field| field.name = "é".repeat(200)),
            "schema.fields[1].name",
        ),
        (
            v1::CreateCollectionRequest {
                schema: None,
                ..collection("c")
            },
            "schema",
        ),
        (
            v1::CreateCollectionRequest {
                consistency_level: 5,
                ..collection("c")
            },
            "consistency_level",
        ),
    ];
    for (request, field) in cases {
        let status = root.create_collection(request).await.expect_err(field);
        assert_eq!(malformed_field(&status), field);
    }
    let mut sessions = v1::sessions_client::SessionsClient::new(cluster.channel(0));
    let request = v1::ListSessionsRequest { kind: -7, page: None };
    let status = sessions.list_sessions(request).await.expect_err("no kind");
    assert_eq!(malformed_field(&status), "kind");
    // Names that are texts, and yet none: decided by the machine, for all replicas alike.
    for name in ["", "1st", "a b", "a\0b", "../x", "é", "💥"] {
        let status = root.create_database(database(name)).await.expect_err("no name");
        let want = (Code::InvalidArgument, Some("INVALID_NAME"));
        assert_eq!(
            (status.code(), trailer(&status, "quorate-reason")),
            want,
            "{name:?}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_opens_thousands_of_streams_and_goes_harms_nobody() {
    let cluster = Cluster::start(1).await;
    let crowd = channel(&cluster.listed[0].client_address);
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let mut group = v1::cluster_client::ClusterClient::new(crowd.clone());
        let mut stream = group
            .watch_topology(v1::WatchTopologyRequest {})
            .await
            .unwrap()
            .into_inner();
        soon(stream.message()).await.unwrap().unwrap();
        let mut watch = v1::watch_client::WatchClient::new(crowd.clone());
        streams.push((
            stream,
            watch
                .watch(v1::WatchRequest::default())
                .await
                .unwrap()
                .into_inner(),
        ));
    }
    let watchers = || cluster.at(0).replica().status().watchers;
    assert!(watchers() >= 1_000);
    still_answers(&cluster, "in_a_crowd").await;
    drop(streams);
    drop(crowd);
    crate::cluster::until("the watchers' seats are free again", || async {
        (watchers() < 10).then_some(())
    })
    .await;
    cluster.stop().await;
}
