//! What is wrong with a replica's files, as tables.

use std::fs;
use std::path::Path;

use quorate_testkit::certificates::{Authority, Paths, Wanted};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConnection, PeerIncompatible, ProtocolVersion, RootCertStore, ServerConnection,
    SupportedProtocolVersion,
};

use super::*;
use crate::material::provider;

fn files(paths: &Paths) -> ReplicaFiles {
    ReplicaFiles {
        cert: paths.cert.clone(),
        key: paths.key.clone(),
        ca: paths.ca.clone(),
        client_ca: None,
    }
}

fn load(files: &ReplicaFiles) -> Result<(), TlsError> {
    ReplicaTls::load(files, ["127.0.0.1:2379", "127.0.0.1:2380", "localhost.:2382"]).map(drop)
}

#[test]
fn what_is_wrong_with_the_files_is_one_line() {
    let authority = Authority::new("house");
    let directory = tempfile::tempdir().expect("a directory");
    let good = || authority.write(directory.path(), &Wanted::LOOPBACK);
    let issue = |change: fn(Wanted<'static>) -> Wanted<'static>| {
        authority.issue(&change(Wanted::LOOPBACK)).cert.into_bytes()
    };
    let whole = authority.issue(&Wanted::LOOPBACK);
    let cut = whole.cert.as_bytes()[..whole.cert.len() / 2].to_vec();
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let other = Authority::new("another house").pem();
    type Case<'a> = (&'a str, fn(&Paths) -> &Path, Vec<u8>, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (
            "empty",
            |paths| &paths.cert,
            vec![],
            "certificate CERT is empty; name a PEM file with the certificate",
        ),
        (
            "garbage",
            |paths| &paths.cert,
            vec![0xff; 1_000],
            "certificate CERT holds no certificate",
        ),
        (
            "a directory's listing",
            |paths| &paths.cert,
            b"cert.pem\n".to_vec(),
            "holds no certificate",
        ),
        (
            "the key instead",
            |paths| &paths.cert,
            whole.key.clone().into_bytes(),
            "holds no certificate",
        ),
        ("cut off", |paths| &paths.cert, cut, "certificate CERT is damaged"),
        (
            "huge",
            |paths| &paths.cert,
            vec![b'-'; 2 << 20],
            "has more than 1048576 bytes",
        ),
        (
            "no certificate inside",
            |paths| &paths.cert,
            no_certificate.into(),
            "CERT cannot be used: invalid peer certificate: BadEncoding",
        ),
        (
            "of another key",
            |paths| &paths.cert,
            issue(|wanted| wanted),
            "private key KEY is not that of the certificate CERT",
        ),
        (
            "expired",
            |paths| &paths.cert,
            issue(|wanted| Wanted {
                until_s: -60,
                ..wanted
            }),
            "CERT (a test) expired at 20",
        ),
        (
            "of tomorrow",
            |paths| &paths.cert,
            issue(|wanted| Wanted {
                from_s: 86_400,
                ..wanted
            }),
            "CERT (a test) is not valid before 20",
        ),
        (
            "empty",
            |paths| &paths.key,
            vec![],
            "private key KEY is empty; name",
        ),
        (
            "garbage",
            |paths| &paths.key,
            vec![0xff; 1_000],
            "private key KEY holds no private key",
        ),
        (
            "the certificate instead",
            |paths| &paths.key,
            whole.cert.clone().into_bytes(),
            "holds no private key",
        ),
        (
            "sealed",
            |paths| &paths.key,
            sealed.into(),
            "private key KEY is encrypted with a passphrase",
        ),
        (
            "of another certificate",
            |paths| &paths.key,
            whole.key.clone().into_bytes(),
            "private key KEY is not that of",
        ),
        (
            "empty",
            |paths| &paths.ca,
            vec![],
            "CA CA is empty; name a PEM file with the certificates of the CA",
        ),
        (
            "garbage",
            |paths| &paths.ca,
            vec![b'a'; 1_000],
            "CA CA holds no certificate",
        ),
        (
            "no certificate inside",
            |paths| &paths.ca,
            no_certificate.into(),
            "CA CA cannot be used",
        ),
        (
            "another",
            |paths| &paths.ca,
            other.into_bytes(),
            "would be refused by the other replicas; let the CA in CA sign it",
        ),
    ];
    for (case, which, content, want) in cases {
        let paths = good();
        load(&files(&paths)).expect(case);
        fs::write(which(&paths), content).expect("written");
        let line = load(&files(&paths)).expect_err(case).line();
        let shown = |path: &Path| path.display().to_string();
        let want = want
            .replace("CERT", &shown(&paths.cert))
            .replace("KEY", &shown(&paths.key))
            .replace("CA CA", &format!("CA {}", shown(&paths.ca)))
            .replace("in CA", &format!("in {}", shown(&paths.ca)));
        assert!(line.contains(&want) && !line.contains('\n'), "{case}: {line}");
    }
}

