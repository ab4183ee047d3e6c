//! Hostile clients of etcd's API at the leader: they hold on, do not read, flood, and send what is none. Meanwhile another
//! client is served without a failure, the process's memory stays below a bound, and nobody takes it for a death.

mod bytes;
mod neighbour;

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use quorate_api::etcdserverpb::cluster_client::ClusterClient;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_api::etcdserverpb::request_op::Request as Op;
use quorate_api::etcdserverpb::watch_client::WatchClient;
use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, MemberAddRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use quorate_api::v3lockpb::LockRequest;
use quorate_api::v3lockpb::lock_client::LockClient;
use quorate_local::{Process, State};
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use self::bytes::{PREFACE, around, call, connect, frame, nested, raw, wide};
use self::neighbour::{Memory, Neighbour, channel, get, within};
use crate::support::{LONG, PAUSE, Running, calm};

fn put(key: &str, value: Vec<u8>) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.into(),
        ..PutRequest::default()
    }
}

fn watching(key: &str) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: key.to_owned().into(),
            ..WatchCreateRequest::default()
        })),
    }
}

/// A stream with one watch, which is there.
async fn watch(channel: &Channel, key: &str) -> Streaming<WatchResponse> {
    let requests = stream::iter([watching(key)]);
    let opened = within(WatchClient::new(channel.clone()).watch(requests)).await;
    let mut answers = opened.unwrap().into_inner();
    let created = within(answers.message()).await.unwrap().expect("an answer");
    assert!(created.created && !created.canceled, "{created:?}");
    answers
}

/// The leader, and that it stays the leader.
async fn at_the_leader<T>(cluster: &Running, attack: impl AsyncFnOnce(&Process) -> T) -> T {
    let before = cluster.ready(LONG).await.unwrap();
    let leader = cluster.leader().await;
    let result = attack(leader).await;
    for process in cluster.processes() {
        assert_eq!(process.state(), State::Running, "{}", process.log_tail());
        let log = std::fs::read_to_string(process.log_path()).unwrap();
        assert!(!log.contains("panicked"), "{}", process.log_tail());
    }
    let after = cluster.ready(LONG).await.unwrap();
    assert_eq!(
        (after.node, after.term),
        (before.node, before.term),
        "the leader leads"
    );
    result
}

#[test]
fn clients_that_hold_on_are_cut_off_or_cost_little() {
    calm(PAUSE, async || {
        let cluster = Running::start(3).await;
        at_the_leader(&cluster, async |leader| {
            let neighbour = Neighbour::start(leader).await;
            neighbour.is_served().await;
            let memory = Memory::of(leader);

            // Connections that say nothing, begin, or leave a call half said; none answers a ping.
            let begun = [PREFACE, &frame(4, 0, 0, &[])].concat();
            let half = |path| [&begun[..], &call(path, None)].concat();
            let heads = [
                Vec::new(),
                PREFACE[..10].to_vec(),
                begun.clone(),
                half("/etcdserverpb.KV/Put"),
                half("/etcdserverpb.Watch/Watch"),
                half("/etcdserverpb.Lease/LeaseKeepAlive"),
                half("/v3lockpb.Lock/Lock"),
            ];
            let mut held = Vec::new();
            for number in 0..700 {
                held.push(connect(leader, &heads[number % heads.len()]).await);
            }
            neighbour.is_served().await;
            for mut connection in held {
                let mut rest = Vec::new();
                // Reset or closed.
                let _ = timeout(LONG, connection.read_to_end(&mut rest))
                    .await
                    .expect("an end");
            }

            // Ten thousand watches, a stream each, on what does not change; then it does, and all are told.
            let channels: Vec<Channel> = (0..10).map(|_| channel(leader)).collect();
            let mut watches = Vec::new();
            for _ in 0..100 {
                let opening = channels
                    .iter()
                    .flat_map(|channel| (0..10).map(move |_| watch(channel, "idle")));
                watches.extend(join_all(opening).await);
            }
            assert_eq!(watches.len(), 10_000);
            neighbour.is_served().await;
            KvClient::new(channels[0].clone())
                .put(put("idle", b"no more".to_vec()))
                .await
                .unwrap();
            for watch in &mut watches {
                let told = within(watch.message()).await.unwrap().expect("an event");
                assert_eq!(told.events.len(), 1, "{told:?}");
            }
            neighbour.is_served().await;
            memory.grew_by_less_than(300);
            drop((watches, channels));
            neighbour.end().await;
        })
        .await;
    });
}

