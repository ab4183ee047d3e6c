//! The public gRPC interfaces: code generated from `proto/quorate/v1` and from `proto/etcd`, the encoding of error details,
//! and how long a caller waits.
//!
//! Promises: what stands in the protos, nothing more. Left out on purpose: meaning. What a call does is decided in
//! `quorate-machine`, how it is answered in `quorate-server` and `quorate-etcd`.

mod detail;
mod timeout;

pub use detail::{DetailError, decode_detail, decode_status, encode_status, status_with_detail};
pub use timeout::timeout_of;

/// Messages, clients and servers of package `quorate.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

/// Messages, clients and servers of etcd v3.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// Keys and events of etcd v3.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Permissions of etcd v3.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// Locks of etcd v3.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// Elections of etcd v3.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

mod google {
    #![allow(missing_docs, clippy::all, unreachable_pub)]
    tonic::include_proto!("google.rpc");
}

/// The compiled protos, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
