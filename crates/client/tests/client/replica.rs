//! Scripted replicas: real gRPC servers of `quorate.v1` over the model.
//!
//! Each replica has its own opinion about the leader and can be told to misbehave at its next requests.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use quorate_api::encode_status;
use quorate_api::v1::{self, Reason};
use quorate_host::{Network, incoming};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::model::{Done, Model, Wish, address, hint, not_leader, refused};

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

/// One replica. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    node: u64,
    model: Arc<Mutex<Model>>,
    opinion: watch::Sender<v1::Topology>,
    rules: Arc<Mutex<VecDeque<Rule>>>,
    /// Its topology is not repeated.
    quiet: watch::Sender<bool>,
    /// What the next write streams are answered instead of being opened.
    turned_away: Arc<Mutex<VecDeque<Status>>>,
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
            quiet: watch::Sender::new(false),
            turned_away: Arc::default(),
            mute: watch::Sender::new(false),
            watches: Arc::default(),
        }
    }

    /// Serves at its address until the network kills it.
    pub(crate) async fn serve(&self, network: &dyn Network, address: &str) -> tokio::task::JoinHandle<()> {
        let listener = network.listen(address).await.expect("an address");
        let server = Server::builder()
            .add_service(v1::root_server::RootServer::new(self.clone()))
            .add_service(v1::stale_root_server::StaleRootServer::new(self.clone()))
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

    /// Answers the next write stream with this instead of opening it.
    pub(crate) fn turn_away(&self, status: Status) {
        self.turned_away.lock().unwrap().push_back(status);
    }

    /// Whether it says nothing more about the topology unless its opinion changes.
    pub(crate) fn quiet(&self, quiet: bool) {
        self.quiet.send_replace(quiet);
    }

    /// How many watches it has been asked for.
    pub(crate) fn watches(&self) -> usize {
        *self.watches.lock().unwrap()
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
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

    pub(crate) async fn run<T>(
        &self,
        act: impl FnOnce(&mut Model) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
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

    pub(crate) async fn write(&self, id: Option<v1::RequestId>, wish: Wish) -> Result<Done, Status> {
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
        let quiet = self.quiet.subscribe();
        let repeated = stream::unfold((opinion, true), move |(mut opinion, first)| {
            let quiet = quiet.clone();
            async move {
                while !first && timeout(every, opinion.changed()).await.is_err() && *quiet.borrow() {}
                let now = opinion.borrow_and_update().clone();
                Some((Ok(now), (opinion, false)))
            }
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
        if let Some(status) = self.turned_away.lock().unwrap().pop_front() {
            return Err(status);
        }
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
