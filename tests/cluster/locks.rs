//! Locks of etcd's service while leaders die and clients go away.

use std::time::Duration;

use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::lease_client::LeaseClient;
use quorate_api::etcdserverpb::{LeaseGrantRequest, RangeRequest};
use quorate_api::v3electionpb::election_client::ElectionClient;
use quorate_api::v3electionpb::{CampaignRequest, LeaderRequest, ResignRequest};
use quorate_api::v3lockpb::lock_client::LockClient;
use quorate_api::v3lockpb::{LockRequest, UnlockRequest};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::support::{LONG, Running, ended, leases_are_served};

fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect_lazy()
}

async fn lease(channel: &Channel, id: i64) {
    let grant = LeaseGrantRequest { ttl: 600, id };
    let granted = LeaseClient::new(channel.clone()).lease_grant(grant).await;
    granted.unwrap();
}

fn lock(lease: i64) -> LockRequest {
    LockRequest {
        name: "l".into(),
        lease,
    }
}

/// Waits until there are so many keys that begin with a text.
async fn keys(channel: &Channel, prefix: &str, count: i64) {
    let mut keys = KvClient::new(channel.clone());
    let looking = async {
        loop {
            let all = RangeRequest {
                key: format!("{prefix}/").into(),
                range_end: format!("{prefix}0").into(),
                count_only: true,
                ..RangeRequest::default()
            };
            if keys.range(all).await.unwrap().into_inner().count == count {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, looking).await.expect("they come or go soon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_goes_on_waiting_over_a_change_of_leader() {
    let cluster = Running::start(3).await;
    let followers: Vec<_> = cluster
        .followers()
        .await
        .iter()
        .map(|one| one.client_address())
        .collect();
    let (one, two) = (channel(&followers[0]), channel(&followers[1]));
    leases_are_served(&followers[0]).await;
    for id in 1..=4 {
        lease(&one, id).await;
    }
    let held = LockClient::new(one.clone())
        .lock(lock(1))
        .await
        .unwrap()
        .into_inner();
    let waits = tokio::spawn({
        let mut locks = LockClient::new(two.clone());
        async move { locks.lock(lock(2)).await }
    });
    keys(&one, "l", 2).await;
    let campaign = |lease| CampaignRequest {
        name: "e".into(),
        lease,
        value: format!("{lease}").into(),
    };
    let mut elections = ElectionClient::new(one.clone());
    let first = elections.campaign(campaign(1)).await.unwrap().into_inner().leader;
    let stands = tokio::spawn({
        let mut elections = ElectionClient::new(two.clone());
        async move { elections.campaign(campaign(2)).await }
    });
    keys(&one, "e", 2).await;
    let name = LeaderRequest { name: "e".into() };
    let mut observed = ElectionClient::new(two.clone())
        .observe(name)
        .await
        .unwrap()
        .into_inner();
    let said = timeout(LONG, observed.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(said.kv.unwrap().value, "1");

    let leader = cluster.leader().await;
    leader.kill().unwrap();
    ended(leader).await;
    // Whoever leads now has served a write by the time this is answered.
    lease(&one, 5).await;
    assert!(
        !waits.is_finished() && !stands.is_finished(),
        "their turn is not yet"
    );
    let unlock = UnlockRequest { key: held.key };
    LockClient::new(one.clone()).unlock(unlock).await.unwrap();
    let won = timeout(LONG, waits).await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!(won.key, "l/2");
    elections.resign(ResignRequest { leader: first }).await.unwrap();
    let leads = timeout(LONG, stands)
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .into_inner();
    assert_eq!(leads.leader.unwrap().key, "e/2");
    let said = timeout(LONG, observed.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(said.kv.unwrap().value, "2");

    // A client whose connection breaks leaves its place.
    let waits = tokio::spawn({
        let mut locks = LockClient::new(channel(&followers[1]));
        async move { locks.lock(lock(3)).await }
    });
    keys(&one, "l", 2).await;
    waits.abort();
    keys(&one, "l", 1).await;
    leader.start().unwrap();
    cluster.ready(LONG).await.unwrap();
    cluster.agree().await;
}
