//! The keyspace and its versions, read at every revision.

use super::*;

fn put(user: &mut User, key: &'static str, value: &'static str) {
    let written = Written {
        value: Bytes::from(value),
        lease: 0,
    };
    user.put(Bytes::from(key), written);
    user.close();
}

fn delete(user: &mut User, key: &'static str) {
    user.delete(Bytes::from(key));
    user.close();
}

fn at(user: &User, revision: u64) -> String {
    let range = KvRange {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        revision,
        ..KvRange::default()
    };
    match user.range(&range) {
        Ok(ranged) => {
            let rows = ranged.rows.iter();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let shown =
                rows.map(|row| format!("{}={}@{}", text(&row.key), text(&row.row.value), row.row.version));
            shown.collect::<Vec<_>>().join(" ")
        }
        Err(refusal) => refusal.to_string(),
    }
}

/// Revisions 2 to 7: a=1, b=1, a=2, a deleted, b=2, a=3.
fn story() -> User {
    let mut user = User::new();
    put(&mut user, "a", "1");
    put(&mut user, "b", "1");
    put(&mut user, "a", "2");
    delete(&mut user, "a");
    put(&mut user, "b", "2");
    put(&mut user, "a", "3");
    user
}

#[test]
fn every_revision_reads_as_it_was() {
    let user = story();
    assert_eq!(user.revision(), Revision(7));
    let want = [
        (1, ""),
        (2, "a=1@1"),
        (3, "a=1@1 b=1@1"),
        (4, "a=2@2 b=1@1"),
        (5, "b=1@1"),
        (6, "b=2@2"),
        (7, "a=3@1 b=2@2"),
        (0, "a=3@1 b=2@2"),
    ];
    for (revision, want) in want {
        assert_eq!(at(&user, revision), want, "at {revision}");
    }
    assert!(matches!(
        user.check_revision(8),
        Err(Refusal::KvFutureRevision { revision: 8 })
    ));
}

#[test]
fn a_compaction_keeps_its_revision_and_what_is_newer() {
    for compacted in 1..=7 {
        let (whole, mut user) = (story(), story());
        assert!(user.compact(compacted).is_ok());
        for revision in compacted..=7 {
            assert_eq!(
                at(&user, revision),
                at(&whole, revision),
                "{compacted}: {revision}"
            );
        }
        for revision in 1..compacted {
            assert_eq!(
                user.check_revision(revision),
                Err(Refusal::KvCompacted { floor: compacted }),
                "{compacted}: {revision}"
            );
        }
        assert_eq!(
            user.compact(compacted),
            Err(Refusal::KvCompacted { floor: compacted })
        );
        assert_eq!(user.compact(8), Err(Refusal::KvFutureRevision { revision: 8 }));
        // What is left is what can be read, and a deletion only where something is left to hide.
        assert_eq!(user.rows().history().floor(), Revision(compacted + 1));
    }
    let mut user = story();
    assert!(user.compact(7).is_ok());
    assert_eq!(user.versions(), 2);
    delete(&mut user, "a");
    delete(&mut user, "b");
    assert!(user.compact(9).is_ok());
    assert_eq!((user.versions(), at(&user, 9)), (0, String::new()));
}

#[test]
fn a_key_may_change_twice_in_one_revision() {
    let written = |value: &'static str| Written {
        value: Bytes::from(value),
        lease: 0,
    };
    let mut user = story();
    // Revision 8: deleted and put again; 9: put and deleted.
    user.delete(Bytes::from("a"));
    user.put(Bytes::from("a"), written("4"));
    user.close();
    user.put(Bytes::from("b"), written("5"));
    user.delete(Bytes::from("b"));
    user.close();
    // 10: put twice.
    user.put(Bytes::from("c"), written("6"));
    user.put(Bytes::from("c"), written("7"));
    user.close();
    let want = [
        (7, "a=3@1 b=2@2"),
        (8, "a=4@1 b=2@2"),
        (9, "a=4@1"),
        (10, "a=4@1 c=7@2"),
    ];
    for (revision, want) in want {
        assert_eq!(at(&user, revision), want, "at {revision}");
    }
    let restored = restored(&user);
    assert_eq!(restored.versions, user.versions);
    for revision in [8, 9, 10] {
        let mut user = user.clone();
        assert!(user.compact(revision).is_ok());
        assert_eq!(
            at(&user, revision),
            at(&restored, revision),
            "compacted at {revision}"
        );
        assert_eq!(at(&user, 10), "a=4@1 c=7@2");
    }
    assert!(user.compact(10).is_ok());
    assert_eq!(user.versions(), 2);
}

