//! The status of three replicas, while one and two of them are down.

use serde_json::Value;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_is_shown_dead_or_alive() {
    let house = House::of(3).await;
    let fields = ["--field", "id:int64,primary", "--field", "vec:float_vector,dim=8"];
    house.works(&[&["catalog", "collection", "create", "books"], &fields[..]].concat());

    let status = house.json(&["status"]);
    let leader = status["leader"]["node_id"].as_u64().unwrap();
    assert_ne!(status["digests"], "different");
    assert_eq!(status["cluster_id"].as_str().unwrap().len(), 32);
    let roles: Vec<&Value> = replicas(&status)
        .iter()
        .map(|replica| &replica["status"]["role"])
        .collect();
    assert_eq!(
        roles.iter().filter(|role| **role == "leader").count(),
        1,
        "{roles:?}"
    );
    assert_eq!(
        roles.iter().filter(|role| **role == "follower").count(),
        2,
        "{roles:?}"
    );
    let of_leader = &replicas(&status)[leader as usize - 1]["status"];
    assert_eq!(of_leader["collections"], 1);
    assert!(of_leader["flush_p99_us"].as_u64() >= of_leader["flush_p50_us"].as_u64());
    assert!(of_leader["last_log_index"].as_u64() >= of_leader["applied_index"].as_u64());
    let page = house.works(&["status"]);
    assert_narrow(&page);
    assert!(
        page.contains("\nleader   ") && page.contains("\ndigests  "),
        "{page}"
    );

    // One is down: it is shown with the reason, and the rest works.
    let dead: Vec<_> = house
        .cluster
        .processes()
        .iter()
        .filter(|process| process.node().0 != leader)
        .collect();
    dead[0].kill().unwrap();
    dead[0].exited().await;
    let status = house.json(&["status"]);
    let shown = &replicas(&status)[dead[0].node().0 as usize - 1];
    assert_eq!(shown["status"], Value::Null);
    assert!(
        shown["unreachable"].as_str().unwrap().contains("refused"),
        "{shown}"
    );
    let page = house.works(&["status"]);
    assert_narrow(&page);
    assert!(page.contains("unreachable"), "{page}");
    assert!(
        page.contains(&format!(
            "\nsilent   {} at {}: ",
            dead[0].name(),
            dead[0].client_address()
        )),
        "{page}"
    );

    // One seed of the living is enough to find all.
    let mut alone = crate::house::quorate(&["status", "--output", "json", "--seeds"]);
    let living = house
        .cluster
        .processes()
        .iter()
        .find(|process| process.node().0 == leader)
        .unwrap();
    alone.arg(living.client_address());
    let said = crate::house::run(alone);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(replicas(&serde_json::from_str(&said.out).unwrap()).len(), 3);

    // Two are down: nobody leads, which is told after all that is known. The survivor steps down when it notices.
    dead[1].kill().unwrap();
    dead[1].exited().await;
    let arguments = ["status", "--deadline-ms", "5000"];
    let said = loop {
        let said = house.say(&arguments);
        if said.code != Some(0) {
            break said;
        }
    };
    said.assert_failed(3, &arguments);
    assert!(said.err.contains("no leader"), "{}", said.err);
    assert_narrow(&said.out);
    assert_eq!(said.out.matches("unreachable").count(), 2, "{}", said.out);
    let arguments = ["leader", "show", "--deadline-ms", "500"];
    house.say(&arguments).assert_failed(3, &arguments);
    let stale = house.say(&["catalog", "collection", "has", "books", "--stale"]);
    assert_eq!((stale.code, stale.out.as_str()), (Some(0), "true\n"), "{stale:?}");
    let arguments = ["catalog", "collection", "has", "books", "--deadline-ms", "500"];
    house.say(&arguments).assert_failed(3, &arguments);
}

fn replicas(status: &Value) -> &Vec<Value> {
    status["replicas"].as_array().unwrap()
}

fn assert_narrow(page: &str) {
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}
