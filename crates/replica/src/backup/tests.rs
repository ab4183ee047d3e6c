#![allow(clippy::unwrap_used)]

use std::fs;

use bytes::Bytes;
use quorate_format::envelope;
use quorate_format::v1::snapshot_record::Record;
use quorate_format::v1::{BackupHeader, SnapshotRecord};
use quorate_machine::{Command, CreateDatabase, Image, Machine};
use quorate_store::{DiskOptions, DiskStore, SnapshotEncoder, SnapshotMeta, Store};
use quorate_types::{ClusterId, Index, MemberName, NodeId, Position, Term};
use tempfile::TempDir;

use super::save::CHUNK_BYTES;
use super::*;
use crate::config::Listed;
use crate::fault::chain;
use crate::raft::state::meta;

fn at(index: u64) -> Position {
    Position {
        term: Term(3),
        leader: NodeId(5),
        index: Index(index),
    }
}

fn image(last: u64) -> Image {
    let mut machine = Machine::genesis();
    for index in 0..=last {
        machine.skip(Index(index)).unwrap();
    }
    machine.image()
}

fn header(last: Option<Position>) -> SnapshotMeta {
    SnapshotMeta {
        last,
        ..SnapshotMeta::default()
    }
}

/// A good backup.
fn backup() -> Vec<u8> {
    let backup = Backup::new(ClusterId(7), "1.2.3", header(Some(at(9))), image(9));
    backup.flatten().collect()
}

/// A file with these records.
fn framed(meta: SnapshotMeta, records: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = SnapshotEncoder::new(meta, &mut out);
    for record in records {
        encoder.push(&record, &mut out).unwrap();
    }
    encoder.finish(None, &mut out);
    out
}

fn first(cluster_id: &[u8]) -> Bytes {
    let header = BackupHeader {
        cluster_id: Bytes::copy_from_slice(cluster_id),
        release: String::new(),
    };
    envelope::seal(&SnapshotRecord {
        record: Some(Record::Backup(header)),
    })
}

fn inspected(bytes: &[u8]) -> Result<BackupContents, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, bytes).unwrap();
    inspect(&path).map_err(|error| chain(&error))
}

fn listed(names: &[&str]) -> Vec<Listed> {
    let one = |name: &&str| Listed {
        name: MemberName::new(*name).unwrap(),
        peer_address: format!("{name}:1"),
        liveness_address: format!("{name}:2"),
        client_address: format!("{name}:3"),
    };
    names.iter().map(one).collect()
}

#[test]
fn a_backup_says_what_it_holds() {
    let (bytes, image) = (backup(), image(9));
    let contents = inspected(&bytes).unwrap();
    assert_eq!(
        (contents.cluster, contents.release.as_str()),
        (ClusterId(7), "1.2.3")
    );
    assert_eq!((contents.last, contents.bytes), (at(9), bytes.len() as u64));
    assert_eq!(
        (contents.digest, contents.content_digest),
        (image.digest(), image.content_digest())
    );
    assert_eq!(
        (contents.counts, contents.revision),
        (image.counts(), image.revision())
    );
    let later = self::image(10);
    assert_ne!(later.digest(), image.digest());
    assert_eq!(
        later.content_digest(),
        image.content_digest(),
        "an entry that changes nothing"
    );
}

#[test]
fn no_flipped_bit_and_no_cut_goes_unnoticed() {
    let bytes = backup();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(inspected(&flipped).is_err(), "a bit of byte {at}");
        let line = inspected(&bytes[..at]).unwrap_err();
        assert!(!line.contains('\n') && line.len() < 400, "{at} bytes: {line}");
    }
    assert!(inspected(&[&bytes[..], b"x"].concat()).is_err());
}

