//! TLS through the real binary: a cluster that speaks it, its commands, a crash, and every way to get the files wrong.

use std::fs;
use std::path::Path;
use std::time::Instant;

use quorate_local::{Cluster, Plan};
use quorate_testkit::certificates::{Authority, Paths, Wanted};
use serde_json::Value;

use crate::house::{PATIENCE, Said, quorate, run};

const LIST: &str = "a=127.0.0.1:1/2/3";

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Asks again until it works.
fn until_it_works(arguments: &[&str]) -> Said {
    let began = Instant::now();
    loop {
        let said = run(quorate(arguments));
        if said.code == Some(0) {
            return said;
        }
        assert!(began.elapsed() < PATIENCE, "{arguments:?}: {said:?}");
    }
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&until_it_works(&[arguments, &["--output", "json"]].concat()).out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_over_tls_survives_its_leader_and_answers_those_who_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("house");
    let Paths { cert, key, ca } = authority.write(&directory.path().join("tls"), &Wanted::LOOPBACK);
    let plan = Plan::new(env!("CARGO_BIN_EXE_quorate"), directory.path());
    let settings = [
        ("--tls-cert", &cert),
        ("--tls-key", &key),
        ("--tls-ca", &ca),
        ("--tls-client-ca", &ca),
    ];
    let plan = settings.iter().fold(plan, |plan, (flag, path)| {
        plan.argument(*flag).argument(shown(path))
    });
    let cluster = Cluster::start(plan).await.unwrap();
    let seeds = cluster.seeds().join(",");
    let known = [
        "--seeds",
        &seeds,
        "--tls-ca",
        shown(&ca),
        "--tls-cert",
        shown(&cert),
        "--tls-key",
        shown(&key),
    ];
    let show = [&["leader", "show"][..], &known].concat();
    let first = json(&show);
    let create = [&["catalog", "database", "create", "books"][..], &known].concat();
    until_it_works(&create);

    // The same from the environment.
    let mut command = quorate(&["catalog", "database", "list"]);
    command
        .env("QUORATE_SEEDS", &seeds)
        .env("QUORATE_TLS_CA", &ca)
        .env("QUORATE_TLS_CERT", &cert)
        .env("QUORATE_TLS_KEY", &key);
    let said = run(command);
    assert!(said.code == Some(0) && said.out.contains("books"), "{said:?}");

    // Who is not known gets one line that says why.
    let short = ["--seeds", &seeds, "--deadline-ms", "1000"];
    let with_ca = ["--tls-ca", shown(&ca)];
    let cases = [
        (vec![], "speaks TLS and this side does not; give the CA"),
        (with_ca.to_vec(), "asks for a certificate, and none was given"),
    ];
    for (flags, want) in cases {
        let arguments = [&["status"][..], &short, &flags].concat();
        let said = run(quorate(&arguments));
        said.assert_failed(3, &arguments);
        assert!(said.err.contains(want), "{}", said.err);
    }

    let leader = first["node_id"].as_u64().unwrap();
    cluster
        .process_of(quorate_types::NodeId(leader))
        .unwrap()
        .kill()
        .unwrap();
    let second = json(&show);
    assert_ne!(second["node_id"], first["node_id"]);
    let status = json(&[&["status"][..], &known].concat());
    assert_eq!(status["last_leader_change"]["reason"], "crash", "{status}");
    let list = until_it_works(&[&["catalog", "database", "list"][..], &known].concat());
    assert!(list.out.contains("books"), "{list:?}");
    cluster.stop(PATIENCE).await;
}

