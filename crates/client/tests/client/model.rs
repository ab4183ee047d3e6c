//! A tiny model of the cluster behind all replicas: it executes each numbered write once, and remembers everything.

use std::collections::BTreeMap;

use quorate_api::status_with_detail;
use quorate_api::v1::error_detail::Kind;
use quorate_api::v1::{self, Reason};
use tonic::{Code, Status};

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
    pub(crate) sessions_opened: u64,
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
pub(crate) enum Done {
    Ids(v1::AllocateIdsResponse),
    Database(v1::CreateDatabaseResponse),
    Refused(Reason),
}

pub(crate) enum Wish {
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

    pub(crate) fn execute(&mut self, id: Option<v1::RequestId>, wish: &Wish) -> Result<Done, Status> {
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
