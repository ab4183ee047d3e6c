//! Handshakes over real sockets: who is let in, who is not, and what both sides are told.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Listener, Network, Stream, Tcp};
use quorate_testkit::certificates::{Authority, Paths, Wanted};
use quorate_tls::{ClientFiles, ClientTls, ReplicaFiles, ReplicaTls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Nothing here takes this long; a test that hangs should say so.
const LONG: Duration = Duration::from_secs(60);

/// A CA, and files of somebody that it knows.
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

    fn paths(&self, wanted: &Wanted<'_>) -> Paths {
        self.authority
            .write(&self.directory.path().join(wanted.name), wanted)
    }

    fn replica(&self, client_ca: Option<&Path>) -> ReplicaTls {
        let paths = self.paths(&Wanted::LOOPBACK);
        let files = ReplicaFiles {
            cert: paths.cert,
            key: paths.key,
            ca: paths.ca,
            client_ca: client_ca.map(Path::to_owned),
        };
        ReplicaTls::load(&files, ["127.0.0.1:1"]).unwrap()
    }

    fn network(&self) -> Arc<dyn Network> {
        self.replica(None).replicas(Arc::new(Tcp))
    }

    fn client(&self, has_certificate: bool) -> Arc<dyn Network> {
        let paths = self.paths(&Wanted {
            name: "a client",
            ..Wanted::LOOPBACK
        });
        client(&paths.ca, has_certificate.then_some(&paths))
    }
}

fn client(ca: &Path, own: Option<&Paths>) -> Arc<dyn Network> {
    let files = ClientFiles {
        ca: ca.to_owned(),
        identity: own.map(|own| (own.cert.clone(), own.key.clone())),
    };
    ClientTls::load(&files).unwrap().network(Arc::new(Tcp))
}

/// Gives back whatever comes on each connection; the error of each that fails goes to the receiver.
fn echo(mut listener: Listener) -> (String, tokio::sync::mpsc::UnboundedReceiver<io::Error>) {
    let address = listener.local_address().unwrap();
    let (failed, failures) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            let failed = failed.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 64];
                loop {
                    match stream.read(&mut bytes).await {
                        Ok(0) => break,
                        Ok(read) => {
                            stream.write_all(&bytes[..read]).await.unwrap();
                            stream.flush().await.unwrap();
                        }
                        // Who leaves without a farewell has left.
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                        Err(error) => {
                            failed.send(error).unwrap();
                            break;
                        }
                    }
                }
            });
        }
    });
    (address, failures)
}

async fn listen(network: &dyn Network) -> Listener {
    network.listen("127.0.0.1:0").await.unwrap()
}

/// Dials, and asks for an echo.
async fn ask(network: &dyn Network, address: &str) -> io::Result<()> {
    let asking = async {
        let mut stream = network.dial(address).await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        let mut four = [0; 4];
        stream.read_exact(&mut four).await?;
        assert_eq!(&four, b"ping");
        Ok(())
    };
    timeout(LONG, asking).await.expect("it ends soon")
}

async fn refused(network: &dyn Network, address: &str) -> String {
    let error = ask(network, address).await.expect_err("refused");
    assert_ne!(
        error.kind(),
        io::ErrorKind::ConnectionRefused,
        "that would be evidence of a death: {error}"
    );
    error.to_string()
}

