//! Finding the leader, and following it from one replica to the next.

use std::time::Duration;

use futures_util::future::join_all;
use quorate_client::{Error, Outcome, v1};
use quorate_types::NodeId;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, leader_lost};
use crate::model::{address, hint, not_leader};
use crate::replica::Rule;

/// Less than any pause of the client: what takes no longer has waited for no timer.
const AT_ONCE: Duration = Duration::from_millis(25);

fn has(name: &str) -> v1::HasCollectionRequest {
    v1::HasCollectionRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn any_one_seed_leads_to_the_leader_and_all_members() {
    let cluster = Cluster::three().await;
    for seed in 1..=3 {
        let client = cluster.client_of(&[seed]);
        let leader = client.ready().await.expect("a leader");
        assert_eq!(
            (leader.node, leader.term.0, leader.address),
            (NodeId(1), 1, address(1))
        );
        assert_eq!(client.members().len(), 3);
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_is_pushed_and_requests_go_there_without_a_redirect() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    let mut leader = client.leader();
    cluster.elect(2, 2);
    leader
        .wait_for(|l| l.as_ref().is_some_and(|l| l.node == NodeId(2)))
        .await
        .expect("pushed");
    let begun = Instant::now();
    client.ids().allocate(1).await.expect("allocated");
    assert!(begun.elapsed() < AT_ONCE);
    assert_eq!(
        cluster.model().arrived.len(),
        2,
        "no attempt went to the old leader"
    );
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_at_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    // Only the old and the new leader know yet; nothing has been pushed for the redirect's term.
    cluster[1].script([Rule::Answer(not_leader(Some(hint(3, 2))))]);
    cluster[3].think(2, Some(3));
    let begun = Instant::now();
    client.ids().allocate(1).await.expect("allocated");
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_leads_to_a_replica_that_nobody_has_mentioned_before() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    let newcomer = cluster.newcomer(4).await;
    newcomer.think(2, Some(4));
    cluster[1].script([Rule::Answer(not_leader(Some(hint(4, 2))))]);
    let begun = Instant::now();
    client.ids().allocate(1).await.expect("allocated");
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_dead_for_long_is_dialled_at_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    for _ in 0..5 {
        // Long dead, it is dialled once a second at most.
        cluster.kill(3);
        sleep(Duration::from_secs(60)).await;
        cluster.restart(3).await;
        cluster.kill(1);
        let term = client
            .leader()
            .borrow()
            .as_ref()
            .map_or(0, |leader| leader.term.0)
            + 1;
        cluster.elect(3, term);
        let begun = Instant::now();
        client.ids().allocate(1).await.expect("allocated");
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        cluster.restart(1).await;
        cluster.elect(1, term + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_breaks_every_connection_is_not_dialled_in_a_loop() {
    let cluster = Cluster::leaderless(1).await;
    cluster.elect(1, 1);
    let client = cluster.client_of(&[1]);
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let mut leader = client.leader();
        leader.wait_for(Option::is_some).await.expect("the client lives");
        cluster.network.cut(&address(1));
        leader_lost(&client).await;
    }
    let dials = cluster.network.dials(&address(1));
    assert!(dials < 60, "{dials} dials in twenty seconds");
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_topology_falls_silent_is_not_trusted() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    sleep(Duration::from_secs(60)).await;
    assert!(client.leader().borrow().is_some(), "it repeats itself");
    cluster[1].quiet(true);
    let quiet = Instant::now();
    leader_lost(&client).await;
    let after = quiet.elapsed();
    assert!(
        after > Duration::from_secs(6) && after < Duration::from_secs(13),
        "{after:?}"
    );
    // It answers when it is asked anew.
    client.ids().allocate(1).await.expect("allocated");
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_survive_the_leaders_death_and_are_executed_once() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    // Half of them were executed and not answered, half not even that.
    cluster[1].script((0..20).map(|n| {
        if n % 2 == 0 {
            Rule::ExecuteThenHang
        } else {
            Rule::Hang
        }
    }));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let ids = client.ids();
            tokio::spawn(async move { ids.allocate(1).await })
        })
        .collect();
    while cluster[1].rules_left() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    cluster.kill(1);
    cluster[2].think(1, None);
    cluster[3].think(1, None);
    let begun = Instant::now();
    sleep(Duration::from_millis(10)).await;
    cluster.elect(2, 2);
    let mut given: Vec<u64> = Vec::new();
    for answer in join_all(calls).await {
        given.push(answer.expect("no panic").expect("allocated").start);
    }
    assert!(
        begun.elapsed() < Duration::from_millis(10) + AT_ONCE,
        "{:?}",
        begun.elapsed()
    );
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 20, "no id is given twice");
    assert_eq!(cluster.model().executed.len(), 21, "no write is executed twice");
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_disagree_the_higher_term_is_followed() {
    let cluster = Cluster::leaderless(3).await;
    cluster[1].think(4, Some(1));
    cluster[2].think(5, Some(3));
    cluster[3].think(5, Some(3));
    // The old leader has the lower term, and would hang whoever believes it.
    cluster[1].script([Rule::Hang, Rule::Hang]);
    let client = cluster.client();
    let mut leader = client.leader();
    leader
        .wait_for(|l| l.as_ref().is_some_and(|l| l.term.0 == 5))
        .await
        .expect("known");
    client.ids().allocate(1).await.expect("allocated");
    assert_eq!(leader.borrow().as_ref().map(|l| l.node), Some(NodeId(3)));
    assert_eq!(cluster[1].rules_left(), 2, "the old leader was not asked");
}

#[tokio::test(start_paused = true)]
async fn an_old_leader_that_still_answers_its_stream_is_not_believed_again() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ready().await.expect("a leader");
    cluster[2].think(2, Some(2));
    cluster[3].think(2, Some(2));
    let mut leader = client.leader();
    leader
        .wait_for(|l| l.as_ref().is_some_and(|l| l.term.0 == 2))
        .await
        .expect("known");
    // Cut off from its group, it goes on saying that it leads in term 1, every five seconds.
    sleep(Duration::from_secs(30)).await;
    assert_eq!(leader.borrow().as_ref().map(|l| l.node), Some(NodeId(2)));
    client.ids().allocate(1).await.expect("allocated");
}

#[tokio::test(start_paused = true)]
async fn a_request_during_an_election_is_held_by_a_replica_and_then_answered() {
    let cluster = Cluster::leaderless(3).await;
    let client = cluster.client();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.root().has_collection(has("books")).await }
    });
    sleep(Duration::from_millis(400)).await;
    assert!(!call.is_finished());
    let begun = Instant::now();
    cluster.elect(3, 7);
    assert!(!call.await.expect("no panic").expect("answered").exists);
    assert!(
        begun.elapsed() < Duration::from_millis(50),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_left_when_another_is_elected() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    cluster[1].script([Rule::ExecuteThenHang]);
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(5).await }
    });
    sleep(Duration::from_millis(500)).await;
    cluster.elect(2, 2);
    let begun = Instant::now();
    let ids = call.await.expect("no panic").expect("allocated");
    assert_eq!(ids, 2..7, "the recorded answer");
    assert!(
        begun.elapsed() < Duration::from_millis(50),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(cluster.model().executed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_noticed_and_left() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    // The host is gone: no connection breaks, nothing is answered.
    cluster.network.freeze(&address(1), true);
    let call = tokio::spawn({
        let ids = client.ids();
        async move { ids.allocate(1).await }
    });
    sleep(Duration::from_secs(1)).await;
    cluster[2].think(2, Some(2));
    cluster[3].think(2, Some(2));
    call.await.expect("no panic").expect("allocated");
    // HTTP/2 pings find the dead connection; then it is only dialled now and then.
    sleep(Duration::from_secs(10)).await;
    let leader = client.leader().borrow().clone();
    assert_eq!(leader.map(|l| l.node), Some(NodeId(2)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_to_a_living_leader_costs_no_pause() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    for _ in 0..3 {
        cluster.network.cut(&address(1));
        let begun = Instant::now();
        client.ids().allocate(1).await.expect("allocated");
        assert!(
            begun.elapsed() < Duration::from_millis(40),
            "{:?}",
            begun.elapsed()
        );
        sleep(Duration::from_secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_point_at_each_other_are_not_asked_in_a_loop() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    client.ids().allocate(1).await.expect("allocated");
    // The leader denies and names itself, again and again.
    cluster[1].script((0..1000).map(|_| Rule::Answer(not_leader(Some(hint(1, 1))))));
    let error = client.ids().allocate(1).await.expect_err("nobody takes it");
    assert!(
        matches!(
            error,
            Error::Unavailable {
                outcome: Outcome::NotExecuted,
                ..
            }
        ),
        "{error}"
    );
    let asked = 1000 - cluster[1].rules_left();
    assert!(asked < 60, "{asked} times in ten seconds");
}
