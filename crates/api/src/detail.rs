//! Error details on the wire: a `google.rpc.Status` with one `quorate.v1.ErrorDetail`, and the same facts as trailers.
//!
//! Promises: what [`status_with_detail`] writes, [`decode_detail`] reads back; bytes that are no detail are an error,
//! never a panic. The trailers' names are listed in `error.proto`.

use std::fmt;

use prost::Message;
use prost_types::Any;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::google;
use crate::v1::error_detail::Kind;
use crate::v1::{ErrorDetail, LeaderHint};

const TYPE_URL: &str = "type.googleapis.com/quorate.v1.ErrorDetail";

/// Bytes that should be an error detail and are not.
#[derive(Debug)]
pub struct DetailError(prost::DecodeError);

impl fmt::Display for DetailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the error details of an answer cannot be read")
    }
}

impl std::error::Error for DetailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A gRPC status that carries `kind` in its details and in its trailers.
#[must_use]
pub fn status_with_detail(code: Code, message: impl Into<String>, kind: Kind) -> Status {
    let message = message.into();
    let metadata = trailers(&kind);
    let details = status_message(code, &message, kind).encode_to_vec();
    Status::with_details_and_metadata(code, message, details.into(), metadata)
}

/// The detail of a status; `None` when it has none of ours.
///
/// # Errors
/// When the bytes are no `google.rpc.Status` with an `ErrorDetail`.
pub fn decode_detail(status: &Status) -> Result<Option<Kind>, DetailError> {
    if status.details().is_empty() {
        return Ok(None);
    }
    detail_of(&google::Status::decode(status.details()).map_err(DetailError)?)
}

/// A status as bytes, for answers that travel inside a stream: a `google.rpc.Status`.
#[must_use]
pub fn encode_status(status: &Status) -> Vec<u8> {
    if status.details().is_empty() {
        return google::Status {
            code: status.code() as i32,
            message: status.message().to_owned(),
            details: vec![],
        }
        .encode_to_vec();
    }
    status.details().to_vec()
}

/// The status that [`encode_status`] wrote.
///
/// # Errors
/// When the bytes are no `google.rpc.Status`.
pub fn decode_status(bytes: &[u8]) -> Result<Status, DetailError> {
    let decoded = google::Status::decode(bytes).map_err(DetailError)?;
    let metadata = detail_of(&decoded)?
        .map(|kind| trailers(&kind))
        .unwrap_or_default();
    let code = Code::from(decoded.code);
    Ok(Status::with_details_and_metadata(
        code,
        decoded.message,
        bytes.to_vec().into(),
        metadata,
    ))
}

fn detail_of(status: &google::Status) -> Result<Option<Kind>, DetailError> {
    let Some(any) = status.details.iter().find(|any| any.type_url == TYPE_URL) else {
        return Ok(None);
    };
    Ok(ErrorDetail::decode(any.value.as_slice())
        .map_err(DetailError)?
        .kind)
}

fn status_message(code: Code, message: &str, kind: Kind) -> google::Status {
    let value = ErrorDetail { kind: Some(kind) }.encode_to_vec();
    google::Status {
        code: code as i32,
        message: message.to_owned(),
        details: vec![Any {
            type_url: TYPE_URL.to_owned(),
            value,
        }],
    }
}

fn trailers(kind: &Kind) -> MetadataMap {
    let mut map = MetadataMap::new();
    let outcome = if matches!(kind, Kind::OutcomeUnknown(_)) {
        "unknown"
    } else {
        "not-executed"
    };
    map.insert("quorate-outcome", MetadataValue::from_static(outcome));
    match kind {
        Kind::NotLeader(not_leader) => {
            if let Some(LeaderHint {
                node_id,
                address,
                term,
            }) = &not_leader.leader
            {
                map.insert("quorate-leader-id", MetadataValue::from(*node_id));
                map.insert("quorate-leader-term", MetadataValue::from(*term));
                if let Ok(address) = MetadataValue::try_from(address.as_str()) {
                    map.insert("quorate-leader-address", address);
                }
            }
        }
        Kind::Refused(refused) => {
            let reason = refused.reason().as_str_name();
            let short = reason.strip_prefix("REASON_").unwrap_or(reason);
            map.insert("quorate-reason", MetadataValue::from_static(short));
        }
        Kind::OutcomeUnknown(_) | Kind::Overloaded(_) | Kind::Malformed(_) => {}
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{NotLeader, OutcomeUnknown, Reason, Refused};

    fn hint() -> LeaderHint {
        LeaderHint {
            node_id: 2,
            address: "10.0.0.2:2379".to_owned(),
            term: 7,
        }
    }

    #[test]
    fn details_and_trailers_say_the_same() {
        let cases: Vec<(Kind, &[(&str, &str)])> = vec![
            (
                Kind::NotLeader(NotLeader { leader: Some(hint()) }),
                &[
                    ("quorate-outcome", "not-executed"),
                    ("quorate-leader-id", "2"),
                    ("quorate-leader-address", "10.0.0.2:2379"),
                    ("quorate-leader-term", "7"),
                ],
            ),
            (
                Kind::NotLeader(NotLeader { leader: None }),
                &[("quorate-outcome", "not-executed")],
            ),
            (
                Kind::OutcomeUnknown(OutcomeUnknown {}),
                &[("quorate-outcome", "unknown")],
            ),
            (
                Kind::Refused(Refused {
                    reason: Reason::CollectionExists.into(),
                    milvus_code: 0,
                }),
                &[
                    ("quorate-outcome", "not-executed"),
                    ("quorate-reason", "COLLECTION_EXISTS"),
                ],
            ),
        ];
        for (kind, want) in cases {
            let status = status_with_detail(Code::Unavailable, "why", kind.clone());
            assert_eq!(decode_detail(&status).expect("readable"), Some(kind.clone()));
            assert_eq!(status.metadata().len(), want.len(), "{kind:?}");
            for (name, value) in want {
                let got = status.metadata().get(*name).and_then(|v| v.to_str().ok());
                assert_eq!(got, Some(*value), "{name} of {kind:?}");
            }
            let again = decode_status(&encode_status(&status)).expect("readable");
            assert_eq!((again.code(), again.message()), (Code::Unavailable, "why"));
            assert_eq!(decode_detail(&again).expect("readable"), Some(kind));
        }
    }

    #[test]
    fn foreign_and_broken_details() {
        let plain = Status::not_found("plain");
        assert_eq!(decode_detail(&plain).expect("no details is fine"), None);
        let again = decode_status(&encode_status(&plain)).expect("readable");
        assert_eq!((again.code(), again.message()), (Code::NotFound, "plain"));

        let garbage = Status::with_details(Code::Internal, "x", vec![0xff; 9].into());
        assert!(decode_detail(&garbage).is_err());
        assert!(decode_status(&[0xff; 9]).is_err());
    }
}