#[test]
fn watchers_that_never_read_cost_a_bounded_queue() {
    calm(PAUSE, async || {
        const WATCHERS: usize = 100;
        const WRITES: usize = 300;
        const BYTES: usize = 64 << 10;
        let cluster = Running::start(3).await;
        at_the_leader(&cluster, async |leader| {
            let neighbour = Neighbour::start(leader).await;
            let memory = Memory::of(leader);
            // Ones that take nothing from their stream, and ones that take nothing from their socket.
            let mut deaf = Vec::new();
            for _ in 0..WATCHERS {
                deaf.push((watch(&channel(leader), "loud").await, channel(leader)));
            }
            let message = prost_of(&watching("loud"));
            let opening = [
                PREFACE,
                &wide(),
                &call("/etcdserverpb.Watch/Watch", Some(&message)),
            ]
            .concat();
            let mut deafer = Vec::new();
            for _ in 0..WATCHERS {
                deafer.push(connect(leader, &opening).await);
            }
            let mut keys = KvClient::new(channel(leader));
            let mut revision = 0;
            for number in 0..WRITES {
                let value = vec![u8::try_from(number % 251).unwrap(); BYTES];
                let written = within(keys.put(put("loud", value))).await.unwrap();
                revision = written.into_inner().header.unwrap().revision;
            }
            neighbour.is_served().await;
            // If all of it were kept for each of them it would be 3.9 GB; once, in the history, it is 19 MB, and in the log.
            memory.grew_by_less_than(350);
            for mut connection in deafer {
                let mut rest = Vec::new();
                let _ = timeout(LONG, connection.read_to_end(&mut rest))
                    .await
                    .expect("an end");
            }
            // One that begins to read at last is told everything.
            let (mut late, _) = deaf.swap_remove(0);
            let mut events = 0;
            while events < WRITES {
                let told = within(late.message()).await.unwrap().expect("an event");
                events += told.events.len();
            }
            drop(deaf);
            // A watch that is behind what is forgotten is told so, and its stream goes on.
            let compaction = CompactionRequest {
                revision,
                physical: true,
            };
            within(keys.compact(compaction)).await.unwrap();
            neighbour.end().await;
        })
        .await;
    });
}

/// The message in protobuf.
fn prost_of(message: &impl prost_reflect::prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

#[test]
fn floods_of_keepalives_and_locks_starve_nobody() {
    calm(PAUSE, async || {
        const STREAMS: i64 = 20;
        const KEEPALIVES: i64 = 20_000;
        let cluster = Running::start(3).await;
        at_the_leader(&cluster, async |leader| {
            let neighbour = Neighbour::start(leader).await;
            let memory = Memory::of(leader);
            let flood = |from: i64| {
                let mut leases = LeaseClient::new(channel(leader));
                async move {
                    let ids = (from * KEEPALIVES..(from + 1) * KEEPALIVES).map(|id| id + 1_000_000);
                    let asked = stream::iter(ids.map(|id| LeaseKeepAliveRequest { id }));
                    let opened = within(leases.lease_keep_alive(asked)).await.unwrap();
                    let mut answers = opened.into_inner();
                    let mut unknown = 0;
                    while let Some(answer) = within(answers.message()).await.unwrap() {
                        assert_eq!(answer.ttl, 0, "there is no such lease");
                        unknown += 1;
                    }
                    assert_eq!(unknown, KEEPALIVES);
                }
            };
            let reading = async {
                join_all((0..STREAMS).map(flood)).await;
            };
            // And some that never read an answer: they are not read either.
            let mut mute = Vec::new();
            for _ in 0..STREAMS {
                let asked = stream::iter((1_i64..).map(|id| LeaseKeepAliveRequest { id: -id }));
                let opened = within(LeaseClient::new(channel(leader)).lease_keep_alive(asked)).await;
                mute.push(opened.unwrap().into_inner());
            }
            tokio::join!(reading, neighbour.is_served());
            drop(mute);

            // Many who want one lock, and go without a word: no key stays.
            let mut leases = LeaseClient::new(channel(leader));
            let grant = LeaseGrantRequest { ttl: 600, id: 1 };
            within(leases.lease_grant(grant)).await.unwrap();
            let lock = |lease| LockRequest {
                name: "wanted".into(),
                lease,
            };
            let crowd = channel(leader);
            within(LockClient::new(crowd.clone()).lock(lock(1)))
                .await
                .unwrap();
            let mut waiting = Vec::new();
            for _ in 0..300 {
                let mut client = LockClient::new(crowd.clone());
                waiting.push(tokio::spawn(async move { client.lock(lock(0)).await }));
            }
            let mut keys = KvClient::new(channel(leader));
            let all = || RangeRequest {
                range_end: "wanted0".into(),
                count_only: true,
                ..get("wanted/")
            };
            until(async || within(keys.range(all())).await.unwrap().into_inner().count == 301).await;
            neighbour.is_served().await;
            waiting.iter().for_each(JoinHandle::abort);
            until(async || within(keys.range(all())).await.unwrap().into_inner().count == 1).await;
            memory.grew_by_less_than(300);
            neighbour.end().await;
        })
        .await;
    });
}

async fn until(mut seen: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !seen().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, looking).await.expect("it comes soon");
}

