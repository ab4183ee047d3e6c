//! A channel to one replica, made safe against what may sit at its address.
//!
//! Promises: an answer of any bytes is an error at worst. tonic (0.14) panics on a `grpc-status-details-bin` that is
//! not base64, in the task of the caller, so that header is checked here first and dropped when it is broken: the
//! status stays, its details are lost. Left out on purpose: finding replicas, retries, deadlines.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http_body::Frame;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, Service, http};
use tonic::transport::Channel;
use tonic::transport::channel::ResponseFuture;

/// Largest answer that is read, bytes: a page of a listing with the largest rows.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

const DETAILS: &str = "grpc-status-details-bin";

/// See the module. Clones share one connection.
#[derive(Debug, Clone)]
pub(crate) struct Wire(Channel);

impl Wire {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Checked>;
    type Error = tonic::transport::Error;
    type Future = MapOk<ResponseFuture, fn(http::Response<Body>) -> http::Response<Checked>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Service::call(&mut self.0, request).map_ok(check_response)
    }
}

fn check_response(mut response: http::Response<Body>) -> http::Response<Checked> {
    check(response.headers_mut());
    response.map(Checked)
}

fn check(headers: &mut http::HeaderMap) {
    let broken = headers
        .get(DETAILS)
        .is_some_and(|value| !is_base64(value.as_bytes()));
    if broken {
        tracing::warn!("an answer's {DETAILS} is not base64; its details are ignored");
        headers.remove(DETAILS);
    }
}

/// The body of an answer, with checked trailers.
pub(crate) struct Checked(Body);

impl HttpBody for Checked {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let mut polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            check(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// Whether these bytes are base64 in canonical form, with or without padding.
fn is_base64(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
    let digits = &bytes[..bytes.len() - padding];
    if padding > 0 && (padding > 2 || !bytes.len().is_multiple_of(4)) {
        return false;
    }
    let mut last = 0;
    for digit in digits {
        last = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return false,
        };
    }
    // The bits of the last digit that no byte takes must be zero.
    match digits.len() % 4 {
        0 => true,
        2 => last & 0b1111 == 0,
        3 => last & 0b11 == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tonic_would_panic_on_is_dropped_and_the_rest_is_kept() {
        let cases: &[(&str, &str, bool)] = &[
            ("nothing", "", true),
            ("one byte", "AA", true),
            ("one byte, padded", "AA==", true),
            ("two bytes", "AAA", true),
            ("two bytes, padded", "AAA=", true),
            ("three bytes", "++//", true),
            ("bits left over", "AB", false),
            ("bits left over after two", "AAB", false),
            ("a digit too few", "A", false),
            ("a digit too few in the second group", "AAAAA", false),
            ("padding of three", "A===", false),
            ("padding alone", "====", false),
            ("padding too short", "AA=", false),
            ("padding in the middle", "A=AA", false),
            ("not a digit", "A!AA", false),
            ("the other alphabet", "--__", false),
        ];
        for (name, value, kept) in cases {
            let mut headers = http::HeaderMap::new();
            headers.insert(DETAILS, value.parse().expect("a header value"));
            headers.insert("grpc-status", "14".parse().expect("a header value"));
            check(&mut headers);
            assert_eq!(headers.contains_key(DETAILS), *kept, "{name}");
            // Whatever is kept, tonic reads without a panic.
            let status = tonic::Status::from_header_map(&headers).expect("a status");
            assert_eq!(status.code(), tonic::Code::Unavailable, "{name}");
        }
    }
}
