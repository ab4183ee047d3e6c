//! What every store does, shown on both of them.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_store::{Entry, Identity, LogState, SnapshotError, Store, StoreError, limits};
use quorate_types::{ClusterId, MemberName, NodeId, Position};
use support::{
    Place, append, at, entries, entry_of, purge, raw_snapshot, read_all, read_snapshot, records, save_vote,
    told, truncate, vote, write_snapshot,
};

macro_rules! behaviours {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(super::Place::memory()).await;
            })*
        }
        mod disk {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::disk()).await;
            })*
        }
    };
}

behaviours! {
    a_new_store_is_empty
    entries_are_readable_at_once_and_there_after_reopening
    callbacks_come_in_the_order_of_the_calls
    older_entries_are_read_back_in_pieces
    every_kind_of_write_survives_reopening
    a_truncated_tail_can_be_written_again
    a_snapshot_from_a_leader_replaces_a_contradicting_log
    entries_of_a_lower_term_after_a_truncation_stay_readable
    a_purge_can_take_the_chunks_of_a_truncated_tail
    the_commit_position_rides_with_the_next_flush
    a_broken_rule_stops_the_store_with_a_sentence
    a_closed_store_takes_nothing
    a_snapshot_is_read_as_it_was_written
    an_empty_snapshot_is_one
    the_newest_snapshot_counts_and_readers_keep_theirs
    an_older_snapshot_never_replaces_a_newer_one
    an_unfinished_snapshot_leaves_nothing
    a_record_beyond_the_limit_is_refused
    a_snapshot_travels_in_chunks_and_resumes
    an_inbox_refuses_what_does_not_fit
    a_damaged_transfer_is_dropped_and_can_begin_again
    a_second_inbox_supersedes_the_first
    boots_are_counted_and_an_identity_is_given_once
    memberships_are_remembered
    stats_tell_of_flushes
}

async fn a_new_store_is_empty(place: Place) {
    let store = place.open().await;
    assert_eq!(store.log_state(), LogState::default());
    assert_eq!(read_all(&store).await, []);
    assert_eq!(store.snapshot(), None);
    assert!(store.open_snapshot().await.unwrap().is_none());
    assert_eq!((store.facts().identity, store.facts().boots), (None, 1));
    assert!(store.fault().borrow().is_none());
}

async fn entries_are_readable_at_once_and_there_after_reopening(place: Place) {
    let store = place.open().await;
    let (done, told) = told();
    store.append(entries(1, 0..5), done);
    assert_eq!(store.read(1, 3, usize::MAX).await.unwrap(), entries(1, 1..3));
    assert_eq!(store.log_state().last, Some(at(1, 4)));
    told.await.unwrap().unwrap();
    store.close().await;
    drop(store);
    assert_eq!(read_all(&place.open().await).await, entries(1, 0..5));
}

async fn callbacks_come_in_the_order_of_the_calls(place: Place) {
    let store = place.open().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: String| -> quorate_store::Done {
        let order = Arc::clone(&order);
        Box::new(move |result| {
            result.unwrap();
            order.lock().unwrap().push(name);
        })
    };
    let mut want = Vec::new();
    for round in 0..50 {
        store.append(entries(1, round..round + 1), note(format!("append {round}")));
        store.save_vote(vote(round, false), note(format!("vote {round}")));
        store.truncate_after(Some(at(1, round + 7)), note(format!("nothing {round}")));
        want.extend([
            format!("append {round}"),
            format!("vote {round}"),
            format!("nothing {round}"),
        ]);
    }
    store.close().await;
    assert_eq!(*order.lock().unwrap(), want);
}

async fn older_entries_are_read_back_in_pieces(place: Place) {
    let store = place.open().await;
    let all: Vec<Entry> = (0..200).map(|index| entry_of(1, index, 100)).collect();
    for batch in all.chunks(7) {
        append(&store, batch.to_vec()).await.unwrap();
    }
    assert_eq!(read_all(&store).await, all);
    let some = store.read(3, 90, 250).await.unwrap();
    assert_eq!(some, all[3..5], "two entries of 100 bytes stay within 250");
    assert_eq!(store.read(3, 4, 0).await.unwrap(), all[3..4], "at least one");
    assert_eq!(store.read(500, 900, 10).await.unwrap(), []);
    store.close().await;
    drop(store);
    let store = place.open().await;
    assert_eq!(read_all(&store).await, all);
}

