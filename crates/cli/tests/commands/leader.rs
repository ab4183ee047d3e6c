//! Who leads, and handing over, on three replicas.

use serde_json::Value;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_shown_and_handed_over() {
    let house = House::of(3).await;
    let names = ["a", "b", "c"];
    let first = house.json(&["leader", "show"]);
    let name = first["name"].as_str().unwrap();
    let line = house.works(&["leader", "show"]);
    assert!(line.starts_with(&format!("{name} (node ")), "{line}");

    // To somebody, by name; again changes nothing; by id; to anybody.
    let other = names.iter().find(|other| **other != name).unwrap();
    let second = house.json(&["leader", "transfer", "--to", other]);
    assert_eq!(second["name"], **other);
    assert!(second["term"].as_u64() > first["term"].as_u64());
    let again = house.json(&["leader", "transfer", "--to", other]);
    assert_eq!(again["name"], **other);
    let third = house.json(&["leader", "transfer", "--to", &first["node_id"].to_string()]);
    assert_eq!(third["name"], first["name"]);
    let fourth = house.json(&["leader", "transfer"]);
    assert_ne!(fourth["name"], third["name"]);
    assert_eq!(house.json(&["leader", "show"])["node_id"], fourth["node_id"]);

    let arguments = ["leader", "transfer", "--to", "nobody\u{7}"];
    let said = house.say(&arguments);
    said.assert_failed(2, &arguments);
    assert!(
        said.err
            .contains("no replica has this name or node id; there are a (1), b (2), c (3)"),
        "{}",
        said.err
    );

    // The status tells of the hand-over.
    let status = house.json(&["status"]);
    assert_eq!(status["leader"]["name"], fourth["name"]);
    assert_eq!(status["last_leader_change"]["reason"], "transfer");
    assert_ne!(status["last_leader_change"]["took_us"], Value::from(0));
}
