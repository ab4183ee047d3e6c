//! When things are gone: a backup that is restored elsewhere, and a quorum that is lost for good.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate_client::{Client, v1};
use quorate_local::Process;
use serde_json::Value;

use crate::support::{LONG, PROGRAM, Running, ended};

/// Runs a command to its end.
fn quorate(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_remove("QUORATE_SEEDS")
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// Runs a command that has to work; gives its one object.
fn json(arguments: &[&str]) -> Value {
    let output = quorate(&[arguments, &["--output", "json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must not work; gives what it says.
fn refused(code: i32, arguments: &[&str]) -> String {
    let output = quorate(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A replica as it stands in a list.
fn entry(process: &Process) -> String {
    let port = |address: String| address.rsplit_once(':').unwrap().1.to_owned();
    format!(
        "{}=127.0.0.1:{}/{}/{}",
        process.name(),
        port(process.client_address()),
        port(process.peer_address()),
        port(process.liveness_address())
    )
}

fn list(processes: &[Process]) -> String {
    processes.iter().map(entry).collect::<Vec<_>>().join(",")
}

/// What a replica's state holds, in 32 digits.
async fn content(client: &Client, process: &Process) -> String {
    let status = client.cluster().status(process.node()).await.unwrap();
    status
        .content_digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn create_database(client: &Client, name: &str) {
    let request = v1::CreateDatabaseRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    client.root().create_database(request).await.unwrap();
}

async fn has_database(client: &Client, name: &str) -> bool {
    let request = v1::DescribeDatabaseRequest {
        name: name.to_owned(),
    };
    client.root().describe_database(request).await.is_ok()
}

async fn kill_all(cluster: &Running) {
    for process in cluster.processes() {
        process.kill().unwrap();
    }
    for process in cluster.processes() {
        ended(process).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_becomes_another_cluster() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup.snap");
    let cluster = Running::start(3).await;
    let load = cluster.load("backup").await;
    load.progress(150, LONG).await.unwrap();
    let client = cluster.client().unwrap();
    create_database(&client, "acknowledged_before").await;
    // Any replica may be asked.
    let follower = cluster.followers().await[0].client_address();
    let saved = json(&["snapshot", "save", text(&file), "--seeds", &follower]);
    create_database(&client, "acknowledged_after").await;
    load.progress(50, LONG).await.unwrap();
    client.close().await;
    cluster.verdict(load).await;
    drop(cluster);

    let found = json(&["snapshot", "inspect", text(&file)]);
    assert_eq!(found, saved);
    assert!(found["index"].as_u64().unwrap() > 150, "{found}");
    assert_eq!(found["members"].as_array().unwrap().len(), 3);

    // Another cluster's hosts, emptied.
    let other = Running::start(3).await;
    kill_all(&other).await;
    let list = list(other.processes());
    let mut clusters = Vec::new();
    for process in other.processes() {
        fs::remove_dir_all(process.data_dir()).unwrap();
        let restored = json(&[
            "snapshot",
            "restore",
            text(&file),
            "--data-dir",
            text(&process.data_dir()),
            "--name",
            process.name(),
            "--replicas",
            &list,
        ]);
        assert_eq!(restored["content_digest"], found["content_digest"]);
        clusters.push(restored["cluster_id"].clone());
    }
    assert!(clusters.iter().all(|one| *one == clusters[0]), "{clusters:?}");
    assert_ne!(clusters[0], found["cluster_id"]);
    for process in other.processes() {
        process.start().unwrap();
    }
    other.ready(LONG).await.unwrap();
    other.agree().await;
    let client = other.client().unwrap();
    for process in other.processes() {
        assert_eq!(
            content(&client, process).await,
            found["content_digest"],
            "{}",
            process.name()
        );
    }
    let seeds = other.seeds().join(",");
    let status = json(&["status", "--seeds", &seeds]);
    assert_eq!(status["cluster_id"], clusters[0]);
    assert!(has_database(&client, "acknowledged_before").await);
    assert!(!has_database(&client, "acknowledged_after").await);
    client.close().await;
    // It is a cluster as any other: it takes load, loses its leader, and takes a restart.
    let load = other.load("restored").await;
    load.progress(50, LONG).await.unwrap();
    let leader = other.leader().await;
    leader.kill().unwrap();
    ended(leader).await;
    load.progress(50, LONG).await.unwrap();
    leader.start().unwrap();
    other.ready(LONG).await.unwrap();
    other.verdict(load).await;
}

/// A replica that is served alone; killed when it is dropped.
struct Alone(Child);

impl Alone {
    fn start(process: &Process, log: &Path) -> Self {
        let parent = std::process::id().to_string();
        let child = Command::new(PROGRAM)
            .args(["serve", "--name", process.name(), "--replicas", &entry(process)])
            .args(["--data-dir", text(&process.data_dir())])
            .args([
                "--bind",
                "127.0.0.1",
                "--http",
                "off",
                "--stop-with-parent",
                &parent,
            ])
            .stdin(Stdio::null())
            .stderr(fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills recoveries of copies of `data` at different moments: what is left is the old directory or the new one.
fn killed_at_any_moment_it_harms_nothing(data: &Path, name: &str, place: &Path) {
    const KILLS: u32 = 25;
    let mut ends = BTreeSet::new();
    let mut whole = Duration::ZERO;
    // The first one is let be, and says how long it takes.
    for number in 0..KILLS {
        let copy = place.join(format!("copy-{number}"));
        let copied = Command::new("cp").arg("-a").args([data, &copy]).status().unwrap();
        assert!(copied.success());
        let recover = [
            "recover",
            "--force-new-cluster",
            "--data-dir",
            text(&copy),
            "--name",
            name,
        ];
        let began = Instant::now();
        let mut child = Command::new(PROGRAM)
            .args(recover)
            .arg("--yes")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if number > 0 {
            std::thread::sleep(whole * (number - 1) / KILLS);
            // It may have ended by itself.
            let _ = child.kill();
        }
        child.wait().unwrap();
        whole = whole.max(began.elapsed());
        let said = refused(2, &recover);
        let end = said.split_once("ends at index ").unwrap().1;
        let end: u64 = end.split_once(' ').unwrap().0.parse().unwrap();
        ends.insert(end);
        assert!(
            !copy.join("next").exists() && !copy.join("next.tmp").exists(),
            "{said}"
        );
        fs::remove_dir_all(&copy).unwrap();
    }
    // The old log's end, and one entry more.
    let (first, last) = (ends.first().unwrap(), ends.last().unwrap());
    assert!(ends.len() == 2 && last - first == 1, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_of_a_lost_quorum_becomes_a_cluster_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    // With a snapshot below what is left of the log.
    let cluster = Running::with(3, |plan| {
        plan.argument("--snapshot-every")
            .argument("100")
            .argument("--snapshot-keep")
            .argument("10")
    })
    .await;
    let load = cluster.load("recover").await;
    load.progress(150, LONG).await.unwrap();
    cluster.verdict(load).await;
    let followers = cluster.followers().await;
    let (survivor, stranger) = (followers[0], followers[1]);
    let client = cluster.client().unwrap();
    let before = content(&client, survivor).await;
    client.close().await;
    let data = survivor.data_dir();
    let recover = [
        "recover",
        "--force-new-cluster",
        "--data-dir",
        text(&data),
        "--name",
        survivor.name(),
    ];
    let said = refused(1, &recover);
    assert!(said.contains("is in use by process"), "{said}");

    kill_all(&cluster).await;
    let old = place.path().join("old");
    fs::rename(stranger.data_dir(), &old).unwrap();
    for process in cluster
        .processes()
        .iter()
        .filter(|one| one.node() != survivor.node())
    {
        // One of them was renamed.
        let _ = fs::remove_dir_all(process.data_dir());
    }
    survivor.start().unwrap();
    let address = survivor.client_address();
    let said = refused(
        3,
        &["leader", "show", "--seeds", &address, "--deadline-ms", "2000"],
    );
    assert!(said.contains("no leader"), "{said}");
    survivor.terminate().unwrap();
    ended(survivor).await;

    let identity = fs::read(data.join("IDENTITY")).unwrap();
    let said = refused(2, &recover);
    for part in [
        "can never take part",
        "kept: everything",
        "lost: what",
        "add --yes",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(
        fs::read(data.join("IDENTITY")).unwrap(),
        identity,
        "nothing was changed"
    );
    killed_at_any_moment_it_harms_nothing(&data, survivor.name(), place.path());
    let recovered = json(&[&recover[..], &["--yes"]].concat());
    assert_eq!(recovered["client_address"], Value::from(address.clone()));
    let kept = recovered["kept"].as_str().unwrap();
    assert_eq!(fs::read(Path::new(kept).join("IDENTITY")).unwrap(), identity);

    let log = place.path().join("log");
    let _alone = Alone::start(survivor, &log);
    let client = Client::builder([address.clone()])
        .deadline(LONG)
        .connect()
        .unwrap();
    // Answered once everything before it is applied.
    assert!(!has_database(&client, "written_afterwards").await);
    assert_eq!(
        content(&client, survivor).await,
        before,
        "all that was acknowledged"
    );
    create_database(&client, "written_afterwards").await;

    // A member of the old cluster comes back, and finds a stranger at the survivor's address.
    fs::rename(&old, stranger.data_dir()).unwrap();
    stranger.start().unwrap();
    let refused_it = async {
        while !fs::read_to_string(&log).unwrap().contains("another cluster") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, refused_it)
        .await
        .expect("it is turned away");
    let theirs = stranger.client_address();
    let said = refused(
        3,
        &["leader", "show", "--seeds", &theirs, "--deadline-ms", "2000"],
    );
    assert!(said.contains("no leader"), "{said}");
    let status = json(&["status", "--seeds", &address]);
    assert_eq!(status["cluster_id"], recovered["cluster_id"]);
    assert_eq!(status["replicas"].as_array().unwrap().len(), 1, "{status}");
    create_database(&client, "not_disturbed").await;
    client.close().await;
}
