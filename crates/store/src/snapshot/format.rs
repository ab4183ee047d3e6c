//! The bytes of a snapshot file: a header, blocks of records, an end. All numbers are big-endian.
//!
//! ```text
//! header  magic "QRTESNAP" | format u16 | 0 u16 | meta length u32 | crc u32 of these 16 bytes | meta | crc u32 of meta
//! block   1 u8 | body length u32 | records u32 | crc u32 of these 9 bytes | body | crc u32 of body
//! body    for each record: length u32 | bytes
//! end     2 u8 | records u64 | file length u64 | has digest u8 | digest u64 | crc u32 of the whole file before it
//! meta    last | membership position | membership length u32 | membership
//!         a position: 0 u8, or 1 u8 | term u64 | leader u64 | index u64
//! ```
//!
//! Promises: no flipped bit and no cut goes unnoticed, and no length is believed before its checksum held. Left out on
//! purpose: files; this works on anything that reads.
//!
//! History: 1 (2026-11): as above.

use std::io::{self, Read};

use bytes::{BufMut, Bytes};
use quorate_types::{Index, NodeId, Position, Term};

use super::trailer::{TRAILER_BYTES_MAX, Trailer};
use super::{Snapshot, SnapshotId, SnapshotMeta};
use crate::error::SnapshotError;
use crate::limits::{MEMBERSHIP_BYTES_MAX, RECORD_BYTES_MAX};

/// The format that this version writes, and the newest it reads.
pub(crate) const FORMAT: u16 = 1;
const MAGIC: &[u8; 8] = b"QRTESNAP";
const BLOCK: u8 = 1;
const END: u8 = 2;
/// A block is closed when it has this many bytes: large enough for the disk, small enough for a peer's message.
const BLOCK_BYTES: usize = 256 * 1024;
const BODY_BYTES_MAX: usize = BLOCK_BYTES + RECORD_BYTES_MAX + 4;
const META_BYTES_MAX: usize = MEMBERSHIP_BYTES_MAX + 64;
const END_BYTES: u64 = 1 + 8 + 8 + 1 + 8 + 4;

/// Turns records into the bytes of a snapshot file, piece by piece, so that a caller can send them anywhere.
#[derive(Debug)]
pub struct Encoder {
    meta: SnapshotMeta,
    crc: crc32fast::Hasher,
    bytes: u64,
    records: u64,
    body: Vec<u8>,
    body_records: u32,
}

impl Encoder {
    /// Starts a file: the header goes to `out`.
    pub fn new(meta: SnapshotMeta, out: &mut Vec<u8>) -> Self {
        let mut encoder = Self {
            meta,
            crc: crc32fast::Hasher::new(),
            bytes: 0,
            records: 0,
            body: Vec::new(),
            body_records: 0,
        };
        let meta = encode_meta(&encoder.meta);
        let mut header = Vec::with_capacity(24 + meta.len());
        header.put_slice(MAGIC);
        header.put_u16(FORMAT);
        header.put_u16(0);
        header.put_u32(length(meta.len()));
        header.put_u32(crc32fast::hash(&header));
        header.put_slice(&meta);
        header.put_u32(crc32fast::hash(&meta));
        encoder.emit(&header, out);
        encoder
    }

    /// Adds a record; whole blocks go to `out`.
    ///
    /// # Errors
    /// [`SnapshotError::RecordTooLarge`] beyond [`RECORD_BYTES_MAX`].
    pub fn push(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(SnapshotError::RecordTooLarge { bytes: record.len() });
        }
        self.body.put_u32(length(record.len()));
        self.body.put_slice(record);
        self.body_records += 1;
        self.records += 1;
        if self.body.len() >= BLOCK_BYTES {
            self.close_block(out);
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self, digest: Option<u64>, out: &mut Vec<u8>) -> Snapshot {
        if self.body_records > 0 {
            self.close_block(out);
        }
        let bytes = self.bytes + END_BYTES;
        let mut end = Vec::new();
        end.put_u8(END);
        end.put_u64(self.records);
        end.put_u64(bytes);
        end.put_u8(digest.is_some().into());
        end.put_u64(digest.unwrap_or_default());
        self.emit(&end, out);
        let crc = self.crc.finalize();
        out.put_u32(crc);
        Snapshot {
            id: SnapshotId {
                last: self.meta.last,
                bytes,
                crc,
            },
            meta: self.meta,
            records: self.records,
            digest,
        }
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(13);
        head.put_u8(BLOCK);
        head.put_u32(length(self.body.len()));
        head.put_u32(self.body_records);
        head.put_u32(crc32fast::hash(&head));
        let body = std::mem::take(&mut self.body);
        self.body_records = 0;
        self.emit(&head, out);
        self.emit(&body, out);
        self.emit(&crc32fast::hash(&body).to_be_bytes(), out);
    }

