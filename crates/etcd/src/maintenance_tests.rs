//! Calls on a machine in memory, at a replica that leads three voters.

use futures_util::TryStreamExt;
use quorate_api::etcdserverpb::kv_server::Kv as _;
use quorate_api::etcdserverpb::maintenance_server::Maintenance as _;
use quorate_api::etcdserverpb::{CompactionRequest, ResponseHeader};
use quorate_types::Term;
use tonic::Code;

use super::*;
use crate::kv::Kv;
use crate::testing::{Memory, put_request};

fn services() -> (Kv<Memory>, Maintenance<Memory>) {
    let memory = Memory::new();
    (
        Kv(memory.clone(), Guard::new()),
        Maintenance::new(memory, Guard::new()),
    )
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 7,
        member_id: 2,
        revision,
        raft_term: 3,
    })
}

/// What an error is to a client.
fn told<T>(answer: Answer<T>) -> (Code, String) {
    let status = answer.err().expect("an error");
    (status.code(), status.message().to_owned())
}

fn error(code: Code, text: &str) -> (Code, String) {
    (code, text.to_owned())
}

async fn write(kv: &Kv<Memory>, keys: &[&str]) {
    for key in keys {
        kv.put(Request::new(put_request(key, "v"))).await.expect("a put");
    }
}

async fn hash_kv(service: &Maintenance<Memory>, revision: i64) -> Answer<HashKvResponse> {
    service.hash_kv(Request::new(HashKvRequest { revision })).await
}

#[tokio::test]
async fn a_status_says_how_the_replica_is() {
    let (kv, service) = services();
    write(&kv, &["a", "b"]).await;
    let status = service.status(Request::new(StatusRequest {})).await;
    let status = status.expect("a status").into_inner();
    assert_eq!(status.header, header(3));
    assert_eq!((status.leader, status.raft_term), (2, 3));
    assert!(status.raft_index >= status.raft_applied_index && status.raft_applied_index > 0);
    assert!(status.db_size > 0 && status.db_size == status.db_size_in_use);
    assert!(
        status.version.starts_with("3.5.") && status.errors.is_empty(),
        "{status:?}"
    );

    service.node.led_by(None);
    service.node.breaks(Unavailable::NotLeader {
        term: Term(3),
        leader: None,
    });
    let status = service.status(Request::new(StatusRequest {})).await;
    let status = status.expect("without a leader, too").into_inner();
    assert_eq!(
        (status.leader, &status.errors[..]),
        (0, &["etcdserver: no leader".to_owned()][..])
    );
}

#[tokio::test]
async fn keys_are_hashed_up_to_a_revision() {
    let ((kv, one), (other_kv, other)) = (services(), services());
    write(&kv, &["a", "b", "a"]).await;
    write(&other_kv, &["a", "b"]).await;
    let hash = |answer: Answer<HashKvResponse>| answer.expect("a hash").into_inner();
    let third = hash(hash_kv(&one, 3).await);
    assert_eq!(
        (third.header, third.hash_revision, third.compact_revision),
        (header(4), 3, -1)
    );
    let present = hash(hash_kv(&other, 0).await);
    assert_eq!((present.hash, present.hash_revision), (third.hash, 3));
    assert_eq!(
        hash(hash_kv(&other, -1).await).hash_revision,
        3,
        "the present one"
    );
    let fourth = hash(hash_kv(&one, 0).await);
    assert_eq!(fourth.hash_revision, 4);
    assert_ne!(fourth.hash, third.hash);

    let compact = CompactionRequest {
        revision: 3,
        physical: false,
    };
    kv.compact(Request::new(compact)).await.expect("compacted");
    let again = hash(hash_kv(&one, 3).await);
    assert_eq!((again.hash, again.compact_revision), (third.hash, 3));
    assert_eq!(
        told(hash_kv(&one, 2).await),
        error(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted"
        )
    );
    for future in [5, i64::MAX] {
        assert_eq!(
            told(hash_kv(&one, future).await),
            error(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision"
            )
        );
    }
}

#[tokio::test]
async fn everything_is_hashed_too() {
    let ((kv, one), (other_kv, other)) = (services(), services());
    let hash = async |service: &Maintenance<Memory>| {
        let answer = service.hash(Request::new(HashRequest {})).await;
        answer.expect("a hash").into_inner()
    };
    assert_eq!(hash(&one).await, hash(&other).await);
    write(&kv, &["a"]).await;
    assert_eq!(hash(&one).await.header, header(2));
    assert_ne!(hash(&one).await.hash, hash(&other).await.hash);
    write(&other_kv, &["a"]).await;
    assert_eq!(hash(&one).await, hash(&other).await);
}