/// As out of a snapshot.
fn restored(user: &User) -> User {
    let history = user.rows.history();
    let sets = history.all().map(Arc::unwrap_or_clone);
    let history = History::restored(history.floor(), sets.collect::<Vec<_>>());
    let rows = user.rows.between((Bound::Unbounded, Bound::Unbounded));
    let rows = rows.map(|(key, row)| (key.clone(), Arc::clone(row))).collect();
    let leases = (user.leases().revision(), user.leases().rows().clone());
    let auth = (user.auth_rows().revision(), user.auth_rows().rows().clone());
    let restored = User::from_parts(user.revision(), rows, history, leases, auth);
    restored.expect("rows that can be read")
}

#[test]
fn a_restored_keyspace_reads_the_same() {
    for compacted in 0..=7 {
        let mut user = story();
        if compacted > 0 {
            assert!(user.compact(compacted).is_ok());
        }
        let restored = restored(&user);
        assert_eq!(restored.versions, user.versions, "compacted at {compacted}");
        assert_eq!(restored.rows.digest(), user.rows.digest());
        assert_eq!(restored.compacted(), user.compacted());
    }
}

#[test]
fn what_was_forgotten_just_now_can_still_be_watched() {
    let revisions = |user: &User, from| {
        let sets = user.history(Revision(from))?;
        Ok(sets.map(|set| set.revision.0).collect::<Vec<_>>())
    };
    let below = |floor| {
        Err(Compacted {
            floor: Revision(floor),
        })
    };
    let mut user = story();
    assert_eq!(revisions(&user, 1), Ok(vec![2, 3, 4, 5, 6, 7]));
    assert!(user.compact(4).is_ok());
    assert_eq!(revisions(&user, 2), Ok(vec![2, 3, 4, 5, 6, 7]));
    assert_eq!(revisions(&user, 4), Ok(vec![4, 5, 6, 7]));
    assert_eq!(revisions(&user, 6), Ok(vec![6, 7]));
    assert_eq!(revisions(&user, 1), below(2));
    assert!(user.compact(7).is_ok());
    assert_eq!(revisions(&user, 3), Ok(vec![3, 4, 5, 6, 7]));
    assert_eq!(revisions(&user, 8), Ok(vec![]));
    assert_eq!(
        (user.history_floor(), user.compacted()),
        (Revision(2), Revision(7))
    );
    // It is no part of what replicas agree on.
    let restored = restored(&user);
    assert_eq!(revisions(&restored, 7), below(8));
    assert_eq!(revisions(&restored, 8), Ok(vec![]));
}

#[test]
fn a_transaction_that_changes_nothing_makes_no_revision() {
    let mut user = User::new();
    assert!(user.delete(Bytes::from_static(b"a")).is_none());
    assert!(user.close().is_none());
    assert_eq!((user.revision(), user.compacted()), (Revision(1), Revision(0)));
}

#[test]
fn ranges_cover_what_etcd_says() {
    type Case = (&'static [u8], &'static [u8], &'static [&'static [u8]]);
    let cases: &[Case] = &[
        (b"b", b"", &[b"b"]),
        (b"b", b"\0", &[b"b", b"ba", b"c"]),
        (b"\0", b"\0", &[b"a", b"b", b"ba", b"c"]),
        (b"b", b"c", &[b"b", b"ba"]),
        (b"b", b"b", &[]),
        (b"c", b"b", &[]),
        (b"x", b"", &[]),
    ];
    let mut user = User::new();
    for key in ["a", "b", "ba", "c"] {
        put(&mut user, key, "v");
    }
    for (key, end, want) in cases {
        let present: Vec<_> = user.present(key, end).map(|(key, _)| &key[..]).collect();
        assert_eq!(present, *want, "{key:?} to {end:?}");
        let past: Vec<_> = user
            .past(key, end, Revision(5))
            .map(|(key, _)| &key[..])
            .collect();
        assert_eq!(past, *want, "{key:?} to {end:?}, in the past");
    }
}
