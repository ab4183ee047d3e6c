//! A snapshot file that stands by itself, outside of any data directory: read record by record, checked on the way.
//!
//! Promises: a record is handed out only after the checksum of its block held, and `None` comes only after the end of
//! the file and the checksum of the whole; after an error nothing comes any more. Left out on purpose: what the records
//! mean.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::format::{Frame, FrameReader, ReadError};
use super::{Snapshot, SnapshotMeta};
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
        let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(file),
        });
        let file = opened.map_err(|error| failed(path, error))?;
        let frames = FrameReader::new(BufReader::with_capacity(BUFFER_BYTES, file));
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

    use super::super::Encoder;
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

    #[test]
    fn what_cannot_be_read_names_its_path() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("none")] {
            let error = SnapshotFile::open(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
