//! A client of etcd that loses as little time as etcd allows, so that the comparison is of the servers.
//!
//! etcd tells nobody who leads, and a follower holds a put that came while nobody led until it times out seconds later. So
//! this client writes to the leader; when a put fails or dawdles, one prober asks all members at once, every two
//! milliseconds, until one says itself that it leads; then all puts without an answer leave again, there. Nothing backs
//! off while nobody leads. A put that is sent again may be executed twice: etcd has no request ids.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, select_all};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::wire::{Endpoint, PutRequest, StatusResponse};
use crate::pace::Target;

/// Between two questions who leads, while nobody is known to.
const PROBE_EVERY: Duration = Duration::from_millis(2);
/// A member that takes longer to answer the question is asked again.
const PROBE_PATIENCE: Duration = Duration::from_millis(100);
/// A put without an answer for this long makes the prober ask; the put itself goes on waiting.
const DAWDLES_AFTER: Duration = Duration::from_millis(30);
/// A put fails for good after this, as the other client's writes do.
const PUT_PATIENCE: Duration = Duration::from_secs(10);

/// Who leads, as far as the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leader {
    member: usize,
    term: u64,
    /// Counts what the prober found: a put that failed is sent again after the next find, be it the same leader.
    found: u64,
}

/// Member and term of a leader that failed a put or lets it wait.
type Doubt = (usize, u64);

impl Leader {
    fn doubt(self) -> Doubt {
        (self.member, self.term)
    }
}

/// See the module.
pub(super) struct Client {
    endpoints: Arc<[Endpoint]>,
    leaders: watch::Receiver<Option<Leader>>,
    doubts: mpsc::Sender<Doubt>,
    prober: JoinHandle<()>,
}

/// Sends the puts of one round.
pub(super) struct Puts {
    pub(super) prefix: String,
    pub(super) client: Arc<Client>,
}

impl Client {
    pub(super) fn new(endpoints: Arc<[Endpoint]>) -> Self {
        let (found, leaders) = watch::channel(None);
        // One doubt is as good as many.
        let (doubts, doubted) = mpsc::channel(1);
        let prober = tokio::spawn(probe(Arc::clone(&endpoints), doubted, found));
        Self {
            endpoints,
            leaders,
            doubts,
            prober,
        }
    }

    /// Puts until it is acknowledged or the patience is over.
    async fn put(&self, request: PutRequest) -> Result<(), String> {
        let mut leaders = self.leaders.clone();
        let deadline = Instant::now() + PUT_PATIENCE;
        let mut last = "nobody leads".to_owned();
        let acknowledged = async {
            let mut tried = 0;
            loop {
                let next = leaders
                    .wait_for(|leader| leader.is_some_and(|leader| leader.found > tried))
                    .await;
                let Some(leader) = next.ok().and_then(|leader| *leader) else {
                    return;
                };
                tried = leader.found;
                match self.attempt(leader, &request, &mut leaders.clone()).await {
                    Attempt::Acknowledged => return,
                    Attempt::Failed(why) => {
                        last = why;
                        let _ = self.doubts.try_send(leader.doubt());
                    }
                    Attempt::Overtaken => {}
                }
            }
        };
        match timeout_at(deadline, Box::pin(acknowledged)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("not acknowledged within {PUT_PATIENCE:?}: {last}")),
        }
    }

    /// One attempt at one leader; given up only when another is found.
    async fn attempt(
        &self,
        leader: Leader,
        request: &PutRequest,
        leaders: &mut watch::Receiver<Option<Leader>>,
    ) -> Attempt {
        let Some(endpoint) = self.endpoints.get(leader.member) else {
            return Attempt::Overtaken;
        };
        let put = endpoint.put(request.clone());
        tokio::pin!(put);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut put => break answer,
                _ = leaders.wait_for(|now| now.is_some_and(|now| now.doubt() != leader.doubt())) => {
                    return Attempt::Overtaken;
                }
                () = sleep(DAWDLES_AFTER) => { let _ = self.doubts.try_send(leader.doubt()); }
            }
        };
        answer.map_or_else(
            |status| Attempt::Failed(status.message().to_owned()),
            |_| Attempt::Acknowledged,
        )
    }
}

enum Attempt {
    Acknowledged,
    Failed(String),
    /// Another leader was found meanwhile.
    Overtaken,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.prober.abort();
    }
}

impl Target for Puts {
    fn write(&self, sequence: u64) -> BoxFuture<'static, Result<u64, String>> {
        let (client, key) = (Arc::clone(&self.client), key(&self.prefix, sequence));
        async move {
            client
                .put(PutRequest {
                    key,
                    value: b"written".to_vec(),
                })
                .await
                .map(|()| sequence)
        }
        .boxed()
    }
}

/// The key of a write.
pub(super) fn key(prefix: &str, sequence: u64) -> Vec<u8> {
    format!("{prefix}{sequence:08}").into_bytes()
}

/// Finds the leader, and again whenever the last one found is doubted.
async fn probe(
    endpoints: Arc<[Endpoint]>,
    mut doubted: mpsc::Receiver<Doubt>,
    leaders: watch::Sender<Option<Leader>>,
) {
    let mut found = 0;
    loop {
        let (member, term) = search(&endpoints).await;
        found += 1;
        leaders.send_replace(Some(Leader { member, term, found }));
        // Asking in circles, when it leads and yet does not answer all puts, goes no faster than this.
        sleep(PROBE_EVERY).await;
        loop {
            match doubted.recv().await {
                Some(doubt) if doubt == (member, term) => break,
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// Asks all members at once, and each again until one says itself that it leads. One that hangs holds up nobody.
async fn search(endpoints: &[Endpoint]) -> (usize, u64) {
    let ask = |(member, endpoint): (usize, &Endpoint)| {
        let endpoint = endpoint.clone();
        async move {
            loop {
                if let Ok(Ok(status)) = timeout(PROBE_PATIENCE, endpoint.status()).await
                    && status.says_it_leads()
                {
                    return (member, status.raft_term);
                }
                sleep(PROBE_EVERY).await;
            }
        }
        .boxed()
    };
    select_all(endpoints.iter().enumerate().map(ask)).await.0
}

/// What all members say, all asked at once.
pub(super) async fn statuses(endpoints: &[Endpoint], patience: Duration) -> Vec<Option<StatusResponse>> {
    let ask = |endpoint: &Endpoint| {
        let endpoint = endpoint.clone();
        async move { timeout(patience, endpoint.status()).await.ok()?.ok() }
    };
    join_all(endpoints.iter().map(ask)).await
}
