//! Clients that keep leases alive: each has a stream, and on it one lease after the other.

use std::time::Duration;

use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use quorate_bench::BenchError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::Caller;

/// How many leases there are, which all streams share out.
const LEASES: usize = 10_000;
/// None runs out during a run.
const TTL: Duration = Duration::from_secs(3_600);
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct KeepAliveCaller {
    leases: Vec<i64>,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

/// Grants all leases.
pub(super) async fn grant(channels: &[Channel]) -> Result<Vec<i64>, BenchError> {
    let (mut tasks, clients) = (JoinSet::new(), channels.len());
    for (number, channel) in channels.iter().enumerate() {
        let mut client = LeaseClient::new(channel.clone());
        tasks.spawn(async move {
            let mut granted = Vec::new();
            for _ in (number..LEASES).step_by(clients) {
                let request = LeaseGrantRequest {
                    ttl: i64::try_from(TTL.as_secs()).unwrap_or(i64::MAX),
                    ..Default::default()
                };
                granted.push(client.lease_grant(request).await?.get_ref().id);
            }
            Ok::<_, Status>(granted)
        });
    }
    let mut leases = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        let granted = joined.map_err(|error| BenchError::Broken(error.to_string()))?;
        leases.extend(granted.map_err(|status| failed("grant leases", &status))?);
    }
    Ok(leases)
}

/// So many clients, each with a stream that has answered once.
pub(super) async fn callers(
    channels: &[Channel],
    clients: usize,
    leases: &[i64],
) -> Result<Vec<KeepAliveCaller>, BenchError> {
    let (mut tasks, mut callers) = (JoinSet::new(), Vec::new());
    for (number, channel) in channels.iter().cycle().take(clients).enumerate() {
        let own = leases.iter().skip(number).step_by(clients).copied().collect();
        tasks.spawn(timeout(OPEN_PATIENCE, open(channel.clone(), own)));
    }
    while let Some(joined) = tasks.join_next().await {
        let opened = joined.map_err(|error| BenchError::Broken(error.to_string()))?;
        let opened =
            opened.map_err(|_| BenchError::Etcd("a stream of keepalives does not open".to_owned()))?;
        callers.push(opened.map_err(|status| failed("open a stream of keepalives", &status))?);
    }
    Ok(callers)
}

/// The first request leaves before headers are awaited: etcd sends them with its first answer.
async fn open(channel: Channel, leases: Vec<i64>) -> Result<KeepAliveCaller, Status> {
    let (requests, unsent) = mpsc::channel(1);
    let id = leases
        .first()
        .copied()
        .ok_or_else(|| Status::internal("more clients than leases"))?;
    // The channel is empty.
    let _ = requests.try_send(LeaseKeepAliveRequest { id });
    let answers = LeaseClient::new(channel)
        .lease_keep_alive(ReceiverStream::new(unsent))
        .await?;
    let mut caller = KeepAliveCaller {
        leases,
        requests,
        answers: answers.into_inner(),
    };
    caller.answer().await?;
    Ok(caller)
}

impl KeepAliveCaller {
    async fn answer(&mut self) -> Result<(), Status> {
        let answer = self.answers.message().await?;
        let alive = answer.is_some_and(|answer| answer.ttl > 0);
        alive
            .then_some(())
            .ok_or_else(|| Status::internal("the lease or the stream is gone"))
    }
}

impl Caller for KeepAliveCaller {
    async fn call(&mut self, turn: usize) -> Result<(), Status> {
        let id = self.leases[turn % self.leases.len()];
        let sent = self.requests.send(LeaseKeepAliveRequest { id }).await;
        sent.map_err(|_| Status::unavailable("the stream is gone"))?;
        self.answer().await
    }
}

fn failed(what: &str, status: &Status) -> BenchError {
    BenchError::Etcd(format!("{what}: {}", status.message()))
}