async fn every_kind_of_write_survives_reopening(place: Place) {
    let store = place.open().await;
    write_snapshot(&store, Some(at(1, 10)), &records(1))
        .await
        .unwrap();
    save_vote(&store, vote(1, true)).await.unwrap();
    append(&store, entries(1, 0..20)).await.unwrap();
    purge(&store, at(1, 4)).await.unwrap();
    truncate(&store, Some(at(1, 15))).await.unwrap();
    store.save_committed(Some(at(1, 12)));
    save_vote(&store, vote(2, false)).await.unwrap();
    let want = LogState {
        vote: Some(vote(2, false)),
        committed: Some(at(1, 12)),
        purged: Some(at(1, 4)),
        last: Some(at(1, 15)),
    };
    assert_eq!(store.log_state(), want);
    for _ in 0..3 {
        store.close().await;
        let store = place.open().await;
        assert_eq!(store.log_state(), want);
        assert_eq!(read_all(&store).await, entries(1, 5..16));
        store.close().await;
    }
}

async fn a_truncated_tail_can_be_written_again(place: Place) {
    let store = place.open().await;
    append(&store, entries(1, 0..10)).await.unwrap();
    truncate(&store, Some(at(1, 3))).await.unwrap();
    append(&store, entries(2, 4..6)).await.unwrap();
    let want = [entries(1, 0..4), entries(2, 4..6)].concat();
    assert_eq!(read_all(&store).await, want);
    truncate(&store, None).await.unwrap();
    assert_eq!(store.log_state().last, None);
    append(&store, entries(3, 0..2)).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(read_all(&place.open().await).await, entries(3, 0..2));
}

async fn a_snapshot_from_a_leader_replaces_a_contradicting_log(place: Place) {
    let store = place.open().await;
    // Terms 3 and 5: entries 0..6 are committed, 7 and 8 of term 5 never were. The group went on in term 3's entries.
    append(&store, entries(3, 0..7)).await.unwrap();
    append(&store, entries(5, 7..9)).await.unwrap();
    store.save_committed(Some(at(3, 6)));
    write_snapshot(&store, Some(at(3, 10)), &records(3))
        .await
        .unwrap();
    purge(&store, at(3, 10)).await.unwrap();
    assert_eq!(store.log_state().last, Some(at(3, 10)));
    append(&store, entries(6, 11..13)).await.unwrap();
    assert_eq!(read_all(&store).await, entries(6, 11..13));
    store.close().await;
    drop(store);
    let store = place.open().await;
    assert_eq!(store.log_state().purged, Some(at(3, 10)));
    assert_eq!(store.log_state().last, Some(at(6, 12)));
    assert_eq!(read_all(&store).await, entries(6, 11..13));
}

async fn entries_of_a_lower_term_after_a_truncation_stay_readable(place: Place) {
    // A deposed leader's entries of term 5 are replaced by older ones of term 3 that a later leader still had. The
    // log library orders its cache by position, so this is where it could lose sight of them.
    // Few of them stay in one chunk with the truncation, many go on into the next.
    let mut store = place.open().await;
    append(&store, entries(1, 0..3)).await.unwrap();
    for (term, count) in [(5, 5), (15, 60)] {
        let deposed = (3..80).map(|index| entry_of(term, index, 100)).collect();
        append(&store, deposed).await.unwrap();
        truncate(&store, Some(at(1, 2))).await.unwrap();
        let older: Vec<Entry> = (3..3 + count)
            .map(|index| entry_of(term - 2, index, 30))
            .collect();
        append(&store, older.clone()).await.unwrap();
        let want = [entries(1, 0..3), older].concat();
        assert_eq!(read_all(&store).await, want);
        store.close().await;
        store = place.open().await;
        assert_eq!(read_all(&store).await, want, "after reopening");
        truncate(&store, Some(at(1, 2))).await.unwrap();
    }
}

async fn a_purge_can_take_the_chunks_of_a_truncated_tail(place: Place) {
    // The chunks that go held entries with higher indexes than those that stay.
    let store = place.open().await;
    let deposed = (0..60).map(|index| entry_of(2, index, 100)).collect();
    append(&store, deposed).await.unwrap();
    truncate(&store, Some(at(2, 40))).await.unwrap();
    append(&store, entries(4, 41..46)).await.unwrap();
    write_snapshot(&store, Some(at(4, 43)), &records(1))
        .await
        .unwrap();
    purge(&store, at(4, 43)).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(read_all(&place.open().await).await, entries(4, 44..46));
}

