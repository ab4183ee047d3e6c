//! Who must not suffer: a client that does nothing wrong, and the memory of the process that serves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use quorate_local::Process;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::support::{LONG, leases_are_served};

/// Words that a well-behaved client gets answered between two looks, at least.
pub(super) const SERVED: u64 = 20;

pub(super) fn channel(process: &Process) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", process.client_address())).unwrap();
    endpoint.connect_lazy()
}

/// Memory of a process in MiB by the name that the kernel has for it.
pub(super) fn mib(process: &Process, what: &str) -> u64 {
    let path = format!("/proc/{}/status", process.pid().unwrap());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1_024
}

/// The most that it ever had beyond what it had.
pub(super) struct Memory<'a> {
    process: &'a Process,
    before: u64,
}

impl<'a> Memory<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
        let before = mib(process, "VmRSS:");
        Self { process, before }
    }

    pub(super) fn grew_by_less_than(&self, bound_mib: u64) {
        let grown = mib(self.process, "VmHWM:").saturating_sub(self.before);
        println!("memory grew from {} MiB by {grown} MiB at most", self.before);
        assert!(grown < bound_mib, "{grown} MiB, and the bound is {bound_mib}");
    }
}

/// A client that does nothing wrong: it writes, reads what it wrote, and keeps a lease.
pub(super) struct Neighbour {
    served: Arc<AtomicU64>,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), Status>>,
    lease: i64,
    channel: Channel,
}

impl Neighbour {
    pub(super) async fn start(process: &Process) -> Self {
        let channel = channel(process);
        leases_are_served(&process.client_address()).await;
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
    pub(super) async fn is_served(&self) {
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
    pub(super) async fn end(self) {
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

pub(super) async fn serve(channel: Channel, lease: i64, served: &AtomicU64) -> Result<(), Status> {
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

pub(super) async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let answer = timeout(LONG, call).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}

pub(super) fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}