#[test]
fn wrong_files_are_one_line_and_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("house");
    let good = authority.write(&directory.path().join("good"), &Wanted::LOOPBACK);
    let other = Authority::new("other").write(&directory.path().join("other"), &Wanted::LOOPBACK);
    let late = Wanted {
        until_s: -60,
        ..Wanted::LOOPBACK
    };
    let late = authority.write(&directory.path().join("late"), &late);
    let elsewhere = Wanted {
        hosts: &["elsewhere"],
        ..Wanted::LOOPBACK
    };
    let elsewhere = authority.write(&directory.path().join("elsewhere"), &elsewhere);
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let (empty, garbage) = (file("empty", b""), file("garbage", &[0xff; 10_000]));
    let (cert, key, ca) = (shown(&good.cert), shown(&good.key), shown(&good.ca));
    let missing = "/nowhere/file.pem";
    let all = |cert, key, ca| vec!["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca];
    let serve: Vec<(Vec<&str>, &str)> = vec![
        (
            vec!["--tls-cert", cert],
            "half configured: tls_key and tls_ca are not given; give",
        ),
        (
            vec!["--tls-client-ca", ca],
            "half configured: tls_cert and tls_key and tls_ca are",
        ),
        (
            all(missing, key, ca),
            "certificate /nowhere/file.pem cannot be read; check the path",
        ),
        (
            all(cert, missing, ca),
            "private key /nowhere/file.pem cannot be read",
        ),
        (all(cert, key, missing), "CA /nowhere/file.pem cannot be read"),
        (all(cert, key, "/"), "CA / is not a file"),
        (all(shown(&empty), key, ca), "empty is empty; name a PEM file"),
        (all(shown(&garbage), key, ca), "garbage holds no certificate"),
        (all(cert, shown(&garbage), ca), "garbage holds no private key"),
        (all(cert, shown(&other.key), ca), "is not that of the certificate"),
        (
            all(cert, key, shown(&other.ca)),
            "would be refused by the other replicas",
        ),
        (
            all(shown(&late.cert), shown(&late.key), ca),
            "(a test) expired at 2",
        ),
        (
            all(shown(&elsewhere.cert), shown(&elsewhere.key), ca),
            "dials this replica as \"127.0.0.1\"; let it name that host",
        ),
        (
            [all(cert, key, ca), vec!["--tls-client-ca", missing]].concat(),
            "clients' CA /nowhere/file.pem cannot be read",
        ),
    ];
    let data = directory.path().join("data");
    let base = [
        "serve",
        "--name",
        "a",
        "--replicas",
        LIST,
        "--data-dir",
        shown(&data),
    ];
    for (flags, want) in serve {
        let arguments = [&base[..], &flags].concat();
        let said = run(quorate(&arguments));
        said.assert_failed(2, &arguments);
        assert!(said.err.contains(want), "{arguments:?}: {}", said.err);
        assert!(!data.exists(), "nothing was done");
    }
    let status: Vec<(Vec<&str>, &str)> = vec![
        (
            vec!["--tls-cert", cert],
            "half configured: --tls-key is not given; give",
        ),
        (vec!["--tls-key", key], "--tls-cert is not given"),
        (
            vec!["--tls-cert", cert, "--tls-key", key],
            "--tls-ca is not given",
        ),
        (
            vec!["--tls-ca", missing],
            "--tls-ca: the TLS CA /nowhere/file.pem cannot be read",
        ),
        (vec!["--tls-ca", shown(&garbage)], "--tls-ca: the TLS CA"),
        (all(cert, shown(&other.key), ca), "--tls-key: the TLS private key"),
        (
            all(shown(&late.cert), shown(&late.key), ca),
            "--tls-cert: the TLS certificate",
        ),
    ];
    for (flags, want) in status {
        let arguments = [&["status", "--seeds", "127.0.0.1:1"][..], &flags].concat();
        let said = run(quorate(&arguments));
        said.assert_failed(2, &arguments);
        assert!(said.err.contains(want), "{arguments:?}: {}", said.err);
    }
    // A file that says so, checked without starting anything.
    let config = file(
        "quorate.toml",
        format!("replicas = [\"{LIST}\"]\nname = \"a\"\ntls_cert = {cert:?}\ntls_key = {missing:?}\ntls_ca = {ca:?}\n").as_bytes(),
    );
    let arguments = ["config", "--check", shown(&config)];
    let said = run(quorate(&arguments));
    said.assert_failed(2, &arguments);
    assert!(
        said.err.contains("private key /nowhere/file.pem cannot be read"),
        "{}",
        said.err
    );
}
