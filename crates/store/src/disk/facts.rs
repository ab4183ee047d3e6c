//! The small facts, in sled: a copy of `IDENTITY`, the manifest of the snapshot, the memberships.
//!
//! Promises: durable when a write returns. sled's own flush does not do that on Linux (it waits for the pages to be
//! written, but sends no flush to the disk: in 34 of 60 simulated power cuts acknowledged writes were lost), so each
//! write is followed by our own `sync_data` of its file. Everything in here can be rebuilt or stands elsewhere, too:
//! a sled that does not open is set aside. Values stay far below the size at which sled puts them into files of their
//! own, which our sync would not reach; `flush_async` is never used, because it can deadlock.
//!
//! ```text
//! "identity"                     the text of IDENTITY
//! "snapshot"                     last | bytes u64 | crc u32 of the newest snapshot
//! "member" index u64 part u8     position | membership, in parts
//! every value                    version u8 = 1 | the above | crc u32 of everything before it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes};

use super::directory::sync_directory;
use crate::facts::{Facts, MembershipFact};
use crate::identity::{IdentityFile, IdentityFileError};
use crate::snapshot::{SnapshotId, decode_position, encode_position};

const VERSION: u8 = 1;
/// The notes behind this crate saw sled safe below 4 KB.
const PART_BYTES: usize = 3 * 1024;
const IDENTITY: &[u8] = b"identity";
const SNAPSHOT: &[u8] = b"snapshot";
const MEMBER: &[u8] = b"member";

/// sled, with a flush that is one.
pub(super) struct DurableSled {
    /// `None` only while it is dropped.
    sled: Option<sled::Db>,
    file: File,
}

impl Drop for DurableSled {
    fn drop(&mut self) {
        let sled = self.sled.take();
        // sled flushes when it is dropped, and panics when the disk fails that.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(sled)));
    }
}

/// What was found in sled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StoredFacts {
    pub(super) identity: Option<IdentityFile>,
    pub(super) snapshot: Option<SnapshotId>,
    pub(super) memberships: Vec<MembershipFact>,
}

/// Why sled gave nothing.
#[derive(Debug)]
pub(super) enum FactsError {
    /// Something in it is of a newer version.
    Newer(u64),
    /// The system refused: no space, no rights.
    Io(io::Error),
    /// It does not open, or what is in it is damaged.
    Damaged(String),
}

impl DurableSled {
    /// Opens or makes the database in `path`. All access is from one thread at a time.
    pub(super) fn open(path: &Path) -> Result<Self, FactsError> {
        let config = sled::Config::new().path(path).cache_capacity(8 << 20);
        // A damaged sled may panic instead of answering.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let sled = match opened {
            Ok(Ok(sled)) => sled,
            Ok(Err(sled::Error::Io(error))) if error.kind() != io::ErrorKind::Other => {
                return Err(FactsError::Io(error));
            }
            Ok(Err(error)) => return Err(FactsError::Damaged(error.to_string())),
            Err(_) => return Err(FactsError::Damaged("sled panicked".to_owned())),
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path.join("db"))
            .map_err(FactsError::Io)?;
        let sled = Self {
            sled: Some(sled),
            file,
        };
        sled.sync_new_files(path).map_err(FactsError::Io)?;
        Ok(sled)
    }

    /// Writes a batch, durably.
    pub(super) fn write(&self, batch: sled::Batch) -> io::Result<()> {
        self.sled().apply_batch(batch)?;
        self.sled().flush()?;
        self.file.sync_data()
    }

    pub(super) fn load(&self) -> Result<StoredFacts, FactsError> {
        catch_unwind(AssertUnwindSafe(|| self.load_values()))
            .unwrap_or_else(|_| Err(FactsError::Damaged("sled panicked".to_owned())))
    }

    fn load_values(&self) -> Result<StoredFacts, FactsError> {
        let mut stored = StoredFacts::default();
        let mut members = BTreeMap::<Vec<u8>, Vec<u8>>::new();
        for item in self.sled().iter() {
            let (key, value) = item.map_err(|error| FactsError::Damaged(error.to_string()))?;
            let body = unseal(&value)?;
            match key.as_ref() {
                IDENTITY => stored.identity = Some(decode_identity(&body)?),
                SNAPSHOT => stored.snapshot = Some(decode_id(body).ok_or_else(damaged)?),
                key if key.starts_with(MEMBER) && key.len() == MEMBER.len() + 9 => {
                    // Parts of one membership follow each other; the last byte of a key numbers them.
                    let whole = members.entry(key[..key.len() - 1].to_vec()).or_default();
                    whole.extend_from_slice(&body);
                }
                _ => return Err(damaged()),
            }
        }
        for whole in members.into_values() {
            let mut rest = Bytes::from(whole);
            let position = decode_position(&mut rest).flatten().ok_or_else(damaged)?;
            let membership = rest;
            stored.memberships.push(MembershipFact { position, membership });
        }
        Ok(stored)
    }

    fn sled(&self) -> &sled::Db {
        self.sled.as_ref().expect("it is taken only when this is dropped")
    }

    /// sled makes its files without making their names durable.
    fn sync_new_files(&self, path: &Path) -> io::Result<()> {
        self.sled().flush()?;
        self.file.sync_all()?;
        if let Ok(config) = File::open(path.join("conf")) {
            config.sync_all()?;
        }
        sync_directory(path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    }
}

/// The batch that makes sled agree with `facts`.
pub(super) fn encode_facts(facts: &Facts) -> sled::Batch {
    let mut batch = sled::Batch::default();
    let file = IdentityFile {
        incarnation: facts.incarnation,
        identity: facts.identity.clone(),
        boots: facts.boots,
    };
    batch.insert(IDENTITY, seal(file.encode().as_bytes()));
    batch
}

