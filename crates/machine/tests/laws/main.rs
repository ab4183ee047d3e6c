//! Laws that hold for every log, tried on random ones. The logs draw names, ids and clients from small pools, so that
//! commands meet what earlier ones left.

#![allow(clippy::unwrap_used)]

mod generate;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;
use generate::{entries, log};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quorate_machine::{Applied, Image, KvRange, Machine};
use quorate_types::Index;
use rows::{rows, user_rows};

fn apply(machine: &mut Machine, index: usize, entry: &Bytes) -> Applied {
    machine.apply(Index(index as u64), entry).unwrap()
}

fn replay(entries: &[Bytes]) -> Machine {
    let mut machine = Machine::genesis();
    for (index, entry) in entries.iter().enumerate() {
        apply(&mut machine, index, entry);
    }
    machine
}

fn records(image: &Image) -> Vec<Bytes> {
    image.snapshot_records().collect()
}

fn restore(records: Vec<Bytes>) -> Result<Machine, String> {
    let records = records.into_iter().map(Ok::<_, Infallible>);
    Machine::restore(records).map_err(|error| error.to_string())
}

/// The laws would hold trivially for logs in which nothing happens.
#[test]
fn random_logs_have_every_command_accepted_and_most_refused() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let log = log().new_tree(&mut runner).unwrap().current();
        let mut machine = Machine::genesis();
        for (index, (step, entry)) in log.iter().zip(entries(&log)).enumerate() {
            let applied = apply(&mut machine, index, &entry);
            let command = format!("{:?}", step.command);
            let name = command.split(['(', ' ']).next().unwrap().to_owned();
            seen.insert((name, applied.outcome.is_ok()));
        }
    }
    let accepted = seen.iter().filter(|(_, accepted)| *accepted).count();
    assert_eq!((accepted, seen.len() - accepted >= 17), (26, true), "{seen:?}");
}

