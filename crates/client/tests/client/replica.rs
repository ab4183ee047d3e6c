//! Scripted replicas: real gRPC servers of `quorate.v1` over a tiny model of the cluster.
//!
//! The model executes writes once, as the real machine does, and remembers every execution; each replica has its own
//! opinion about the leader and can be told to misbehave at its next requests.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use quorate_api::v1::error_detail::Kind;
use quorate_api::v1::{self, Reason};
use quorate_api::{encode_status, status_with_detail};
use quorate_host::{Network, incoming};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};

/// Why a request comes to nothing, or what else happens with it.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// Not executed; answered with this.
    Answer(Status),
    /// Executed, and answered with this instead of the result.
    ExecuteThenAnswer(Status),
    /// Executed, never answered.
    ExecuteThenHang,
    /// Neither executed nor answered.
    Hang,
}

/// What all replicas agree on.
#[derive(Debug, Default)]
pub(crate) struct Model {
    clients: BTreeMap<Vec<u8>, Known>,
    /// Client and sequence of each execution, in order.
    pub(crate) executed: Vec<(Vec<u8>, u64)>,
    /// How often a database of that name was created.
    pub(crate) created: BTreeMap<String, u32>,
    /// All request ids that arrived, executed or not.
    pub(crate) arrived: Vec<v1::RequestId>,
    /// Most answers that were kept for a client at any time.
    pub(crate) answers_kept: usize,
    pub(crate) answers_max: u32,
    ids: u64,
    /// Epochs of the live sessions, by id.
    pub(crate) sessions: BTreeMap<u64, u64>,
    sessions_opened: u64,
    pub(crate) history: Vec<v1::WatchResponse>,
    pub(crate) compacted_below: u64,
    pub(crate) collections: Vec<String>,
}

#[derive(Debug, Default)]
struct Known {
    floor: u64,
    answers: BTreeMap<u64, Done>,
}

/// The answer to any write, as far as the model knows writes.
#[derive(Debug, Clone)]
enum Done {
    Ids(v1::AllocateIdsResponse),
    Database(v1::CreateDatabaseResponse),
    Refused(Reason),
}

enum Wish {
    Ids(u64),
    Database(String),
}

impl Model {
    pub(crate) fn register(&mut self, client: &[u8]) {
        self.clients.entry(client.to_vec()).or_default();
    }

    /// Forgets all clients.
    pub(crate) fn evict(&mut self) {
        self.clients.clear();
    }

    fn execute(&mut self, id: Option<v1::RequestId>, wish: &Wish) -> Result<Done, Status> {
        let id = id.expect("the client numbers its writes");
        self.arrived.push(id.clone());
        let Some(known) = self.clients.get_mut(&id.client_id) else {
            return Err(refused(Reason::ClientUnknown));
        };
        known.floor = known.floor.max(id.floor);
        known.answers = known.answers.split_off(&known.floor);
        if id.sequence < known.floor {
            return Err(refused(Reason::RequestForgotten));
        }
        if let Some(done) = known.answers.get(&id.sequence) {
            return Ok(done.clone());
        }
        let done = match wish {
            Wish::Ids(count) => {
                self.ids += count;
                Done::Ids(v1::AllocateIdsResponse {
                    first: self.ids - count + 1,
                    count: *count,
                })
            }
            Wish::Database(name) if name == "taken" => Done::Refused(Reason::DatabaseExists),
            Wish::Database(name) => {
                *self.created.entry(name.clone()).or_default() += 1;
                Done::Database(v1::CreateDatabaseResponse {
                    database_id: self.executed.len() as u64,
                })
            }
        };
        known.answers.insert(id.sequence, done.clone());
        self.answers_kept = self.answers_kept.max(known.answers.len());
        self.executed.push((id.client_id, id.sequence));
        Ok(done)
    }
}