#[test]
fn what_is_no_backup_is_told_in_one_line() {
    let records = || image(9).snapshot_records();
    let good = || header(Some(at(9)));
    let mut newer = backup();
    newer[8..10].copy_from_slice(&2_u16.to_be_bytes());
    let crc = crc32fast::hash(&newer[..16]).to_be_bytes();
    newer[16..20].copy_from_slice(&crc);
    let named = |id: &[u8]| std::iter::once(first(id)).chain(records());
    let mut garbage = good();
    garbage.membership = Bytes::from_static(b"nobody");
    let cases = [
        ("empty", Vec::new(), "it is empty"),
        ("foreign", vec![b'x'; 5_000], "it is not a snapshot of quorate"),
        ("cut", backup()[..200].to_vec(), "it ends too early"),
        (
            "a newer format",
            newer,
            "the snapshot has format 2, this version reads up to 1",
        ),
        (
            "a replica's own",
            framed(good(), records()),
            "`quorate snapshot save`",
        ),
        ("no records", framed(good(), []), "it does not begin as one"),
        (
            "another record",
            framed(good(), [Bytes::from_static(b"\x01junk")]),
            "it does not begin as one",
        ),
        (
            "a record of a later release",
            framed(good(), [first(&[7; 16]), Bytes::from_static(b"\x02later")]),
            "format 2",
        ),
        (
            "nothing behind its beginning",
            framed(good(), [first(&[7; 16])]),
            "without a trailer",
        ),
        (
            "two beginnings",
            framed(good(), [first(&[7; 16]), first(&[7; 16])]),
            "does not belong there",
        ),
        (
            "no cluster",
            framed(good(), named(b"7")),
            "it does not name its cluster",
        ),
        (
            "another place",
            framed(header(Some(at(8))), named(&[7; 16])),
            "of another place in the log",
        ),
        (
            "no place",
            framed(header(None), named(&[7; 16])),
            "where in the log",
        ),
        (
            "a term beyond all",
            framed(
                header(Some(Position {
                    term: Term(u64::MAX),
                    ..at(9)
                })),
                named(&[7; 16]),
            ),
            "that no cluster reaches",
        ),
        (
            "no members",
            framed(garbage, named(&[7; 16])),
            "its list of members cannot be read",
        ),
    ];
    for (case, bytes, want) in cases {
        let line = inspected(&bytes).unwrap_err();
        assert!(line.contains(want) && !line.contains('\n'), "{case}: {line}");
    }
}

#[test]
fn a_large_state_comes_in_bounded_chunks() {
    let mut machine = Machine::genesis();
    machine.skip(Index(0)).unwrap();
    let properties = |number: u64| {
        let property = |key| (format!("p{key}"), number.to_string().repeat(4_000));
        (0..60).map(property).collect()
    };
    for number in 1..10 {
        let command = Command::CreateDatabase(CreateDatabase {
            name: format!("d{number}"),
            properties: properties(number),
        });
        let applied = machine
            .apply(Index(number), &command.encode(number, None))
            .unwrap();
        assert!(applied.outcome.is_ok());
    }
    let image = machine.image();
    assert!(image.counts().row_bytes > 2_000_000);
    let backup = Backup::new(ClusterId(7), "", header(Some(at(9))), image.clone());
    let chunks: Vec<Bytes> = backup.collect();
    let (last, full) = chunks.split_last().unwrap();
    assert!(full.len() > 8 && full.iter().all(|chunk| chunk.len() == CHUNK_BYTES));
    assert!(!last.is_empty() && last.len() <= CHUNK_BYTES);
    let contents = inspected(&chunks.concat()).unwrap();
    assert_eq!(
        (contents.digest, contents.counts),
        (image.digest(), image.counts())
    );
}

