//! What is said on a liveness link: a hello of 64 bytes in each direction, then echoes of 9 bytes.
//!
//! Promises: bytes that are no hello are an error that names what is wrong, and reading never takes more than 64 bytes
//! from a stranger.

use std::io;

use quorate_host::Stream;
use quorate_types::{BootId, ClusterId, NodeId};
use tokio::io::AsyncWriteExt;

use super::Identity;

/// First bytes of every hello.
const MAGIC: [u8; 8] = *b"QUORLIVE";
/// Version of this exchange.
const VERSION: u32 = 1;
/// Length of a hello.
pub(crate) const HELLO_BYTES: usize = 64;
/// Length of an echo frame: a kind and a number.
pub(crate) const FRAME_BYTES: usize = 9;

/// Bytes that are no hello of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    /// Something else speaks on the port.
    #[error("the first bytes are not those of a liveness link")]
    Magic,
    /// Another release.
    #[error("it speaks version {0} of the liveness link, this replica speaks version {VERSION}")]
    Version(u32),
    /// Damaged on the way, or not by us.
    #[error("the checksum is wrong")]
    Checksum,
}

/// A frame after the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// "Are you there?" The number comes back.
    Ask(u64),
    /// "Yes."
    Answer(u64),
}

/// Writes a hello: magic 8, version 4, feature level 4, cluster 16, node 8, boot 16, zero 4, CRC of all that 4.
pub(crate) fn encode_hello(identity: &Identity) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    bytes[12..16].copy_from_slice(&identity.feature_level_max.to_be_bytes());
    bytes[16..32].copy_from_slice(&identity.cluster.to_bytes());
    bytes[32..40].copy_from_slice(&identity.node.0.to_be_bytes());
    bytes[40..56].copy_from_slice(&identity.boot.to_bytes());
    let sum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Reads a hello.
pub(crate) fn decode_hello(bytes: &[u8; HELLO_BYTES]) -> Result<Identity, HelloError> {
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[..8] != MAGIC {
        return Err(HelloError::Magic);
    }
    if word(8) != VERSION {
        return Err(HelloError::Version(word(8)));
    }
    if word(60) != crc32fast::hash(&bytes[..60]) {
        return Err(HelloError::Checksum);
    }
    let wide = |at: usize| u128::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
    Ok(Identity {
        feature_level_max: word(12),
        cluster: ClusterId(wide(16)),
        node: NodeId(u64::from_be_bytes(std::array::from_fn(|i| bytes[32 + i]))),
        boot: BootId(wide(40)),
    })
}

/// Writes a frame.
pub(crate) fn encode_frame(frame: Frame) -> [u8; FRAME_BYTES] {
    let (kind, number) = match frame {
        Frame::Ask(number) => (1, number),
        Frame::Answer(number) => (2, number),
    };
    let mut bytes = [0; FRAME_BYTES];
    bytes[0] = kind;
    bytes[1..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Reads a frame; `None` for a kind that we do not know.
pub(crate) fn decode_frame(bytes: &[u8; FRAME_BYTES]) -> Option<Frame> {
    let number = u64::from_be_bytes(std::array::from_fn(|i| bytes[1 + i]));
    match bytes[0] {
        1 => Some(Frame::Ask(number)),
        2 => Some(Frame::Answer(number)),
        _ => None,
    }
}

/// Says these bytes at once.
pub(crate) async fn say(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: ClusterId(7),
            node: NodeId(3),
            boot: BootId(u128::MAX - 1),
            feature_level_max: 1,
        }
    }

    #[test]
    fn a_hello_reads_back() {
        assert_eq!(decode_hello(&encode_hello(&identity())), Ok(identity()));
    }

    #[test]
    fn the_bytes_are_pinned() {
        let hex: String = encode_hello(&identity())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let want = "51554f524c495645000000010000000100000000000000000000000000000007\
                    0000000000000003fffffffffffffffffffffffffffffffe00000000";
        assert_eq!(hex[..120], *want);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = encode_hello(&identity());
        for bit in 0..HELLO_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_hello(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn strangers_are_named() {
        let mut http = [0; HELLO_BYTES];
        http[..16].copy_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(decode_hello(&http), Err(HelloError::Magic));
        let mut newer = encode_hello(&identity());
        newer[11] = 2;
        assert_eq!(decode_hello(&newer), Err(HelloError::Version(2)));
    }

    #[test]
    fn frames_read_back_and_unknown_kinds_do_not() {
        for frame in [Frame::Ask(0), Frame::Answer(u64::MAX)] {
            assert_eq!(decode_frame(&encode_frame(frame)), Some(frame));
        }
        assert_eq!(decode_frame(&[9; FRAME_BYTES]), None);
    }
}
