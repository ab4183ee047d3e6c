//! Garbage on every port of every replica, while the cluster serves others.

use std::time::Duration;

use quorate_client::{Error, v1};
use quorate_local::{Process, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{LONG, PAUSE, Running, calm};

/// Connections that are held at each port without a whole message.
const SLOW: usize = 20;

fn ports(process: &Process) -> [String; 4] {
    [
        process.client_address(),
        process.peer_address(),
        process.liveness_address(),
        process.http_address(),
    ]
}

/// Bytes that no protocol here begins with, and beginnings that go wrong later.
fn garbage() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let noise: Vec<u8> = (0..300_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut hello = b"QUORLIVE".to_vec();
    hello.extend([0xff; 56]);
    let head = |kind, flags| vec![0xff, 0xff, 0xff, kind, flags, 0, 0, 0, 1];
    vec![
        Vec::new(),
        vec![0],
        noise.clone(),
        preface[..12].to_vec(),
        [preface, &noise].concat(),
        // A flood of settings, of pings, and of resets of streams that were never opened.
        [preface, &[0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(30_000)].concat(),
        [
            preface,
            &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(20_000),
        ]
        .concat(),
        [preface, &[0, 0, 4, 3, 0, 0, 0, 0, 9, 0, 0, 0, 0].repeat(20_000)].concat(),
        // Frames that announce sixteen megabytes: of data, of headers, of continuation.
        [preface, &head(0, 0), &noise].concat(),
        [preface, &head(1, 4), &noise].concat(),
        [preface, &head(9, 0), &noise].concat(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        [b"GET / HTTP/1.1\r\nX: ".as_slice(), &b"y".repeat(300_000)].concat(),
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n".to_vec(),
        // A greeting of TLS, and of a liveness link of nobody's cluster.
        vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        hello,
    ]
}

/// Sends, and waits a while for the end of what comes back.
async fn send(address: &str, bytes: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return;
    };
    // The other side may close in the middle of it; it should.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
}

#[test]
fn garbage_on_every_port_while_the_cluster_serves() {
    calm(PAUSE, async || {
        let cluster = Running::start(3).await;
        let before = cluster.ready(LONG).await.unwrap();
        let load = cluster.load("hostile").await;
        load.progress(100, LONG).await.unwrap();

        let mut slow = Vec::new();
        for process in cluster.processes() {
            for address in ports(process) {
                for byte in 0..SLOW {
                    let mut stream = TcpStream::connect(&address).await.unwrap();
                    // Half a beginning, or nothing at all.
                    stream
                        .write_all(&b"PRI * HTTP/2.0\r\n\r\nSM"[..byte])
                        .await
                        .unwrap();
                    slow.push(stream);
                }
            }
        }
        load.progress(100, LONG).await.unwrap();
        let garbage = garbage();
        for process in cluster.processes() {
            for address in ports(process) {
                let sent = garbage.iter().map(|bytes| send(&address, bytes));
                futures_util::future::join_all(sent).await;
            }
        }
        load.progress(100, LONG).await.unwrap();
        drop(slow);
        for process in cluster.processes() {
            assert_eq!(process.state(), State::Running, "{}", process.log_tail());
            let log = std::fs::read_to_string(process.log_path()).unwrap();
            assert!(!log.contains("panicked"), "{}", process.log_tail());
        }
        cluster.verdict_without_failures(load).await;
        let after = cluster.ready(LONG).await.unwrap();
        assert_eq!(
            (after.node, after.term),
            (before.node, before.term),
            "nobody took it for a death"
        );
    });
}

/// The answer is no, by the one who checks the request or by the one who executes it.
fn is_refused<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Invalid { .. } | Error::Refused { .. }))
}

/// Values that a careless or later client sends: each names its field, and nothing was executed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_oversized_values_name_their_field() {
    let cluster = Running::start(3).await;
    let client = cluster.client().unwrap();
    let field = |data_type| v1::Field {
        name: "f".to_owned(),
        data_type,
        primary_key: true,
        ..Default::default()
    };
    let schema = |data_type| {
        Some(v1::Schema {
            fields: vec![field(data_type)],
            dynamic_fields: false,
        })
    };
    let with = |change: &dyn Fn(&mut v1::CreateCollectionRequest)| {
        let mut request = v1::CreateCollectionRequest {
            name: "c".to_owned(),
            schema: schema(5),
            ..Default::default()
        };
        change(&mut request);
        request
    };
    let cases = [
        (
            "an unknown data type",
            with(&|request| request.schema = schema(9_999)),
            "schema.fields[0].data_type",
        ),
        (
            "a negative one",
            with(&|request| request.schema = schema(-1)),
            "schema.fields[0].data_type",
        ),
        (
            "an unknown level",
            with(&|request| request.consistency_level = 77),
            "consistency_level",
        ),
        ("no schema", with(&|request| request.schema = None), "schema"),
        (
            "a long name",
            with(&|request| request.name = "x".repeat(256)),
            "name",
        ),
        (
            "a huge name",
            with(&|request| request.name = "x".repeat(1 << 20)),
            "name",
        ),
        (
            "more than a message may have",
            with(&|request| request.description = "x".repeat(8 << 20)),
            "request",
        ),
    ];
    for (case, request, want) in cases {
        match client.root().create_collection(request).await {
            Err(Error::Invalid { field, message }) => {
                assert_eq!(field, want, "{case}: {message}");
                assert!(
                    message.len() < 500 && !message.contains('\n'),
                    "{case}: {message}"
                );
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    let long = "x".repeat(100_000);
    let sessions = client.sessions();
    let listed = sessions
        .list(v1::ListSessionsRequest { kind: 99, page: None })
        .await;
    assert!(
        matches!(&listed, Err(Error::Invalid { field, .. }) if field == "kind"),
        "{listed:?}"
    );
    let page = v1::Page {
        rows: 1_000_000,
        token: String::new(),
    };
    let listed = client
        .root()
        .list_databases(v1::ListDatabasesRequest { page: Some(page) })
        .await;
    assert!(is_refused(&listed), "{listed:?}");
    let page = v1::Page { rows: 1, token: long };
    let listed = client
        .root()
        .list_databases(v1::ListDatabasesRequest { page: Some(page) })
        .await;
    assert!(is_refused(&listed), "{listed:?}");
    let there = client
        .root()
        .list_collections(v1::ListCollectionsRequest::default())
        .await
        .unwrap();
    assert_eq!(there.collections, [], "nothing was executed");
    client.close().await;
    cluster.agree().await;
}
