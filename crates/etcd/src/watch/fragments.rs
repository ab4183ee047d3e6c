//! Large responses in pieces, for watches that want it. Pure.
//!
//! Promises: the events of the pieces are those of the whole, in their order; a piece is below the limit unless a single
//! event is not; all but the last say that more follows.

use std::collections::VecDeque;

use prost::Message;
use prost::encoding::encoded_len_varint;
use quorate_api::etcdserverpb::WatchResponse;

/// The pieces of a response: itself when it is below `bytes_max`.
pub(super) fn fragments(response: WatchResponse, bytes_max: usize) -> VecDeque<WatchResponse> {
    if response.events.len() < 2 || response.encoded_len() < bytes_max {
        return VecDeque::from([response]);
    }
    let WatchResponse { events, .. } = response;
    let empty = WatchResponse {
        fragment: true,
        events: Vec::new(),
        ..response
    };
    let empty_bytes = empty.encoded_len();
    let mut pieces = VecDeque::new();
    let (mut piece, mut bytes) = (empty.clone(), empty_bytes);
    for event in events {
        // In a message, an event has a tag and its length before it.
        let length = event.encoded_len();
        let event_bytes = 1 + encoded_len_varint(length as u64) + length;
        if !piece.events.is_empty() && bytes + event_bytes >= bytes_max {
            pieces.push_back(std::mem::replace(&mut piece, empty.clone()));
            bytes = empty_bytes;
        }
        bytes += event_bytes;
        piece.events.push(event);
    }
    piece.fragment = false;
    pieces.push_back(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_api::etcdserverpb::ResponseHeader;
    use quorate_api::mvccpb::{Event, KeyValue};

    use super::*;

    fn response(values: &[usize]) -> WatchResponse {
        let event = |(number, bytes): (usize, &usize)| Event {
            kv: Some(KeyValue {
                key: Bytes::from(format!("key {number}")),
                value: Bytes::from(vec![7; *bytes]),
                mod_revision: 9,
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        WatchResponse {
            header: Some(ResponseHeader {
                cluster_id: u64::MAX,
                revision: 9,
                ..ResponseHeader::default()
            }),
            watch_id: 5,
            events: values.iter().enumerate().map(event).collect(),
            ..WatchResponse::default()
        }
    }

    #[test]
    fn only_what_is_too_large_is_split() {
        let cases: [(&str, &[usize], &[usize]); 7] = [
            ("small", &[10, 10, 10], &[3]),
            ("nothing", &[], &[0]),
            ("one that is too large", &[5_000], &[1]),
            ("two to a piece", &[400, 400, 400, 400, 400], &[2, 2, 1]),
            ("large ones among small ones", &[10, 5_000, 10, 10], &[1, 1, 2]),
            ("large ones", &[5_000, 5_000], &[1, 1]),
            ("many", &[1; 200], &[58, 56, 54, 32]),
        ];
        for (case, values, want) in cases {
            let whole = response(values);
            let pieces = fragments(whole.clone(), 1_000);
            let counts: Vec<_> = pieces.iter().map(|piece| piece.events.len()).collect();
            assert_eq!(counts, want, "{case}");
            let last = pieces.len() - 1;
            let mut events = Vec::new();
            for (place, piece) in pieces.into_iter().enumerate() {
                assert!(piece.encoded_len() < 1_000 || piece.events.len() == 1, "{case}");
                assert_eq!(piece.fragment, place < last, "{case}");
                assert_eq!((piece.watch_id, &piece.header), (5, &whole.header), "{case}");
                events.extend(piece.events);
            }
            assert_eq!(events, whole.events, "{case}");
        }
    }
}