    fn emit(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.crc.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        out.put_slice(bytes);
    }
}

/// One frame of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Records(Vec<Bytes>),
    End(Snapshot),
}

/// Why a file does not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file itself did not read.
    Io(io::Error),
    /// Its bytes are wrong.
    Bad(SnapshotError),
}

impl From<SnapshotError> for ReadError {
    fn from(bad: SnapshotError) -> Self {
        Self::Bad(bad)
    }
}

/// Reads a file frame by frame and checks everything on the way.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    input: R,
    crc: crc32fast::Hasher,
    offset: u64,
    records: u64,
    format: u16,
    meta: SnapshotMeta,
    /// Of what was read, when the file may end with one.
    trailer: Option<Box<Trailer>>,
}

impl<R: Read> FrameReader<R> {
    /// Reads the header of a file that ends where it says.
    pub(crate) fn new(input: R) -> Result<Self, ReadError> {
        Self::begin(input, None)
    }

    /// Reads the header of a file that may have a trailer. All bytes are summed up for it, so only where one is likely.
    pub(crate) fn with_trailer(input: R) -> Result<Self, ReadError> {
        Self::begin(input, Some(Box::default()))
    }

    fn begin(input: R, trailer: Option<Box<Trailer>>) -> Result<Self, ReadError> {
        let mut reader = Self {
            input,
            crc: crc32fast::Hasher::new(),
            offset: 0,
            records: 0,
            format: FORMAT,
            meta: SnapshotMeta::default(),
            trailer,
        };
        let head = reader.take::<20>()?;
        let [.., a, b, c, d] = head;
        if head[..8] != *MAGIC {
            return Err(damaged(0, "it is not a snapshot of quorate").into());
        }
        if crc32fast::hash(&head[..16]) != u32::from_be_bytes([a, b, c, d]) {
            return Err(damaged(0, "the checksum of its header does not match").into());
        }
        let found = u16::from_be_bytes([head[8], head[9]]);
        if found > FORMAT {
            let supported = FORMAT;
            return Err(SnapshotError::NewerFormat { found, supported }.into());
        }
        reader.format = found;
        let length = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
        let at = reader.offset;
        let meta = reader.checked(length, META_BYTES_MAX)?;
        reader.meta = decode_meta(&meta).ok_or_else(|| damaged(at, "its header is not understood"))?;
        Ok(reader)
    }

    /// The format of the file.
    pub(crate) fn format(&self) -> u16 {
        self.format
    }

    /// The header.
    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Where the next frame starts: everything before is checked, except for the end's checksum of the whole.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; after the end there is none.
    pub(crate) fn next(&mut self) -> Result<Frame, ReadError> {
        let at = self.offset;
        match self.take::<1>()? {
            [BLOCK] => self.block(at).map(Frame::Records),
            [END] => self.end(at).map(Frame::End),
            _ => Err(damaged(at, "no block starts here").into()),
        }
    }

    fn block(&mut self, at: u64) -> Result<Vec<Bytes>, ReadError> {
        let [l0, l1, l2, l3, n0, n1, n2, n3] = self.take::<8>()?;
        let head = [BLOCK, l0, l1, l2, l3, n0, n1, n2, n3];
        if self.take::<4>()? != crc32fast::hash(&head).to_be_bytes() {
            return Err(damaged(at, "the checksum of a block's length does not match").into());
        }
        let body = self.checked(u32::from_be_bytes([l0, l1, l2, l3]), BODY_BYTES_MAX)?;
        let records = split_records(&body)
            .filter(|records| length(records.len()) == u32::from_be_bytes([n0, n1, n2, n3]))
            .ok_or_else(|| damaged(at, "a block does not hold the records it announces"))?;
        self.records += u64::try_from(records.len()).unwrap_or(u64::MAX);
        Ok(records)
    }

