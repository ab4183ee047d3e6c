//! One replica's address: a channel, and the topology stream that shows whether it is alive.
//!
//! Promises: what the replica says reaches the topology as soon as it is read; a connection that broke, never answers
//! or falls silent is reported and made anew, with a fresh channel each time so that no request waits behind another's
//! dial. The host name is resolved at each dial. Left out on purpose: judging what is said; see [`super::belief`].

use std::sync::Arc;
use std::time::Duration;

use quorate_api::v1;
use quorate_host::{Mishap, Network, channel_endpoint, connect_lazy_noting, entropy};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::Topology;
use super::answer::Heard;
use super::backoff::{Backoff, DELAY_MAX};
use crate::call::words;
use crate::wire::Wire;

/// A connection that is not established after this long is not worth waiting for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A replica answers at once; what accepts and says nothing for this long is none.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers repeat every five seconds; after two and a bit the stream is dead.
const SILENCE_MAX: Duration = Duration::from_secs(12);

/// Keeps the link to `address` until the task is aborted.
pub(super) async fn keep(topology: Arc<Topology>, network: Arc<dyn Network>, address: Arc<str>) {
    let mut urgency = topology.urgency();
    let mut backoff = Backoff::default();
    loop {
        let dialled = Instant::now();
        let why = attend(&topology, &network, &address).await;
        tracing::debug!(%address, why, "no link to a replica");
        topology.lost(&address, why);
        // Our own loss is no reason to hurry: a replica that breaks every connection would be dialled in a loop.
        urgency.mark_unchanged();
        let leaderless = topology.is_leaderless();
        let delay = backoff.after(dialled.elapsed(), leaderless, entropy::random_fraction());
        tokio::select! {
            biased;
            changed = urgency.changed() => match changed {
                Ok(()) => sleep(delay.min(Backoff::hurried(entropy::random_fraction()))).await,
                Err(_) => sleep(DELAY_MAX).await,
            },
            () = sleep(delay) => {}
        }
    }
}

/// Listens to the replica at `address` until it can be heard no more; returns why.
async fn attend(topology: &Topology, network: &Arc<dyn Network>, address: &Arc<str>) -> String {
    let endpoint = match channel_endpoint(address, CONNECT_TIMEOUT) {
        Ok(endpoint) => endpoint,
        Err(error) => return format!("is not an address that can be dialled ({error})"),
    };
    let mishap = Mishap::default();
    let wire = Wire::new(connect_lazy_noting(&endpoint, Arc::clone(network), &mishap));
    let mut client = v1::cluster_client::ClusterClient::new(wire.clone());
    let link = topology.next_link();
    let opening = async {
        let mut stream = client
            .watch_topology(v1::WatchTopologyRequest {})
            .await?
            .into_inner();
        let first = stream.message().await?;
        Ok::<_, Status>((stream, first))
    };
    let (mut stream, mut message) = match timeout(FIRST_ANSWER_TIMEOUT, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => return mishap.explain(words(&status)),
        Err(_) => return format!("no answer within {FIRST_ANSWER_TIMEOUT:?}"),
    };
    loop {
        let Some(said) = message else {
            return "ended the topology stream".to_owned();
        };
        topology.answered(address, link, &wire, Heard::read(said));
        message = match timeout(SILENCE_MAX, stream.message()).await {
            Ok(Ok(message)) => message,
            Ok(Err(status)) => return mishap.explain(words(&status)),
            Err(_) => return format!("said nothing for {SILENCE_MAX:?}"),
        };
    }
}
