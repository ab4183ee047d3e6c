//! Sessions of workers, through the client and by hand.

use std::time::Duration;

use quorate_api::v1;
use quorate_api::v1::attach_request::Kind as Asked;
use quorate_api::v1::attach_response::Kind as Said;
use quorate_api::v1::session_closed::Why;
use quorate_client::{Client, SessionState};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::cluster::{Cluster, malformed_field, soon, trailer, until};

fn worker(name: &str) -> v1::Worker {
    v1::Worker {
        kind: v1::WorkerKind::QueryNode.into(),
        name: name.to_owned(),
        address: format!("{name}:21123"),
        zone: "a".to_owned(),
        resource_group: "rg".to_owned(),
        capacity: [("slots".to_owned(), 4)].into(),
    }
}

/// A stream of a worker, by hand. Dropping it breaks it.
struct Attached {
    requests: mpsc::Sender<v1::AttachRequest>,
    answers: Streaming<v1::AttachResponse>,
}

impl Attached {
    async fn open(cluster: &Cluster, number: usize, open: v1::OpenSession) -> Self {
        let mut attached = Self::silent(cluster, number).await;
        attached.ask(Asked::Open(open)).await;
        attached
    }

    /// The headers of the answer come before anything is asked.
    async fn silent(cluster: &Cluster, number: usize) -> Self {
        let mut client = v1::sessions_client::SessionsClient::new(cluster.channel(number));
        let (requests, outgoing) = mpsc::channel(8);
        let outgoing = futures_util::stream::unfold(outgoing, |mut outgoing| async move {
            Some((outgoing.recv().await?, outgoing))
        });
        let answers = soon(client.attach(outgoing)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn ask(&mut self, kind: Asked) {
        self.requests
            .send(v1::AttachRequest { kind: Some(kind) })
            .await
            .unwrap();
    }

    async fn next(&mut self) -> Result<Option<Said>, Status> {
        Ok(soon(self.answers.message())
            .await?
            .map(|answer| answer.kind.unwrap()))
    }

    async fn opened(&mut self) -> v1::SessionOpened {
        match self.next().await.unwrap() {
            Some(Said::Opened(opened)) => opened,
            other => panic!("not opened: {other:?}"),
        }
    }

    async fn closed(&mut self) -> v1::SessionClosed {
        match self.next().await.unwrap() {
            Some(Said::Closed(closed)) => {
                assert_eq!(self.next().await.unwrap(), None, "nothing follows");
                closed
            }
            other => panic!("not closed: {other:?}"),
        }
    }

    async fn kept_alive(&mut self) {
        self.ask(Asked::KeepAlive(v1::KeepAlive {})).await;
        match self.next().await.unwrap() {
            Some(Said::KeptAlive(kept)) => assert_eq!(kept.ttl_ms, LONG_TTL_MS),
            other => panic!("not kept alive: {other:?}"),
        }
    }
}

/// No session of these tests runs out by itself.
const LONG_TTL_MS: u64 = 600_000;

fn new(name: &str) -> v1::OpenSession {
    v1::OpenSession {
        worker: Some(worker(name)),
        ttl_ms: LONG_TTL_MS,
        session_id: 0,
        epoch: 0,
    }
}

fn resume(opened: &v1::SessionOpened) -> v1::OpenSession {
    v1::OpenSession {
        session_id: opened.session_id,
        epoch: opened.epoch,
        ..Default::default()
    }
}

async fn live(client: &Client) -> Vec<v1::Session> {
    client
        .sessions()
        .list(v1::ListSessionsRequest::default())
        .await
        .unwrap()
        .sessions
}

async fn gone(client: &Client, session: u64) {
    until("the session has ended", || async {
        live(client)
            .await
            .iter()
            .all(|one| one.session_id != session)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_kept_over_a_change_of_leader_and_closed_at_will() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let session = client
        .session(worker("q1"), Duration::from_secs(2))
        .open()
        .await
        .unwrap();
    let mut state = session.state();
    assert_eq!(*state.borrow_and_update(), SessionState::Ready);
    let listed = live(&client).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].session_id, listed[0].epoch),
        (session.id(), session.epoch().0)
    );
    assert_eq!(
        (listed[0].worker.clone(), listed[0].ttl_ms),
        (Some(worker("q1")), 2_000)
    );

    cluster.transfer().await;
    let before = session.confirmed_until();
    until("a keep-alive is confirmed by the new leader", || async {
        let ready = *session.state().borrow() == SessionState::Ready;
        (ready && session.confirmed_until() > before + Duration::from_secs(1)).then_some(())
    })
    .await;
    assert_eq!(live(&client).await, listed, "the same session, the same epoch");

    session.close().await.unwrap();
    assert_eq!(*state.borrow_and_update(), SessionState::Closed);
    assert!(live(&client).await.is_empty());
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_session_of_a_worker_fences_the_first_at_once() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let mut first = Attached::silent(&cluster, 0).await;
    first.ask(Asked::Open(new("q1"))).await;
    let one = first.opened().await;
    assert!(!one.resumed && one.session_id > 0 && one.ttl_ms == LONG_TTL_MS);
    first.kept_alive().await;
    first.kept_alive().await;

    let mut second = Attached::open(&cluster, 0, new("q1")).await;
    let two = second.opened().await;
    assert!(two.epoch > one.epoch && two.session_id != one.session_id);
    // Without a keep-alive in between.
    assert_eq!(first.closed().await.why(), Why::Fenced);
    let mut again = Attached::open(&cluster, 0, resume(&one)).await;
    assert_eq!(again.closed().await.why(), Why::Fenced, "it stays so");
    assert_eq!(live(&client).await.len(), 1);

    second.ask(Asked::Close(v1::CloseSession {})).await;
    assert_eq!(second.closed().await.why(), Why::Closed);
    assert!(live(&client).await.is_empty());
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_ends_its_session_after_the_grace_unless_it_is_resumed() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let mut first = Attached::open(&cluster, 0, new("resumed")).await;
    let resumed = first.opened().await;
    let mut old = Attached::open(&cluster, 0, new("moved")).await;
    let moved = old.opened().await;
    // The worker reconnects before its old connection is known to be dead.
    let mut moved_to = Attached::open(&cluster, 0, resume(&moved)).await;
    assert!(moved_to.opened().await.resumed);

    drop(first);
    let mut again = Attached::open(&cluster, 0, resume(&resumed)).await;
    let answer = again.opened().await;
    assert!(answer.resumed);
    assert_eq!(
        (answer.session_id, answer.epoch),
        (resumed.session_id, resumed.epoch)
    );
    drop(old);

    // Both breaks came before this one, so their graces are over when this one's is.
    let mut lost = Attached::open(&cluster, 0, new("lost")).await;
    let lost_session = lost.opened().await.session_id;
    drop(lost);
    gone(&client, lost_session).await;
    let mut names: Vec<String> = live(&client)
        .await
        .into_iter()
        .map(|one| one.worker.unwrap().name)
        .collect();
    names.sort();
    assert_eq!(names, ["moved", "resumed"]);
    again.kept_alive().await;
    moved_to.kept_alive().await;

    // A worker that half-closes without a word is as gone as one that crashed.
    let Attached {
        requests,
        mut answers,
    } = again;
    drop(requests);
    assert!(soon(answers.message()).await.unwrap().is_none());
    gone(&client, resumed.session_id).await;
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_without_keep_alives_ends_with_its_time_and_its_stream_is_told() {
    let cluster = Cluster::start(1).await;
    let open = v1::OpenSession {
        ttl_ms: 1_000,
        ..new("q1")
    };
    let mut silent = Attached::open(&cluster, 0, open).await;
    silent.opened().await;
    assert_eq!(silent.closed().await.why(), Why::Fenced);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_leader_sends_every_stream_to_the_new_one() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let mut streams = Vec::new();
    for number in 0..5 {
        let mut attached = Attached::open(&cluster, cluster.leader().await, new(&format!("q{number}"))).await;
        streams.push((attached.opened().await, attached));
    }
    let before = live(&client).await;
    let leader = cluster.transfer().await;
    for (opened, mut attached) in streams {
        let closed = attached.closed().await;
        assert_eq!(closed.why(), Why::LeaderChanged);
        let hint = closed.leader.expect("a hint");
        assert_eq!(
            (hint.node_id, &hint.address),
            (cluster.node(leader), &cluster.listed[leader].client_address)
        );
        let mut attached = Attached::open(&cluster, leader, resume(&opened)).await;
        let resumed = attached.opened().await;
        assert!(resumed.resumed);
        assert_eq!(
            (resumed.session_id, resumed.epoch),
            (opened.session_id, opened.epoch)
        );
        attached.ask(Asked::KeepAlive(v1::KeepAlive {})).await;
        assert!(matches!(attached.next().await.unwrap(), Some(Said::KeptAlive(_))));
        // The stream ends with the next turn of the loop; the grace is longer than this test's last look.
    }
    let after = live(&client).await;
    assert!(
        after.iter().all(|session| before.contains(session)),
        "no session was opened anew"
    );
    client.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_suspects_nobody() {
    let mut cluster = Cluster::start(1).await;
    let mut attached = Attached::open(&cluster, 0, new("q1")).await;
    let opened = attached.opened().await;
    let stopping = async {
        cluster.stop_one(0).await;
    };
    let (closed, ()) = tokio::join!(attached.closed(), stopping);
    assert_eq!((closed.why(), closed.leader), (Why::LeaderChanged, None));
    cluster.start_one(0).await;
    soon(cluster.at(0).ready()).await.unwrap();
    let mut attached = Attached::open(&cluster, 0, resume(&opened)).await;
    assert!(attached.opened().await.resumed);
    attached.kept_alive().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_make_no_sense_end_with_what_is_wrong() {
    let cluster = Cluster::start(1).await;
    let of = |change: fn(&mut v1::OpenSession)| {
        let mut open = new("q1");
        change(&mut open);
        Some(Asked::Open(open))
    };
    let cases: Vec<(Option<Asked>, &str)> = vec![
        (Some(Asked::KeepAlive(v1::KeepAlive {})), "open"),
        (Some(Asked::Close(v1::CloseSession {})), "open"),
        (None, "open"),
        (of(|open| open.epoch = 3), "open.session_id"),
        (of(|open| open.session_id = 3), "open.epoch"),
        (of(|open| open.worker = None), "open.worker"),
        (
            of(|open| open.worker.as_mut().unwrap().kind = 0),
            "open.worker.kind",
        ),
        (
            of(|open| open.worker.as_mut().unwrap().kind = 42),
            "open.worker.kind",
        ),
        (
            of(|open| open.worker.as_mut().unwrap().name = "n".repeat(9_999)),
            "open.worker.name",
        ),
    ];
    for (kind, field) in cases {
        let mut attached = Attached::silent(&cluster, 0).await;
        attached.requests.send(v1::AttachRequest { kind }).await.unwrap();
        let status = attached.next().await.expect_err(field);
        assert_eq!(malformed_field(&status), field);
    }
    for ttl_ms in [0, 999, 86_400_001, u64::MAX] {
        let mut attached = Attached::open(&cluster, 0, v1::OpenSession { ttl_ms, ..new("q1") }).await;
        let status = attached.next().await.expect_err("out of range");
        assert_eq!(
            (status.code(), trailer(&status, "quorate-reason")),
            (Code::InvalidArgument, Some("INVALID_PARAMETER"))
        );
    }
    let unknown = v1::SessionOpened {
        session_id: 999_999,
        epoch: 1,
        ..Default::default()
    };
    let mut attached = Attached::open(&cluster, 0, resume(&unknown)).await;
    assert_eq!(attached.closed().await.why(), Why::Fenced);

    let mut attached = Attached::open(&cluster, 0, new("q1")).await;
    attached.opened().await;
    attached.ask(Asked::Open(new("q2"))).await;
    assert_eq!(
        malformed_field(&attached.next().await.expect_err("opened twice")),
        "open"
    );
    cluster.stop().await;
}