#[tokio::test]
async fn replicas_of_one_ca_meet_and_nobody_else_does() {
    let (house, other) = (House::new("house"), House::new("another house"));
    let network = house.network();
    let (address, mut failures) = echo(listen(&*network).await);
    let mut why = async || timeout(LONG, failures.recv()).await.unwrap().unwrap().to_string();
    ask(&*network, &address).await.unwrap();

    let line = refused(&*house.client(false), &address).await;
    assert_eq!(line, "the other side asks for a certificate, and none was given");
    assert!(
        why().await.contains("no certificates"),
        "the listener's side knows, too"
    );

    // Of another CA, and willing to trust this one.
    let theirs = other.paths(&Wanted::LOOPBACK);
    let ca = house.paths(&Wanted::LOOPBACK).ca;
    let line = refused(&*client(&ca, Some(&theirs)), &address).await;
    assert_eq!(
        line,
        "the other side does not trust the CA of this side's certificate"
    );
    assert!(why().await.contains("UnknownIssuer"));

    let line = refused(&*other.network(), &address).await;
    assert!(
        line.starts_with("the other side's certificate is not accepted: UnknownIssuer"),
        "{line}"
    );
    assert!(why().await.contains("UnknownCA"));

    ask(&*network, &address).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_known_by_the_name_it_was_dialled_by() {
    let house = House::new("house");
    let elsewhere = house.paths(&Wanted {
        name: "b",
        hosts: &["replica-b.test"],
        ..Wanted::LOOPBACK
    });
    let files = ReplicaFiles {
        cert: elsewhere.cert,
        key: elsewhere.key,
        ca: elsewhere.ca,
        client_ca: None,
    };
    let tls = ReplicaTls::load(&files, ["replica-b.test:1"]).unwrap();
    let (address, _failures) = echo(listen(&*tls.replicas(Arc::new(Tcp))).await);
    let dialler = house.network();
    let line = refused(&*dialler, &address).await;
    assert!(
        line.contains("127.0.0.1") && line.contains("replica-b.test"),
        "{line}"
    );

    // A liveness link dials the place that the name was resolved to, and means the name.
    let place: SocketAddr = address.parse().unwrap();
    dialler.dial_place(place, "replica-b.test:2382").await.unwrap();
    let wrong = dialler.dial_place(place, "replica-c.test:2382").await.map(drop);
    assert!(wrong.unwrap_err().to_string().contains("replica-c.test"));
}

#[tokio::test]
async fn clients_need_a_certificate_only_where_there_is_a_ca_for_them() {
    let (house, clients) = (House::new("house"), House::new("clients"));
    let ca = clients.paths(&Wanted::LOOPBACK).ca;
    let house_ca = house.paths(&Wanted::LOOPBACK).ca;
    let with = clients.paths(&Wanted {
        name: "worker",
        server: false,
        ..Wanted::LOOPBACK
    });
    let open = house.replica(None).clients(listen(&Tcp).await);
    let (open, _failures) = echo(open);
    ask(&*client(&house_ca, None), &open).await.unwrap();
    ask(&*client(&house_ca, Some(&with)), &open).await.unwrap();

    let closed = house.replica(Some(&ca)).clients(listen(&Tcp).await);
    let (closed, _failures) = echo(closed);
    ask(&*client(&house_ca, Some(&with)), &closed).await.unwrap();
    let line = refused(&*client(&house_ca, None), &closed).await;
    assert!(line.contains("asks for a certificate"), "{line}");
    let line = refused(&*house.client(true), &closed).await;
    assert!(
        line.contains("does not trust the CA"),
        "a replica's CA is none of clients: {line}"
    );
}

#[tokio::test]
async fn tls_and_no_tls_are_told_from_each_other() {
    let house = House::new("house");
    let (address, mut failures) = echo(listen(&*house.network()).await);
    let mut plain = Tcp.dial(&address).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    plain.write_all(&[0; 1_000]).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, plain.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        answer.first(),
        Some(&0x15),
        "an alert, and not a reset: {answer:?}"
    );
    let why = timeout(LONG, failures.recv()).await.unwrap().unwrap();
    assert_eq!(why.kind(), io::ErrorKind::InvalidData);

    let says: [(&[u8], &str); 3] = [
        (b"", "hung up on the TLS greeting; perhaps it does not speak TLS"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "does not speak TLS; turn TLS on there, or off here",
        ),
        (&[0, 0, 18, 4, 0, 0, 0, 0, 0], "does not speak TLS"),
    ];
    for (answer, want) in says {
        let mut listener = listen(&Tcp).await;
        let address = listener.local_address().unwrap();
        tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            let _ = stream.write_all(answer).await;
            // Not before the other side has heard it: closed with bytes unread, it would be a reset.
            let _ = stream.shutdown().await;
            while !matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)) {}
        });
        let line = refused(&*house.network(), &address).await;
        assert!(line.contains(want), "{line}");
    }
}

