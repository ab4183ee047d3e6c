//! Responses out of sets.

use bytes::Bytes;
use quorate_api::etcdserverpb::watch_create_request::FilterType;
use quorate_replica::machine::{Change, Row};
use quorate_types::{ClusterId, NodeId, Term};

use super::*;
use crate::watch::events::Wanted;
use crate::watch::keys::Keys;
use crate::watch::watches::Watch;

const STAMP: Stamp = Stamp {
    cluster: ClusterId(9),
    node: NodeId(2),
    term: Term(4),
};

fn watches(list: &[(WatchId, &str, bool, &[i32])]) -> Watches {
    let mut watches = Watches::default();
    for (id, key, fragment, filters) in list {
        let watch = Watch {
            keys: Keys::of(key.as_bytes(), b"").expect("keys"),
            wanted: Wanted::new(filters, false),
            fragment: *fragment,
            notify: true,
            is_quiet: true,
            start: Revision(1),
            next: Revision(1),
        };
        watches.add(*id, watch, false);
    }
    watches
}

/// Puts of these keys with values of so many bytes.
fn set(revision: u64, keys: &[&'static str], bytes: usize) -> Arc<ChangeSet> {
    let row = Arc::new(Row {
        value: Bytes::from(vec![0; bytes]),
        create_revision: Revision(revision),
        mod_revision: Revision(revision),
        version: 1,
        lease: 0,
    });
    let change = |key: &&'static str| Change {
        key: Bytes::from(*key),
        before: None,
        after: Some(Arc::clone(&row)),
    };
    Arc::new(ChangeSet {
        revision: Revision(revision),
        changes: keys.iter().map(change).collect(),
    })
}

/// Of each response: the watch, the revision in its head, how many events.
fn said(outgoing: &mut Outgoing, watches: &mut Watches) -> Vec<(WatchId, i64, usize)> {
    let mut said = Vec::new();
    while let Some(response) = outgoing.next(watches) {
        let header = response.header.expect("a head");
        said.push((response.watch_id, header.revision, response.events.len()));
    }
    assert!(outgoing.is_empty());
    said
}

#[test]
fn news_come_to_each_watch_that_wants_them() {
    let noput: &[i32] = &[FilterType::Noput as i32];
    let mut watches = watches(&[(1, "a", false, &[]), (2, "a", false, noput), (3, "b", false, &[])]);
    let mut outgoing = Outgoing::default();
    let ids = vec![1, 2, 3, 99].into_iter();
    outgoing.say_events(STAMP, Batch::News(set(7, &["a", "a", "b"], 1), ids));
    assert_eq!(said(&mut outgoing, &mut watches), [(1, 7, 2), (3, 7, 1)]);
    let quiet = [1, 2, 3].map(|id| watches.get(id).map(|watch| watch.is_quiet));
    assert_eq!(quiet, [Some(false), Some(true), Some(false)]);
}

#[test]
fn the_past_comes_in_whole_revisions_and_bounded_responses() {
    let many = WATCH_RESPONSE_REVISIONS as u64;
    let half = WATCH_RESPONSE_BYTES / 2;
    let cases: Vec<(&str, Vec<Arc<ChangeSet>>, Vec<(WatchId, i64, usize)>)> = vec![
        (
            "a few in one, which says how far the watch is",
            vec![set(3, &["a"], 1), set(5, &["a", "a"], 1)],
            vec![(1, 9_999, 3)],
        ),
        (
            "many revisions",
            (2..many + 5).map(|revision| set(revision, &["a"], 1)).collect(),
            vec![(1, WATCH_RESPONSE_REVISIONS as i64 + 1, 1_000), (1, 9_999, 3)],
        ),
        (
            "many bytes",
            (2..7).map(|revision| set(revision, &["a"], half)).collect(),
            vec![(1, 3, 2), (1, 5, 2), (1, 9_999, 1)],
        ),
        (
            "a large revision stays whole",
            vec![set(2, &["a", "a", "a", "a", "a"], half), set(3, &["a"], 1)],
            vec![(1, 2, 5), (1, 9_999, 1)],
        ),
        (
            "nothing that is wanted",
            vec![set(2, &["b"], 1), set(3, &["b"], 1)],
            vec![],
        ),
    ];
    for (case, sets, want) in cases {
        let mut watches = watches(&[(1, "a", false, &[])]);
        let mut outgoing = Outgoing::default();
        outgoing.say_events(STAMP, Batch::Past(1, sets.into_iter(), Revision(9_999)));
        assert_eq!(said(&mut outgoing, &mut watches), want, "{case}");
    }
}

#[test]
fn fragments_are_not_mixed_with_anything_else() {
    let mut watches = watches(&[(1, "a", true, &[]), (2, "a", false, &[])]);
    let mut outgoing = Outgoing::default();
    let large = set(4, &["a", "a", "a"], 1 << 20);
    outgoing.say_events(STAMP, Batch::News(large, vec![1, 2].into_iter()));
    let first = outgoing.next(&mut watches).expect("a fragment");
    assert_eq!((first.watch_id, first.events.len(), first.fragment), (1, 1, true));
    assert_eq!(
        said(&mut outgoing, &mut watches),
        [(1, 4, 1), (1, 4, 1), (2, 4, 3)]
    );
}
