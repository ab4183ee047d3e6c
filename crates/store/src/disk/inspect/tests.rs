//! Sweeps over small logs: every flipped bit, every cut, every missing chunk.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::DiskOptions;
use crate::disk::DiskStore;
use crate::store::{Entry, Store, Vote};
use crate::view::Lookup;
use crate::view::sample::{at, entries};

const CHUNK: usize = 700;

/// A log of three chunks with every kind of record, closed in good order: its directory and the chunks' paths.
async fn sample() -> (tempfile::TempDir, PathBuf, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let options = DiskOptions {
        chunk_bytes: CHUNK,
        tail_bytes: CHUNK,
    };
    let store = DiskStore::open(dir.path(), options).await.unwrap();
    let ok = || -> crate::Done { Box::new(|result| result.unwrap()) };
    let vote = |term, committed| Vote {
        term: quorate_types::Term(term),
        committed,
        ..Vote::default()
    };
    store.append(entries(1, 0..12), ok());
    store.save_vote(vote(2, false), ok());
    store.truncate_after(Some(at(1, 9)), ok());
    store.append(entries(2, 10..20), ok());
    store.save_committed(Some(at(2, 15)));
    store.save_vote(vote(2, true), ok());
    store.purge_upto(at(1, 3), ok());
    store.append(entries(2, 20..24), ok());
    store.save_vote(vote(3, false), ok());
    store.close().await;
    let log = dir.path().join("log");
    let chunks: Vec<PathBuf> = list_chunks(&log).unwrap().into_iter().map(|c| c.path).collect();
    assert_eq!(chunks.len(), 3);
    (dir, log, chunks)
}

fn held(view: &LogView) -> (LogState, Vec<Entry>) {
    let Lookup::Here(entries) = view.read(0, u64::MAX, usize::MAX) else {
        panic!("the tail is endless here");
    };
    (view.state(), entries)
}

fn look(log: &Path) -> Result<(LogState, Vec<Entry>), OpenError> {
    inspect(log, true, usize::MAX).map(|inspected| held(&inspected.view))
}

/// Flips every bit of every chunk, one at a time.
fn flip_everything(log: &Path) {
    assert!(look(log).is_ok());
    for Chunk { path, .. } in list_chunks(log).unwrap() {
        let sound = fs::read(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let (byte, offset) = (sound[bit / 8], bit as u64 / 8);
            file.write_all_at(&[byte ^ (1 << (bit % 8))], offset).unwrap();
            match look(log) {
                Err(OpenError::LogDamaged {
                    path: named,
                    offset: told,
                    ..
                }) => assert!(named == path && told <= offset, "bit {bit}: {told}"),
                other => panic!("bit {bit} of {}: {other:?}", path.display()),
            }
            file.write_all_at(&[byte], offset).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), sound, "looking changes nothing");
    }
}

#[tokio::test]
async fn no_flipped_bit_goes_unnoticed() {
    let (_dir, log, _) = sample().await;
    let (state, all) = look(&log).unwrap();
    assert_eq!(state.last, Some(at(2, 23)));
    assert_eq!(all, [entries(1, 4..10), entries(2, 10..24)].concat());
    flip_everything(&log);
}

#[tokio::test]
async fn no_flipped_bit_makes_any_last_record_look_unfinished() {
    type Ending = fn(&DiskStore, crate::Done);
    let endings: [(&str, Ending); 6] = [
        ("a checkpoint", |_, done| done(Ok(()))),
        ("an entry", |store, done| store.append(entries(1, 3..4), done)),
        ("a vote", |store, done| store.save_vote(Vote::default(), done)),
        ("a truncation", |store, done| {
            store.truncate_after(Some(at(1, 1)), done)
        }),
        ("a truncation of all", |store, done| {
            store.truncate_after(None, done)
        }),
        ("a purge", |store, done| store.purge_upto(at(1, 1), done)),
    ];
    for (name, end) in endings {
        let dir = tempfile::tempdir().unwrap();
        let options = DiskOptions::default();
        let store = DiskStore::open(dir.path(), options).await.unwrap();
        if name != "a checkpoint" {
            store.append(entries(1, 0..3), Box::new(|result| result.unwrap()));
        }
        end(&store, Box::new(|result| result.unwrap()));
        store.close().await;
        flip_everything(&dir.path().join("log"));
    }
}

#[tokio::test]
async fn a_cut_in_the_last_chunk_is_an_unfinished_write_and_nowhere_else() {
    let (_dir, log, chunks) = sample().await;
    let whole = look(&log).unwrap();
    for (number, path) in chunks.iter().enumerate() {
        let sound = fs::read(path).unwrap();
        let mut whole_records = 0;
        for bytes in (0..sound.len()).rev() {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            for zeros in [100, 0] {
                file.set_len(bytes as u64).unwrap();
                file.set_len(bytes as u64 + zeros).unwrap();
                let found = inspect(&log, true, usize::MAX);
                if number < 2 {
                    assert!(found.is_err(), "chunk {number} cut at {bytes}");
                    continue;
                }
                // Zeros may follow the last whole record, not a part of one.
                let Ok(found) = found else {
                    assert!(zeros > 0, "cut at {bytes}");
                    continue;
                };
                let (state, entries) = held(&found.view);
                assert!(whole.1.starts_with(&entries), "cut at {bytes}");
                assert!(state.last >= Some(at(2, 19)), "cut at {bytes}");
                let is_whole = found.unfinished.is_none();
                assert_eq!(
                    is_whole,
                    zeros == 0 && ends_a_record(&sound, bytes),
                    "cut at {bytes}"
                );
                whole_records += usize::from(is_whole);
            }
        }
        fs::write(path, &sound).unwrap();
        assert!(number < 2 || whole_records > 3, "{whole_records}");
    }
}

