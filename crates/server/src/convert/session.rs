//! Workers and their sessions.

use quorate_api::v1;
use quorate_replica::machine::{LeaseId, Session, Worker, WorkerKind};
use quorate_types::Epoch;
use quorate_types::limits::{ADDRESS_BYTES_MAX, WORKER_CAPACITIES_MAX, WORKER_TEXT_BYTES_MAX};

use super::{Malformed, count, text};

/// What a worker asks for at the beginning of its stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Opening {
    /// A session of its own.
    New { worker: Worker, ttl_ms: u64 },
    /// The one it has already.
    Resume { session: LeaseId, epoch: Epoch },
}

/// Checks the first request of a stream.
pub(crate) fn opening(open: v1::OpenSession) -> Result<Opening, Malformed> {
    match (open.session_id, open.epoch) {
        (0, 0) => {
            let worker = open.worker.ok_or_else(|| Malformed::missing("worker"))?;
            let worker = self::worker(worker).map_err(|malformed| malformed.under("worker"))?;
            Ok(Opening::New {
                worker,
                ttl_ms: open.ttl_ms,
            })
        }
        (0, _) => Err(Malformed::new(
            "session_id",
            "is missing, and epoch is not; give both or neither",
        )),
        (_, 0) => Err(Malformed::new(
            "epoch",
            "is missing, and session_id is not; give both or neither",
        )),
        (session, epoch) => Ok(Opening::Resume {
            session: LeaseId(session),
            epoch: Epoch(epoch),
        }),
    }
}

fn worker(worker: v1::Worker) -> Result<Worker, Malformed> {
    let kind = worker_kind("kind", worker.kind)?.ok_or_else(|| Malformed::missing("kind"))?;
    count("capacity", worker.capacity.len(), WORKER_CAPACITIES_MAX)?;
    for unit in worker.capacity.keys() {
        if unit.len() > WORKER_TEXT_BYTES_MAX {
            let why = format!(
                "has a unit of {} bytes; at most {WORKER_TEXT_BYTES_MAX} are allowed",
                unit.len()
            );
            return Err(Malformed::new("capacity", why));
        }
    }
    Ok(Worker {
        kind,
        name: text("name", worker.name, WORKER_TEXT_BYTES_MAX)?,
        address: text("address", worker.address, ADDRESS_BYTES_MAX)?,
        zone: text("zone", worker.zone, WORKER_TEXT_BYTES_MAX)?,
        resource_group: text("resource_group", worker.resource_group, WORKER_TEXT_BYTES_MAX)?,
        capacity: worker.capacity,
    })
}

/// The kind of a worker; `None` when it is not specified.
pub(super) fn worker_kind(field: &str, number: i32) -> Result<Option<WorkerKind>, Malformed> {
    let known = v1::WorkerKind::try_from(number).map_err(|_| Malformed::unknown(field, number))?;
    Ok(WorkerKind::ALL
        .iter()
        .copied()
        .find(|kind| kind_to_proto(*kind) == known))
}

fn kind_to_proto(kind: WorkerKind) -> v1::WorkerKind {
    match kind {
        WorkerKind::Proxy => v1::WorkerKind::Proxy,
        WorkerKind::QueryNode => v1::WorkerKind::QueryNode,
        WorkerKind::DataNode => v1::WorkerKind::DataNode,
        WorkerKind::IndexNode => v1::WorkerKind::IndexNode,
    }
}

