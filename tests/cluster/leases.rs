//! etcd's leases under a lease policy: whose keeper is gone loses its keys soon, whose keeper lives keeps them.
//!
//! Where nothing is to happen, something else that does happen later shows that there was time enough for it: the lease of
//! another keeper, which breaks after, is revoked.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, RangeRequest,
};
use quorate_local::Plan;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::support::{LONG, Running, ended, leases_are_served};

/// Far longer than any test here waits for a revocation.
const TTL_S: i64 = 60;
const TTL: Duration = Duration::from_secs(60);
/// A stream binds its leases after a second; with time to spare on a busy machine.
const BOUND: Duration = Duration::from_secs(2);

/// Shorter than it should be elsewhere.
const SILENT_AFTER: Duration = Duration::from_secs(3);
const GRACE: Duration = Duration::from_secs(1);

async fn cluster() -> Running {
    let policy = |plan: Plan| {
        plan.argument("--lease-orphan-grace=1s")
            .argument("--lease-silent-after=3s")
    };
    let cluster = Running::with(3, policy).await;
    leases_are_served(&cluster.processes()[0].client_address()).await;
    cluster
}

fn grant(id: i64) -> LeaseGrantRequest {
    LeaseGrantRequest { id, ttl: TTL_S }
}

fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy()
}

fn lease_client(address: &str) -> LeaseClient<Channel> {
    LeaseClient::new(channel(address))
}

fn key(lease: i64) -> String {
    format!("kept/{lease}")
}

/// Grants a lease, with a key of its own.
async fn granted(address: &str, lease: i64) {
    lease_client(address).lease_grant(grant(lease)).await.unwrap();
    let put = PutRequest {
        key: key(lease).into(),
        lease,
        ..PutRequest::default()
    };
    KvClient::new(channel(address)).put(put).await.unwrap();
}

