//! Streams on connections that end in every way, before a leader that only listens.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use quorate_api::etcdserverpb::LeaseKeepAliveRequest;
use quorate_host::{Ended, ServedConnection};
use quorate_replica::{KeeperNewsKind, Unavailable};
use quorate_types::Term;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::keep_alive::{self, Keeper};
use super::keepers::Keepers;
use super::policy::LeasePolicy;
use crate::auth::{Credentials, Guard};
use crate::node::Node;
use crate::testing::Memory;

const GRACE: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A replica's side.
struct Here {
    node: Memory,
    keepers: Keepers<Memory>,
    ending: CancellationToken,
}

impl Here {
    async fn with_leases(leases: &[i64]) -> Self {
        let node = Memory::new();
        for lease in leases {
            let lease = *lease;
            let command = quorate_replica::machine::Command::GrantKvLease { lease, ttl_s: 60 };
            let granted = node.propose(command, Instant::now()).await;
            granted.expect("a machine that works").expect("granted");
        }
        let policy = LeasePolicy {
            orphan_grace: Some(GRACE),
            ..LeasePolicy::default()
        };
        let keepers = Keepers::new(node.clone(), &policy).expect("a policy");
        let ending = CancellationToken::new();
        tokio::spawn(keepers.clone().run(ending.clone()));
        Self {
            node,
            keepers,
            ending,
        }
    }

    /// Opens a stream that renews these leases and stays open, until the task is aborted.
    fn keeps(&self, on: &ServedConnection, leases: &[i64]) -> JoinHandle<()> {
        let requests: Vec<_> = leases
            .iter()
            .map(|id| Ok(LeaseKeepAliveRequest { id: *id }))
            .collect();
        let requests = stream::iter(requests).chain(stream::pending());
        self.stream(on, requests)
    }

    fn stream(
        &self,
        on: &ServedConnection,
        requests: impl stream::Stream<Item = Result<LeaseKeepAliveRequest, tonic::Status>> + Send + 'static,
    ) -> JoinHandle<()> {
        let keeping = Some(self.keepers.opened(on.connection()));
        let keeper = Keeper {
            node: self.node.clone(),
            guard: Guard::new(),
            shown: Credentials::default(),
        };
        let mut answers = keep_alive::answers(keeper, requests, self.ending.clone(), keeping);
        tokio::spawn(async move { while answers.next().await.is_some() {} })
    }

    /// What the leader was told but of who keeps what: the kinds.
    fn told(&self) -> Vec<KeeperNewsKind> {
        let (news, _) = self.node.keeper_news();
        news.into_iter().map(|news| news.what).collect()
    }
}

