//! Clients that write and read keys.

use bytes::Bytes;
use quorate_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::request_op::Request;
use quorate_api::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use tonic::Status;
use tonic::transport::Channel;

use super::Caller;
use super::keys::{key, value};
use crate::plan::Op;

/// See the module.
pub(super) struct KvCaller {
    op: Op,
    number: usize,
    /// One, or one to each member when there are fewer clients than members: then the calls go round, as those of etcd's own
    /// client do.
    clients: Vec<KvClient<Channel>>,
    value: Bytes,
}

/// So many clients over these connections.
pub(super) fn callers(op: Op, channels: &[Channel], clients: usize) -> Vec<KvCaller> {
    let caller = |number: usize| KvCaller {
        op,
        number,
        clients: shares(channels, number, clients)
            .into_iter()
            .map(KvClient::new)
            .collect(),
        value: value(),
    };
    (0..clients).map(caller).collect()
}

/// The connections of client `number` of so many.
fn shares<T: Clone>(connections: &[T], number: usize, clients: usize) -> Vec<T> {
    if clients < connections.len() {
        return connections
            .iter()
            .skip(number)
            .step_by(clients)
            .cloned()
            .collect();
    }
    let own = connections.get(number % connections.len().max(1));
    own.into_iter().cloned().collect()
}

impl Caller for KvCaller {
    async fn call(&mut self, turn: usize) -> Result<(), Status> {
        let key = key(self.number, turn);
        let place = turn % self.clients.len();
        let client = &mut self.clients[place];
        match self.op {
            Op::Put => client.put(put(key, self.value.clone())).await.map(drop),
            Op::Txn => {
                let answer = client.txn(txn(key, self.value.clone())).await?;
                let succeeded = answer.get_ref().succeeded;
                succeeded
                    .then_some(())
                    .ok_or_else(|| Status::internal("the compare failed"))
            }
            op => {
                let serializable = op == Op::GetSerializable;
                let answer = client.range(get(key, serializable)).await?;
                let found = answer.get_ref().kvs.len() == 1;
                found
                    .then_some(())
                    .ok_or_else(|| Status::internal("the key is not there"))
            }
        }
    }
}

fn put(key: Bytes, value: Bytes) -> PutRequest {
    PutRequest {
        key,
        value,
        ..Default::default()
    }
}

fn get(key: Bytes, serializable: bool) -> RangeRequest {
    RangeRequest {
        key,
        serializable,
        ..Default::default()
    }
}

/// Holds for every key that is there.
fn txn(key: Bytes, value: Bytes) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::Version(0)),
        ..Default::default()
    };
    let write = RequestOp {
        request: Some(Request::RequestPut(put(key, value))),
    };
    TxnRequest {
        compare: vec![compare],
        success: vec![write],
        failure: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out() {
        let cases: &[(&str, usize, usize, &[char])] = &[
            ("one client goes round", 0, 1, &['a', 'b', 'c']),
            ("the first of two", 0, 2, &['a', 'c']),
            ("the second of two", 1, 2, &['b']),
            ("as many as connections", 2, 3, &['c']),
            ("more than connections", 4, 9, &['b']),
        ];
        for (name, number, clients, want) in cases {
            assert_eq!(shares(&['a', 'b', 'c'], *number, *clients), *want, "{name}");
        }
        assert!(shares::<char>(&[], 0, 1).is_empty());
    }
}
