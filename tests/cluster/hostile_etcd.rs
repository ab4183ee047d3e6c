//! Hostile clients of etcd's API at the leader: they hold on, do not read, flood, and send what is none. Meanwhile another
//! client is served without a failure, the process's memory stays below a bound, and nobody takes it for a death.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest,
    MemberAddRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use quorate_api::v3lockpb::LockRequest;
use quorate_api::v3lockpb::lock_client::LockClient;
use quorate_local::{Process, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::support::{LONG, Running};

/// What every HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Words that a well-behaved client gets answered between two looks, at least.
const SERVED: u64 = 20;

fn channel(process: &Process) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", process.client_address())).unwrap();
    endpoint.connect_lazy()
}

/// Memory of a process in MiB by the name that the kernel has for it.
fn mib(process: &Process, what: &str) -> u64 {
    let path = format!("/proc/{}/status", process.pid().unwrap());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1_024
}

/// The most that it ever had beyond what it had.
struct Memory<'a> {
    process: &'a Process,
    before: u64,
}

impl<'a> Memory<'a> {
    fn of(process: &'a Process) -> Self {
        let before = mib(process, "VmRSS:");
        Self { process, before }
    }

    fn grew_by_less_than(&self, bound_mib: u64) {
        let grown = mib(self.process, "VmHWM:").saturating_sub(self.before);
        println!("memory grew from {} MiB by {grown} MiB at most", self.before);
        assert!(grown < bound_mib, "{grown} MiB, and the bound is {bound_mib}");
    }
}

/// A client that does nothing wrong: it writes, reads what it wrote, and keeps a lease.
struct Neighbour {
    served: Arc<AtomicU64>,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), Status>>,
    lease: i64,
    channel: Channel,
}

impl Neighbour {
    async fn start(process: &Process) -> Self {
        let channel = channel(process);
        let grant = LeaseGrantRequest { ttl: 10, id: 0 };
        let granted = LeaseClient::new(channel.clone()).lease_grant(grant).await;
        let lease = granted.unwrap().into_inner().id;
        let (served, stop) = (Arc::<AtomicU64>::default(), Arc::<Notify>::default());
        let task = tokio::spawn({
            let (channel, served, stop) = (channel.clone(), Arc::clone(&served), Arc::clone(&stop));
            async move {
                tokio::select! {
                    served = serve(channel, lease, &served) => served,
                    () = stop.notified() => Ok(()),
                }
            }
        });
        Self {
            served,
            stop,
            task,
            lease,
            channel,
        }
    }

    /// It goes on being served.
    async fn is_served(&self) {
        let before = self.served.load(Ordering::Relaxed);
        let served = async {
            while self.served.load(Ordering::Relaxed) < before + SERVED {
                assert!(!self.task.is_finished(), "it was refused something");
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, served).await.expect("it is served");
    }

    /// Nothing that it asked for failed.
    async fn end(self) {
        self.is_served().await;
        self.stop.notify_one();
        self.task.await.unwrap().unwrap();
        let ask = LeaseTimeToLiveRequest {
            id: self.lease,
            keys: false,
        };
        let time = LeaseClient::new(self.channel).lease_time_to_live(ask).await;
        assert!(time.unwrap().into_inner().ttl > 0, "its lease lives");
    }
}

async fn serve(channel: Channel, lease: i64, served: &AtomicU64) -> Result<(), Status> {
    let (mut keys, mut leases) = (KvClient::new(channel.clone()), LeaseClient::new(channel));
    for number in 0_u64.. {
        let value = number.to_string();
        let put = PutRequest {
            key: "neighbour".into(),
            value: value.clone().into(),
            lease,
            ..PutRequest::default()
        };
        within(keys.put(put)).await?;
        let read = within(keys.range(get("neighbour"))).await?;
        if read.into_inner().kvs[0].value != value {
            return Err(Status::data_loss("it reads something else than it wrote"));
        }
        if number % 10 == 0 {
            let asked = stream::iter([LeaseKeepAliveRequest { id: lease }]);
            let answers = within(leases.lease_keep_alive(asked)).await?;
            let kept = within(answers.into_inner().message()).await?;
            if kept.is_none_or(|kept| kept.ttl <= 0) {
                return Err(Status::data_loss("its lease is gone"));
            }
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let answer = timeout(LONG, call).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}

fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}

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

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// The head of a call, without a table, and its message if there is one.
fn call(path: &str, message: Option<&[u8]>) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // POST, http, then a path, a host, a type and `te`.
    let head = [
        vec![0x83, 0x86, 0x04],
        text(path),
        vec![0x01],
        text("x"),
        vec![0x0f, 0x10],
        text("application/grpc"),
        vec![0x00],
        text("te"),
        text("trailers"),
    ];
    let mut bytes = frame(1, 4, 1, &head.concat());
    if let Some(message) = message {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        bytes.extend(frame(0, 0, 1, &[&[0], &length[..], message].concat()));
    }
    bytes
}

/// Settings and a window that let the other side send as much as it likes.
fn wide() -> Vec<u8> {
    let settings = frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = frame(8, 0, 0, &[0x7f, 0x00, 0x00, 0x00]);
    [settings, window].concat()
}

async fn connect(process: &Process, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(process.client_address()).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hold_on_are_cut_off_or_cost_little() {
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_never_read_cost_a_bounded_queue() {
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
}

/// The message in protobuf.
fn prost_of(message: &impl prost_reflect::prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_keepalives_and_locks_starve_nobody() {
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
}

async fn until(mut seen: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !seen().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, looking).await.expect("it comes soon");
}

/// Messages that are bytes, whatever they mean.
#[derive(Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost_reflect::prost::bytes::BufMut::put_slice(to, &bytes);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use prost_reflect::prost::bytes::Buf as _;
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// A call whose message is these bytes.
async fn raw(channel: &Channel, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let calling = client.unary(Request::new(message), PathAndQuery::from_static(path), Bytes);
    Ok(within(calling).await?.into_inner())
}

/// A field with a length, around others.
fn around(tag: u8, inner: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    let mut length = inner.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap());
    field.extend_from_slice(inner);
    field
}

/// Transactions within one another as bytes, so that no message of ours has to be as deep.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..depth {
        // An operation of a success, and in it a transaction.
        bytes = around(0x12, &around(0x22, &bytes));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_none_are_told_why() {
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
