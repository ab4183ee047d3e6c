//! Pages of the history of a machine in memory.

use quorate_replica::machine::Command;

use super::*;
use crate::testing::{Memory, delete_command, put_command};
use crate::watch::events::Wanted;

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

fn behind(list: &[(WatchId, &str, &str, u64)]) -> Watches {
    let mut watches = Watches::default();
    for (id, key, range_end, next) in list {
        watches.add(*id, watch(key, range_end, *next), true);
    }
    watches
}

fn found(page: &Page) -> Vec<(WatchId, Vec<u64>)> {
    let revisions = |sets: &Vec<Arc<ChangeSet>>| sets.iter().map(|set| set.revision.0).collect();
    let found = page.found.iter();
    found.map(|(id, sets)| (*id, revisions(sets))).collect()
}

/// Revisions 2 to 7: a, b, a, then a is deleted, b, a.
fn story() -> Memory {
    let node = Memory::new();
    node.put(&[("a", "1"), ("b", "1"), ("a", "2")]);
    node.wrote([
        delete_command("a", ""),
        put_command("b", "2"),
        put_command("a", "3"),
    ]);
    node
}

#[test]
fn all_that_are_behind_read_one_page_together() {
    let node = story();
    let mut watches = behind(&[
        (1, "a", "", 2),
        (2, "a", "", 4),
        (3, "b", "", 4),
        (4, "", "\0", 6),
        (5, "x", "", 2),
        (6, "a", "", 9),
    ]);
    let page = read(&mut watches, &node.image());
    assert_eq!(
        found(&page),
        [
            (1, vec![2, 4, 5, 7]),
            (2, vec![4, 5, 7]),
            (3, vec![6]),
            (4, vec![6, 7])
        ]
    );
    assert_eq!((page.position, page.ended.len()), (Revision(7), 0));
    assert!(!watches.are_behind());
    let next = |id| watches.get(id).map(|watch| watch.next.0);
    assert_eq!([1, 5, 6].map(next), [Some(8), Some(8), Some(9)]);
}

#[test]
fn a_page_is_bounded_and_the_next_one_goes_on() {
    let node = Memory::new();
    let last = 1 + 2 * PAGE_SETS as u64 + 10;
    node.wrote((2..=last).map(|_| put_command("a", "v")));
    // One that reads everything, one that joins it half-way, and many that end a page early.
    for (crowd, pages) in [(0, 3), (8, 5)] {
        let mut watches = behind(&[(1, "a", "", 2), (2, "a", "", PAGE_SETS as u64)]);
        for id in 0..crowd {
            watches.add(10 + id, watch("a", "", 2), true);
        }
        let (mut first, mut second, mut count) = (Vec::new(), Vec::new(), 0);
        while watches.are_behind() {
            let page = read(&mut watches, &node.image());
            let finds: usize = page.found.values().map(Vec::len).sum();
            assert!(finds < PAGE_FINDS + watches.len());
            for (id, revisions) in found(&page) {
                match id {
                    1 => first.extend(revisions),
                    2 => second.extend(revisions),
                    _ => {}
                }
            }
            count += 1;
        }
        assert_eq!(count, pages, "{crowd}");
        assert_eq!(first, (2..=last).collect::<Vec<_>>());
        assert_eq!(second, (PAGE_SETS as u64..=last).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_forgotten_for_good_ends_a_watch() {
    let node = story();
    node.compact(5);
    let node = node.restored();
    let mut watches = behind(&[(1, "b", "", 4), (2, "b", "", 6), (3, "x", "", 2)]);
    let page = read(&mut watches, &node.image());
    let mut ended: Vec<_> = page.ended.iter().map(|(id, _)| *id).collect();
    ended.sort_unstable();
    assert_eq!((ended, page.compacted), (vec![1, 3], Revision(5)));
    assert_eq!(found(&page), [(2, vec![6])]);
}

#[test]
fn what_is_forgotten_just_now_is_still_read() {
    let node = story();
    node.wrote([
        put_command("a", "4"),
        delete_command("a", ""),
        Command::CompactKv { revision: 9 },
    ]);
    let mut watches = behind(&[(1, "a", "", 7), (2, "a", "", 9)]);
    let page = read(&mut watches, &node.image());
    assert_eq!(found(&page), [(1, vec![7, 8, 9]), (2, vec![9])]);
}

#[test]
fn a_watch_of_the_compacted_revision_gets_what_is_known_of_it() {
    // At each revision: what it wrote, as far as that stands, for everybody and for b alone.
    let cases = [
        (2, vec!["a"], vec![]),
        (3, vec!["b"], vec!["b"]),
        (4, vec!["a"], vec![]),
        (5, vec![], vec![]),
        (6, vec!["b"], vec!["b"]),
    ];
    for (compacted, everybody, alone) in cases {
        let node = story();
        node.compact(compacted);
        for (key, range_end, want) in [("", "\0", &everybody), ("b", "", &alone)] {
            let mut watches = behind(&[(1, key, range_end, compacted), (2, "a", "", 7)]);
            let image = node.restored().image();
            let page = read(&mut watches, &image);
            let sets = page.found.get(&1).cloned().unwrap_or_default();
            let written = sets.iter().flat_map(|set| &set.changes);
            let written: Vec<_> = written
                .map(|change| {
                    let row = change.after.as_ref().expect("a put");
                    assert_eq!(row.mod_revision, Revision(compacted));
                    String::from_utf8_lossy(&change.key).into_owned()
                })
                .collect();
            assert_eq!(written, *want, "{compacted} {key}");
            assert_eq!(watches.last(), Some((1, Revision(compacted + 1))));
            let page = read(&mut watches, &image);
            assert_eq!(page.found[&2].len(), 1);
            assert!(!watches.are_behind());
        }
    }
}
