//! Worker sessions: a lease, and the epoch that fences its predecessors.
//!
//! Promises: at most one session of a kind and name lives, and a later session of any worker has a larger epoch, so that
//! whoever remembers the largest epoch it has seen can refuse the orders of every predecessor. Opening a session replaces
//! the worker's live one. Left out on purpose: renewals, which never enter the log (the leader keeps the leases), and the
//! work that a session is given.

use std::collections::BTreeMap;

use quorate_format::v1;
use quorate_types::limits::{
    SESSION_TTL_MS_MAX, SESSION_TTL_MS_MIN, SESSIONS_MAX, WORKER_CAPACITIES_MAX, WORKER_TEXT_BYTES_MAX,
};
use quorate_types::{Epoch, LogTime, check_address};

use crate::codes::codes;
use crate::command::{CloseSession, OpenSession};
use crate::lease;
use crate::object_id::LeaseId;
use crate::page::{Page, PageRequest};
use crate::refusal::{ParameterRule, Refusal, ShapeRule};
use crate::reply::Reply;
use crate::table::{FixedKey, Rows, Table, TableTag, Under, Value};
use crate::txn::Txn;

const SESSIONS: Table<LeaseId, Session> = Table::new(TableTag::Session);
const BY_WORKER: Table<Under<WorkerKind>, LeaseId> = Table::new(TableTag::SessionWorker);

codes! {
    /// What a worker does.
    WorkerKind {
        Proxy = 1 => "proxy",
        QueryNode = 2 => "query node",
        DataNode = 3 => "data node",
        IndexNode = 4 => "index node",
    }
}

impl FixedKey for WorkerKind {
    fn write(self, out: &mut Vec<u8>) {
        out.push(self as u8);
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&number, rest) = bytes.split_first()?;
        Some((Self::from_number(number.into())?, rest))
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What it does.
    pub kind: WorkerKind,
    /// Unique among the live sessions of its kind.
    pub name: String,
    /// `host:port` of its own service.
    pub address: String,
    /// The failure domain it runs in; may be empty.
    pub zone: String,
    /// The group of workers it belongs to; may be empty.
    pub resource_group: String,
    /// Units of work that it takes, in its own measures.
    pub capacity: BTreeMap<String, u64>,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, which is its lease's.
    pub id: LeaseId,
    /// Its fencing number.
    pub epoch: Epoch,
    /// Whose it is.
    pub worker: Worker,
    /// Its lease's time to live, milliseconds.
    pub ttl_ms: u64,
    /// Log time of its opening.
    pub opened_at: LogTime,
}

impl Value<LeaseId> for Session {
    fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&v1::SessionRow {
            epoch: self.epoch.0,
            worker: Some(self.worker.to_format()),
            opened_at_ms: self.opened_at.0,
            ttl_ms: self.ttl_ms,
        })
    }

    fn decode(id: LeaseId, bytes: &[u8]) -> Option<Self> {
        let row: v1::SessionRow = prost::Message::decode(bytes).ok()?;
        Some(Self {
            id,
            epoch: Epoch(row.epoch),
            worker: Worker::from_format(row.worker?)?,
            ttl_ms: row.ttl_ms,
            opened_at: LogTime(row.opened_at_ms),
        })
    }
}

impl Value<Under<WorkerKind>> for LeaseId {
    fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&v1::IdRow { id: self.0 })
    }

    fn decode(_: Under<WorkerKind>, bytes: &[u8]) -> Option<Self> {
        let row: v1::IdRow = prost::Message::decode(bytes).ok()?;
        Some(Self(row.id))
    }
}

impl Worker {
    pub(crate) fn to_format(&self) -> v1::Worker {
        v1::Worker {
            kind: self.kind as i32,
            name: self.name.clone(),
            address: self.address.clone(),
            zone: self.zone.clone(),
            resource_group: self.resource_group.clone(),
            capacity: self.capacity.clone(),
        }
    }