async fn the_commit_position_rides_with_the_next_flush(place: Place) {
    let store = place.open().await;
    append(&store, entries(1, 0..3)).await.unwrap();
    let before = store.stats().flushes;
    store.save_committed(Some(at(1, 0)));
    store.save_committed(Some(at(1, 1)));
    store.save_committed(Some(at(1, 0)));
    store.save_committed(Some(at(9, 9)));
    store.save_committed(None);
    assert_eq!(store.log_state().committed, Some(at(1, 1)));
    assert_eq!(store.stats().flushes, before);
    append(&store, entries(1, 3..4)).await.unwrap();
    store.save_committed(Some(at(1, 3)));
    store.close().await;
    drop(store);
    let store = place.open().await;
    assert_eq!(
        store.log_state().committed,
        Some(at(1, 3)),
        "closing flushes it, too"
    );
}

async fn a_broken_rule_stops_the_store_with_a_sentence(place: Place) {
    let store = place.open().await;
    append(&store, entries(1, 0..3)).await.unwrap();
    let mut fault = store.fault();
    assert!(!fault.has_changed().unwrap());
    let error = append(&store, entries(1, 7..8)).await.unwrap_err();
    assert!(
        error.to_string().contains("entry 1-1-7 was appended after 1-1-2"),
        "{error}"
    );
    assert!(fault.wait_for(Option::is_some).await.is_ok());
    for error in [
        append(&store, entries(1, 3..4)).await.unwrap_err(),
        save_vote(&store, vote(1, false)).await.unwrap_err(),
        store.read(0, 1, 1).await.unwrap_err(),
        store.open_snapshot().await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Fault(_)), "{error}");
    }
    store.close().await;
    drop(store);
    assert_eq!(
        read_all(&place.open().await).await,
        entries(1, 0..3),
        "nothing was harmed"
    );
}

async fn a_closed_store_takes_nothing(place: Place) {
    let store = place.open().await;
    let mut writer = store.create_snapshot(support::meta(None)).await.unwrap();
    store.close().await;
    store.close().await;
    for error in [
        append(&store, entries(1, 0..1)).await.unwrap_err(),
        store.read(0, 1, 1).await.unwrap_err(),
        writer.write(records(1)).await.unwrap_err(),
        store
            .create_snapshot(support::meta(None))
            .await
            .map(drop)
            .unwrap_err(),
        store.save_membership(at(1, 1), Bytes::new()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Closed), "{error}");
    }
    store.room().await;
}

async fn a_snapshot_is_read_as_it_was_written(place: Place) {
    let store = place.open().await;
    let records = records(3000);
    let written = write_snapshot(&store, Some(at(2, 9)), &records).await.unwrap();
    assert_eq!((written.records, written.digest), (3000, Some(42)));
    assert_eq!(written.meta, support::meta(Some(at(2, 9))));
    assert_eq!(store.snapshot(), Some(written.clone()));
    assert_eq!(
        read_snapshot(&store).await,
        Some((written.clone(), records.clone()))
    );
    store.close().await;
    drop(store);
    let store = place.open().await;
    assert_eq!(read_snapshot(&store).await, Some((written.clone(), records)));
    assert_eq!(store.stats().snapshot_bytes, written.id.bytes);
}

async fn an_empty_snapshot_is_one(place: Place) {
    let store = place.open().await;
    let written = write_snapshot(&store, None, &[]).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(read_snapshot(&place.open().await).await, Some((written, vec![])));
}

async fn the_newest_snapshot_counts_and_readers_keep_theirs(place: Place) {
    let store = place.open().await;
    let first = records(2000);
    write_snapshot(&store, Some(at(1, 5)), &first).await.unwrap();
    let mut reader = store.open_snapshot().await.unwrap().unwrap();
    let mut read = reader.next().await.unwrap().unwrap();
    let again = write_snapshot(&store, Some(at(1, 5)), &records(1)).await.unwrap();
    assert_eq!(store.snapshot(), Some(again), "the same position again");
    let second = write_snapshot(&store, Some(at(1, 9)), &records(2)).await.unwrap();
    while let Some(more) = reader.next().await.unwrap() {
        read.extend(more);
    }
    assert_eq!(read, first);
    assert_eq!(read_snapshot(&store).await, Some((second, records(2))));
}

