//! Groups of coordinators on this machine, and raw channels to them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{
    Builder, Coordinator, Listed, MemberName, MemoryDisk, MemoryLatency, MemoryStore, Network, Tcp, TlsFiles,
};
use quorate_api::v1;
use quorate_client::Client;
use quorate_host::{BoxFuture, Listener, Stream};
use quorate_replica::machine::FEATURE_LEVEL_MAX;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Nothing here takes this long; a test that hangs should say so.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// TCP, with ports that were reserved by binding them: whoever lists a port also gets it.
#[derive(Default)]
pub(crate) struct Reserved(Mutex<BTreeMap<String, Listener>>);

impl Reserved {
    pub(crate) async fn address(&self) -> String {
        let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().unwrap();
        self.0.lock().unwrap().insert(address.clone(), listener);
        address
    }

    pub(crate) async fn listed(&self, name: &str) -> Listed {
        Listed {
            name: MemberName::new(name).unwrap(),
            client_address: self.address().await,
            peer_address: self.address().await,
            liveness_address: self.address().await,
        }
    }
}

impl Network for Reserved {
    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Tcp.resolve(address)
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Tcp.dial(address)
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Listener>> {
        let reserved = self.0.lock().unwrap().remove(address);
        Box::pin(async move {
            match reserved {
                Some(listener) => Ok(listener),
                None => Tcp.listen(address).await,
            }
        })
    }
}

/// A group over memory.
pub(crate) struct Cluster {
    pub(crate) listed: Vec<Listed>,
    pub(crate) disks: Vec<MemoryDisk>,
    network: Arc<Reserved>,
    tls: Option<TlsFiles>,
    running: Vec<Option<Coordinator>>,
}

impl Cluster {
    /// A group that is ready.
    pub(crate) async fn start(size: usize) -> Self {
        Self::start_with(size, None).await
    }

    /// A group that is ready, with or without TLS.
    pub(crate) async fn start_with(size: usize, tls: Option<TlsFiles>) -> Self {
        let network = Arc::new(Reserved::default());
        let mut listed = Vec::new();
        for number in 0..size {
            listed.push(network.listed(&format!("r{number}")).await);
        }
        let disks = (0..size).map(|_| MemoryDisk::default()).collect();
        let mut cluster = Self {
            listed,
            disks,
            network,
            tls,
            running: (0..size).map(|_| None).collect(),
        };
        for number in 0..size {
            cluster.start_one(number).await;
        }
        for coordinator in cluster.running() {
            timeout(LONG, coordinator.ready()).await.unwrap().unwrap();
        }
        cluster
    }

    pub(crate) fn builder(&self, number: usize) -> Builder {
        let store = MemoryStore::open(&self.disks[number], MemoryLatency::default()).unwrap();
        let builder = Coordinator::builder()
            .name(self.listed[number].name.as_str())
            .replicas(self.listed.clone())
            .store(Arc::new(store))
            .bind("127.0.0.1")
            .http("127.0.0.1:0")
            .session_grace(Duration::from_millis(300))
            .drain_timeout(Duration::from_secs(2))
            .network(Arc::clone(&self.network) as Arc<dyn Network>);
        match &self.tls {
            Some(files) => builder.tls(files.clone()),
            None => builder,
        }
    }

    pub(crate) async fn start_one(&mut self, number: usize) {
        let coordinator = self.builder(number).start().await.unwrap();
        self.running[number] = Some(coordinator);
    }

    /// Puts a coordinator that was started elsewhere in its place.
    pub(crate) fn put(&mut self, number: usize, coordinator: Coordinator) {
        self.running[number] = Some(coordinator);
    }

    /// Takes a coordinator out of the group.
    pub(crate) fn take(&mut self, number: usize) -> Coordinator {
        self.running[number].take().unwrap()
    }

