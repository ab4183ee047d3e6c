//! A group over TLS: it forms, serves, takes over from a crashed leader, and lets nobody in who has no business there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use quorate::{Coordinator, Network, StartError, Tcp, TlsFiles};
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::{PutRequest, RangeRequest};
use quorate_client::{Client, Error};
use quorate_testkit::certificates::{Authority, Paths, Wanted};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cluster::{Cluster, Reserved, database, soon, until};

/// A CA and where its files are.
struct House {
    authority: Authority,
    directory: TempDir,
}

impl House {
    fn new(name: &str) -> Self {
        Self {
            authority: Authority::new(name),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn paths(&self, name: &str) -> Paths {
        let wanted = Wanted {
            name,
            ..Wanted::LOOPBACK
        };
        self.authority.write(&self.directory.path().join(name), &wanted)
    }

    fn replica(&self, client_ca: Option<&Paths>) -> TlsFiles {
        let Paths { cert, key, ca } = self.paths("replica");
        let client_ca = client_ca.map(|paths| paths.ca.clone());
        TlsFiles {
            cert,
            key,
            ca,
            client_ca,
        }
    }

    fn client(&self, own: Option<&Paths>) -> quorate_client::TlsFiles {
        quorate_client::TlsFiles {
            ca: self.paths("client").ca,
            identity: own.map(|own| (own.cert.clone(), own.key.clone())),
        }
    }
}

fn client(cluster: &Cluster, files: Option<quorate_client::TlsFiles>) -> Client {
    let builder = Client::builder(cluster.listed.iter().map(|listed| listed.client_address.clone()));
    match files {
        Some(files) => builder.tls(files),
        None => builder,
    }
    .deadline(Duration::from_secs(60))
    .connect()
    .unwrap()
}

/// A client of etcd's API at the first replica, which trusts the CA of these files.
fn etcd_client(cluster: &Cluster, files: &quorate_client::TlsFiles) -> KvClient<Channel> {
    let endpoint =
        quorate_host::channel_endpoint(&cluster.listed[0].client_address, Duration::from_secs(10)).unwrap();
    let network = quorate_tls::ClientTls::load(files)
        .unwrap()
        .network(Arc::new(Tcp));
    KvClient::new(quorate_host::connect_lazy(&endpoint, network))
}

/// The value of a key, by etcd's API.
async fn value(client: &mut KvClient<Channel>, key: &str) -> Result<Vec<u8>, Status> {
    let request = RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    };
    let found = soon(client.range(request)).await?.into_inner();
    Ok(found.kvs[0].value.to_vec())
}

/// Why a client gets no answer.
async fn no_answer(cluster: &Cluster, files: Option<quorate_client::TlsFiles>) -> String {
    let client = client(cluster, files).with_deadline(Duration::from_millis(700));
    let error = client
        .root()
        .create_database(database("never"))
        .await
        .unwrap_err();
    client.close().await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_over_tls_serves_its_clients_and_no_others() {
    let (house, workers) = (House::new("house"), House::new("workers"));
    let worker = workers.paths("worker");
    let cluster = Cluster::start_with(3, Some(house.replica(Some(&worker)))).await;
    let known = client(&cluster, Some(house.client(Some(&worker))));
    known.root().create_database(database("first")).await.unwrap();
    let leader = cluster.transfer().await;
    known.root().create_database(database("second")).await.unwrap();

    let cases = [
        (
            "without TLS",
            None,
            "the other side speaks TLS and this side does not",
        ),
        (
            "without a certificate",
            Some(house.client(None)),
            "asks for a certificate, and none was given",
        ),
        (
            "of another CA",
            Some(house.client(Some(&house.paths("replica")))),
            "does not trust the CA of this side's",
        ),
        (
            "trusting another CA",
            Some(workers.client(Some(&worker))),
            "certificate is not accepted: UnknownIssuer",
        ),
    ];
    for (case, files, want) in cases {
        let line = no_answer(&cluster, files).await;
        assert!(line.contains(want), "{case}: {line}");
    }
    // The pages are for everybody who reaches them.
    let page = crate::http::get(cluster.at(leader).http_address().unwrap(), "/readyz").await;
    assert_eq!(page.code, 200);
    known.root().create_database(database("third")).await.unwrap();
    known.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_tls_is_told_that_the_group_has_none() {
    let cluster = Cluster::start(1).await;
    let line = no_answer(&cluster, Some(House::new("house").client(None))).await;
    assert!(line.contains("perhaps it does not speak TLS"), "{line}");
    cluster.stop().await;
}

/// Whether the other side ends the connection without a word of its own protocol.
async fn is_hung_up_on(network: &dyn Network, address: &str, says: &[u8]) -> bool {
    let talk = async {
        let mut stream = network.dial(address).await?;
        stream.write_all(says).await?;
        stream.flush().await?;
        let mut answer = [0; 64];
        stream.read_exact(&mut answer).await
    };
    let heard: io::Result<usize> = soon(talk).await;
    heard.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_the_replicas_ports_are_refused_and_harm_nothing() {
    let (house, other) = (House::new("house"), House::new("another house"));
    let cluster = Cluster::start_with(3, Some(house.replica(None))).await;
    let leader = cluster.leader().await;
    let term = cluster.at(leader).replica().status().leadership.term;
    let trusting = |own: Option<&Paths>| {
        let files = quorate_tls::ClientFiles {
            ca: house.paths("ca").ca,
            identity: own.map(|own| (own.cert.clone(), own.key.clone())),
        };
        quorate_tls::ClientTls::load(&files)
            .unwrap()
            .network(Arc::new(Tcp))
    };
    let theirs = other.paths("replica");
    let strangers: [(&str, Arc<dyn Network>); 3] = [
        ("without TLS", Arc::new(Tcp)),
        ("without a certificate", trusting(None)),
        ("of another CA", trusting(Some(&theirs))),
    ];
    let hello = [&b"QUORLIVE"[..], &[0; 56]].concat();
    let preface = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ]
    .concat();
    let listed = &cluster.listed[leader];
    for (case, network) in &strangers {
        for _ in 0..20 {
            assert!(
                is_hung_up_on(&**network, &listed.liveness_address, &hello).await,
                "{case}: liveness"
            );
            assert!(
                is_hung_up_on(&**network, &listed.peer_address, &preface).await,
                "{case}: peers"
            );
        }
    }
    assert_eq!(cluster.leader().await, leader, "nobody took it for a death");
    assert_eq!(cluster.at(leader).replica().status().leadership.term, term);
    let client = client(&cluster, Some(house.client(None)));
    client.root().create_database(database("after")).await.unwrap();
    client.close().await;
    cluster.stop().await;
}

/// A runtime whose end is, for the network, the end of a process.
fn process() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_leader_is_replaced_on_evidence_and_comes_back() {
    let house = House::new("house");
    let mut cluster = Cluster::start_with(3, Some(house.replica(None))).await;
    let client = client(&cluster, Some(house.client(None)));
    client.root().create_database(database("before")).await.unwrap();

    // The leader goes on in a process of its own, which then dies.
    let leader = cluster.leader().await;
    let doomed = process();
    cluster.stop_one(leader).await;
    let moved = doomed
        .spawn(cluster.builder(leader).start())
        .await
        .unwrap()
        .unwrap();
    soon(moved.ready()).await.unwrap();
    cluster.put(leader, moved);
    while cluster.leader().await != leader {
        let from = cluster.leader().await;
        let node = quorate_types::NodeId(cluster.node(leader));
        let deadline = tokio::time::Instant::now() + crate::cluster::LONG;
        cluster
            .at(from)
            .replica()
            .hand_over(Some(node), deadline)
            .await
            .unwrap();
    }
    client
        .root()
        .create_database(database("meanwhile"))
        .await
        .unwrap();
    let dead = cluster.take(leader);
    doomed.shutdown_background();
    drop(dead);
    client.root().create_database(database("after")).await.unwrap();
    let successor = cluster.leader().await;
    let change = until("the change is known", || async {
        cluster.at(successor).replica().status().last_change
    })
    .await;
    assert_eq!(change.reason.name(), "crash", "{change:?}");

    cluster.start_one(leader).await;
    soon(cluster.at(leader).ready()).await.unwrap();
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_while_the_group_runs() {
    let (house, next) = (House::new("house"), House::new("next house"));
    let files = house.replica(None);
    let cluster = Cluster::start_with(1, Some(files.clone())).await;
    let before = client(&cluster, Some(house.client(None)));
    before.root().create_database(database("before")).await.unwrap();
    cluster.settled().await;
    let mut etcd_before = etcd_client(&cluster, &house.client(None));
    let put = PutRequest {
        key: "k".into(),
        value: "v".into(),
        ..PutRequest::default()
    };
    soon(etcd_before.put(put)).await.unwrap();
    let wanted = Wanted {
        name: "replica",
        ..Wanted::LOOPBACK
    };
    let _ = next.authority.write(files.cert.parent().unwrap(), &wanted);
    let after = client(&cluster, Some(next.client(None)));
    after.root().create_database(database("after")).await.unwrap();
    let line = no_answer(&cluster, Some(house.client(None))).await;
    assert!(line.contains("UnknownIssuer"), "{line}");
    before.root().create_database(database("still")).await.unwrap();

    // etcd's API is on the same port, and goes by the same files.
    let mut etcd_after = etcd_client(&cluster, &next.client(None));
    assert_eq!(value(&mut etcd_after, "k").await.unwrap(), b"v");
    assert_eq!(value(&mut etcd_before, "k").await.unwrap(), b"v", "it stands");
    let mut stranger = etcd_client(&cluster, &house.client(None));
    let refused = value(&mut stranger, "k").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    for client in [before, after] {
        client.close().await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_keep_everything_closed() {
    let house = House::new("house");
    let network = Reserved::default();
    let listed = network.listed("solo").await;
    let data = house.directory.path().join("data");
    let builder = || {
        let files = TlsFiles {
            key: "/nowhere/key.pem".into(),
            ..house.replica(None)
        };
        Coordinator::builder()
            .name("solo")
            .replicas([listed.clone()])
            .data_dir(&data)
            .tls(files)
    };
    let started = builder().start().await.map(drop).unwrap_err();
    assert!(matches!(started, StartError::Tls(_)), "{started:?}");
    assert!(matches!(builder().check(), Err(StartError::Tls(_))));
    assert!(!data.exists(), "nothing was opened");

    let files = quorate_client::TlsFiles {
        ca: "/nowhere/ca.pem".into(),
        identity: None,
    };
    let refused = Client::builder(["127.0.0.1:1"])
        .tls(files)
        .connect()
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid { field, message } if field == "tls-ca" && message.contains("/nowhere/ca.pem")),
        "{refused:?}"
    );
}