async fn an_older_snapshot_never_replaces_a_newer_one(place: Place) {
    let store = place.open().await;
    let older = store
        .create_snapshot(support::meta(Some(at(1, 5))))
        .await
        .unwrap();
    let newer = write_snapshot(&store, Some(at(1, 6)), &records(2)).await.unwrap();
    let error = older.finish(None).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Snapshot(SnapshotError::Superseded)),
        "{error}"
    );
    assert_eq!(store.snapshot(), Some(newer.clone()));
    store.close().await;
    drop(store);
    assert_eq!(place.open().await.snapshot(), Some(newer));
}

async fn an_unfinished_snapshot_leaves_nothing(place: Place) {
    let store = place.open().await;
    let mut writer = store
        .create_snapshot(support::meta(Some(at(1, 5))))
        .await
        .unwrap();
    writer.write(records(1000)).await.unwrap();
    drop(writer);
    assert_eq!(store.snapshot(), None);
    store.close().await;
    if let Place::Disk(dir, _) = &place {
        let left: Vec<_> = std::fs::read_dir(dir.path().join("snapshots")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert_eq!(place.open().await.snapshot(), None);
}

async fn a_record_beyond_the_limit_is_refused(place: Place) {
    let store = place.open().await;
    let mut writer = store.create_snapshot(support::meta(None)).await.unwrap();
    let huge = Bytes::from(vec![0; limits::RECORD_BYTES_MAX + 1]);
    let error = writer.write(vec![huge]).await.unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    append(&store, entries(1, 0..1)).await.unwrap();
}

async fn a_snapshot_travels_in_chunks_and_resumes(place: Place) {
    let source = place.open().await;
    let records = records(5000);
    let sent = write_snapshot(&source, Some(at(3, 30)), &records).await.unwrap();
    let (id, raw) = raw_snapshot(&source).await;
    assert_eq!((id, id.bytes), (sent.id, raw.len() as u64));
    source.close().await;

    let target_place = match place {
        Place::Memory(_) => Place::memory(),
        Place::Disk(..) => Place::disk(),
    };
    let target = target_place.open().await;
    let mut inbox = target.receive_snapshot(id).await.unwrap();
    assert_eq!(inbox.offset(), 0);
    let mut offset = 0;
    // Cut in the middle of a frame.
    while offset < raw.len() as u64 / 2 {
        offset = inbox.write(offset, piece(&raw, offset)).await.unwrap();
    }
    drop(inbox);
    let mut target = target;
    if matches!(target_place, Place::Disk(..)) {
        target.close().await;
        drop(target);
        target = target_place.open().await;
    }
    let mut inbox = target.receive_snapshot(id).await.unwrap();
    let resumed = inbox.offset();
    assert!(
        resumed > raw.len() as u64 / 4 && resumed <= offset,
        "{resumed} of {offset}"
    );
    let mut offset = resumed;
    while offset < id.bytes {
        offset = inbox.write(offset, piece(&raw, offset)).await.unwrap();
    }
    assert_eq!(target.snapshot(), None, "nothing counts before the end");
    let installed = inbox.finish().await.unwrap();
    assert_eq!(installed, sent);
    target.close().await;
    drop(target);
    assert_eq!(
        read_snapshot(&target_place.open().await).await,
        Some((sent, records))
    );
}

fn piece(raw: &Bytes, offset: u64) -> Bytes {
    let from = usize::try_from(offset).unwrap();
    raw.slice(from..raw.len().min(from + 9_999))
}

async fn an_inbox_refuses_what_does_not_fit(place: Place) {
    let store = place.open().await;
    write_snapshot(&store, Some(at(1, 1)), &records(10))
        .await
        .unwrap();
    let (id, raw) = raw_snapshot(&store).await;
    let mut inbox = store.receive_snapshot(id).await.unwrap();
    inbox.write(0, raw.slice(..10)).await.unwrap();
    for (offset, chunk, want) in [
        (11, raw.slice(..1), "byte 10 comes next"),
        (0, raw.slice(..10), "byte 10 comes next"),
        (10, raw.clone(), "beyond the announced"),
    ] {
        let error = inbox.write(offset, chunk).await.unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
    assert_eq!(inbox.offset(), 10, "the inbox stays usable");
    let error = inbox.finish().await.unwrap_err();
    assert!(error.to_string().contains("was finished after 10"), "{error}");
    append(&store, entries(1, 0..1)).await.unwrap();
}

async fn a_damaged_transfer_is_dropped_and_can_begin_again(place: Place) {
    let store = place.open().await;
    write_snapshot(&store, Some(at(1, 1)), &records(10))
        .await
        .unwrap();
    let (id, raw) = raw_snapshot(&store).await;
    let wrong_id = quorate_store::SnapshotId { crc: !id.crc, ..id };
    let mut flipped = raw.to_vec();
    flipped[raw.len() / 2] ^= 1;
    for (id, bytes) in [
        (wrong_id, raw.clone()),
        (id, flipped.into()),
        (id, Bytes::from(vec![0; raw.len()])),
    ] {
        let mut inbox = store.receive_snapshot(id).await.unwrap();
        assert_eq!(inbox.offset(), 0);
        inbox.write(0, bytes).await.unwrap();
        let error = inbox.finish().await.unwrap_err();
        assert!(
            matches!(error, StoreError::Snapshot(SnapshotError::Damaged { .. })),
            "{error}"
        );
    }
    let mut inbox = store.receive_snapshot(id).await.unwrap();
    inbox.write(0, raw).await.unwrap();
    assert_eq!(inbox.finish().await.unwrap().id, id);
}

async fn a_second_inbox_supersedes_the_first(place: Place) {
    let store = place.open().await;
    write_snapshot(&store, Some(at(1, 1)), &records(10))
        .await
        .unwrap();
    let (id, raw) = raw_snapshot(&store).await;
    let mut first = store.receive_snapshot(id).await.unwrap();
    first.write(0, raw.slice(..50)).await.unwrap();
    let mut second = store.receive_snapshot(id).await.unwrap();
    let error = first.write(50, raw.slice(50..60)).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Snapshot(SnapshotError::Superseded)),
        "{error}"
    );
    assert!(first.finish().await.is_err());
    let from = usize::try_from(second.offset()).unwrap();
    second.write(second.offset(), raw.slice(from..)).await.unwrap();
    assert_eq!(second.finish().await.unwrap().id, id);
}

fn identity(store: &dyn Store, node: u64) -> Identity {
    Identity {
        cluster: ClusterId(9),
        node: NodeId(node),
        incarnation: store.facts().incarnation,
        name: MemberName::new("quorate-0").unwrap(),
    }
}

async fn boots_are_counted_and_an_identity_is_given_once(place: Place) {
    let mut incarnation = None;
    for boot in 1..=3 {
        let store = place.open().await;
        let (one, two) = (identity(&*store, 1), identity(&*store, 2));
        assert_eq!(store.facts().boots, boot);
        assert_eq!(
            *incarnation.get_or_insert(one.incarnation),
            one.incarnation,
            "a directory keeps its name"
        );
        assert_eq!(store.facts().identity, (boot > 1).then(|| one.clone()));
        store.save_identity(one.clone()).await.unwrap();
        let error = store.save_identity(two).await.unwrap_err();
        assert!(
            error.to_string().contains("belongs to quorate-0 (node 1 of"),
            "{error}"
        );
        assert_eq!(store.facts().identity, Some(one));
        store.close().await;
    }
}

async fn memberships_are_remembered(place: Place) {
    let store = place.open().await;
    let membership = |n: u64| Bytes::from(vec![u8::try_from(n).unwrap(); 5000]);
    for n in 0..40 {
        store.save_membership(at(1, n), membership(n)).await.unwrap();
    }
    store.save_membership(at(2, 39), membership(7)).await.unwrap();
    let huge = Bytes::from(vec![0; limits::MEMBERSHIP_BYTES_MAX + 1]);
    assert!(store.save_membership(at(2, 41), huge).await.is_err());
    for _ in 0..2 {
        store.close().await;
        let store = place.open().await;
        let facts = store.facts().memberships;
        let positions: Vec<Position> = facts.iter().map(|fact| fact.position).collect();
        let want: Vec<Position> = (8..39).map(|n| at(1, n)).chain([at(2, 39)]).collect();
        assert_eq!(positions, want);
        assert_eq!(facts[0].membership, membership(8));
        assert_eq!(facts[31].membership, membership(7));
        store.close().await;
    }
}

async fn stats_tell_of_flushes(place: Place) {
    let store = place.open().await;
    for index in 0..10 {
        append(&store, entries(1, index..index + 1)).await.unwrap();
    }
    let stats = store.stats();
    assert_eq!((stats.flushes, stats.entries_flushed), (10, 10));
    assert!(
        stats.flush_p50 <= stats.flush_p99 && !stats.flush_p99.is_zero(),
        "{stats:?}"
    );
    assert_eq!((stats.oldest_unfinished, stats.queue_bytes), (None, 0));
    assert!(stats.log_bytes >= 10 * 24, "{stats:?}");
    let _: &dyn Store = store.as_ref();
}