pub(crate) fn refused(reason: Reason) -> Status {
    let reason = reason.into();
    status_with_detail(
        Code::Aborted,
        "refused by the script",
        Kind::Refused(v1::Refused {
            reason,
            milvus_code: 7,
        }),
    )
}

pub(crate) fn overloaded(retry_after_ms: u32) -> Status {
    status_with_detail(
        Code::ResourceExhausted,
        "busy",
        Kind::Overloaded(v1::Overloaded { retry_after_ms }),
    )
}

pub(crate) fn not_leader(leader: Option<v1::LeaderHint>) -> Status {
    let code = if leader.is_some() {
        Code::FailedPrecondition
    } else {
        Code::Unavailable
    };
    status_with_detail(code, "not the leader", Kind::NotLeader(v1::NotLeader { leader }))
}

pub(crate) fn address(node: u64) -> String {
    format!("q{node}:2379")
}

pub(crate) fn hint(node: u64, term: u64) -> v1::LeaderHint {
    v1::LeaderHint {
        node_id: node,
        address: address(node),
        term,
    }
}

/// One replica. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    node: u64,
    model: Arc<Mutex<Model>>,
    opinion: watch::Sender<v1::Topology>,
    rules: Arc<Mutex<VecDeque<Rule>>>,
    /// Keep-alives are not answered.
    mute: watch::Sender<bool>,
    watches: Arc<Mutex<usize>>,
}

impl Replica {
    pub(crate) fn new(node: u64, nodes: u64, model: Arc<Mutex<Model>>) -> Self {
        let members = (1..=nodes).map(|node| v1::MemberInfo {
            node_id: node,
            client_address: address(node),
            voter: true,
            ..Default::default()
        });
        let opinion = v1::Topology {
            cluster_id: vec![9; 16],
            node_id: node,
            term: 1,
            leader: None,
            members: members.collect(),
        };
        Self {
            node,
            model,
            opinion: watch::Sender::new(opinion),
            rules: Arc::default(),
            mute: watch::Sender::new(false),
            watches: Arc::default(),
        }
    }

    /// Serves at its address until the network kills it.
    pub(crate) async fn serve(&self, network: &dyn Network, address: &str) -> tokio::task::JoinHandle<()> {
        let listener = network.listen(address).await.expect("an address");
        let server = Server::builder()
            .add_service(v1::root_server::RootServer::new(self.clone()))
            .add_service(v1::clients_server::ClientsServer::new(self.clone()))
            .add_service(v1::ids_server::IdsServer::new(self.clone()))
            .add_service(v1::cluster_server::ClusterServer::new(self.clone()))
            .add_service(v1::sessions_server::SessionsServer::new(self.clone()))
            .add_service(v1::watch_server::WatchServer::new(self.clone()))
            .add_service(v1::writes_server::WritesServer::new(self.clone()))
            .serve_with_incoming(incoming(listener));
        tokio::spawn(async move { server.await.expect("served") })
    }

    /// Thinks from now on that `leader` leads in `term`, and says so.
    pub(crate) fn think(&self, term: u64, leader: Option<u64>) {
        self.opinion.send_modify(|opinion| {
            opinion.term = term;
            opinion.leader = leader.map(|node| hint(node, term));
        });
    }

    /// What happens to its next requests.
    pub(crate) fn script(&self, rules: impl IntoIterator<Item = Rule>) {
        self.rules.lock().unwrap().extend(rules);
    }

    pub(crate) fn forget_script(&self) {
        self.rules.lock().unwrap().clear();
    }

    pub(crate) fn rules_left(&self) -> usize {
        self.rules.lock().unwrap().len()
    }

    pub(crate) fn mute(&self, mute: bool) {
        self.mute.send_replace(mute);
    }