    fn end(&mut self, at: u64) -> Result<Snapshot, ReadError> {
        let (records, bytes) = (self.take::<8>()?, self.take::<8>()?);
        let (has_digest, digest) = (self.take::<1>()?, self.take::<8>()?);
        let crc = self.crc.clone().finalize();
        if self.take::<4>()? != crc.to_be_bytes() {
            return Err(damaged(at, "the checksum of the whole does not match").into());
        }
        let bytes = u64::from_be_bytes(bytes);
        if u64::from_be_bytes(records) != self.records || bytes != self.offset {
            return Err(damaged(at, "it does not have the records or the length it announces").into());
        }
        let mut rest = Vec::new();
        let mut beyond = self.input.by_ref().take(TRAILER_BYTES_MAX + 1);
        beyond.read_to_end(&mut rest).map_err(ReadError::Io)?;
        match self.trailer.take().map(|trailer| trailer.finish()) {
            _ if rest.is_empty() => {}
            Some(trailer) if trailer == rest => {}
            Some(_) => {
                let what = "it goes on after its end, and not with the checksum that etcd's tools put there";
                return Err(damaged(self.offset, what).into());
            }
            None => return Err(damaged(self.offset, "it goes on after its end").into()),
        }
        Ok(Snapshot {
            id: SnapshotId {
                last: self.meta.last,
                bytes,
                crc,
            },
            meta: self.meta.clone(),
            records: self.records,
            digest: (has_digest == [1]).then_some(u64::from_be_bytes(digest)),
        })
    }

    /// `length` bytes that are followed by their checksum.
    fn checked(&mut self, length: u32, max: usize) -> Result<Bytes, ReadError> {
        let at = self.offset;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > max {
            return Err(damaged(at, "a length is beyond its limit").into());
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        if self.take::<4>()? != crc32fast::hash(&bytes).to_be_bytes() {
            return Err(damaged(at, "a checksum does not match").into());
        }
        Ok(bytes.into())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(self.offset, "it ends too early").into(),
            _ => ReadError::Io(error),
        })?;
        self.crc.update(bytes);
        if let Some(trailer) = &mut self.trailer {
            trailer.update(bytes);
        }
        self.offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// Reads a whole file for its checks alone.
pub(crate) fn verify(input: impl Read) -> Result<Snapshot, ReadError> {
    let mut reader = FrameReader::new(input)?;
    loop {
        if let Frame::End(snapshot) = reader.next()? {
            return Ok(snapshot);
        }
    }
}

pub(crate) fn damaged(offset: u64, what: &str) -> SnapshotError {
    SnapshotError::Damaged {
        offset,
        what: what.to_owned(),
    }
}

fn split_records(body: &Bytes) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    let mut rest = body.clone();
    while !rest.is_empty() {
        records.push(split_counted(&mut rest)?);
    }
    Some(records)
}

/// Takes a length and that many bytes from the front.
fn split_counted(rest: &mut Bytes) -> Option<Bytes> {
    if rest.len() < 4 {
        return None;
    }
    let length = u32::from_be_bytes(rest.split_to(4).as_ref().try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn encode_meta(meta: &SnapshotMeta) -> Vec<u8> {
    let mut out = Vec::new();
    encode_position(meta.last, &mut out);
    encode_position(meta.membership_position, &mut out);
    out.put_u32(length(meta.membership.len()));
    out.put_slice(&meta.membership);
    out
}

fn decode_meta(bytes: &Bytes) -> Option<SnapshotMeta> {
    let mut rest = bytes.clone();
    let last = decode_position(&mut rest)?;
    let membership_position = decode_position(&mut rest)?;
    let membership = split_counted(&mut rest)?;
    rest.is_empty().then_some(SnapshotMeta {
        last,
        membership_position,
        membership,
    })
}

pub(crate) fn encode_position(position: Option<Position>, out: &mut Vec<u8>) {
    out.put_u8(position.is_some().into());
    if let Some(Position { term, leader, index }) = position {
        out.put_u64(term.0);
        out.put_u64(leader.0);
        out.put_u64(index.0);
    }
}

/// The outer `None` when the bytes are no position.
#[expect(
    clippy::option_option,
    reason = "an absent position and no position at all are two answers"
)]
pub(crate) fn decode_position(rest: &mut Bytes) -> Option<Option<Position>> {
    if rest.is_empty() {
        return None;
    }
    let flag = rest.split_to(1);
    if flag.as_ref() == [0] {
        return Some(None);
    }
    if flag.as_ref() != [1] || rest.len() < 24 {
        return None;
    }
    let mut number =
        || -> Option<u64> { Some(u64::from_be_bytes(rest.split_to(8).as_ref().try_into().ok()?)) };
    Some(Some(Position {
        term: Term(number()?),
        leader: NodeId(number()?),
        index: Index(number()?),
    }))
}

