//! A snapshot file that stands by itself, outside of any data directory: read record by record, checked on the way.
//!
//! Promises: a record is handed out only after the checksum of its block held, and `None` comes only after the end of
//! the file and the checksum of the whole; after an error nothing comes any more. Behind its end the file may have what
//! etcd's tools put there ([`super::trailer`]), which must fit, too. Left out on purpose: what the records mean.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::format::{Frame, FrameReader, ReadError};
use super::{Snapshot, SnapshotMeta, trailer};
use crate::error::SnapshotError;

/// For sequential reads.
const BUFFER_BYTES: usize = 256 * 1024;

/// See the module.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    format: u16,
    meta: SnapshotMeta,
    /// `None` after the end, or after an error.
    frames: Option<FrameReader<BufReader<File>>>,
    ready: std::vec::IntoIter<Bytes>,
    end: Option<Snapshot>,
}

impl SnapshotFile {
    /// Opens a file and reads its header. This and reading it block.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] when it cannot be read, another when it is no snapshot that this version reads.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let opened = File::open(path).and_then(|file| {
            let found = file.metadata()?;
            match found.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false => Ok((file, found.len())),
            }
        });
        let (file, length) = opened.map_err(|error| failed(path, error))?;
        let input = BufReader::with_capacity(BUFFER_BYTES, file);
        let frames = match trailer::is_possible(length) {
            true => FrameReader::with_trailer(input),
            false => FrameReader::new(input),
        };
        let frames = frames.map_err(|error| refused(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            format: frames.format(),
            meta: frames.meta().clone(),
            frames: Some(frames),
            ready: Vec::new().into_iter(),
            end: None,
        })
    }

    /// The version of its format.
    #[must_use]
    pub fn format(&self) -> u16 {
        self.format
    }

    /// Its header.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The whole, once all of it was read and found sound.
    #[must_use]
    pub fn end(&self) -> Option<&Snapshot> {
        self.end.as_ref()
    }
}

impl Iterator for SnapshotFile {
    type Item = Result<Bytes, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.next() {
                return Some(Ok(record));
            }
            let mut frames = self.frames.take()?;
            match frames.next() {
                Ok(Frame::Records(records)) => {
                    self.ready = records.into_iter();
                    self.frames = Some(frames);
                }
                Ok(Frame::End(end)) => self.end = Some(end),
                Err(error) => return Some(Err(refused(&self.path, error))),
            }
        }
    }
}

fn refused(path: &Path, error: ReadError) -> SnapshotError {
    match error {
        ReadError::Bad(error) => error,
        ReadError::Io(error) => failed(path, error),
    }
}

fn failed(path: &Path, error: io::Error) -> SnapshotError {
    SnapshotError::Io {
        path: path.to_owned(),
        cause: Arc::new(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::super::{Encoder, Trailer};
    use super::*;

    fn written(records: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(SnapshotMeta::default(), &mut out);
        for record in records {
            encoder.push(record, &mut out).unwrap();
        }
        encoder.finish(Some(7), &mut out);
        out
    }

    #[test]
    fn the_end_comes_only_after_everything_was_sound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let whole = written(&[b"one", b"two"]);
        fs::write(&path, &whole).unwrap();
        let mut file = SnapshotFile::open(&path).unwrap();
        let records: Vec<Bytes> = file.by_ref().map(Result::unwrap).collect();
        assert_eq!(records, [&b"one"[..], b"two"]);
        let end = file.end().unwrap();
        assert_eq!(
            (end.records, end.digest, end.id.bytes),
            (2, Some(7), whole.len() as u64)
        );
        for cut in 24..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let Ok(mut file) = SnapshotFile::open(&path) else {
                continue;
            };
            assert!(file.by_ref().any(|record| record.is_err()), "{cut} bytes");
            assert!(file.next().is_none() && file.end().is_none(), "{cut} bytes");
        }
    }

    /// All records, or the first error.
    fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Bytes>, String> {
        fs::write(path, bytes).unwrap();
        let mut file = SnapshotFile::open(path).map_err(|error| error.to_string())?;
        let records: Result<Vec<Bytes>, _> = file.by_ref().collect();
        assert_eq!(file.end().is_some(), records.is_ok());
        records.map_err(|error| error.to_string())
    }

    #[test]
    fn a_trailer_of_etcds_tools_is_accepted_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let snapshot = written(&[b"one", b"two"]);
        let mut trailer = Trailer::new();
        trailer.update(&snapshot);
        let whole = [&snapshot[..], &trailer.finish()].concat();
        assert_eq!(read(&path, &whole).unwrap(), [&b"one"[..], b"two"]);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(read(&path, &flipped).is_err(), "a bit of byte {at}");
        }
        for cut in 0..whole.len() {
            // All of the trailer may be missing, and nothing else.
            assert_eq!(
                read(&path, &whole[..cut]).is_ok(),
                cut == snapshot.len(),
                "{cut} bytes"
            );
        }
        let longer = [&whole[..], &[0; 512]].concat();
        assert!(read(&path, &longer).unwrap_err().contains("after its end"));
        let mut other = Trailer::new();
        other.update(b"something else");
        other.update(&vec![0; snapshot.len() - 14]);
        let swapped = [&snapshot[..], &other.finish()].concat();
        assert!(read(&path, &swapped).unwrap_err().contains("after its end"));
    }

    #[test]
    fn a_length_that_only_looks_like_a_trailers_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bare = written(&[b""]).len();
        let missing = (512 + 32 - bare % 512) % 512;
        let snapshot = written(&[vec![7; missing].as_slice()]);
        assert_eq!(snapshot.len() % 512, 32);
        assert_eq!(read(&path, &snapshot).unwrap(), [vec![7; missing]]);
    }

    #[test]
    fn what_cannot_be_read_names_its_path() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("none")] {
            let error = SnapshotFile::open(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