/// A log that breaks a law becomes a test with a name; it is not kept as a seed.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_same_log_gives_the_same_state(log in log()) {
        let entries = entries(&log);
        let (one, other) = (replay(&entries).image(), replay(&entries).image());
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(records(&one), records(&other));
    }

    #[test]
    fn every_state_fits_together(log in log()) {
        let mut machine = Machine::genesis();
        for (index, entry) in entries(&log).iter().enumerate() {
            apply(&mut machine, index, entry);
            let audit = machine.image().audit();
            prop_assert!(audit.is_ok(), "after {:?}: {audit:?}", log[index]);
        }
    }

    #[test]
    fn a_snapshot_and_the_tail_equal_the_whole_at_every_split(log in log()) {
        let entries = entries(&log);
        let whole = replay(&entries).image();
        let mut machine = Machine::genesis();
        for split in 0..=entries.len() {
            let mut restored = restore(records(&machine.image())).unwrap();
            prop_assert_eq!(restored.image().digest(), machine.image().digest());
            for (index, entry) in entries.iter().enumerate().skip(split) {
                apply(&mut restored, index, entry);
            }
            prop_assert_eq!(records(&restored.image()), records(&whole), "split at {}", split);
            if let Some(entry) = entries.get(split) {
                apply(&mut machine, split, entry);
            }
        }
    }

    #[test]
    fn a_refusal_moves_only_position_log_time_and_its_own_answer(log in log()) {
        let mut machine = Machine::genesis();
        for (index, entry) in entries(&log).iter().enumerate() {
            let before = machine.image();
            let applied = apply(&mut machine, index, entry);
            let after = machine.image();
            prop_assert_eq!(after.position(), Some(Index(index as u64)));
            if applied.outcome.is_ok() || applied.replayed {
                continue;
            }
            prop_assert_eq!(&applied.change_set, &None);
            prop_assert_eq!(rows(&before), rows(&after));
            prop_assert_eq!(user_rows(&before), user_rows(&after));
            prop_assert_eq!(before.revision(), after.revision());
            prop_assert_eq!(before.kv_revision(), after.kv_revision());
            prop_assert_eq!(before.kv_compacted(), after.kv_compacted());
            prop_assert_eq!(before.feature_level(), after.feature_level());
            let (mut counts, now) = (before.counts(), after.counts());
            // Remembering may forget others: those that the request acknowledged.
            counts.answers = now.answers;
            prop_assert_eq!(counts, now);
        }
    }

    #[test]
    fn changes_replayed_on_the_old_rows_give_the_new_rows(log in log()) {
        let mut machine = Machine::genesis();
        for (index, entry) in entries(&log).iter().enumerate() {
            let before = machine.image();
            let applied = apply(&mut machine, index, entry);
            let after = machine.image();
            let mut replayed = rows(&before);
            match applied.change_set {
                None => prop_assert_eq!(before.revision(), after.revision()),
                Some(set) => {
                    prop_assert_eq!((set.revision, after.revision()), (before.revision().next(), set.revision));
                    prop_assert!(!set.changes.is_empty());
                    for change in &set.changes {
                        let was = match &change.after {
                            Some(row) => replayed.insert(change.key.clone(), (**row).clone()),
                            None => replayed.remove(&change.key),
                        };
                        prop_assert_eq!(was.as_ref(), change.before.as_deref());
                    }
                }
            }
            prop_assert_eq!(replayed, rows(&after));
        }
    }

    #[test]
    fn the_history_is_what_was_applied_on_every_replica(log in log()) {
        let mut machine = Machine::genesis();
        let mut sets: Vec<_> = machine.image().history(machine.image().history_floor()).unwrap().collect();
        for (index, entry) in entries(&log).iter().enumerate() {
            sets.extend(apply(&mut machine, index, entry).change_set);
        }
        let restored = restore(records(&machine.image())).unwrap();
        for image in [machine.image(), restored.image()] {
            for from in 0..sets.len() {
                let since: Vec<_> = image.history(sets[from].revision).unwrap().collect();
                prop_assert_eq!(&since[..], &sets[from..]);
            }
        }
    }

    #[test]
    fn a_numbered_entry_that_comes_again_at_once_changes_no_row_and_gets_its_answer(log in log()) {
        let mut machine = Machine::genesis();
        let mut index = 0;
        for (step, entry) in log.iter().zip(entries(&log)) {
            let first = apply(&mut machine, index, &entry);
            index += 1;
            let before = machine.image();
            // Unless the entry evicted its own client, which no leader proposes.
            if step.request.is_none_or(|request| !before.is_registered(request.client)) {
                continue;
            }
            let again = apply(&mut machine, index, &entry);
            index += 1;
            prop_assert_eq!(again.outcome, first.outcome);
            prop_assert_eq!(rows(&before), rows(&machine.image()));
            prop_assert_eq!(user_rows(&before), user_rows(&machine.image()));
        }
    }

    #[test]
    fn every_kept_revision_of_etcds_keys_reads_as_it_stood(log in log()) {
        let everything = |revision| KvRange {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            revision,
            ..KvRange::default()
        };
        let mut machine = Machine::genesis();
        let mut stood = BTreeMap::new();
        for (index, entry) in entries(&log).iter().enumerate() {
            apply(&mut machine, index, entry);
            let image = machine.image();
            let rows = image.kv_range(&everything(0)).unwrap();
            prop_assert_eq!(rows.count as usize, user_rows(&image).len());
            // One revision, one state.
            let before = stood.insert(image.kv_revision().0, rows.clone());
            prop_assert!(before.is_none_or(|before| before == rows));
        }
        let restored = restore(records(&machine.image())).unwrap();
        for image in [machine.image(), restored.image()] {
            for (revision, want) in stood.range(image.kv_compacted().0..) {
                prop_assert_eq!(&image.kv_range(&everything(*revision)).unwrap(), want, "at {}", revision);
            }
            for revision in 1..image.kv_compacted().0 {
                prop_assert!(image.kv_range(&everything(revision)).is_err());
            }
        }
    }

    #[test]
    fn a_snapshot_that_is_cut_reordered_or_damaged_is_refused(
        log in log(),
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let whole = records(&replay(&entries(&log)).image());
        let at = at.index(whole.len());
        let restored = |change: &dyn Fn(&mut Vec<Bytes>)| {
            let mut records = whole.clone();
            change(&mut records);
            restore(records)
        };
        prop_assert!(restored(&|_| ()).is_ok());
        prop_assert!(restored(&|records| records.truncate(at)).is_err());
        prop_assert!(restored(&|records| drop(records.remove(at))).is_err());
        prop_assert!(restored(&|records| records.insert(at, whole[at].clone())).is_err());
        prop_assert!(restored(&|records| records.push(whole[at].clone())).is_err());
        if at > 0 {
            prop_assert!(restored(&|records| records.swap(at - 1, at)).is_err());
        }
        let byte = byte.index(whole[at].len());
        let flip = |records: &mut Vec<Bytes>| {
            let mut damaged = records[at].to_vec();
            damaged[byte] ^= 1 << bit;
            records[at] = Bytes::from(damaged);
        };
        prop_assert!(restored(&flip).is_err());
    }

    #[test]
    fn random_and_damaged_entries_never_panic(
        log in log(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let entries = entries(&log);
        let mut machine = replay(&entries);
        let mut index = entries.len() as u64;
        let mut damaged = at.get(&entries).to_vec();
        let byte = at.index(damaged.len());
        damaged[byte] ^= 1 << bit;
        let mut enveloped = vec![1];
        enveloped.extend_from_slice(&noise);
        for entry in [noise, enveloped, damaged] {
            if machine.apply(Index(index), &entry).is_ok() {
                index += 1;
            }
            let image = machine.image();
            prop_assert!(image.audit().is_ok());
            let again = restore(records(&image));
            prop_assert!(again.is_ok(), "{again:?}");
        }
    }

    #[test]
    fn random_records_never_panic(noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        let records = noise.into_iter().map(|mut record| {
            record.insert(0, 1);
            Bytes::from(record)
        });
        prop_assert!(restore(records.collect()).is_err());
    }
}
