//! Sessions of workers, listed and watched.

use std::time::Duration;

use quorate_client::v1;
use serde_json::Value;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_by_kind() {
    let house = House::of(1).await;
    assert_eq!(house.works(&["sessions", "list", "--output", "json"]), "");
    let client = house.cluster.client().unwrap();
    let mut open = Vec::new();
    for (kind, name) in [(v1::WorkerKind::Proxy, "p1"), (v1::WorkerKind::QueryNode, "q1")] {
        let mut worker = v1::Worker {
            name: name.to_owned(),
            address: "127.0.0.1:1".to_owned(),
            ..Default::default()
        };
        worker.set_kind(kind);
        open.push(
            client
                .session(worker, Duration::from_secs(60))
                .open()
                .await
                .unwrap(),
        );
    }
    let names = |arguments: &[&str]| -> Vec<Value> {
        let listed = house.works(&[&["sessions", "list", "--output", "json"], arguments].concat());
        let rows = listed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["worker"]["name"].clone()).collect()
    };
    let mut all = names(&[]);
    all.sort_by_key(Value::to_string);
    assert_eq!(all, ["p1", "q1"]);
    assert_eq!(names(&["--kind", "query-node"]), ["q1"]);
    assert_eq!(names(&["--kind", "index-node"]), [""; 0]);
    let table = house.works(&["sessions", "list", "--kind", "proxy"]);
    assert!(
        table.starts_with("WORKER") && table.contains("\np1      proxy"),
        "{table}"
    );
    let page = house.json(&["status"]);
    assert_eq!(page["replicas"][0]["status"]["sessions"], 2);
    let watched = house.works(&["watch", "--with-state", "--kind", "session", "--limit", "2"]);
    assert_eq!(watched.matches("present   session").count(), 2, "{watched}");
    for session in open {
        session.close().await.unwrap();
    }
    client.close().await;
}