#[test]
fn requests_that_are_none_are_told_why() {
    calm(PAUSE, async || {
        let cluster = Running::start(3).await;
        at_the_leader(&cluster, async |leader| {
            let neighbour = Neighbour::start(leader).await;
            neighbour.is_served().await;
            let memory = Memory::of(leader);
            let hostile = channel(leader);
            let txn = "/etcdserverpb.KV/Txn";
            let internal = (Code::Internal, "grpc: failed to unmarshal the received message");
            let too_deep = (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
            );
            let group = |bytes: usize| vec![0x0b; bytes];
            let cases: Vec<(&str, &'static str, Vec<u8>, (Code, &str))> = vec![
                ("a transaction one too deep", txn, nested(32), too_deep),
                ("one too deep to be read", txn, nested(60), internal),
                ("one much too deep", txn, nested(3_000), internal),
                ("groups within groups", txn, group(100_000), internal),
                (
                    "groups without end in a lock",
                    "/v3lockpb.Lock/Lock",
                    group(1 << 20),
                    internal,
                ),
                (
                    "groups in an election",
                    "/v3electionpb.Election/Campaign",
                    group(1 << 20),
                    internal,
                ),
                (
                    "a length beyond the end",
                    txn,
                    vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
                    internal,
                ),
                (
                    "a number that does not end",
                    "/etcdserverpb.KV/Range",
                    vec![0xff; 64],
                    internal,
                ),
                (
                    "noise",
                    "/etcdserverpb.Lease/LeaseGrant",
                    vec![0xc5; 4_096],
                    internal,
                ),
                (
                    "a name that is not UTF-8",
                    "/etcdserverpb.Cluster/MemberAdd",
                    around(0x0a, &[0xc3, 0x28]),
                    internal,
                ),
                (
                    "a call that there is not",
                    "/etcdserverpb.KV/Nothing",
                    Vec::new(),
                    (Code::Unimplemented, ""),
                ),
                (
                    "no name of a leader",
                    "/v3electionpb.Election/Resign",
                    Vec::new(),
                    (Code::Unknown, "\"leader\" field must be provided"),
                ),
            ];
            for (case, path, message, (code, text)) in cases {
                // More of them at once than there are threads.
                let calls = (0..8).map(|_| raw(&hostile, path, message.clone()));
                for answer in join_all(calls).await {
                    let status = answer.expect_err(case);
                    assert_eq!(status.code(), code, "{case}: {status:?}");
                    assert!(status.message().starts_with(text), "{case}: {status:?}");
                }
            }
            assert!(
                raw(&hostile, txn, nested(31)).await.is_ok(),
                "as deep as it may be"
            );
            neighbour.is_served().await;
            typed(&hostile).await;
            neighbour.is_served().await;
            memory.grew_by_less_than(100);
            neighbour.end().await;
        })
        .await;
    });
}

