//! What a user does to the replicas, and what is told of it.

use crate::fleet::{Fleet, leader};

#[test]
fn a_killed_leader_is_followed_by_another_and_the_gap_is_told() {
    let mut fleet = Fleet::running(&[]);
    fleet.until("all 8 workers have their sessions");
    fleet.say("kill leader");
    let killed = fleet.until("kill -9 ");
    assert!(killed.ends_with(" (the leader)"), "{killed}");
    let first = killed
        .split_once("kill -9 ")
        .unwrap()
        .1
        .chars()
        .next()
        .unwrap()
        .to_string();
    let second = leader(&fleet.until("(was "));
    assert_ne!(first, second);
    let story = fleet.until(&format!("failover {first} -> {second}"));
    assert!(
        story.contains(" crash: clients waited ") && story.contains("kill -> "),
        "{story}"
    );
    for step in ["elected ", "first_commit ", "acknowledged "] {
        assert!(story.contains(step), "{step} is missing in {story}");
    }

    fleet.say(&format!("start {first}"));
    fleet.until(&format!("replica {first} is back as follower"));
    fleet.say(&format!("transfer {first}"));
    fleet.until(&format!("leader {first}, term"));
    let story = fleet.until(&format!("failover {second} -> {first}"));
    assert!(story.contains(" transfer: clients waited "), "{story}");

    fleet.say("status");
    fleet.until("LAST FAILOVER");
    assert!(
        fleet
            .said
            .iter()
            .any(|line| line.contains("WRITES   acknowledged") && line.contains("failed 0"))
    );
    fleet.say("quit");
    fleet.ends_clean();
}

#[test]
fn a_paused_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut fleet = Fleet::running(&["--profile", "lan", "--workers", "1"]);
    fleet.say("pause leader");
    let was = fleet.until("pause ");
    let (_, was) = was.split_once("pause ").unwrap();
    let was = was.chars().next().unwrap();
    fleet.until(&format!("(was {was})"));
    fleet.until("timeout: clients waited ");
    fleet.say(&format!("resume {was}"));
    fleet.until(&format!("resume {was}"));
    fleet.say("quit");
    fleet.ends_clean();
}

#[test]
fn a_stopped_replica_can_be_started_at_once() {
    let mut fleet = Fleet::running(&["--workers", "0"]);
    fleet.say("stop b\nstart b");
    fleet.until("replica b ended: exit status: 0");
    fleet.until("replica b is back as ");
    fleet.say("quit");
    fleet.ends_clean();
}

#[test]
fn what_cannot_be_done_is_told_and_ends_nothing() {
    let mut fleet = Fleet::running(&["--replicas", "1", "--workers", "0"]);
    let cases = [
        ("explode", "\"explode\" is no command; there are: kill"),
        ("kill", "kill whom?"),
        ("kill z", "there is no replica \"z\"; there are a"),
        ("start a", "replica a runs already"),
        ("transfer", "leadership was not handed over"),
        ("help", "kill|pause|resume|stop|start"),
    ];
    for (line, want) in cases {
        fleet.say(line);
        fleet.until(want);
    }
    fleet.say("kill a");
    fleet.until("nobody leads");
    fleet.say("kill leader");
    fleet.until("nobody leads at the moment");
    fleet.say("resume a");
    fleet.until("replica a does not run");
    fleet.say("quit");
    fleet.ends_clean();
}
