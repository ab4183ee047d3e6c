//! etcd's clients, at every replica.

use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::request_op::Request as Op;
use quorate_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
};
use tonic::Code;
use tonic::transport::Channel;

use crate::cluster::{Cluster, soon, until};

fn put(key: &str, value: impl Into<Vec<u8>>) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.into().into(),
        ..PutRequest::default()
    }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}

/// One client for each replica, of a cluster whose members all know of etcd's keys.
async fn clients(cluster: &Cluster, size: usize) -> Vec<KvClient<Channel>> {
    let clients: Vec<_> = (0..size)
        .map(|number| KvClient::new(cluster.channel(number)))
        .collect();
    until("the feature level is raised", async || {
        let answer = clients[0].clone().put(put("first", "1")).await;
        match answer {
            Ok(_) => Some(()),
            Err(status) if status.code() == Code::FailedPrecondition => None,
            Err(status) => panic!("{status:?}"),
        }
    })
    .await;
    clients
}

fn header(answer: Option<ResponseHeader>) -> ResponseHeader {
    answer.expect("every answer has a head")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_at_one_replica_is_read_at_all() {
    let cluster = Cluster::start(3).await;
    let mut clients = clients(&cluster, 3).await;
    let mut last = 2;
    for writer in 0..3 {
        let value = format!("by {writer}");
        let written = soon(clients[writer].put(put("k", value.clone()))).await.unwrap();
        let written = header(written.into_inner().header);
        last += 1;
        assert_eq!(
            (written.revision, written.member_id),
            (last, cluster.node(writer))
        );
        assert!(written.cluster_id != 0 && written.raft_term != 0);
        for reader in &mut clients {
            let read = soon(reader.range(get("k"))).await.unwrap().into_inner();
            assert_eq!(read.kvs[0].value, value);
            let head = header(read.header);
            assert_eq!((head.revision, head.cluster_id), (last, written.cluster_id));
        }
    }
    // Who wrote here reads it here, be it without asking anybody.
    let follower = cluster.follower().await;
    soon(clients[follower].put(put("mine", "1"))).await.unwrap();
    let stale = RangeRequest {
        serializable: true,
        ..get("mine")
    };
    let read = soon(clients[follower].range(stale)).await.unwrap().into_inner();
    assert_eq!(read.count, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_taken_once_whoever_is_asked() {
    let cluster = Cluster::start(3).await;
    let clients = clients(&cluster, 3).await;
    let take = |owner: usize| {
        let mut client = clients[owner % 3].clone();
        let absent = Compare {
            key: "lock".into(),
            target_union: Some(TargetUnion::Version(0)),
            ..Compare::default()
        };
        let own = RequestOp {
            request: Some(Op::RequestPut(put("lock", owner.to_string()))),
        };
        let txn = TxnRequest {
            compare: vec![absent],
            success: vec![own],
            failure: Vec::new(),
        };
        async move { client.txn(txn).await.unwrap().into_inner().succeeded }
    };
    let takers = (0..30).map(take);
    let taken = soon(futures_util::future::join_all(takers)).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_told_in_etcds_words_on_the_wire() {
    let cluster = Cluster::start(1).await;
    let mut client = clients(&cluster, 1).await.remove(0);
    let told = |status: tonic::Status| (status.code(), status.message().to_owned());
    let cases = [
        (
            put("", "v"),
            Code::InvalidArgument,
            "etcdserver: key is not provided",
        ),
        (
            put("k", vec![0; 1_600_000]),
            Code::InvalidArgument,
            "etcdserver: request is too large",
        ),
        (
            PutRequest {
                lease: 7,
                ..put("k", "v")
            },
            Code::NotFound,
            "etcdserver: requested lease not found",
        ),
    ];
    for (request, code, text) in cases {
        let status = client.put(request).await.expect_err("refused");
        assert_eq!(told(status), (code, text.to_owned()));
    }
    let future = RangeRequest {
        revision: 1_000_000,
        ..get("k")
    };
    let status = client.range(future).await.expect_err("refused");
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(told(status), (Code::OutOfRange, text.to_owned()));

    // Beyond what is read at all, and deeper than messages may nest: nobody is harmed.
    let status = client
        .put(put("k", vec![0; 3_000_000]))
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let mut deep = TxnRequest::default();
    for _ in 0..500 {
        let op = RequestOp {
            request: Some(Op::RequestTxn(deep)),
        };
        deep = TxnRequest {
            success: vec![op],
            ..TxnRequest::default()
        };
    }
    let status = client.txn(deep).await.expect_err("refused");
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let all = DeleteRangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        prev_kv: true,
    };
    let deleted = client.delete_range(all).await.unwrap().into_inner();
    assert_eq!((deleted.deleted, deleted.prev_kvs.len()), (1, 1));
    cluster.stop().await;
}
