//! The public gRPC interface: code generated from `proto/quorate/v1`, and the encoding of error details.
//!
//! Promises: what stands in the protos, nothing more. Left out on purpose: meaning. What a call does is decided in
//! `quorate-machine`, how it is answered in `quorate-server`.

mod detail;

pub use detail::{DetailError, decode_detail, decode_status, encode_status, status_with_detail};

/// Messages, clients and servers of package `quorate.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

mod google {
    #![allow(missing_docs, clippy::all, unreachable_pub)]
    tonic::include_proto!("google.rpc");
}

/// The compiled protos, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