    /// `None` when its kind is of a later release.
    pub(crate) fn from_format(worker: v1::Worker) -> Option<Self> {
        Some(Self {
            kind: WorkerKind::from_number(u32::try_from(worker.kind).ok()?)?,
            name: worker.name,
            address: worker.address,
            zone: worker.zone,
            resource_group: worker.resource_group,
            capacity: worker.capacity,
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.name.is_empty() {
            return Err(Refusal::shape("worker.name", ShapeRule::Empty));
        }
        check_text("worker.name", &self.name)?;
        check_text("worker.zone", &self.zone)?;
        check_text("worker.resource_group", &self.resource_group)?;
        if check_address(&self.address).is_err() {
            return Err(Refusal::shape("worker.address", ShapeRule::Address));
        }
        if self.capacity.len() > WORKER_CAPACITIES_MAX {
            let max = WORKER_CAPACITIES_MAX as u64;
            return Err(Refusal::parameter(
                "worker.capacity",
                ParameterRule::TooMany { max },
            ));
        }
        for unit in self.capacity.keys() {
            if unit.is_empty() {
                return Err(Refusal::shape("worker.capacity", ShapeRule::Empty));
            }
            check_text("worker.capacity", unit)?;
        }
        Ok(())
    }
}

fn check_text(parameter: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > WORKER_TEXT_BYTES_MAX {
        let max = WORKER_TEXT_BYTES_MAX as u64;
        return Err(Refusal::parameter(parameter, ParameterRule::TooLong { max }));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::shape(parameter, ShapeRule::Characters));
    }
    Ok(())
}

/// Opens a session, and thereby fences the worker's live one.
pub(crate) fn open(txn: &mut Txn<'_>, command: &OpenSession) -> Result<Reply, Refusal> {
    let OpenSession { worker, ttl_ms } = command;
    worker.check()?;
    if !(SESSION_TTL_MS_MIN..=SESSION_TTL_MS_MAX).contains(ttl_ms) {
        let rule = ParameterRule::Range {
            min: SESSION_TTL_MS_MIN,
            max: SESSION_TTL_MS_MAX,
        };
        return Err(Refusal::parameter("ttl_ms", rule));
    }
    let replaced = BY_WORKER.get(txn, (worker.kind, &worker.name));
    if replaced.is_none() && txn.head.tally.sessions >= SESSIONS_MAX as u64 {
        return Err(Refusal::SessionLimit);
    }

    if let Some(old) = replaced {
        end(txn, old);
        lease::revoke(txn, old);
    }
    let session = Session {
        id: lease::grant(txn, *ttl_ms).id,
        epoch: txn.next_epoch(),
        worker: worker.clone(),
        ttl_ms: *ttl_ms,
        opened_at: txn.log_time,
    };
    SESSIONS.put(txn, session.id, &session);
    BY_WORKER.put(txn, (worker.kind, &worker.name), &session.id);
    txn.head.tally.sessions += 1;
    Ok(Reply::SessionOpened {
        session: session.id,
        epoch: session.epoch,
        replaced,
    })
}

/// Closes a session at its worker's wish. One that is over already is refused as fenced, so that a worker which was
/// replaced learns it.
pub(crate) fn close(txn: &mut Txn<'_>, command: &CloseSession) -> Result<Reply, Refusal> {
    let &CloseSession { session, epoch } = command;
    if !is_live(txn, session, epoch) {
        // Both numbers were given out, so there may have been such a session.
        let existed = session.0 <= txn.head.last_id && epoch.0 <= txn.head.last_epoch && epoch.0 > 0;
        return Err(if existed && !SESSIONS.has(txn, session) {
            Refusal::SessionFenced { session, epoch }
        } else {
            Refusal::SessionNotFound { session, epoch }
        });
    }
    end(txn, session);
    lease::revoke(txn, session);
    Ok(Reply::SessionClosed)
}

/// Removes a session, if the lease carries one; the lease is its caller's.
pub(crate) fn end(txn: &mut Txn<'_>, id: LeaseId) {
    let Some(session) = SESSIONS.get(txn, id) else {
        return;
    };
    SESSIONS.delete(txn, id);
    BY_WORKER.delete(txn, (session.worker.kind, &session.worker.name));
    txn.head.tally.sessions -= 1;
}

/// Whether orders under this session and epoch still count.
pub(crate) fn is_live(rows: &impl Rows, id: LeaseId, epoch: Epoch) -> bool {
    get(rows, id).is_some_and(|session| session.epoch == epoch)
}

/// A session by its id.
pub(crate) fn get(rows: &impl Rows, id: LeaseId) -> Option<Session> {
    SESSIONS.get(rows, id)
}

/// Sessions of a kind, or of all, by kind and name.
pub(crate) fn list(
    rows: &impl Rows,
    kind: Option<WorkerKind>,
    page: &PageRequest,
) -> Result<Page<Session>, Refusal> {
    let prefix = match kind {
        Some(kind) => BY_WORKER.prefix(kind),
        None => BY_WORKER.start(),
    };
    page.read(BY_WORKER, rows, prefix, |id| {
        SESSIONS
            .get(rows, id)
            .expect("a session stands behind its worker's row")
    })
}

/// A row as the session that it is.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Session> {
    SESSIONS.decode(key, value)
}

/// A row of the index, as the id in it.
pub(crate) fn read_worker(key: &[u8], value: &[u8]) -> Option<LeaseId> {
    BY_WORKER.decode(key, value)
}

