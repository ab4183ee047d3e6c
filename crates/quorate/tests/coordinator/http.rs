//! The HTTP side, spoken to by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, soon, until};

/// An answer: its status line, its head, its body.
pub(crate) struct Page {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) async fn ask(address: &str, request: &str) -> Page {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    soon(stream.read_to_string(&mut text)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    Page {
        code,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub(crate) async fn get(address: &str, path: &str) -> Page {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_answers_as_documented() {
    let cluster = Cluster::start(3).await;
    let address = cluster.at(0).http_address().unwrap();
    for path in ["/livez", "/healthz", "/readyz"] {
        let page = get(address, path).await;
        assert_eq!((page.code, page.body.as_str()), (200, "ok\n"), "{path}");
    }
    let page = get(address, "/metrics").await;
    assert_eq!(page.code, 200);
    assert!(
        page.head.contains("content-type: application/openmetrics-text"),
        "{}",
        page.head
    );
    for line in ["quorate_is_ready 1", "quorate_has_leader 1", "# EOF"] {
        assert!(
            page.body.lines().any(|have| have == line),
            "{line} is missing in\n{}",
            page.body
        );
    }

    let page = get(address, "/status.json").await;
    assert!(
        page.code == 200 && page.head.contains("content-type: application/json"),
        "{}",
        page.head
    );
    let status: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(status["name"], "r0");
    assert_eq!(status["ready"], true);
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
    assert_eq!(status["peers"].as_array().unwrap().len(), 2);
    assert!(status["leader"]["address"].is_string() && status["term"].as_u64().unwrap() >= 1);
    assert_eq!(status["state_digest"].as_str().unwrap().len(), 32);
    assert!(status["fault"].is_null());

    let page = get(address, "/").await;
    assert!(
        page.code == 200 && page.head.contains("content-type: text/html"),
        "{}",
        page.head
    );
    for part in [
        "http-equiv=\"refresh\"",
        "<h1>r0 is",
        "Ready.",
        "r1",
        "r2",
        "Last change of leader",
    ] {
        assert!(page.body.contains(part), "{part} is missing in {}", page.body);
    }
    assert!(!page.body.contains("src=") && !page.body.contains("<script") && !page.body.contains("http://"));

    for path in ["/nothing", "/livez/", "/livez/x", "/../etc/passwd", "/%2e%2e"] {
        assert_eq!(get(address, path).await.code, 404, "{path}");
    }
    let post = "POST /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(address, post).await.code, 405);
    let head = "HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(address, head).await.code, 200);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_alone_is_alive_and_not_ready_and_says_why() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let address = cluster.at(leader).http_address().unwrap().to_owned();
    for number in (0..3).filter(|number| *number != leader) {
        cluster.stop_one(number).await;
    }
    let page = until("it is not ready", || async {
        Some(get(&address, "/readyz").await).filter(|page| page.code == 503)
    })
    .await;
    assert_eq!(page.body.lines().count(), 1, "one line why: {}", page.body);
    assert_eq!(
        get(&address, "/livez").await.code,
        200,
        "a restart would not help"
    );
    let page = get(&address, "/").await;
    assert!(page.body.contains("Not ready: "), "{}", page.body);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_ends_liveness_and_every_stream() {
    use quorate_api::v1;

    let cluster = Cluster::start(1).await;
    let address = cluster.at(0).http_address().unwrap().to_owned();
    let mut group = v1::cluster_client::ClusterClient::new(cluster.channel(0));
    let mut topology = group
        .watch_topology(v1::WatchTopologyRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut watch = v1::watch_client::WatchClient::new(cluster.channel(0));
    let mut changes = watch
        .watch(v1::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    cluster.disks[0].fail_writes(true);
    let mut root = v1::root_client::RootClient::new(cluster.channel(0));
    let written = root.create_database(crate::cluster::database("lost")).await;
    written.expect_err("the disk has failed");

    let fault = soon(cluster.at(0).fault()).await;
    assert!(!fault.to_string().is_empty());
    let page = get(&address, "/livez").await;
    assert_eq!(page.code, 503);
    assert!(
        page.body.starts_with("stopped by a fault: ") && page.body.lines().count() == 1,
        "{}",
        page.body
    );
    assert_eq!(get(&address, "/readyz").await.code, 503);
    while soon(topology.message()).await.unwrap().is_some() {}
    let last = loop {
        let message = soon(changes.message()).await.unwrap().expect("a last message");
        if let Some(cancelled) = message.cancelled {
            break cancelled;
        }
    };
    assert_eq!(last.compacted_below, 0);
    let status = group
        .watch_topology(v1::WatchTopologyRequest {})
        .await
        .expect_err("it has stopped");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let status = group.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (status.role(), status.fault.is_empty()),
        (v1::Role::Stopped, false)
    );
    cluster.stop().await;
}
