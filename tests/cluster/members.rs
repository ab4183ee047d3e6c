//! Replicas that join, are promoted, removed and replaced, while clients work: no call fails.

use std::process::Output;

use quorate_client::v1;
use quorate_local::{Process, State};

use crate::support::{LONG, PROGRAM, Running, ended};

/// Runs `quorate` with the cluster's seeds.
async fn quorate(cluster: &Running, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(PROGRAM);
    command
        .args(arguments)
        .args(["--seeds", &cluster.seeds().join(",")]);
    if !arguments.contains(&"--deadline-ms") {
        command.args(["--deadline-ms", "60000"]);
    }
    command.output().await.unwrap()
}

/// Runs it, and wants it to work.
async fn works(cluster: &Running, arguments: &[&str]) -> String {
    let output = quorate(cluster, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, and wants it to be refused with one line.
async fn refused(cluster: &Running, arguments: &[&str], want: &str) {
    let output = quorate(cluster, arguments).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{arguments:?}: {said}"
    );
    assert!(
        said.contains(want) && said.lines().count() == 1,
        "{arguments:?}: {said}"
    );
}

/// The members: names and node ids of voters, then of learners.
async fn members(cluster: &Running) -> (Vec<(String, u64)>, Vec<(String, u64)>) {
    let client = cluster.client().unwrap();
    let leader = client.ready().await.unwrap();
    let status = client.cluster().status(leader.node).await.unwrap();
    client.close().await;
    let all = status.topology.unwrap().members;
    let of = |voter: bool| {
        let members = all.iter().filter(|member| member.voter == voter);
        let mut members: Vec<_> = members
            .map(|member: &v1::MemberInfo| (member.name.clone(), member.node_id))
            .collect();
        members.sort_unstable();
        members
    };
    (of(true), of(false))
}

fn names(members: &[(String, u64)]) -> String {
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.join(" ")
}

/// A removed replica ends by itself, and says why.
async fn removed(process: &Process) {
    ended(process).await;
    let tail = process.log_tail();
    assert_eq!(
        process.state(),
        State::Exited("exit status: 4".to_owned()),
        "{tail}"
    );
    assert!(tail.contains("was removed from its cluster"), "{tail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_three_to_five_and_back_by_others() {
    let mut cluster = Running::start(3).await;
    let load = cluster.load("grow").await;
    load.progress(100, LONG).await.unwrap();
    cluster.add().unwrap();
    cluster.add().unwrap();
    let listed = works(&cluster, &["member", "add", "d", "e"]).await;
    assert!(listed.contains("learner"), "{listed}");
    let (voters, learners) = members(&cluster).await;
    assert_eq!(
        (names(&voters), names(&learners)),
        ("a b c".to_owned(), "d e".to_owned())
    );
    assert!(learners.iter().all(|(_, node)| *node > 3), "{learners:?}");

    refused(&cluster, &["member", "promote", "d"], "4 voters").await;
    refused(
        &cluster,
        &["member", "promote", "x", "--deadline-ms", "500"],
        "x has not joined",
    )
    .await;
    refused(&cluster, &["member", "remove", "x"], "no member has this name").await;
    works(&cluster, &["member", "promote", "d", "e"]).await;
    works(&cluster, &["member", "promote", "d", "e"]).await;
    let (voters, learners) = members(&cluster).await;
    assert_eq!(
        (names(&voters), names(&learners)),
        ("a b c d e".to_owned(), String::new())
    );
    load.progress(100, LONG).await.unwrap();

    // Two of the first leave, the leader among them.
    let leader = cluster.leader().await.name().to_owned();
    let other = if leader == "a" { "b" } else { "a" };
    works(&cluster, &["member", "remove", &leader, other]).await;
    let (voters, _) = members(&cluster).await;
    assert_eq!(voters.len(), 3, "{voters:?}");
    for name in [leader.as_str(), other] {
        let process = cluster.processes().iter().find(|process| process.name() == name);
        removed(process.unwrap()).await;
    }
    load.progress(100, LONG).await.unwrap();
    // They have learnt it for good: with the same directory they stay out.
    let process = cluster
        .processes()
        .iter()
        .find(|process| process.name() == other)
        .unwrap();
    process.start().unwrap();
    removed(process).await;
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_is_wiped_in_turn_and_takes_its_place_again() {
    let cluster = Running::start(3).await;
    let load = cluster.load("wipe").await;
    load.progress(100, LONG).await.unwrap();
    let (before, _) = members(&cluster).await;
    for process in cluster.processes() {
        process.kill().unwrap();
        ended(process).await;
        std::fs::remove_dir_all(process.data_dir()).unwrap();
        process.start().unwrap();
        tokio::time::timeout(LONG, async {
            loop {
                let (voters, learners) = members(&cluster).await;
                let place = voters.iter().find(|(name, _)| name == process.name()).unwrap();
                if learners.is_empty() && !before.contains(place) {
                    break;
                }
                load.progress(5, LONG).await.unwrap();
            }
        })
        .await
        .expect("it takes its old place");
        cluster.ready(LONG).await.unwrap();
        load.progress(100, LONG).await.unwrap();
    }
    let (after, learners) = members(&cluster).await;
    assert_eq!(
        (names(&after), names(&learners)),
        ("a b c".to_owned(), String::new())
    );
    assert!(
        after.iter().all(|(_, node)| *node > 3),
        "no id is used again: {after:?}"
    );
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_takes_the_place_of_another_and_a_quorum_is_never_risked() {
    let mut cluster = Running::start(3).await;
    let load = cluster.load("replace").await;
    load.progress(100, LONG).await.unwrap();
    cluster.add().unwrap();
    let old = cluster.followers().await[0].name().to_owned();
    works(&cluster, &["member", "replace", &old, "d"]).await;
    let (voters, learners) = members(&cluster).await;
    assert!(
        names(&voters).ends_with(" d") && voters.len() == 3 && learners.is_empty(),
        "{voters:?}"
    );
    let process = cluster
        .processes()
        .iter()
        .find(|process| process.name() == old)
        .unwrap();
    removed(process).await;
    load.progress(100, LONG).await.unwrap();

    // One of three is down: another one cannot be removed, forced or not.
    let leader = cluster.leader().await.name().to_owned();
    let others: Vec<&str> = voters
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != leader)
        .collect();
    let down = cluster
        .processes()
        .iter()
        .find(|process| process.name() == others[0])
        .unwrap();
    down.kill().unwrap();
    ended(down).await;
    let want = "only 1 of the 2 future voters can be reached";
    refused(&cluster, &["member", "remove", others[1], "--force"], want).await;
    refused(&cluster, &["member", "remove", others[1]], "2 voters").await;
    load.progress(100, LONG).await.unwrap();
    down.start().unwrap();
    cluster.ready(LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_its_quorum_for_good_is_recovered_and_grows_again() {
    let cluster = Running::start(3).await;
    let load = cluster.load("before").await;
    load.progress(300, LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
    let databases = works(&cluster, &["catalog", "database", "list"]).await;
    for process in cluster.processes() {
        process.kill().unwrap();
        ended(process).await;
    }
    let [lost, survivor, also_lost] = cluster.processes() else {
        unreachable!("three replicas")
    };
    for process in [lost, also_lost] {
        std::fs::remove_dir_all(process.data_dir()).unwrap();
    }
    // All three would form a new cluster if the survivor looked empty while it starts; they wait for a leader that cannot
    // be.
    for process in cluster.processes() {
        process.start().unwrap();
    }
    tokio::time::timeout(LONG, async {
        while !std::fs::read_to_string(lost.log_path())
            .unwrap()
            .contains("it has no leader now")
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it says what it waits for");
    refused(&cluster, &["leader", "show", "--deadline-ms", "1000"], "").await;

    survivor.terminate().unwrap();
    ended(survivor).await;
    let output = tokio::process::Command::new(PROGRAM)
        .args([
            "recover",
            "--force-new-cluster",
            "--yes",
            "--name",
            survivor.name(),
            "--data-dir",
        ])
        .arg(survivor.data_dir())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    survivor.start().unwrap();
    works(&cluster, &["member", "promote", lost.name(), also_lost.name()]).await;
    let (voters, learners) = members(&cluster).await;
    assert_eq!(
        (names(&voters), names(&learners)),
        ("a b c".to_owned(), String::new())
    );
    assert_eq!(works(&cluster, &["catalog", "database", "list"]).await, databases);
    cluster.ready(LONG).await.unwrap();
    let load = cluster.load("after").await;
    load.progress(300, LONG).await.unwrap();
    cluster.verdict_without_failures(load).await;
}
