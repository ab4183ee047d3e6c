//! The queue as keys: what they are called, how a place in it is taken, and what a state says of one. Pure.
//!
//! Promises: keys are named as etcd's own client names them, so that who queues up with etcdctl and who does it through a
//! service wait for one another; a place counts from the revision at which its key was created. Once a state shows that
//! nobody is before a place, no later state shows somebody there, so whoever has seen it in an old state may go on.

use bytes::Bytes;
use quorate_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::response_op::Response;
use quorate_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader,
    TxnRequest, TxnResponse,
};
use quorate_replica::machine::{Image, KvOrder, KvRange, KvTarget, Refusal};

use crate::convert::unsigned;

/// The keys of one lock or election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    /// What all of them begin with.
    pub(crate) prefix: Bytes,
    /// The first key behind them.
    pub(crate) end: Bytes,
}

/// A place in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: Queue,
    pub(crate) key: Bytes,
    /// The revision at which the key came into being. The lowest is the first.
    pub(crate) created: i64,
}

/// How a place was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) header: ResponseHeader,
    pub(super) created: i64,
    /// It was there already, with this value.
    pub(super) found: Option<Bytes>,
    /// Nobody is before it.
    pub(super) is_first: bool,
}

/// What a state says of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    First,
    /// This is the key of the next one before it.
    Behind(Bytes),
    /// It is not there any more.
    Lost,
}

impl Queue {
    pub(crate) fn of(name: &[u8]) -> Self {
        Self {
            prefix: [name, b"/"].concat().into(),
            end: [name, b"0"].concat().into(),
        }
    }

    /// The key of whoever has this lease: in hexadecimal with a sign, as Go prints it.
    pub(crate) fn key(&self, lease: i64) -> Bytes {
        let sign = if lease < 0 { "-" } else { "" };
        let number = format!("{sign}{:x}", lease.unsigned_abs());
        [&self.prefix, number.as_bytes()].concat().into()
    }

    /// The read of the first one.
    pub(crate) fn first(&self) -> RangeRequest {
        RangeRequest {
            key: self.prefix.clone(),
            range_end: self.end.clone(),
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..RangeRequest::default()
        }
    }

    /// Takes the last place, unless the key is there; and reads who is the first.
    pub(super) fn take_place(&self, key: &Bytes, value: &Bytes, lease: i64) -> TxnRequest {
        let first = || op(Request::RequestRange(self.first()));
        let put = Request::RequestPut(put(key, value, lease));
        TxnRequest {
            compare: vec![was_created(key, 0)],
            success: vec![op(put), first()],
            failure: vec![op(Request::RequestRange(read(key))), first()],
        }
    }
}

impl Taken {
    /// What the transaction of [`Queue::take_place`] was answered; `None` when that is no answer to it.
    pub(super) fn of(response: TxnResponse) -> Option<Self> {
        let header = response.header?;
        let mut ranges = response.responses.into_iter().filter_map(|op| match op.response {
            Some(Response::ResponseRange(range)) => Some(range),
            _ => None,
        });
        let (created, found) = if response.succeeded {
            (header.revision, None)
        } else {
            let own = ranges.next()?.kvs.into_iter().next()?;
            (own.create_revision, Some(own.value))
        };
        let first = ranges.next()?.kvs.into_iter().next()?;
        Some(Self {
            header,
            created,
            found,
            is_first: first.create_revision == created,
        })
    }
}

impl Place {
    /// What `image` says of it.
    pub(super) fn standing(&self, image: &Image) -> Result<Standing, Refusal> {
        let created = unsigned(self.created);
        let own = KvRange {
            key: self.key.clone(),
            keys_only: true,
            ..KvRange::default()
        };
        let own = image.kv_range(&own)?;
        if own.rows.first().map(|row| row.row.create_revision.0) != Some(created) {
            return Ok(Standing::Lost);
        }
        let before = KvRange {
            key: self.queue.prefix.clone(),
            range_end: self.queue.end.clone(),
            limit: 1,
            order: KvOrder::Descend,
            target: KvTarget::Create,
            keys_only: true,
            // There is no revision 0, so this bounds always.
            max_create_revision: created.saturating_sub(1).max(1),
            ..KvRange::default()
        };
        let before = image.kv_range(&before)?.rows.into_iter().next();
        Ok(before.map_or(Standing::First, |row| Standing::Behind(row.key)))
    }