fn ends_a_record(chunk: &[u8], bytes: usize) -> bool {
    let mut rest = &chunk[..bytes];
    while !rest.is_empty() {
        if Record::decode(&mut rest).is_err() {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn blocks_that_a_crash_left_unwritten_are_an_unfinished_write() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let large = |index| Entry {
        payload: vec![7; 3000].into(),
        ..entries(1, index..index + 1).remove(0)
    };
    let store = DiskStore::open(dir.path(), DiskOptions::default()).await.unwrap();
    store.append(vec![large(0)], Box::new(|result| result.unwrap()));
    store.append(vec![large(1)], Box::new(|result| result.unwrap()));
    store.close().await;
    let path = list_chunks(&log).unwrap().remove(0).path;
    let sound = fs::read(&path).unwrap();
    let second = sound.len() - 3045;
    let lose = |from: usize, flipped: usize| {
        let mut bytes = sound.clone();
        bytes[from..].fill(0);
        bytes[flipped] ^= 1;
        fs::write(&path, bytes).unwrap();
        inspect(&log, true, usize::MAX)
    };
    for from in (second + 1..sound.len() - 16).filter(|from| from % 512 == 0) {
        let found = lose(from, from - 1).unwrap();
        assert_eq!(found.view.state().last, Some(at(1, 0)), "from {from}");
        assert_eq!(
            found.unfinished.map(|unfinished| unfinished.offset),
            Some(second as u64)
        );
    }
    assert!(
        lose(second - 600, second - 601).is_ok(),
        "both entries may have been in one flush"
    );
    assert!(
        lose(sound.len(), second + 100).is_err(),
        "zeros are what makes the difference"
    );

    drop(lose(second / 512 * 512 + 1024, second + 1));
    let store = DiskStore::open(dir.path(), DiskOptions::default()).await.unwrap();
    store.append(vec![large(1)], Box::new(|result| result.unwrap()));
    store.close().await;
    assert_eq!(look(&log).unwrap().1, [large(0), large(1)]);
}

#[tokio::test]
async fn missing_and_foreign_chunks_are_damage() {
    let (dir, log, chunks) = sample().await;
    for (missing, want) in [
        (0, "were not purged"),
        (1, "a part of the log before it is missing"),
    ] {
        let aside = dir.path().join("aside");
        fs::rename(&chunks[missing], &aside).unwrap();
        let error = look(&log).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        fs::rename(&aside, &chunks[missing]).unwrap();
    }
    fs::write(log.join("r-1.wal"), b"").unwrap();
    assert!(look(&log).unwrap_err().to_string().contains("its name is not"));
    fs::remove_file(log.join("r-1.wal")).unwrap();
    for chunk in &chunks[1..] {
        fs::remove_file(chunk).unwrap();
    }
    fs::write(&chunks[0], b"").unwrap();
    let error = look(&log).unwrap_err().to_string();
    assert!(error.contains("its beginning is missing"), "{error}");
    assert!(
        inspect(&log, false, 0).is_ok(),
        "unless it was never opened before"
    );
    fs::remove_file(&chunks[0]).unwrap();
    assert!(look(&log).unwrap_err().to_string().contains("are gone"));
    assert!(inspect(&log, false, 0).is_ok());
}

#[tokio::test]
async fn a_last_chunk_that_a_crash_left_empty_excuses_an_unfinished_one_before_it() {
    let (_dir, log, chunks) = sample().await;
    let sound: Vec<Vec<u8>> = chunks.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::write(&chunks[2], b"").unwrap();
    assert!(look(&log).is_ok());
    fs::write(&chunks[1], &sound[1][..sound[1].len() - 3]).unwrap();
    let unfinished = inspect(&log, true, 0).unwrap().unfinished.unwrap();
    assert_eq!((unfinished.path, unfinished.bytes), (chunks[1].clone(), 55 - 3));
    // A byte in the later chunk proves that the earlier one was flushed as a whole.
    fs::write(&chunks[2], b"x").unwrap();
    assert!(look(&log).unwrap_err().to_string().contains("goes on after it"));
    // The same when it was cut between two records.
    let between = &sound[1][..sound[1].len() - 55];
    fs::write(&chunks[1], between).unwrap();
    assert!(look(&log).unwrap_err().to_string().contains("is missing"));
    fs::write(&chunks[2], b"").unwrap();
    assert_eq!(inspect(&log, true, 0).unwrap().unfinished, None);
}
