//! Sessions across changes of leader.

use std::time::Duration;

use quorate_client::{Client, Error, Session, SessionState, v1};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::model::{address, refused};
use crate::replica::Rule;

const TTL: Duration = Duration::from_secs(9);

fn worker() -> v1::Worker {
    v1::Worker {
        kind: v1::WorkerKind::QueryNode.into(),
        name: "w1".to_owned(),
        ..Default::default()
    }
}

async fn open(client: &Client) -> Session {
    client.session(worker(), TTL).open().await.expect("opened")
}

async fn until(session: &Session, wanted: impl Fn(&SessionState) -> bool) -> SessionState {
    let mut states = session.state();
    let state = states
        .wait_for(wanted)
        .await
        .expect("the keeper lives")
        .to_owned();
    drop(states);
    state
}

fn in_jeopardy(state: &SessionState) -> bool {
    matches!(state, SessionState::Jeopardy { .. })
}

#[tokio::test(start_paused = true)]
async fn keep_alives_keep_it_ready() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let opening = client.session(worker(), TTL);
    let states = opening.state();
    assert_eq!(*states.borrow(), SessionState::Connecting);
    let session = opening.open().await.expect("opened");
    assert_eq!((session.id(), session.epoch().0), (1, 101));
    for _ in 0..10 {
        sleep(TTL).await;
        assert_eq!(*states.borrow(), SessionState::Ready);
        let left = session.confirmed_until() - Instant::now();
        assert!(left > TTL / 2 && left <= TTL, "{left:?}");
    }
    assert_eq!(cluster.model().sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_loses_no_session() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = open(&client).await;
    let (id, epoch) = (session.id(), session.epoch());
    cluster.kill(1);
    let died = Instant::now();
    let jeopardy = until(&session, in_jeopardy).await;
    let SessionState::Jeopardy { since } = jeopardy else {
        unreachable!()
    };
    assert!(since - died < Duration::from_millis(10));
    sleep(Duration::from_millis(300)).await;
    cluster.elect(2, 2);
    let elected = Instant::now();
    until(&session, |state| *state == SessionState::Ready).await;
    assert!(
        elected.elapsed() < Duration::from_millis(200),
        "{:?}",
        elected.elapsed()
    );
    assert_eq!((session.id(), session.epoch()), (id, epoch));
    assert_eq!(cluster.model().sessions.len(), 1, "no second session was opened");
}

#[tokio::test(start_paused = true)]
async fn an_orderly_handover_moves_the_session() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = open(&client).await;
    cluster.elect(3, 2);
    until(&session, in_jeopardy).await;
    until(&session, |state| *state == SessionState::Ready).await;
    sleep(TTL * 3).await;
    assert_eq!(*session.state().borrow(), SessionState::Ready);
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_in_jeopardy_even_past_the_ttl_and_the_session_may_come_back() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = open(&client).await;
    for node in 1..=3 {
        cluster.kill(node);
    }
    sleep(TTL * 5).await;
    assert!(
        in_jeopardy(&session.state().borrow()),
        "nobody has said that it is over"
    );
    assert!(
        session.confirmed_until() < Instant::now(),
        "a cautious worker can tell"
    );
    for node in 1..=3 {
        cluster.restart(node).await;
    }
    until(&session, |state| *state == SessionState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_cluster_has_ended_is_fenced() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    for reason in [v1::Reason::SessionFenced, v1::Reason::SessionNotFound] {
        let session = open(&client).await;
        cluster[1].script([Rule::Answer(refused(reason))]);
        cluster.network.cut(&address(1));
        until(&session, |state| *state == SessionState::Fenced).await;
        sleep(TTL).await;
        assert_eq!(*session.state().borrow(), SessionState::Fenced, "for good");
        session.close().await.expect("there is nothing to close");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_answering_keep_alives_is_left_in_time() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = open(&client).await;
    let opened = Instant::now();
    cluster[1].mute(true);
    let SessionState::Jeopardy { since } = until(&session, in_jeopardy).await else {
        unreachable!()
    };
    assert_eq!(
        (since - opened).as_secs(),
        9,
        "a third until the next keep-alive, two thirds of patience"
    );
    cluster[1].mute(false);
    until(&session, |state| *state == SessionState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_left_when_another_is_elected() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = open(&client).await;
    cluster.network.freeze(&address(1), true);
    sleep(Duration::from_secs(1)).await;
    cluster[2].think(2, Some(2));
    cluster[3].think(2, Some(2));
    until(&session, in_jeopardy).await;
    until(&session, |state| *state == SessionState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn closing_ends_it_at_the_cluster_also_from_jeopardy() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = open(&client).await;
    let states = session.state();
    session.close().await.expect("closed");
    assert_eq!(*states.borrow(), SessionState::Closed);
    assert!(cluster.model().sessions.is_empty());

    let session = open(&client).await;
    cluster.kill(1);
    until(&session, in_jeopardy).await;
    let closing = tokio::spawn(session.close());
    sleep(Duration::from_secs(1)).await;
    cluster.elect(2, 2);
    closing.await.expect("no panic").expect("closed");
    assert!(cluster.model().sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closing_without_a_leader_ends_at_the_deadline_and_says_so() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let session = client
        .with_deadline(Duration::from_secs(2))
        .session(worker(), TTL)
        .open()
        .await
        .expect("opened");
    let states = session.state();
    for node in 1..=3 {
        cluster.kill(node);
    }
    let error = session.close().await.expect_err("nobody confirms");
    assert!(error.to_string().contains("will expire by itself"), "{error}");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*states.borrow(), SessionState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_is_told() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    for ttl in [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_secs(86_401),
        Duration::MAX,
    ] {
        let error = client
            .session(worker(), ttl)
            .open()
            .await
            .expect_err("out of range");
        assert!(
            matches!(&error, Error::Invalid { field, .. } if field == "ttl"),
            "{error}"
        );
    }
    cluster[1].script([Rule::Answer(refused(v1::Reason::SessionLimit))]);
    let error = client.session(worker(), TTL).open().await.expect_err("too many");
    assert_eq!(error.reason(), Some(v1::Reason::SessionLimit));

    for node in 1..=3 {
        cluster.kill(node);
    }
    let begun = Instant::now();
    let error = client
        .session(worker(), TTL)
        .open()
        .await
        .expect_err("no cluster");
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed() {
    let cluster = Cluster::three().await;
    let client = cluster.client();
    let _one = open(&client).await;
    let _two = open(&client).await;
    let listed: Vec<v1::Session> = futures_util::TryStreamExt::try_collect(client.sessions().list_all(None))
        .await
        .expect("listed");
    assert_eq!(listed.iter().map(|s| s.session_id).collect::<Vec<_>>(), [1, 2]);
}