    pub(crate) async fn stop_one(&mut self, number: usize) {
        timeout(LONG, self.running[number].take().unwrap().shutdown())
            .await
            .unwrap();
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Coordinator> {
        self.running.iter().flatten()
    }

    pub(crate) fn at(&self, number: usize) -> &Coordinator {
        self.running[number].as_ref().unwrap()
    }

    /// Once the leader writes nothing of its own accord any more: all have raised the feature level.
    pub(crate) async fn settled(&self) {
        let is_raised = |coordinator: &Coordinator| {
            let stale = coordinator.replica().read_stale();
            stale.is_ok_and(|stale| stale.image.feature_level() == FEATURE_LEVEL_MAX)
        };
        let all = || async { self.running().all(is_raised).then_some(()) };
        until("the feature level is raised", all).await;
    }

    /// The number of the replica that serves as the leader, once there is one and all that run know it.
    pub(crate) async fn leader(&self) -> usize {
        let agreed = || {
            let serving = |coordinator: &Coordinator| coordinator.replica().leadership().borrow().serving;
            let leader = self
                .running
                .iter()
                .position(|one| one.as_ref().is_some_and(serving))?;
            let address = &self.listed[leader].client_address;
            let knows = |coordinator: &Coordinator| {
                let leadership = coordinator.replica().leadership();
                let leader = leadership.borrow().leader.clone();
                leader.is_some_and(|leader| leader.client_address == *address)
            };
            self.running().all(knows).then_some(leader)
        };
        until("everybody knows the leader", || async { agreed() }).await
    }

    /// The number of a replica that follows.
    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.running.len())
            .find(|number| *number != leader && self.running[*number].is_some())
            .unwrap()
    }

    pub(crate) fn node(&self, number: usize) -> u64 {
        self.at(number).replica().status().node.unwrap().0
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.listed.iter().map(|listed| listed.client_address.clone())).unwrap()
    }

    pub(crate) fn channel(&self, number: usize) -> Channel {
        channel(&self.listed[number].client_address)
    }

    /// Hands leadership to another replica; gives its number.
    pub(crate) async fn transfer(&self) -> usize {
        let to = self.follower().await;
        let deadline = tokio::time::Instant::now() + LONG;
        let from = self.leader().await;
        let node = quorate_types::NodeId(self.node(to));
        self.at(from)
            .replica()
            .hand_over(Some(node), deadline)
            .await
            .unwrap();
        self.leader().await
    }

    pub(crate) async fn stop(mut self) {
        for number in 0..self.running.len() {
            if self.running[number].is_some() {
                self.stop_one(number).await;
            }
        }
    }
}

/// A raw channel.
pub(crate) fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy()
}

/// Asks until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, asking)
        .await
        .unwrap_or_else(|_| panic!("waited too long until {what}"))
}

/// What must happen soon.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG, what).await.expect("it happens soon")
}

pub(crate) fn trailer<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.metadata().get(name)?.to_str().ok()
}

/// The field that a malformed request is refused for.
pub(crate) fn malformed_field(status: &Status) -> String {
    use v1::error_detail::Kind;
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    assert_eq!(trailer(status, "quorate-outcome"), Some("not-executed"));
    match quorate_api::decode_detail(status).unwrap() {
        Some(Kind::Malformed(malformed)) => malformed.field,
        other => panic!("another detail: {other:?}"),
    }
}

/// A schema with an int64 key and a vector.
pub(crate) fn schema() -> v1::Schema {
    let key = v1::Field {
        name: "id".to_owned(),
        data_type: v1::DataType::Int64.into(),
        primary_key: true,
        ..Default::default()
    };
    let vector = v1::Field {
        name: "vector".to_owned(),
        data_type: v1::DataType::FloatVector.into(),
        dimension: 8,
        ..Default::default()
    };
    v1::Schema {
        fields: vec![key, vector],
        dynamic_fields: false,
    }
}

pub(crate) fn collection(name: &str) -> v1::CreateCollectionRequest {
    v1::CreateCollectionRequest {
        name: name.to_owned(),
        schema: Some(schema()),
        ..Default::default()
    }
}

pub(crate) fn database(name: &str) -> v1::CreateDatabaseRequest {
    v1::CreateDatabaseRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}
