//! Which watches a set is news to.

use bytes::Bytes;
use quorate_replica::machine::Change;

use super::*;

fn watch(key: &str, range_end: &str, next: u64) -> Watch {
    Watch {
        keys: Keys::of(key.as_bytes(), range_end.as_bytes()).expect("keys"),
        wanted: Wanted::new(&[], false),
        fragment: false,
        notify: false,
        is_quiet: true,
        start: Revision(next),
        next: Revision(next),
    }
}

fn set(revision: u64, keys: &[&'static str]) -> ChangeSet {
    let change = |key: &&'static str| Change {
        key: Bytes::from(*key),
        before: None,
        after: None,
    };
    ChangeSet {
        revision: Revision(revision),
        changes: keys.iter().map(change).collect(),
    }
}

fn taken(watches: &mut Watches, revision: u64, keys: &[&'static str]) -> Vec<WatchId> {
    let mut ids = watches.take(&set(revision, keys));
    ids.sort_unstable();
    ids
}

fn missed(watches: &Watches, revision: u64, keys: &[&'static str]) -> Vec<WatchId> {
    let mut ids: Vec<_> = watches.missed(&set(revision, keys)).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn ids_are_chosen_as_etcd_chooses_them() {
    let mut watches = Watches::default();
    let cases = [
        (0, Some(0)),
        (2, Some(2)),
        (0, Some(1)),
        (2, None),
        (0, Some(3)),
        (-1, Some(-1)),
        (-1, None),
        (7, Some(7)),
        (0, Some(4)),
        (3, None),
    ];
    for (asked, want) in cases {
        let is_free = asked == 0 || !watches.has(asked);
        let id = is_free.then(|| watches.choose_id(asked));
        assert_eq!(id, want, "{asked}");
        if let Some(id) = id {
            watches.add(id, watch("a", "", 2), false);
        }
    }
    // An id that is free again may be chosen, but is not given out.
    assert!(watches.remove(2).is_some());
    assert_eq!((watches.has(2), watches.choose_id(0)), (false, 5));
    // One that has ended is taken until it is cancelled.
    assert!(watches.end(7).is_some());
    assert!(watches.has(7) && watches.get(7).is_none());
    assert!(matches!(watches.remove(7), Some(None)));
    assert!(!watches.has(7) && watches.remove(7).is_none());
}

#[test]
fn a_watch_gets_no_revision_twice_and_none_before_its_own() {
    let mut watches = Watches::default();
    watches.add(1, watch("a", "", 5), false);
    watches.add(2, watch("a", "c", 7), false);
    watches.add(3, watch("b", "", 2), true);
    let news: [(u64, &[&str], &[WatchId]); 7] = [
        (4, &["a"], &[]),
        (5, &["a", "b", "x"], &[1]),
        (5, &["a"], &[]),
        (6, &["a"], &[1]),
        (7, &["a", "b"], &[1, 2]),
        (8, &["b"], &[2]),
        (9, &["x"], &[]),
    ];
    for (revision, keys, want) in news {
        assert_eq!(taken(&mut watches, revision, keys), want, "{revision}");
    }
    assert_eq!(missed(&watches, 1, &["b"]), [0; 0]);
    assert_eq!(missed(&watches, 2, &["a", "b"]), [3]);
    assert_eq!(watches.last(), Some((3, Revision(2))));
}

#[test]
fn who_was_behind_joins_without_a_gap_or_a_double() {
    let mut watches = Watches::default();
    watches.add(1, watch("a", "", 2), true);
    watches.add(2, watch("a", "", 4), true);
    watches.add(3, watch("a", "", 9), false);
    // A page up to 5.
    assert_eq!(missed(&watches, 3, &["a"]), [1]);
    assert_eq!(missed(&watches, 5, &["a"]), [1, 2]);
    watches.reach(Revision(5), false);
    assert_eq!(taken(&mut watches, 6, &["a"]), [0; 0], "still behind");
    assert_eq!(missed(&watches, 5, &["a"]), [0; 0], "they had it");
    // The last one, up to 8.
    watches.reach(Revision(8), true);
    assert!(!watches.are_behind());
    assert_eq!(taken(&mut watches, 8, &["a"]), [0; 0], "they had it");
    assert_eq!(taken(&mut watches, 9, &["a"]), [1, 2, 3]);
}

#[test]
fn who_lost_something_reads_from_there_on() {
    let mut watches = Watches::default();
    watches.add(1, watch("a", "", 2), false);
    watches.add(2, watch("b", "", 20), false);
    watches.add(3, watch("a", "", 3), true);
    assert_eq!(taken(&mut watches, 7, &["a"]), [1]);
    watches.lose(Revision(10));
    let next = |watches: &Watches, id| watches.get(id).map(|watch| watch.next.0);
    assert_eq!(
        [1, 2, 3].map(|id| next(&watches, id)),
        [Some(10), Some(20), Some(3)],
        "who was behind is where it was"
    );
    assert_eq!(watches.last(), Some((3, Revision(3))));
    let ended: Vec<_> = watches
        .end_below(Revision(5))
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!((ended, watches.last()), (vec![3], Some((1, Revision(10)))));
    watches.reach(Revision(12), true);
    assert_eq!([1, 2].map(|id| next(&watches, id)), [Some(13), Some(20)]);
}