/// Every length written here is bounded far below 4 GiB by the limits above.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("lengths are bounded before they are written")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::view::sample::at;

    fn meta() -> SnapshotMeta {
        SnapshotMeta {
            last: Some(at(2, 9)),
            membership_position: Some(at(1, 0)),
            membership: Bytes::from_static(b"members"),
        }
    }

    fn file(records: &[&[u8]], digest: Option<u64>) -> (Vec<u8>, Snapshot) {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(meta(), &mut out);
        for record in records {
            encoder.push(record, &mut out).unwrap();
        }
        let snapshot = encoder.finish(digest, &mut out);
        (out, snapshot)
    }

    fn records(bytes: &[u8]) -> Vec<Bytes> {
        let mut reader = FrameReader::new(bytes).unwrap();
        let mut all = Vec::new();
        while let Frame::Records(records) = reader.next().unwrap() {
            all.extend(records);
        }
        all
    }

    #[test]
    fn what_was_written_is_read() {
        let large = vec![7; BLOCK_BYTES + 1];
        let cases: [(&str, Vec<&[u8]>); 4] = [
            ("no records", vec![]),
            ("an empty record", vec![b""]),
            ("several", vec![b"a", b"", b"ccc"]),
            ("several blocks", vec![&large, b"small", &large, &large, b"last"]),
        ];
        for (name, want) in cases {
            let (bytes, snapshot) = file(&want, Some(5));
            assert_eq!(records(&bytes), want, "{name}");
            assert_eq!(verify(bytes.as_slice()).unwrap(), snapshot, "{name}");
            assert_eq!(snapshot.id.bytes, bytes.len() as u64, "{name}");
            assert_eq!(
                (snapshot.records, &snapshot.meta),
                (want.len() as u64, &meta()),
                "{name}"
            );
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let (bytes, _) = file(&[b"one"], None);
        // Computed apart from this code, with Python's struct and zlib.
        let want = "51525445534e4150000100000000003d007ef165\
                    01000000000000000200000000000000010000000000000009\
                    01000000000000000100000000000000010000000000000000\
                    000000076d656d6265727380cadcf0\
                    0100000007000000013455ec6b\
                    000000036f6e65\
                    0af42f73\
                    020000000000000001000000000000008b000000000000000000f5b141e9";
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, want);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unnoticed() {
        let (bytes, _) = file(&[b"one", b"two"], Some(77));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(flipped.as_slice()).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(verify(&bytes[..len]).is_err(), "{len} bytes");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(verify(longer.as_slice()).is_err());
    }

    #[test]
    fn hostile_bytes_are_refused_without_great_allocations() {
        let mut huge = Vec::new();
        huge.put_slice(MAGIC);
        huge.put_u16(FORMAT);
        huge.put_u16(0);
        huge.put_u32(u32::MAX);
        huge.put_u32(crc32fast::hash(&huge));
        let mut newer = Vec::new();
        newer.put_slice(MAGIC);
        newer.put_u16(FORMAT + 1);
        newer.put_slice(&[0; 6]);
        newer.put_u32(crc32fast::hash(&newer));
        let cases: [(&str, &[u8], &str); 4] = [
            ("nothing", b"", "ends too early"),
            (
                "something else",
                b"\x89PNG, or twenty other bytes",
                "not a snapshot",
            ),
            ("a huge header", &huge, "beyond its limit"),
            ("a newer format", &newer, "format 2"),
        ];
        for (name, bytes, want) in cases {
            let error = match verify(bytes) {
                Err(ReadError::Bad(error)) => error.to_string(),
                other => panic!("{name}: {other:?}"),
            };
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