/// A session.
pub(super) fn to_proto(session: Session) -> v1::Session {
    let worker = session.worker;
    v1::Session {
        session_id: session.id.0,
        epoch: session.epoch.0,
        worker: Some(v1::Worker {
            kind: kind_to_proto(worker.kind).into(),
            name: worker.name,
            address: worker.address,
            zone: worker.zone,
            resource_group: worker.resource_group,
            capacity: worker.capacity,
        }),
        ttl_ms: session.ttl_ms,
        opened_at_ms: session.opened_at.0,
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::LogTime;

    use super::*;

    fn somebody() -> v1::Worker {
        v1::Worker {
            kind: v1::WorkerKind::QueryNode.into(),
            name: "q1".to_owned(),
            address: "q1:21123".to_owned(),
            zone: "a".to_owned(),
            resource_group: "rg".to_owned(),
            capacity: [("slots".to_owned(), 4)].into(),
        }
    }

    fn open(change: impl FnOnce(&mut v1::OpenSession)) -> v1::OpenSession {
        let mut open = v1::OpenSession {
            worker: Some(somebody()),
            ttl_ms: 9_000,
            session_id: 0,
            epoch: 0,
        };
        change(&mut open);
        open
    }

    fn of_worker(change: impl FnOnce(&mut v1::Worker)) -> v1::OpenSession {
        open(|open| change(open.worker.as_mut().expect("somebody")))
    }

    #[test]
    fn openings() {
        let new = opening(open(|_| {})).expect("well-formed");
        assert!(matches!(new, Opening::New { ttl_ms: 9_000, .. }), "{new:?}");
        let resumed = opening(open(|open| (open.session_id, open.epoch) = (4, 5)));
        assert_eq!(
            resumed,
            Ok(Opening::Resume {
                session: LeaseId(4),
                epoch: Epoch(5)
            })
        );
    }

    #[test]
    fn what_is_no_opening_names_the_field() {
        let cases: Vec<(&str, v1::OpenSession, &str)> = vec![
            ("nobody", open(|open| open.worker = None), "worker"),
            (
                "a session without its epoch",
                open(|open| open.session_id = 1),
                "epoch",
            ),
            (
                "an epoch without its session",
                open(|open| open.epoch = 1),
                "session_id",
            ),
            ("no kind", of_worker(|worker| worker.kind = 0), "worker.kind"),
            (
                "a kind of the future",
                of_worker(|worker| worker.kind = 5),
                "worker.kind",
            ),
            (
                "a long name",
                of_worker(|worker| worker.name = "n".repeat(256)),
                "worker.name",
            ),
            (
                "a long address",
                of_worker(|worker| worker.address = "n".repeat(261)),
                "worker.address",
            ),
            (
                "a long zone",
                of_worker(|worker| worker.zone = "n".repeat(256)),
                "worker.zone",
            ),
            (
                "a long group",
                of_worker(|worker| worker.resource_group = "n".repeat(256)),
                "worker.resource_group",
            ),
            (
                "too many capacities",
                of_worker(|worker| worker.capacity = (0..65).map(|n| (n.to_string(), 1)).collect()),
                "worker.capacity",
            ),
            (
                "a long unit",
                of_worker(|worker| worker.capacity = [("u".repeat(256), 1)].into()),
                "worker.capacity",
            ),
        ];
        for (case, open, field) in cases {
            assert_eq!(
                opening(open).map_err(|m| m.field),
                Err(field.to_owned()),
                "{case}"
            );
        }
    }

    #[test]
    fn a_session_is_shown_whole() {
        for kind in WorkerKind::ALL {
            let declared = v1::Worker {
                kind: kind_to_proto(*kind).into(),
                ..somebody()
            };
            let Ok(Opening::New { worker, .. }) = opening(open(|open| open.worker = Some(declared.clone())))
            else {
                panic!("{kind} is no opening");
            };
            let (id, epoch, opened_at) = (LeaseId(7), Epoch(8), LogTime(5));
            let session = Session {
                id,
                epoch,
                worker,
                ttl_ms: 9_000,
                opened_at,
            };
            let shown = to_proto(session);
            let worker = Some(declared);
            let want = v1::Session {
                session_id: 7,
                epoch: 8,
                worker,
                ttl_ms: 9_000,
                opened_at_ms: 5,
            };
            assert_eq!(shown, want);
        }
    }
}
