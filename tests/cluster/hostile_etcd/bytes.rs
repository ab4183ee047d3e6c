//! What no client library sends: HTTP/2 by hand, and messages that are any bytes.

use quorate_local::Process;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::neighbour::within;

/// What every HTTP/2 client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// The head of a call, without a table, and its message if there is one.
pub(super) fn call(path: &str, message: Option<&[u8]>) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // POST, http, then a path, a host, a type and `te`.
    let head = [
        vec![0x83, 0x86, 0x04],
        text(path),
        vec![0x01],
        text("x"),
        vec![0x0f, 0x10],
        text("application/grpc"),
        vec![0x00],
        text("te"),
        text("trailers"),
    ];
    let mut bytes = frame(1, 4, 1, &head.concat());
    if let Some(message) = message {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        bytes.extend(frame(0, 0, 1, &[&[0], &length[..], message].concat()));
    }
    bytes
}

/// Settings and a window that let the other side send as much as it likes.
pub(super) fn wide() -> Vec<u8> {
    let settings = frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = frame(8, 0, 0, &[0x7f, 0x00, 0x00, 0x00]);
    [settings, window].concat()
}

pub(super) async fn connect(process: &Process, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(process.client_address()).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    connection
}

/// Messages that are bytes, whatever they mean.
#[derive(Clone, Copy)]
pub(super) struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost_reflect::prost::bytes::BufMut::put_slice(to, &bytes);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use prost_reflect::prost::bytes::Buf as _;
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// A call whose message is these bytes.
pub(super) async fn raw(channel: &Channel, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let calling = client.unary(Request::new(message), PathAndQuery::from_static(path), Bytes);
    Ok(within(calling).await?.into_inner())
}

/// A field with a length, around others.
pub(super) fn around(tag: u8, inner: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    let mut length = inner.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap());
    field.extend_from_slice(inner);
    field
}

/// Transactions within one another as bytes, so that no message of ours has to be as deep.
pub(super) fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..depth {
        // An operation of a success, and in it a transaction.
        bytes = around(0x12, &around(0x22, &bytes));
    }
    bytes
}