#[tokio::test]
async fn a_sealed_backup_is_the_same_backup_behind_which_a_sum_stands() {
    let plain = backup();
    let taken = || Backup::new(ClusterId(7), "1.2.3", header(Some(at(9))), image(9));
    let mut half_way = taken();
    half_way.next().unwrap();
    for from in [taken(), half_way] {
        let sealed = from.sealed().await;
        let bytes = sealed.bytes();
        let chunks: Vec<Bytes> = sealed.collect();
        let whole = chunks.concat();
        assert_eq!((whole.len() as u64, whole.len() % 512), (bytes, 32));
        assert_eq!(whole[..plain.len()], plain);
        assert_eq!(chunks.len(), 2, "the sum comes by itself");
        assert_eq!(inspected(&whole).unwrap(), inspected(&plain).unwrap());
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(inspected(&flipped).unwrap_err().contains("after its end"));
    }
    let room = Room::new();
    let restored = room.restore("plain", "a", "").await.unwrap();
    let sealed: Vec<Bytes> = taken().sealed().await.collect();
    fs::write(&room.file, sealed.concat()).unwrap();
    let again = room.restore("sealed", "a", "").await.unwrap();
    assert_eq!(again, restored, "into the same cluster");
}

struct Room {
    directory: TempDir,
    file: PathBuf,
}

impl Room {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("backup");
        fs::write(&file, backup()).unwrap();
        Self { directory, file }
    }

    async fn restore(&self, place: &str, name: &str, token: &str) -> Result<Restored, BackupError> {
        let (name, listed) = (MemberName::new(name).unwrap(), listed(&["c", "a", "b"]));
        restore(
            &self.file,
            &self.directory.path().join(place),
            &name,
            &listed,
            token,
        )
        .await
    }
}

#[tokio::test]
async fn all_replicas_of_a_list_are_restored_into_one_cluster() {
    let room = Room::new();
    let mut seen = Vec::new();
    for (name, node) in [("a", 1), ("b", 2), ("c", 3)] {
        let restored = room.restore(name, name, "").await.unwrap();
        assert_eq!(restored.node, NodeId(node));
        assert_ne!(restored.cluster, ClusterId(7), "it is a new one");
        let path = room.directory.path().join(name);
        let store = DiskStore::open(&path, DiskOptions::default()).await.unwrap();
        let identity = store.facts().identity.unwrap();
        assert_eq!(
            (identity.cluster, identity.node),
            (restored.cluster, restored.node)
        );
        let state = store.log_state();
        assert_eq!((state.last, state.purged), (Some(at(9)), Some(at(9))));
        assert!(state.vote.is_some_and(|vote| vote.term == Term(3)));
        let mut reader = store.open_snapshot().await.unwrap().unwrap();
        let meta = meta(&reader.snapshot().meta).unwrap();
        let members = meta.last_membership.membership().clone();
        assert_eq!(
            members.get_node(&restored.node).unwrap().incarnation,
            identity.incarnation
        );
        let mut records = Vec::new();
        while let Some(more) = reader.next().await.unwrap() {
            records.extend(more.into_iter().map(Ok::<_, std::convert::Infallible>));
        }
        let machine = Machine::restore(records.into_iter()).unwrap();
        assert_eq!(machine.image().digest(), image(9).digest());
        seen.push((restored.cluster, members));
        store.close().await;
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    let other = room.restore("other", "a", "again").await.unwrap();
    assert_ne!(other.cluster, seen[0].0, "a token makes another cluster");
}

#[tokio::test]
async fn what_cannot_be_restored_leaves_nothing_behind() {
    let room = Room::new();
    room.restore("taken", "a", "").await.unwrap();
    fs::write(room.directory.path().join("file"), b"mine").unwrap();
    let names = || {
        let entries = fs::read_dir(room.directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for (case, place, name, want) in [
        ("a directory with data", "taken", "a", "is not empty"),
        ("a file", "file", "a", "is not a directory"),
        ("below a file", "file/below", "a", "is not a directory"),
        ("another name", "new", "x", "is not in the list"),
    ] {
        let line = chain(&room.restore(place, name, "").await.unwrap_err());
        assert!(line.contains(want), "{case}: {line}");
        assert_eq!(names(), before, "{case}");
    }
    fs::write(&room.file, &backup()[..300]).unwrap();
    let line = chain(&room.restore("new", "a", "").await.unwrap_err());
    assert!(line.contains("ends too early"), "{line}");
    assert_eq!(names(), before);
}