    /// How many watches it has been asked for.
    pub(crate) fn watches(&self) -> usize {
        *self.watches.lock().unwrap()
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Holds a request while nobody is known to lead, then lets it in or redirects it.
    async fn admit(&self) -> Result<(), Status> {
        let mut opinion = self.opinion.subscribe();
        let known = opinion.wait_for(|opinion| opinion.leader.is_some());
        let leader = match timeout(Duration::from_secs(1), known).await {
            Ok(Ok(opinion)) => opinion.leader.clone(),
            _ => None,
        };
        match leader {
            Some(leader) if leader.node_id == self.node => Ok(()),
            leader => Err(not_leader(leader)),
        }
    }

    async fn run<T>(&self, act: impl FnOnce(&mut Model) -> Result<T, Status>) -> Result<Response<T>, Status> {
        let rule = self.rules.lock().unwrap().pop_front();
        match rule {
            Some(Rule::Answer(status)) => return Err(status),
            Some(Rule::Hang) => return std::future::pending().await,
            _ => self.admit().await?,
        }
        let done = act(&mut self.model());
        match rule {
            Some(Rule::ExecuteThenAnswer(status)) => Err(status),
            Some(Rule::ExecuteThenHang) => std::future::pending().await,
            _ => done.map(Response::new),
        }
    }

    async fn write(&self, id: Option<v1::RequestId>, wish: Wish) -> Result<Done, Status> {
        let done = self.run(|model| model.execute(id, &wish)).await?.into_inner();
        match done {
            Done::Refused(reason) => Err(refused(reason)),
            done => Ok(done),
        }
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::clients_server::Clients for Replica {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        self.admit().await?;
        let mut model = self.model();
        model.register(&request.into_inner().client_id);
        let answers_max = model.answers_max;
        Ok(Response::new(v1::RegisterResponse {
            answers_max,
            idle_ms: 3_600_000,
        }))
    }
}

#[tonic::async_trait]
impl v1::ids_server::Ids for Replica {
    async fn allocate(
        &self,
        request: Request<v1::AllocateIdsRequest>,
    ) -> Result<Response<v1::AllocateIdsResponse>, Status> {
        let request = request.into_inner();
        match self.write(request.request, Wish::Ids(request.count)).await? {
            Done::Ids(ids) => Ok(Response::new(ids)),
            _ => Err(Status::internal("another write had this number")),
        }
    }
}

#[tonic::async_trait]
impl v1::cluster_server::Cluster for Replica {
    type WatchTopologyStream = Messages<v1::Topology>;

    async fn watch_topology(
        &self,
        _: Request<v1::WatchTopologyRequest>,
    ) -> Result<Response<Self::WatchTopologyStream>, Status> {
        let opinion = self.opinion.subscribe();
        // Repeated every five seconds, as the real one does.
        let every = Duration::from_secs(5);
        let repeated = stream::unfold((opinion, true), move |(mut opinion, first)| async move {
            if !first {
                let _ = timeout(every, opinion.changed()).await;
            }
            let now = opinion.borrow_and_update().clone();
            Some((Ok(now), (opinion, false)))
        });
        Ok(Response::new(Box::pin(repeated)))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let topology = Some(self.opinion.borrow().clone());
        let name = format!("q{}", self.node);
        Ok(Response::new(v1::StatusResponse {
            topology,
            name,
            ..Default::default()
        }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        let to = request.into_inner().to;
        let term = self.opinion.borrow().term + 1;
        self.run(|_| Ok(())).await?;
        Ok(Response::new(v1::TransferLeadershipResponse {
            leader: Some(hint(to, term)),
        }))
    }
}

#[tonic::async_trait]
impl v1::sessions_server::Sessions for Replica {
    type AttachStream = Messages<v1::AttachResponse>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        use v1::attach_request::Kind as Asked;
        use v1::attach_response::Kind as Said;
        let mut requests = request.into_inner();
        let Some(v1::AttachRequest {
            kind: Some(Asked::Open(open)),
        }) = requests.message().await?
        else {
            return Err(Status::invalid_argument("open first"));
        };
        let opened = self
            .run(|model| {
                if open.session_id == 0 {
                    model.sessions_opened += 1;
                    let (session_id, epoch) = (model.sessions_opened, model.sessions_opened + 100);
                    model.sessions.insert(session_id, epoch);
                    return Ok(v1::SessionOpened {
                        session_id,
                        epoch,
                        ttl_ms: open.ttl_ms,
                        resumed: false,
                    });
                }
                if model.sessions.get(&open.session_id) != Some(&open.epoch) {
                    return Err(refused(Reason::SessionFenced));
                }
                let (session_id, epoch) = (open.session_id, open.epoch);
                Ok(v1::SessionOpened {
                    session_id,
                    epoch,
                    ttl_ms: open.ttl_ms,
                    resumed: true,
                })
            })
            .await?
            .into_inner();
        let (id, ttl_ms) = (opened.session_id, opened.ttl_ms);
        let say = |kind| Ok(v1::AttachResponse { kind: Some(kind) });
        let closed = |why: v1::session_closed::Why, leader| {
            Said::Closed(v1::SessionClosed {
                why: why.into(),
                leader,
            })
        };
        let first = stream::once(async move { say(Said::Opened(opened)) });
        let replica = self.clone();
        let opinions = WatchStream::from_changes(self.opinion.subscribe());
        enum Input {
            Request(Result<v1::AttachRequest, Status>),
            Opinion(v1::Topology),
        }
        let inputs = stream::select(requests.map(Input::Request), opinions.map(Input::Opinion));
        let answers = inputs.scan(false, move |over, input| {
            if *over {
                return std::future::ready(None);
            }
            let answer = match input {
                Input::Request(Ok(v1::AttachRequest {
                    kind: Some(Asked::KeepAlive(_)),
                })) => (!*replica.mute.borrow()).then_some(Said::KeptAlive(v1::KeptAlive { ttl_ms })),
                Input::Request(Ok(v1::AttachRequest {
                    kind: Some(Asked::Close(_)),
                })) => {
                    replica.model().sessions.remove(&id);
                    *over = true;
                    Some(closed(v1::session_closed::Why::Closed, None))
                }
                Input::Opinion(now) if now.leader.as_ref().is_some_and(|l| l.node_id != replica.node) => {
                    *over = true;
                    Some(closed(v1::session_closed::Why::LeaderChanged, now.leader))
                }
                Input::Opinion(_) => None,
                Input::Request(_) => {
                    *over = true;
                    None
                }
            };
            std::future::ready(Some(answer))
        });
        let answers = answers.filter_map(move |kind| std::future::ready(kind.map(say)));
        Ok(Response::new(Box::pin(first.chain(answers))))
    }

    async fn list_sessions(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        self.run(|model| {
            let sessions = model.sessions.iter().map(|(id, epoch)| v1::Session {
                session_id: *id,
                epoch: *epoch,
                ..Default::default()
            });
            Ok(v1::ListSessionsResponse {
                sessions: sessions.collect(),
                ..Default::default()
            })
        })
        .await
    }
}

#[tonic::async_trait]
impl v1::watch_server::Watch for Replica {
    type WatchStream = Messages<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        *self.watches.lock().unwrap() += 1;
        let request = request.into_inner();
        let model = self.model();
        let from = request.from_revision;
        if request.with_state || from >= model.compacted_below {
            let history: Vec<_> = model
                .history
                .iter()
                .filter(|m| m.revision >= from)
                .cloned()
                .collect();
            let messages = stream::iter(history.into_iter().map(Ok)).chain(stream::pending());
            return Ok(Response::new(Box::pin(messages)));
        }
        let compacted_below = model.compacted_below;
        let cancelled = Some(v1::WatchCancelled {
            compacted_below,
            why: "compacted".to_owned(),
        });
        let message = v1::WatchResponse {
            cancelled,
            ..Default::default()
        };
        Ok(Response::new(Box::pin(stream::iter([Ok(message)]))))
    }
}

#[tonic::async_trait]
impl v1::writes_server::Writes for Replica {
    type WriteStream = Messages<v1::WriteResponse>;

    async fn write(
        &self,
        request: Request<Streaming<v1::WriteRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        use v1::write_request::Write;
        use v1::write_response::Answer;
        self.admit().await?;
        let replica = self.clone();
        let answers = request.into_inner().then(move |request| {
            let replica = replica.clone();
            async move {
                let request = request?;
                let done = match request.write {
                    Some(Write::AllocateIds(w)) => {
                        Replica::write(&replica, w.request, Wish::Ids(w.count)).await
                    }
                    Some(Write::CreateDatabase(w)) => {
                        Replica::write(&replica, w.request, Wish::Database(w.name)).await
                    }
                    _ => Err(Status::unimplemented("not in this model")),
                };
                let answer = match done {
                    Ok(Done::Ids(ids)) => Answer::AllocateIds(ids),
                    Ok(Done::Database(database)) => Answer::CreateDatabase(database),
                    Ok(Done::Refused(_)) => Answer::Error(vec![]),
                    Err(status) => Answer::Error(encode_status(&status)),
                };
                Ok(v1::WriteResponse {
                    tag: request.tag,
                    answer: Some(answer),
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

macro_rules! root {
    ($($method:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl v1::root_server::Root for Replica {
            async fn create_database(
                &self,
                request: Request<v1::CreateDatabaseRequest>,
            ) -> Result<Response<v1::CreateDatabaseResponse>, Status> {
                let request = request.into_inner();
                match self.write(request.request, Wish::Database(request.name)).await? {
                    Done::Database(database) => Ok(Response::new(database)),
                    _ => Err(Status::internal("another write had this number")),
                }
            }

            async fn has_collection(
                &self,
                request: Request<v1::HasCollectionRequest>,
            ) -> Result<Response<v1::HasCollectionResponse>, Status> {
                let exists = |model: &mut Model| model.collections.contains(&request.get_ref().name);
                self.run(|model| Ok(v1::HasCollectionResponse { exists: exists(model), position: None })).await
            }

            /// Two rows a page, whatever was asked.
            async fn list_collections(
                &self,
                request: Request<v1::ListCollectionsRequest>,
            ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
                let token = request.into_inner().page.expect("a page").token;
                let begin: usize = if token.is_empty() { 0 } else { token.parse().expect("our token") };
                self.run(|model| {
                    let rows = model.collections.iter().skip(begin).take(2);
                    let collections = rows.map(|name| v1::Collection { name: name.clone(), ..Default::default() });
                    let end = begin + 2;
                    let next_token = if end < model.collections.len() { end.to_string() } else { String::new() };
                    let collections = collections.collect();
                    Ok(v1::ListCollectionsResponse { collections, next_token, position: None })
                })
                .await
            }

            $(
                async fn $method(&self, _: Request<v1::$request>) -> Result<Response<v1::$answer>, Status> {
                    Err(Status::unimplemented("not in this model"))
                }
            )*
        }
    };
}

root! {
    drop_database(DropDatabaseRequest) -> DropDatabaseResponse;
    alter_database(AlterDatabaseRequest) -> AlterDatabaseResponse;
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse;
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse;
    create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
    drop_collection(DropCollectionRequest) -> DropCollectionResponse;
    alter_collection(AlterCollectionRequest) -> AlterCollectionResponse;
    rename_collection(RenameCollectionRequest) -> RenameCollectionResponse;
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse;
    create_partition(CreatePartitionRequest) -> CreatePartitionResponse;
    drop_partition(DropPartitionRequest) -> DropPartitionResponse;
    has_partition(HasPartitionRequest) -> HasPartitionResponse;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse;
    create_alias(CreateAliasRequest) -> CreateAliasResponse;
    drop_alias(DropAliasRequest) -> DropAliasResponse;
    alter_alias(AlterAliasRequest) -> AlterAliasResponse;
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
}