    /// Says something else there, if it is still this place.
    pub(crate) fn say(&self, value: &Bytes, lease: i64) -> TxnRequest {
        self.if_there(Request::RequestPut(put(&self.key, value, lease)))
    }

    /// Gives it up, if it is still this place.
    pub(crate) fn give_up(&self) -> TxnRequest {
        self.if_there(Request::RequestDeleteRange(DeleteRangeRequest {
            key: self.key.clone(),
            ..DeleteRangeRequest::default()
        }))
    }

    /// Reads its key.
    pub(super) fn read(&self) -> RangeRequest {
        read(&self.key)
    }

    /// The head of an answer to [`Self::read`], if the place is there.
    pub(super) fn held(&self, response: &RangeResponse) -> Option<ResponseHeader> {
        let own = response.kvs.first()?;
        response.header.filter(|_| own.create_revision == self.created)
    }

    fn if_there(&self, request: Request) -> TxnRequest {
        TxnRequest {
            compare: vec![was_created(&self.key, self.created)],
            success: vec![op(request)],
            failure: Vec::new(),
        }
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn put(key: &Bytes, value: &Bytes, lease: i64) -> PutRequest {
    PutRequest {
        key: key.clone(),
        value: value.clone(),
        lease,
        ..PutRequest::default()
    }
}

fn read(key: &Bytes) -> RangeRequest {
    RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    }
}

/// The key was created at this revision; 0: it is not there.
fn was_created(key: &Bytes, revision: i64) -> Compare {
    Compare {
        key: key.clone(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    #[test]
    fn keys_are_named_as_etcds_client_names_them() {
        let cases = [
            ("lock", 0x694d_81a5, "lock/694d81a5"),
            ("", 1, "/1"),
            ("a/b", i64::MAX, "a/b/7fffffffffffffff"),
            ("a", -1, "a/-1"),
            ("a", -255, "a/-ff"),
            ("a", i64::MIN, "a/-8000000000000000"),
        ];
        for (name, lease, want) in cases {
            assert_eq!(Queue::of(name.as_bytes()).key(lease), want);
        }
        let queue = Queue::of(b"a");
        assert_eq!((&queue.prefix[..], &queue.end[..]), (&b"a/"[..], &b"a0"[..]));
    }

    #[test]
    fn a_place_is_behind_who_came_earlier_whatever_happened_since() {
        let node = Memory::new();
        // Created at 2, 3, 5 and 6; the first one says more later, and others are no part of the queue.
        node.put(&[
            ("q/1", ""),
            ("q/2", ""),
            ("q/1", "again"),
            ("q/3", ""),
            ("q0", ""),
            ("q", ""),
        ]);
        let place = |key: &str, created| Place {
            queue: Queue::of(b"q"),
            key: Bytes::copy_from_slice(key.as_bytes()),
            created,
        };
        let behind = |key: &str| Standing::Behind(Bytes::copy_from_slice(key.as_bytes()));
        let cases = [
            ("the first one", place("q/1", 2), Standing::First),
            ("the second one", place("q/2", 3), behind("q/1")),
            ("the third one", place("q/3", 5), behind("q/2")),
            ("one that is gone", place("q/4", 9), Standing::Lost),
            (
                "one that is gone and there again",
                place("q/3", 4),
                Standing::Lost,
            ),
        ];
        for (case, place, want) in cases {
            assert_eq!(place.standing(&node.image()).expect("a read"), want, "{case}");
        }
        node.wrote([crate::testing::delete_command("q/2", "")]);
        let third = place("q/3", 5).standing(&node.image()).expect("a read");
        assert_eq!(third, behind("q/1"));
    }
}