#[tokio::test]
async fn no_more_is_made_at_once_than_is_good() {
    let (_, service) = services();
    let busy = error(Code::ResourceExhausted, "etcdserver: too many requests");
    let turns = service.hashes.try_acquire_many(2).expect("free");
    assert_eq!(told(hash_kv(&service, 0).await), busy);
    drop(turns);
    assert!(hash_kv(&service, 0).await.is_ok());

    let snapshot = async || service.snapshot(Request::new(SnapshotRequest {})).await;
    let (first, second) = (snapshot().await, snapshot().await);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(told(snapshot().await), busy);
    drop(first);
    assert!(snapshot().await.is_ok(), "who goes makes room");
}

#[tokio::test]
async fn a_snapshot_comes_in_pieces_that_say_how_much_is_left() {
    let (_, service) = services();
    let pieces = service.snapshot(Request::new(SnapshotRequest {})).await;
    let pieces: Vec<_> = pieces
        .expect("a snapshot")
        .into_inner()
        .try_collect()
        .await
        .expect("whole");
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| (&piece.blob[..], piece.remaining_bytes))
        .collect();
    assert_eq!(seen, [(&b"piece"[..], 7), (b"by", 5), (b"piece", 0)]);

    service.node.breaks(Unavailable::NotLeader {
        term: Term(3),
        leader: None,
    });
    let (code, text) = told(service.snapshot(Request::new(SnapshotRequest {})).await);
    assert_eq!(code, Code::FailedPrecondition, "not one that is asked again");
    assert!(text.contains("nobody leads"), "{text}");
    service.node.breaks(Unavailable::Stopped);
    let refused = told(service.snapshot(Request::new(SnapshotRequest {})).await);
    assert_eq!(refused, error(Code::Unavailable, "etcdserver: server stopped"));
}

#[tokio::test]
async fn only_the_leader_moves_the_lead_and_only_to_voters() {
    let move_to = async |service: &Maintenance<Memory>, target_id| {
        let request = MoveLeaderRequest { target_id };
        service.move_leader(Request::new(request)).await
    };
    let (_, service) = services();
    let bad = error(Code::FailedPrecondition, "etcdserver: bad leader transferee");
    for target in [0, 4, 5, u64::MAX] {
        assert_eq!(told(move_to(&service, target).await), bad, "{target}");
    }
    let moved = move_to(&service, 3).await.expect("moved").into_inner();
    assert_eq!(moved, MoveLeaderResponse { header: None });
    let not_leader = error(Code::FailedPrecondition, "etcdserver: not leader");
    assert_eq!(told(move_to(&service, 2).await), not_leader);

    let (_, service) = services();
    service.node.usurped_by(1);
    let too_long = error(
        Code::Unknown,
        "etcdserver: request timed out, leader transfer took too long",
    );
    assert_eq!(told(move_to(&service, 3).await), too_long);
}

#[tokio::test]
async fn there_is_nothing_to_defragment_to_silence_or_to_go_back_to() {
    let (_, service) = services();
    let done = service.defragment(Request::new(DefragmentRequest {})).await;
    assert_eq!(
        done.expect("done").into_inner(),
        DefragmentResponse { header: None }
    );

    let alarm = async |action| {
        let request = AlarmRequest {
            action,
            member_id: 0,
            alarm: 1,
        };
        service.alarm(Request::new(request)).await
    };
    let (get, activate, deactivate) = (0, 1, 2);
    for action in [get, deactivate] {
        let want = AlarmResponse {
            header: header(1),
            alarms: Vec::new(),
        };
        assert_eq!(alarm(action).await.expect("none").into_inner(), want);
    }
    let raised = error(
        Code::Unimplemented,
        "etcdserver: alarms are not raised by clients",
    );
    assert_eq!(told(alarm(activate).await), raised);

    let downgrade = async |action, version: &str| {
        let request = DowngradeRequest {
            action,
            version: version.to_owned(),
        };
        told(service.downgrade(Request::new(request)).await)
    };
    let (validate, cancel) = (0, 2);
    assert_eq!(
        downgrade(validate, "3.4").await,
        error(
            Code::InvalidArgument,
            "etcdserver: invalid downgrade target version"
        )
    );
    assert_eq!(
        downgrade(cancel, "").await,
        error(Code::FailedPrecondition, "etcdserver: no inflight downgrade job")
    );

    service.node.breaks(Unavailable::NotLeader {
        term: Term(3),
        leader: None,
    });
    let cut_off = told(alarm(get).await);
    assert_eq!(cut_off, error(Code::Unavailable, "etcdserver: no leader"));
}