async fn lives(address: &str, lease: i64) -> bool {
    let range = RangeRequest {
        key: key(lease).into(),
        ..RangeRequest::default()
    };
    let mut client = KvClient::new(channel(address));
    let asking = async {
        loop {
            match client.range(range.clone()).await {
                Ok(read) => return read.into_inner().count == 1,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(LONG, asking).await.expect("it is answered")
}

/// Waits until the lease's key is gone, which must be sooner than the lease would run out.
async fn revoked(address: &str, lease: i64) {
    let begun = Instant::now();
    let gone = async {
        while lives(address, lease).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TTL / 2, gone).await.expect("its keeper is gone");
    println!("lease {lease} was revoked after {:?}", begun.elapsed());
}

/// Keeps leases on a connection of its own; to drop it closes the connection.
struct Keeper {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Keeper {
    async fn open(address: &str) -> Self {
        let (requests, asked) = mpsc::channel(16);
        let opened = lease_client(address)
            .lease_keep_alive(ReceiverStream::new(asked))
            .await;
        let answers = opened.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn renew(&mut self, lease: i64) {
        let request = LeaseKeepAliveRequest { id: lease };
        self.requests.send(request).await.unwrap();
        let answer = timeout(LONG, self.answers.message()).await.expect("an answer");
        let answer = answer.unwrap().expect("an answer");
        assert_eq!((answer.id, answer.ttl), (lease, TTL_S));
    }

    /// Grants leases and keeps them until they are bound.
    async fn of(address: &str, leases: &[i64]) -> Self {
        let mut keeper = Self::open(address).await;
        for lease in leases {
            granted(address, *lease).await;
            keeper.renew(*lease).await;
        }
        sleep(BOUND).await;
        keeper
    }
}

/// A keeper breaks at `address` after everything that was done before, and is found out: so was whatever broke before it.
async fn time_enough(address: &str, lease: i64) {
    drop(Keeper::of(address, &[lease]).await);
    revoked(address, lease).await;
}

/// Where a process is told which lease to keep, and where.
const KEEPS: &str = "QUORATE_TEST_KEEPS";

#[tokio::test]
#[ignore = "is started as a process by the test of its death"]
async fn keeps_a_lease_until_it_is_killed() {
    let told = std::env::var(KEEPS).expect("a lease, and where");
    let (lease, address) = told.split_once('@').expect("both");
    let mut keeper = Keeper::open(address).await;
    loop {
        keeper.renew(lease.parse().unwrap()).await;
        println!("renewed");
        sleep(TTL / 3).await;
    }
}

/// Starts that process, and waits until its lease is bound.
async fn keeper_process(address: &str, lease: i64) -> Child {
    granted(address, lease).await;
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "leases::keeps_a_lease_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(KEEPS, format!("{lease}@{address}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = process.stdout.take().unwrap();
    let renewed = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let mut lines = std::io::BufReader::new(stdout).lines();
        lines.any(|line| line.is_ok_and(|line| line.contains("renewed")))
    });
    assert!(renewed.await.unwrap(), "it renews its lease");
    sleep(BOUND).await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_a_keeper_frees_its_keys_long_before_their_time() {
    let cluster = cluster().await;
    for (lease, process) in (10..).zip(cluster.processes()) {
        let address = process.client_address();
        let mut keeper = keeper_process(&address, lease).await;
        assert!(lives(&address, lease).await);
        keeper.kill().unwrap();
        keeper.wait().unwrap();
        revoked(&address, lease).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_hangs_is_found_out_but_not_so_soon() {
    let cluster = cluster().await;
    let address = cluster.processes()[0].client_address();
    let mut keeper = keeper_process(&address, 10).await;
    let stopped = Instant::now();
    let pid = rustix::process::Pid::from_child(&keeper);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    revoked(&address, 10).await;
    assert!(
        stopped.elapsed() >= SILENT_AFTER + GRACE,
        "{:?}",
        stopped.elapsed()
    );
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_renews_once_or_comes_back_in_time_keeps_its_lease() {
    let cluster = cluster().await;
    let at: Vec<_> = cluster.seeds();
    // Once, on a stream that is closed at once, and the connection with it.
    granted(&at[0], 10).await;
    Keeper::open(&at[0]).await.renew(10).await;
    // Back at another replica, with a renewal of one of its two leases.
    drop(Keeper::of(&at[1], &[11, 12]).await);
    let mut moved = Keeper::open(&at[2]).await;
    moved.renew(11).await;
    // Back without a word, as etcd's Go client: the next renewal is not due yet.
    drop(Keeper::of(&at[1], &[13]).await);
    let silent = Keeper::open(&at[2]).await;
    // What is silent here is from the same host as the one that shows that there was time: it comes later.
    sleep(BOUND).await;
    time_enough(&at[0], 19).await;
    for lease in 10..=13 {
        assert!(lives(&at[0], lease).await, "{lease}");
    }
    drop((moved, silent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_replica_orphans_nothing_in_order_or_not() {
    let cluster = cluster().await;
    for (round, is_orderly) in [true, false].into_iter().enumerate() {
        let leases = 10 * i64::try_from(round + 1).unwrap();
        let followers = cluster.followers().await;
        let (dies, other) = (followers[0], followers[1].client_address());
        let keepers = Keeper::of(&dies.client_address(), &[leases, leases + 1]).await;
        match is_orderly {
            true => dies.terminate().unwrap(),
            false => dies.kill().unwrap(),
        }
        ended(dies).await;
        time_enough(&other, leases + 9).await;
        for lease in [leases, leases + 1] {
            assert!(lives(&other, lease).await, "{lease}");
        }
        drop(keepers);
        dies.start().unwrap();
        cluster.ready(LONG).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_orphans_nothing() {
    let cluster = cluster().await;
    let at = cluster.seeds();
    let leases = 10..15;
    let keep = |lease| {
        let address = &at[0];
        async move { Keeper::of(address, &[lease]).await }
    };
    let keepers = futures_util::future::join_all(leases.clone().map(keep)).await;
    drop(keepers);
    time_enough(&at[1], 19).await;
    for lease in leases {
        assert!(lives(&at[1], lease).await, "{lease}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_within_the_grace_hears_of_orphans_and_of_those_who_came_back() {
    let cluster = cluster().await;
    let leader = cluster.leader().await;
    let followers = cluster.followers().await;
    let at = [followers[0].client_address(), followers[1].client_address()];
    let (gone, back) = (
        Keeper::of(&at[0], &[10]).await,
        Keeper::of(&at[0], &[11, 12]).await,
    );
    drop((gone, back));
    let mut back = Keeper::open(&at[1]).await;
    back.renew(11).await;
    leader.kill().unwrap();
    ended(leader).await;
    revoked(&at[1], 10).await;
    time_enough(&at[1], 19).await;
    for lease in [11, 12] {
        assert!(lives(&at[1], lease).await, "{lease}");
    }
    drop(back);
}