/// Messages that can be read and ask for what there is not.
async fn typed(channel: &Channel) {
    let mut keys = KvClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let told = |status: Status| (status.code(), status.message().to_owned());
    let said = |code, text: &str| (code, text.to_owned());
    let invalid = |text| said(Code::InvalidArgument, text);

    // Over the limits, several at once.
    let large = join_all((0..16).map(|_| {
        let mut keys = keys.clone();
        async move { within(keys.put(put("large", vec![7; 1_600_000]))).await }
    }));
    for answer in large.await {
        let status = answer.expect_err("1.6 MB");
        assert_eq!(told(status), invalid("etcdserver: request is too large"));
    }
    let unread = join_all((0..16).map(|_| {
        let mut keys = keys.clone();
        async move { within(keys.put(put("large", vec![7; 8 << 20]))).await }
    }));
    for answer in unread.await {
        // The connection may be told that its message is unwanted before it has sent all of it.
        let status = answer.expect_err("8 MB");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    let op = |number: usize| RequestOp {
        request: Some(Op::RequestPut(put(&format!("o{number}"), Vec::new()))),
    };
    let many = |count| TxnRequest {
        success: (0..count).map(op).collect(),
        ..TxnRequest::default()
    };
    let status = within(keys.txn(many(129))).await.expect_err("129 operations");
    assert_eq!(
        told(status),
        invalid("etcdserver: too many operations in txn request")
    );
    assert!(within(keys.txn(many(128))).await.is_ok());

    // Keys of any bytes are keys.
    let odd: &[&[u8]] = &[b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", &[0xff; 4_096]];
    for key in odd {
        let written = PutRequest {
            key: key.to_vec().into(),
            value: key.to_vec().into(),
            ..PutRequest::default()
        };
        within(keys.put(written)).await.unwrap();
        let read = RangeRequest {
            key: key.to_vec().into(),
            ..RangeRequest::default()
        };
        let read = within(keys.range(read)).await.unwrap().into_inner();
        assert_eq!(read.kvs[0].value, *key);
        let deleted = DeleteRangeRequest {
            key: key.to_vec().into(),
            ..DeleteRangeRequest::default()
        };
        within(keys.delete_range(deleted)).await.unwrap();
    }

    // Limits and revisions beyond all bounds.
    let future = said(
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    );
    for revision in [i64::MAX, 1 << 40] {
        let read = RangeRequest {
            revision,
            ..get("o1")
        };
        assert_eq!(
            told(within(keys.range(read)).await.expect_err("the future")),
            future
        );
        let compaction = CompactionRequest {
            revision,
            physical: true,
        };
        assert_eq!(
            told(within(keys.compact(compaction)).await.expect_err("the future")),
            future
        );
    }
    for (limit, revision) in [(i64::MAX, 0), (i64::MIN, 0), (-1, -1), (0, i64::MIN)] {
        let read = RangeRequest {
            range_end: "p".into(),
            limit,
            revision,
            min_mod_revision: i64::MIN,
            max_create_revision: i64::MAX,
            ..get("o")
        };
        assert_eq!(
            within(keys.range(read)).await.unwrap().into_inner().kvs.len(),
            128
        );
    }
    for revision in [-1, i64::MIN] {
        let compaction = CompactionRequest {
            revision,
            physical: false,
        };
        let status = within(keys.compact(compaction)).await.expect_err("the past");
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
        let mut request = watching("o1");
        if let Some(RequestUnion::CreateRequest(create)) = &mut request.request_union {
            create.start_revision = revision;
        }
        let opened = within(WatchClient::new(channel.clone()).watch(stream::iter([request]))).await;
        let answer = within(opened.unwrap().into_inner().message())
            .await
            .unwrap()
            .unwrap();
        assert!(answer.canceled, "{answer:?}");
    }
    for ttl in [i64::MAX, 9_000_000_001] {
        let grant = LeaseGrantRequest { ttl, id: 0 };
        let status = within(LeaseClient::new(channel.clone()).lease_grant(grant)).await;
        let text = "etcdserver: too large lease TTL";
        assert_eq!(told(status.expect_err("for ever")), said(Code::OutOfRange, text));
    }
    let add = MemberAddRequest {
        peer_ur_ls: vec!["x".repeat(100_000)],
        is_learner: false,
    };
    let status = within(ClusterClient::new(channel.clone()).member_add(add)).await;
    let status = status.expect_err("no address");
    assert!(status.message().len() < 1_000, "{status:?}");
}
