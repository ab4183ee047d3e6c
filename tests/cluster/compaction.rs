//! etcd's history is forgotten by itself when that is configured, whoever leads.

use std::time::Duration;

use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::{PutRequest, RangeRequest};
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::support::{LONG, Running, ended};

/// Writes the key; gives the revision.
async fn write(keys: &mut KvClient<Channel>, value: &str) -> i64 {
    let put = PutRequest {
        key: "k".into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    keys.put(put).await.unwrap().into_inner().header.unwrap().revision
}

/// Waits until a revision is forgotten, and not what was written last.
async fn forgotten(keys: &mut KvClient<Channel>, revision: i64, last: &str) {
    let read = |revision| RangeRequest {
        key: "k".into(),
        revision,
        ..RangeRequest::default()
    };
    let looking = async {
        loop {
            match keys.range(read(revision)).await {
                Ok(_) => sleep(Duration::from_millis(20)).await,
                Err(status) => break status,
            }
        }
    };
    let status = timeout(LONG, looking).await.expect("it is compacted soon");
    let text = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, text));
    let now = keys.range(read(0)).await.unwrap().into_inner();
    assert_eq!(now.kvs[0].value, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_forgotten_after_its_retention_also_by_the_next_leader() {
    let cluster = Running::with(3, |plan| {
        plan.argument("--auto-compaction-mode=periodic")
            .argument("--auto-compaction-retention=1s")
    })
    .await;
    let follower = cluster.followers().await[0].client_address();
    let endpoint = Endpoint::from_shared(format!("http://{follower}")).unwrap();
    let mut keys = KvClient::new(endpoint.connect_lazy());
    let first = write(&mut keys, "1").await;
    write(&mut keys, "2").await;
    forgotten(&mut keys, first, "2").await;

    let leader = cluster.leader().await;
    leader.kill().unwrap();
    ended(leader).await;
    let third = write(&mut keys, "3").await;
    write(&mut keys, "4").await;
    forgotten(&mut keys, third, "4").await;
    leader.start().unwrap();
    cluster.ready(LONG).await.unwrap();
    cluster.agree().await;
}
