//! The part of etcd's v3 API that the bench speaks: the messages with the fields that it needs, and the calls.

use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use quorate_host::{Tcp, channel_endpoint, connect_lazy};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::error::BenchError;

/// Longest time to connect on one machine.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(uint64, tag = "2")]
    pub(super) member_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) limit: i64,
    #[prost(bool, tag = "8")]
    pub(super) keys_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(int64, tag = "4")]
    pub(super) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    pub(super) more: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRangeResponse {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(uint64, tag = "4")]
    pub(super) leader: u64,
    #[prost(uint64, tag = "6")]
    pub(super) raft_term: u64,
    #[prost(uint64, tag = "7")]
    pub(super) raft_applied_index: u64,
}

impl StatusResponse {
    pub(super) fn member_id(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.member_id)
    }

    pub(super) fn says_it_leads(&self) -> bool {
        self.leader != 0 && self.leader == self.member_id()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MoveLeaderRequest {
    #[prost(uint64, tag = "1")]
    pub(super) target_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MoveLeaderResponse {}

/// A way to one member.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(Channel);

impl Endpoint {
    /// Dials at its first use, and again after each loss.
    pub(super) fn new(address: &str) -> Result<Self, BenchError> {
        let endpoint = channel_endpoint(address, CONNECT_PATIENCE);
        let endpoint = endpoint.map_err(|error| BenchError::Etcd(format!("{address}: {error}")))?;
        Ok(Self(connect_lazy(&endpoint, std::sync::Arc::new(Tcp))))
    }

    pub(super) async fn put(&self, request: PutRequest) -> Result<PutResponse, Status> {
        self.call("/etcdserverpb.KV/Put", request).await
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Status> {
        self.call("/etcdserverpb.KV/DeleteRange", request).await
    }

    pub(super) async fn status(&self) -> Result<StatusResponse, Status> {
        self.call("/etcdserverpb.Maintenance/Status", StatusRequest {})
            .await
    }

    pub(super) async fn move_leader(&self, target_id: u64) -> Result<MoveLeaderResponse, Status> {
        self.call(
            "/etcdserverpb.Maintenance/MoveLeader",
            MoveLeaderRequest { target_id },
        )
        .await
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc
            .unary(Request::new(request), PathAndQuery::from_static(path), codec)
            .await?
            .into_inner())
    }
}

/// The end of the range of all keys that begin with `prefix`, which is not empty and does not end with 0xff.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_etcds_field_numbers() {
        let put = PutRequest {
            key: b"k".to_vec(),
            value: b"v".to_vec(),
        };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x01v");
        let range = RangeRequest {
            key: b"a".to_vec(),
            range_end: b"b".to_vec(),
            limit: 5,
            keys_only: true,
        };
        assert_eq!(range.encode_to_vec(), b"\x0a\x01a\x12\x01b\x18\x05\x40\x01");
        assert_eq!(MoveLeaderRequest { target_id: 3 }.encode_to_vec(), b"\x08\x03");
        // header {cluster 9, member 7}, version "3", size 1, leader 7, index 2, term 4, applied 2
        let status = StatusResponse::decode(
            &b"\x0a\x04\x08\x09\x10\x07\x12\x013\x18\x01\x20\x07\x28\x02\x30\x04\x38\x02"[..],
        );
        let status = status.expect("decodes");
        assert!(status.says_it_leads());
        assert_eq!((status.raft_term, status.raft_applied_index), (4, 2));
        assert_eq!(end_of(b"bench/1/"), b"bench/10");
    }
}
