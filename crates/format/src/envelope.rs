//! The envelope of everything durable: one byte that says which format follows, then the message.
//!
//! Promises: a format that this build does not know is refused by name, not misread. Left out on purpose: lengths and
//! checksums. Whoever stores or sends an envelope frames it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The format that this build writes: protobuf (or, for openraft's small values, bincode) of version 1.
pub const VERSION: u8 = 1;

/// Why bytes are not an envelope with the wanted message.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is not even the version.
    #[error("there are no bytes where a stored value should be")]
    Empty,
    /// Another format, of a later build or of something else.
    #[error(
        "a stored value has format {found}; this build reads format {VERSION}: is it of a later release?"
    )]
    Version {
        /// The byte found.
        found: u8,
    },
    /// The version fits, the message does not: it is truncated or damaged.
    #[error("a stored message is truncated or damaged")]
    Message(#[source] prost::DecodeError),
    /// The version fits, the small value does not: it is truncated, damaged, or too long.
    #[error("a stored value is truncated, damaged or too long")]
    Value(#[source] bincode::Error),
    /// A small value was read whole, but it is none that a build writes.
    #[error("a stored value is not valid")]
    Invalid(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The message in its envelope.
#[must_use]
pub fn seal(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + message.encoded_len());
    out.put_u8(VERSION);
    message
        .encode(&mut out)
        .expect("a buffer that grows has room for a message");
    out.freeze()
}

/// The message of an envelope.
///
/// # Errors
/// [`OpenError`] says whether the envelope is empty, of another format, or damaged.
pub fn open<M: Message + Default>(bytes: &[u8]) -> Result<M, OpenError> {
    M::decode(body(bytes)?).map_err(OpenError::Message)
}

/// What follows the version byte.
pub(crate) fn body(bytes: &[u8]) -> Result<&[u8], OpenError> {
    match bytes.split_first() {
        None => Err(OpenError::Empty),
        Some((&VERSION, body)) => Ok(body),
        Some((&found, _)) => Err(OpenError::Version { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn what_is_sealed_opens() {
        let row = v1::IdRow { id: 300 };
        let sealed = seal(&row);
        assert_eq!(&sealed[..], &[1, 8, 0xac, 2]);
        assert_eq!(open::<v1::IdRow>(&sealed).expect("just sealed"), row);
    }

    #[test]
    fn what_is_no_envelope_says_why() {
        let cases: &[(&[u8], &str)] = &[
            (&[], "there are no bytes where a stored value should be"),
            (
                &[2, 8, 1],
                "a stored value has format 2; this build reads format 1: is it of a later release?",
            ),
            (&[1, 8], "a stored message is truncated or damaged"),
            (&[1, 0xff], "a stored message is truncated or damaged"),
        ];
        for (bytes, want) in cases {
            let error = open::<v1::IdRow>(bytes).expect_err("no envelope");
            assert_eq!(error.to_string(), *want, "{bytes:?}");
        }
    }
}