/// The key that the index has for a session.
pub(crate) fn worker_key(session: &Session) -> Vec<u8> {
    BY_WORKER.key((session.worker.kind, &session.worker.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::fixture::{Log, check, open_session, worker};

    fn close(session: u64, epoch: u64) -> Command {
        Command::CloseSession(CloseSession {
            session: LeaseId(session),
            epoch: Epoch(epoch),
        })
    }

    fn expire(ids: &[u64]) -> Command {
        Command::ExpireLeases {
            ids: ids.iter().copied().map(LeaseId).collect(),
        }
    }

    fn open_with(change: impl Fn(&mut OpenSession)) -> Command {
        let mut open = OpenSession {
            worker: worker("q1"),
            ttl_ms: 10_000,
        };
        change(&mut open);
        Command::OpenSession(open)
    }

    #[test]
    fn sessions_open_close_expire_and_fence() {
        let one = || vec![open_session("q1")];
        let two = || vec![open_session("q1"), open_session("q1")];
        let over =
            "session 2 with epoch 1 is over: it expired, was closed, or another took over; open a new one";
        check(vec![
            (
                "the first",
                vec![],
                open_session("q1"),
                "SessionOpened { session: LeaseId(2), epoch: Epoch(1), replaced: None }",
            ),
            (
                "another worker",
                one(),
                open_session("q2"),
                "SessionOpened { session: LeaseId(3), epoch: Epoch(2), replaced: None }",
            ),
            (
                "the same name, another kind",
                one(),
                open_with(|open| open.worker.kind = WorkerKind::Proxy),
                "SessionOpened { session: LeaseId(3), epoch: Epoch(2), replaced: None }",
            ),
            (
                "the same worker again",
                one(),
                open_session("q1"),
                "SessionOpened { session: LeaseId(3), epoch: Epoch(2), replaced: Some(LeaseId(2)) }",
            ),
            ("closed", one(), close(2, 1), "SessionClosed"),
            ("the older one is fenced", two(), close(2, 1), over),
            ("the later one closes", two(), close(3, 2), "SessionClosed"),
            (
                "closed twice",
                vec![open_session("q1"), close(2, 1)],
                close(2, 1),
                over,
            ),
            (
                "expired",
                vec![open_session("q1"), expire(&[2])],
                close(2, 1),
                over,
            ),
            (
                "of the future",
                one(),
                close(9, 1),
                "there is no session 9 with epoch 1",
            ),
            (
                "of another epoch",
                two(),
                close(3, 1),
                "there is no session 3 with epoch 1",
            ),
            (
                "epoch nought",
                vec![open_session("q1"), close(2, 1)],
                close(2, 0),
                "there is no session 2 with epoch 0",
            ),
            (
                "unknown leases are skipped",
                two(),
                expire(&[2, 3, 3, 99]),
                "LeasesExpired { count: 1 }",
            ),
        ]);
    }

    #[test]
    fn what_a_worker_says_of_itself_is_checked() {
        let long = "x".repeat(256);
        check(vec![
            (
                "no name",
                vec![],
                open_with(|o| o.worker.name.clear()),
                "the parameter worker.name is empty",
            ),
            (
                "a long name",
                vec![],
                open_with(|o| o.worker.name.clone_from(&long)),
                "the parameter worker.name is longer than 255 bytes",
            ),
            (
                "a space",
                vec![],
                open_with(|o| o.worker.zone = "zone a".into()),
                "the parameter worker.zone may hold only visible ASCII characters, no spaces",
            ),
            (
                "a control character",
                vec![],
                open_with(|o| o.worker.resource_group = "a\n".into()),
                "the parameter worker.resource_group may hold only visible ASCII characters, no spaces",
            ),
            (
                "no address",
                vec![],
                open_with(|o| o.worker.address.clear()),
                "the parameter worker.address is not host:port",
            ),
            (
                "too many capacities",
                vec![],
                open_with(|o| {
                    o.worker.capacity = (0..65).map(|n| (n.to_string(), 1)).collect();
                }),
                "the parameter worker.capacity has more than 64 entries",
            ),
            (
                "a capacity of nothing",
                vec![],
                open_with(|o| o.worker.capacity = [(String::new(), 1)].into()),
                "the parameter worker.capacity is empty",
            ),
            (
                "too short",
                vec![],
                open_with(|o| o.ttl_ms = 999),
                "the parameter ttl_ms must be from 1000 to 86400000",
            ),
            (
                "too long",
                vec![],
                open_with(|o| o.ttl_ms = u64::MAX),
                "the parameter ttl_ms must be from 1000 to 86400000",
            ),
        ]);
    }

    #[test]
    fn readers_see_sessions_and_leases() {
        let mut log = Log::new();
        for name in ["q2", "q1"] {
            assert!(log.apply(&open_session(name)).is_ok());
        }
        let proxy = open_with(|open| (open.worker.kind, open.ttl_ms) = (WorkerKind::Proxy, 5_000));
        assert!(log.apply(&proxy).is_ok());
        let image = log.machine.image();
        let names = |kind| {
            let page = image
                .list_sessions(kind, &PageRequest::default())
                .expect("a page");
            page.items
                .into_iter()
                .map(|session| session.worker.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["q1", "q1", "q2"]);
        assert_eq!(names(Some(WorkerKind::QueryNode)), ["q1", "q2"]);
        assert_eq!(names(Some(WorkerKind::DataNode)), [""; 0]);
        let ttls: Vec<_> = image.leases().map(|lease| (lease.id.0, lease.ttl_ms)).collect();
        assert_eq!(ttls, [(2, 10_000), (3, 10_000), (4, 5_000)]);
        assert!(image.session_is_live(LeaseId(3), Epoch(2)));
        assert!(!image.session_is_live(LeaseId(3), Epoch(1)));
        assert!(!image.session_is_live(LeaseId(9), Epoch(2)));
    }
}