fn broke(leases: &[i64]) -> Vec<KeeperNewsKind> {
    leases.iter().map(|lease| KeeperNewsKind::Broke(*lease)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_leader_hears_which_leases_a_broken_connection_kept() {
    // How it ended, for how long the stream had been open, and when the leader hears of it.
    let cases = [
        ("broken", Ended::Broken, 1_001, Some(ms(100))),
        ("too short a stream", Ended::Broken, 900, None),
        ("silent", Ended::Silent, 1_001, Some(ms(10_000))),
        ("closed by us", Ended::Closed, 1_001, None),
    ];
    for (name, ended, open, want) in cases {
        let here = Here::with_leases(&[7, 8, 9]).await;
        let served = ServedConnection::new(None);
        let stream = here.keeps(&served, &[7, 8]);
        sleep(ms(open)).await;
        assert_eq!(here.told(), [], "{name}");
        let at = Instant::now();
        let id = served.connection().id();
        served.ended(ended);
        stream.abort();
        let Some(want) = want else {
            sleep(ms(60_000)).await;
            assert_eq!(here.told(), [], "{name}");
            continue;
        };
        sleep(want - ms(2)).await;
        assert_eq!(here.told(), [], "{name}");
        sleep(ms(4)).await;
        assert_eq!(here.told(), broke(&[7, 8]), "{name}");
        let (news, _) = here.node.keeper_news();
        assert!(news.iter().all(|news| news.connection == id), "{name}");
        assert!(news.iter().all(|news| news.at == at), "{name}: {at:?} {news:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_a_stream_binds_nothing() {
    let here = Here::with_leases(&[7]).await;
    let served = ServedConnection::new(None);
    let once = stream::iter([Ok(LeaseKeepAliveRequest { id: 7 })]);
    here.stream(&served, once).await.expect("no panic");
    sleep(ms(1_500)).await;
    served.ended(Ended::Broken);
    sleep(ms(60_000)).await;
    assert_eq!(here.told(), []);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_closed_alone_frees_its_leases_and_one_closed_before_the_end_does_not() {
    for (pause, want) in [(500, broke(&[7])), (3_000, Vec::new())] {
        let here = Here::with_leases(&[7]).await;
        let served = ServedConnection::new(None);
        let stream = here.keeps(&served, &[7]);
        sleep(ms(2_000)).await;
        stream.abort();
        sleep(ms(pause)).await;
        served.ended(Ended::Broken);
        sleep(ms(500)).await;
        assert_eq!(here.told(), want, "{pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_we_end_frees_its_leases() {
    let here = Here::with_leases(&[7]).await;
    let served = ServedConnection::new(None);
    let (requests, asked) = tokio::sync::mpsc::channel(1);
    let asked = stream::unfold(asked, |mut asked| async move {
        let request = asked.recv().await?;
        Some((Ok(request), asked))
    });
    let stream = here.stream(&served, asked);
    let ask = || requests.send(LeaseKeepAliveRequest { id: 7 });
    ask().await.expect("open");
    sleep(ms(2_000)).await;
    let (term, leader) = (Term(3), None);
    here.node.breaks(Unavailable::NotLeader { term, leader });
    ask().await.expect("open");
    stream.await.expect("it ends with an error");
    here.node.works();
    served.ended(Ended::Broken);
    sleep(ms(500)).await;
    assert_eq!(here.told(), []);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_nobodys_death() {
    let leases: Vec<i64> = (0..5).collect();
    for (dies, want) in [(3, 3), (4, 0)] {
        let here = Here::with_leases(&[]).await;
        for lease in &leases {
            let lease = lease + 1;
            let command = quorate_replica::machine::Command::GrantKvLease { lease, ttl_s: 60 };
            let granted = here.node.propose(command, Instant::now()).await;
            granted.expect("a machine that works").expect("granted");
        }
        let served: Vec<_> = leases.iter().map(|_| ServedConnection::new(None)).collect();
        let streams: Vec<_> = served
            .iter()
            .zip(&leases)
            .map(|(served, lease)| here.keeps(served, &[lease + 1]))
            .collect();
        sleep(ms(2_000)).await;
        let mut left = Vec::new();
        for (number, served) in served.into_iter().enumerate() {
            match number < dies {
                true => served.ended(Ended::Broken),
                false => left.push(served),
            }
        }
        sleep(ms(500)).await;
        assert_eq!(here.told().len(), want);
        assert_eq!(here.node.keeper_news().1, dies - want, "spared");
        drop((streams, left));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_is_said_is_a_client_that_is_back() {
    let here = Here::with_leases(&[7]).await;
    let address = "10.0.0.1:1".parse().expect("an address");
    let served = ServedConnection::new(Some(address));
    let opened = Instant::now();
    let (_quiet, _talks) = (here.keeps(&served, &[]), here.keeps(&served, &[7]));
    sleep(ms(45)).await;
    assert_eq!(here.told(), []);
    sleep(ms(10)).await;
    let (news, _) = here.node.keeper_news();
    assert_eq!(here.told(), [KeeperNewsKind::Back]);
    assert_eq!((news[0].host, news[0].at), (served.connection().host(), opened));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_is_told_who_keeps_what_and_of_breaks_that_are_not_decided() {
    let here = Here::with_leases(&[7, 8, 9]).await;
    let (first, second) = (ServedConnection::new(None), ServedConnection::new(None));
    let (stream, _kept) = (here.keeps(&first, &[7]), here.keeps(&second, &[8]));
    sleep(ms(2_000)).await;
    first.ended(Ended::Broken);
    stream.abort();
    sleep(ms(500)).await;
    assert_eq!(here.told(), broke(&[7]));
    here.node.leads(false);
    sleep(ms(10)).await;
    here.node.leads_again();
    sleep(ms(10)).await;
    let mut told = here.told();
    told.drain(..1);
    told.sort_by_key(|news| format!("{news:?}"));
    assert_eq!(told, [KeeperNewsKind::Broke(7), KeeperNewsKind::Kept(8)]);
    // Once it is decided, nobody is told any more.
    sleep(ms(3_000)).await;
    here.node.leads_again();
    sleep(ms(10)).await;
    let told = here.told();
    assert_eq!(told[3..], [KeeperNewsKind::Kept(8)]);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_there_is_nothing() {
    assert!(Keepers::new(Memory::new(), &LeasePolicy::default()).is_none());
}