#[tokio::test]
async fn what_the_network_says_is_not_changed() {
    let network = House::new("house").network();
    let nobody = listen(&Tcp).await.local_address().unwrap();
    let error = network.dial(&nobody).await.map(drop).unwrap_err();
    assert_eq!(
        error.kind(),
        io::ErrorKind::ConnectionRefused,
        "evidence stays evidence"
    );
    assert_eq!(
        network.resolve("127.0.0.1:7").await.unwrap(),
        ["127.0.0.1:7".parse().unwrap()]
    );
    let client = House::new("house").client(false);
    let listening = client.listen("127.0.0.1:0").await.map(drop).unwrap_err();
    assert_eq!(listening.kind(), io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_silent_stranger_holds_up_nobody_and_is_given_up() {
    let network = House::new("house").network();
    let (address, mut failures) = echo(listen(&*network).await);
    let mut silent = Tcp.dial(&address).await.unwrap();
    ask(&*network, &address).await.unwrap();
    let why = timeout(LONG, failures.recv()).await.unwrap().unwrap();
    assert_eq!(why.kind(), io::ErrorKind::TimedOut);
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0, "closed");
}

#[tokio::test]
async fn the_end_of_the_other_side_is_noticed_at_once() {
    let network = House::new("house").network();
    let mut listener = listen(&*network).await;
    let address = listener.local_address().unwrap();
    let accepting = async {
        let mut stream = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        // As the kernel does it for a killed process: no word of farewell.
        drop(stream);
    };
    let dialling = async {
        let mut stream: Stream = network.dial(&address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.flush().await.unwrap();
        stream.read(&mut [0; 4]).await
    };
    let (read, ()) = timeout(LONG, async { tokio::join!(dialling, accepting) })
        .await
        .unwrap();
    assert!(!matches!(read, Ok(bytes) if bytes > 0), "{read:?}");
    drop(listener);
    let again = network.dial(&address).await.map(drop).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn new_connections_use_new_files_and_old_ones_live_on() {
    let houses = [House::new("first"), House::new("second"), House::new("third")];
    let paths = houses[0].paths(&Wanted::LOOPBACK);
    let files = ReplicaFiles {
        cert: paths.cert.clone(),
        key: paths.key.clone(),
        ca: paths.ca.clone(),
        client_ca: None,
    };
    let tls = ReplicaTls::load(&files, ["127.0.0.1:1"]).unwrap();
    let _keeper = AbortOnDropHandle::new(tokio::spawn(tls.clone().keep_fresh()));
    let (address, _failures) = echo(tls.clients(listen(&Tcp).await));
    let clients = houses.each_ref().map(|house| house.client(false));
    ask(&*clients[0], &address).await.unwrap();
    for (before, now) in [(0, 1), (1, 2)] {
        let mut standing = clients[before].dial(&address).await.unwrap();
        let _ = houses[now]
            .authority
            .write(paths.cert.parent().unwrap(), &Wanted::LOOPBACK);
        let began = Instant::now();
        while ask(&*clients[now], &address).await.is_err() {
            assert!(began.elapsed() < LONG, "the new files are never used");
            sleep(Duration::from_millis(50)).await;
        }
        let line = refused(&*clients[before], &address).await;
        assert!(line.contains("UnknownIssuer"), "{line}");
        standing.write_all(b"ping").await.unwrap();
        standing.flush().await.unwrap();
        standing.read_exact(&mut [0; 4]).await.unwrap();
    }
}