/// The batch that names the newest snapshot.
pub(super) fn encode_snapshot(id: SnapshotId) -> sled::Batch {
    let mut body = Vec::new();
    encode_position(id.last, &mut body);
    body.put_u64(id.bytes);
    body.put_u32(id.crc);
    let mut batch = sled::Batch::default();
    batch.insert(SNAPSHOT, seal(&body));
    batch
}

/// The batch that turns the memberships `before` into those `after`.
pub(super) fn encode_memberships(before: &[MembershipFact], after: &[MembershipFact]) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for fact in before.iter().filter(|fact| !after.contains(fact)) {
        for (key, _) in member_parts(fact) {
            batch.remove(key);
        }
    }
    for fact in after.iter().filter(|fact| !before.contains(fact)) {
        for (key, value) in member_parts(fact) {
            batch.insert(key, value);
        }
    }
    batch
}

fn member_parts(fact: &MembershipFact) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut body = Vec::new();
    encode_position(Some(fact.position), &mut body);
    body.put_slice(&fact.membership);
    let parts = body.chunks(PART_BYTES).enumerate();
    parts
        .map(|(number, part)| {
            let mut key = MEMBER.to_vec();
            key.put_u64(fact.position.index.0);
            key.put_u8(u8::try_from(number).expect("the bound on memberships keeps the parts few"));
            (key, seal(part))
        })
        .collect()
}

fn seal(body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(body.len() + 5);
    value.put_u8(VERSION);
    value.put_slice(body);
    value.put_u32(crc32fast::hash(&value));
    value
}

fn unseal(value: &[u8]) -> Result<Bytes, FactsError> {
    let (body, crc) = value
        .split_at_checked(value.len().wrapping_sub(4))
        .ok_or_else(damaged)?;
    if crc != crc32fast::hash(body).to_be_bytes() {
        return Err(damaged());
    }
    match body.split_first() {
        Some((&VERSION, body)) => Ok(Bytes::copy_from_slice(body)),
        Some((&version, _)) if version > VERSION => Err(FactsError::Newer(version.into())),
        _ => Err(damaged()),
    }
}

fn decode_identity(body: &[u8]) -> Result<IdentityFile, FactsError> {
    IdentityFile::decode(body).map_err(|error| match error {
        IdentityFileError::Newer { found } => FactsError::Newer(found),
        IdentityFileError::Damaged(what) => FactsError::Damaged(format!("in its identity {what}")),
    })
}

fn decode_id(mut body: Bytes) -> Option<SnapshotId> {
    let last = decode_position(&mut body)?;
    let (bytes, crc) = body.split_at_checked(8)?;
    Some(SnapshotId {
        last,
        bytes: u64::from_be_bytes(bytes.try_into().ok()?),
        crc: u32::from_be_bytes(crc.try_into().ok()?),
    })
}

fn damaged() -> FactsError {
    FactsError::Damaged("a value is damaged".to_owned())
}

/// Moves a sled that does not open out of the way; gives where it went.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let free = (1_u32..)
        .map(|number| path.with_extension(format!("sled.damaged-{number}")))
        .find(|candidate| !candidate.exists())
        .expect("four billion damaged databases do not fit on a disk");
    fs::rename(path, &free)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::view::sample::at;

    fn fact(index: u64, bytes: usize) -> MembershipFact {
        MembershipFact {
            position: at(1, index),
            membership: vec![u8::try_from(index).unwrap(); bytes].into(),
        }
    }

    #[test]
    fn facts_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.sled");
        let sled = DurableSled::open(&path).unwrap();
        assert_eq!(sled.load().unwrap(), StoredFacts::default());
        let facts = Facts {
            boots: 7,
            ..Facts::default()
        };
        let id = SnapshotId {
            last: Some(at(2, 3)),
            bytes: 99,
            crc: 5,
        };
        let (before, after) = ([fact(1, 10), fact(2, 7000)], [fact(2, 7000), fact(3, 3 * 3072)]);
        sled.write(encode_facts(&facts)).unwrap();
        sled.write(encode_snapshot(id)).unwrap();
        sled.write(encode_memberships(&[], &before)).unwrap();
        sled.write(encode_memberships(&before, &after)).unwrap();
        drop(sled);
        let stored = DurableSled::open(&path).unwrap().load().unwrap();
        assert_eq!(stored.identity.unwrap().boots, 7);
        assert_eq!(stored.snapshot, Some(id));
        assert_eq!(stored.memberships, after);
    }

    #[test]
    fn damaged_and_newer_values_are_told_apart() {
        let value = seal(b"body");
        assert_eq!(unseal(&value).unwrap(), &b"body"[..]);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(unseal(&flipped), Err(FactsError::Damaged(_))),
                "bit {bit}"
            );
        }
        for short in 0..value.len() {
            assert!(unseal(&value[..short]).is_err());
        }
        let newer = [2, b'x'];
        let newer = [&newer[..], &crc32fast::hash(&newer).to_be_bytes()].concat();
        assert!(matches!(unseal(&newer), Err(FactsError::Newer(2))));
    }

    #[test]
    fn garbage_instead_of_a_database_is_damage_and_can_be_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.sled");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("conf"), b"garbage: no settings").unwrap();
        fs::write(path.join("db"), vec![7; 10_000]).unwrap();
        let opened = DurableSled::open(&path).map(drop);
        assert!(matches!(opened, Err(FactsError::Damaged(_))), "{opened:?}");
        let aside = set_aside(&path).unwrap();
        assert_eq!(fs::read(aside.join("conf")).unwrap(), b"garbage: no settings");
        assert!(DurableSled::open(&path).is_ok());
    }
}
