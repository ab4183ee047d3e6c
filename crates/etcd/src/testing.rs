//! What tests are made of: operations in a few words, and a machine in memory in the place of a replica.

mod contest;
mod group;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate_api::etcdserverpb::compare::TargetUnion;
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use quorate_replica::machine::{Command, FEATURE_LEVEL_MAX, Image, Machine, Outcome};
use quorate_replica::{KeeperNews, KvLeaseTime, Leader, Leadership, Unavailable};
use quorate_types::{ClusterId, Index, NodeId, Revision, Term};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::convert::request as convert;
use crate::node::{Node, Stamp};

pub(crate) use contest::Served;
pub(crate) use group::roster;

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn get_request(key: &str) -> RangeRequest {
    RangeRequest {
        key: bytes(key),
        ..RangeRequest::default()
    }
}

pub(crate) fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: bytes(key),
        value: bytes(value),
        ..PutRequest::default()
    }
}

pub(crate) fn delete_request(key: &str, range_end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest {
        key: bytes(key),
        range_end: bytes(range_end),
        prev_kv: false,
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

pub(crate) fn get(key: &str) -> RequestOp {
    op(Request::RequestRange(get_request(key)))
}

pub(crate) fn put(key: &str) -> RequestOp {
    op(Request::RequestPut(put_request(key, "v")))
}

pub(crate) fn delete(key: &str, range_end: &str) -> RequestOp {
    op(Request::RequestDeleteRange(delete_request(key, range_end)))
}

/// A nested transaction whose compares are those keys' being absent.
pub(crate) fn txn(absent: &[&str], success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    op(Request::RequestTxn(TxnRequest {
        compare: absent.iter().map(|key| is_absent(key)).collect(),
        success,
        failure,
    }))
}

/// As Milvus asks whether a key is absent.
pub(crate) fn is_absent(key: &str) -> Compare {
    Compare {
        key: bytes(key),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    }
}

/// The command of a write of one key.
pub(crate) fn put_command(key: &str, value: &str) -> Command {
    convert::put(put_request(key, value)).expect("a put")
}

/// The command of a deletion.
pub(crate) fn delete_command(key: &str, range_end: &str) -> Command {
    convert::delete(delete_request(key, range_end)).expect("a deletion")
}

/// The command of a transaction of these operations.
pub(crate) fn txn_command(success: Vec<RequestOp>) -> Command {
    let request = TxnRequest {
        success,
        ..TxnRequest::default()
    };
    convert::txn(request).expect("a transaction")
}

/// A group of one, without a log.
#[derive(Clone)]
pub(crate) struct Memory {
    inner: Arc<Mutex<Inner>>,
    revision: watch::Sender<Revision>,
    leadership: watch::Sender<Leadership>,
}

struct Inner {
    machine: Machine,
    next: Index,
    /// What is said instead of an answer.
    out_of_order: Option<Unavailable>,
    /// What the leader was told.
    keeper_news: Vec<KeeperNews>,
    spared_leases: usize,
    group: group::State,
}

impl Memory {
    /// At the highest feature level.
    pub(crate) fn new() -> Self {
        let memory = Self::of_the_first_level();
        let level = FEATURE_LEVEL_MAX;
        memory
            .apply(&Command::RaiseFeatureLevel { level })
            .expect("a machine that works")
            .expect("the next level");
        memory
    }

    pub(crate) fn of_the_first_level() -> Self {
        let inner = Inner {
            machine: Machine::genesis(),
            next: Index(0),
            out_of_order: None,
            keeper_news: Vec::new(),
            spared_leases: 0,
            group: group::State::default(),
        };
        let memory = Self {
            inner: Arc::new(Mutex::new(inner)),
            revision: watch::Sender::default(),
            leadership: watch::Sender::default(),
        };
        memory.leads(true);
        memory
    }

    /// Whether there is a leader.
    pub(crate) fn leads(&self, leads: bool) {
        let leader = || Leader {
            node: NodeId(2),
            client_address: "b:2379".to_owned(),
        };
        self.leadership.send_replace(Leadership {
            term: Term(3),
            leader: leads.then(leader),
            is_me: leads,
            serving: leads,
        });
    }

    /// In the next term.
    pub(crate) fn leads_again(&self) {
        let Term(term) = self.leadership.borrow().term;
        self.leads(true);
        self.leadership.send_modify(|now| now.term = Term(term + 1));
    }

    /// The state now.
    pub(crate) fn image(&self) -> Image {
        self.with(|inner| inner.machine.image())
    }

    /// A machine out of a snapshot of this one.
    pub(crate) fn restored(&self) -> Self {
        let records = self.image().snapshot_records().map(Ok::<_, Infallible>);
        let machine = Machine::restore(records).expect("a snapshot that can be read");
        let next = self.with(|inner| inner.next);
        let restored = Self::of_the_first_level();
        restored.with(|inner| (inner.machine, inner.next) = (machine, next));
        restored.revision.send_replace(restored.image().kv_revision());
        restored
    }

    /// Executes commands that are not refused, and announces them.
    pub(crate) fn wrote(&self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            let outcome = self.execute(&command).expect("a machine that works");
            outcome.expect("a command that is not refused");
        }
        self.announce();
    }

    /// Writes keys, each in a revision of its own.
    pub(crate) fn put(&self, keys: &[(&str, &str)]) {
        self.wrote(keys.iter().map(|(key, value)| put_command(key, value)));
    }

    pub(crate) fn compact(&self, revision: u64) {
        self.wrote([Command::CompactKv { revision }]);
    }

    /// Executes a command, and announces it.
    pub(crate) fn apply(&self, command: &Command) -> Result<Outcome, Unavailable> {
        let outcome = self.execute(command);
        self.announce();
        outcome
    }

    pub(crate) fn announce(&self) {
        self.revision.send_replace(self.image().kv_revision());
    }

    pub(crate) fn breaks(&self, unavailable: Unavailable) {
        self.with(|inner| inner.out_of_order = Some(unavailable));
    }

    /// Nothing is wrong any more.
    pub(crate) fn works(&self) {
        self.with(|inner| inner.out_of_order = None);
    }

    /// What the leader was told of keepers of leases, and how many leases were spared.
    pub(crate) fn keeper_news(&self) -> (Vec<KeeperNews>, usize) {
        self.with(|inner| (inner.keeper_news.clone(), inner.spared_leases))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing runs out here.
    fn time(&self, lease: i64) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.with(|inner| match &inner.out_of_order {
            Some(unavailable) => Err(unavailable.clone()),
            None => Ok(inner.machine.image().kv_lease(lease).map(|lease| KvLeaseTime {
                ttl_s: lease.ttl_s,
                left: Duration::from_millis(lease.ttl_s * 1_000 - 1),
            })),
        })
    }

    /// The same without announcing it.
    pub(crate) fn execute(&self, command: &Command) -> Result<Outcome, Unavailable> {
        self.with(|inner| {
            if let Some(unavailable) = &inner.out_of_order {
                return Err(unavailable.clone());
            }
            let entry = command.encode(1, None);
            let applied = inner.machine.apply(inner.next, &entry);
            inner.next = Index(inner.next.0 + 1);
            Ok(applied.expect("an entry that can be read").outcome)
        })
    }
}

impl Node for Memory {
    async fn propose(&self, command: Command, _: Instant) -> Result<Outcome, Unavailable> {
        self.apply(&command)
    }

    async fn read(&self, _: Instant) -> Result<Image, Unavailable> {
        self.with(|inner| match &inner.out_of_order {
            Some(unavailable) => Err(unavailable.clone()),
            None => Ok(inner.machine.image()),
        })
    }

    async fn renew_lease(&self, _: u64, lease: i64, _: Instant) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.time(lease)
    }

    async fn keeper_news(&self, news: KeeperNews, _: Instant) -> Result<(), Unavailable> {
        self.with(|inner| match &inner.out_of_order {
            Some(unavailable) => Err(unavailable.clone()),
            None => {
                inner.keeper_news.push(news);
                Ok(())
            }
        })
    }

    fn count_spared_leases(&self, leases: usize) {
        self.with(|inner| inner.spared_leases += leases);
    }

    async fn lease_time(&self, lease: i64, _: Instant) -> Result<Option<KvLeaseTime>, Unavailable> {
        self.time(lease)
    }

    fn read_stale(&self) -> Result<Image, Unavailable> {
        Ok(self.image())
    }

    fn auth_is_on(&self) -> bool {
        self.image().kv_auth().is_on()
    }

    async fn kv_revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            cluster: ClusterId(7),
            node: NodeId(2),
            term: Term(3),
        }
    }
}