#[test]
fn what_is_no_file_is_one_line_too() {
    let authority = Authority::new("house");
    let directory = tempfile::tempdir().expect("a directory");
    let good = files(&authority.write(directory.path(), &Wanted::LOOPBACK));
    let missing = directory.path().join("missing.pem");
    let cases = [
        (
            ReplicaFiles {
                cert: missing.clone(),
                ..good.clone()
            },
            File::Certificate,
            "No such file",
        ),
        (
            ReplicaFiles {
                key: missing.clone(),
                ..good.clone()
            },
            File::Key,
            "No such file",
        ),
        (
            ReplicaFiles {
                ca: missing.clone(),
                ..good.clone()
            },
            File::Ca,
            "No such file",
        ),
        (
            ReplicaFiles {
                client_ca: Some(missing),
                ..good.clone()
            },
            File::ClientCa,
            "No such file",
        ),
        (
            ReplicaFiles {
                key: directory.path().to_owned(),
                ..good.clone()
            },
            File::Key,
            "is not a file",
        ),
        (
            ReplicaFiles {
                ca: "/dev/zero".into(),
                ..good.clone()
            },
            File::Ca,
            "is not a file",
        ),
        (
            ReplicaFiles {
                client_ca: Some(good.key.clone()),
                ..good.clone()
            },
            File::ClientCa,
            "holds no certificate",
        ),
        (
            ReplicaFiles {
                cert: "".into(),
                ..good
            },
            File::Certificate,
            "No such file",
        ),
    ];
    for (files, file, want) in cases {
        let error = load(&files).expect_err(want);
        assert_eq!(error.file(), file);
        assert!(error.line().contains(want), "{}", error.line());
    }
}

#[test]
fn what_the_others_would_refuse_is_found_before() {
    let authority = Authority::new("house");
    let directory = tempfile::tempdir().expect("a directory");
    let cases = [
        (
            Wanted {
                hosts: &["127.0.0.1"],
                ..Wanted::LOOPBACK
            },
            "by whoever dials this replica as \"localhost.\"; let it name",
        ),
        (
            Wanted {
                hosts: &["localhost"],
                ..Wanted::LOOPBACK
            },
            "by whoever dials this replica as \"127.0.0.1\"; let it name",
        ),
        (
            Wanted {
                client: false,
                ..Wanted::LOOPBACK
            },
            "sign it, for servers and for clients: ",
        ),
        (
            Wanted {
                server: false,
                ..Wanted::LOOPBACK
            },
            "does not allow extended key usage for server authentication",
        ),
    ];
    for (wanted, want) in cases {
        let error = load(&files(&authority.write(directory.path(), &wanted))).expect_err(want);
        assert!(error.line().contains(want), "{}", error.line());
    }
    // Without a list of purposes, a certificate is for all of them.
    let any = Wanted {
        client: false,
        server: false,
        ..Wanted::LOOPBACK
    };
    load(&files(&authority.write(directory.path(), &any))).expect("good");
}

/// A handshake in memory: the version that both sides speak, or why there is none.
fn handshake(
    server: &Arc<ServerConfig>,
    ca: &Path,
    version: &'static SupportedProtocolVersion,
    own: Option<&Paths>,
) -> Result<Option<ProtocolVersion>, rustls::Error> {
    let read = |path: &Path| fs::read(path).expect("a file");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(ca)) {
        roots.add(certificate.expect("a certificate")).expect("a CA");
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version that is known")
        .with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let cert = read(&own.cert);
            let chain = CertificateDer::pem_slice_iter(&cert).map(|one| one.expect("a certificate"));
            let key = PrivateKeyDer::from_pem_slice(&read(&own.key)).expect("a key");
            config
                .with_client_auth_cert(chain.collect(), key)
                .expect("a pair")
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.to_vec()];
    let host = server_name("127.0.0.1").expect("a host");
    let mut client = ClientConnection::new(Arc::new(config), host).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("written to memory");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("read from memory");
            server.process_new_packets()?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("written to memory");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("read from memory");
            client.process_new_packets()?;
        }
    }
    Ok(server.protocol_version())
}

#[test]
fn clients_may_be_older_than_replicas() {
    let authority = Authority::new("house");
    let directory = tempfile::tempdir().expect("a directory");
    let paths = authority.write(directory.path(), &Wanted::LOOPBACK);
    let known = ReplicaFiles {
        client_ca: Some(paths.ca.clone()),
        ..files(&paths)
    };
    let [open, known] = [files(&paths), known].map(|files| {
        ReplicaTls::load(&files, ["127.0.0.1:1"])
            .expect("good files")
            .0
            .current()
    });
    let (v2, v3) = (
        Ok(Some(ProtocolVersion::TLSv1_2)),
        Ok(Some(ProtocolVersion::TLSv1_3)),
    );
    let own = Some(&paths);
    let nobody = Err(rustls::Error::NoCertificatesPresented);
    let older = PeerIncompatible::Tls12NotOfferedOrEnabled;
    let cases = [
        ("a client", &open.clients, &TLS13, None, v3.clone()),
        ("an older client", &open.clients, &TLS12, None, v2.clone()),
        ("a known client", &known.clients, &TLS13, own, v3.clone()),
        ("an older client that is known", &known.clients, &TLS12, own, v2),
        (
            "a client of no name",
            &known.clients,
            &TLS13,
            None,
            nobody.clone(),
        ),
        ("an older client of no name", &known.clients, &TLS12, None, nobody),
        ("a replica", &open.replicas, &TLS13, own, v3),
        ("an older replica", &open.replicas, &TLS12, own, Err(older.into())),
    ];
    for (case, server, version, own, want) in cases {
        assert_eq!(handshake(server, &paths.ca, version, own), want, "{case}");
    }
}
