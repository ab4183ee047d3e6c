//! Who is handed what.

use bytes::Bytes;
use futures_util::FutureExt;
use quorate_replica::machine::{Change, Command, KvOp, KvPut, KvTxn};

use super::*;
use crate::testing::Memory;
use crate::watch::inbox::News;

fn keys(key: &str, range_end: &str) -> Keys {
    Keys::of(key.as_bytes(), range_end.as_bytes()).expect("keys")
}

/// A stream with watches on these keys.
fn feed(hub: &Arc<Hub>, watched: &[(&str, &str)]) -> Feed {
    let mut feed = hub.open().expect("a place");
    for (key, range_end) in watched {
        feed.subscribe(&keys(key, range_end)).expect("room");
    }
    feed
}

/// The revisions in its inbox, and from where on it lacks something.
fn read(feed: &Feed) -> (Vec<u64>, Option<u64>) {
    let (mut revisions, mut lost) = (Vec::new(), None);
    while let Some(news) = feed.inbox().news().now_or_never() {
        match news {
            News::Set(set) => revisions.push(set.revision.0),
            News::Lost(from) => lost = Some(from.0),
        }
    }
    (revisions, lost)
}

#[tokio::test]
async fn each_stream_is_handed_what_it_is_interested_in() {
    let (node, hub) = (Memory::new(), Hub::new(Limits::default()));
    let next = hub.turn(None, &node.image()).await;
    let one = feed(&hub, &[("a", ""), ("a", "c"), ("", "\0")]);
    let two = feed(&hub, &[("a", ""), ("a", "")]);
    let three = feed(&hub, &[("x", "")]);
    node.put(&[("a", "1"), ("b", "1"), ("c", "1"), ("x", "1")]);
    let next = hub.turn(Some(next), &node.image()).await;
    assert_eq!((next, one.distributed()), (Revision(6), Revision(5)));
    assert_eq!(read(&one), (vec![2, 3, 4, 5], None));
    assert_eq!(read(&two), (vec![2], None));
    assert_eq!(read(&three), (vec![5], None));
}

#[tokio::test]
async fn a_large_set_comes_once() {
    let (node, hub) = (Memory::new(), Hub::new(Limits::default()));
    let next = hub.turn(None, &node.image()).await;
    let everything = feed(&hub, &[("", "\0"), ("k1", ""), ("k999", "")]);
    let last = feed(&hub, &[("k999", "")]);
    let put = |number| {
        KvOp::Put(KvPut {
            key: Bytes::from(format!("k{number}")),
            ..KvPut::default()
        })
    };
    node.wrote([Command::Kv(KvTxn {
        success: (0..4 * CHANGES_PER_LOOK).map(put).collect(),
        ..KvTxn::default()
    })]);
    hub.turn(Some(next), &node.image()).await;
    assert_eq!(read(&everything), (vec![2], None));
    assert_eq!(read(&last), (vec![2], None));
}

#[tokio::test]
async fn who_was_there_before_the_hub_reads_the_history() {
    let (node, hub) = (Memory::new(), Hub::new(Limits::default()));
    let early = feed(&hub, &[("a", "")]);
    node.put(&[("a", "1")]);
    let next = hub.turn(None, &node.image()).await;
    let late = feed(&hub, &[("a", "")]);
    node.put(&[("a", "2")]);
    hub.turn(Some(next), &node.image()).await;
    // What is lost is said behind what is queued; the stream reads everything from its own revision on.
    assert_eq!(read(&early), (vec![], Some(0)));
    assert_eq!(read(&late), (vec![3], None));
}

#[tokio::test]
async fn a_compaction_takes_nothing_from_who_is_about_to_read() {
    let (node, hub) = (Memory::new(), Hub::new(Limits::default()));
    let next = hub.turn(None, &node.image()).await;
    let feed = feed(&hub, &[("a", "")]);
    node.put(&[("a", "1"), ("a", "2")]);
    node.compact(3);
    let next = hub.turn(Some(next), &node.image()).await;
    assert_eq!(read(&feed), (vec![2, 3], None));
    // A state out of a snapshot has not got what was compacted.
    node.put(&[("a", "3"), ("a", "4")]);
    node.compact(5);
    let next = hub.turn(Some(next), &node.restored().image()).await;
    assert_eq!((next, read(&feed)), (Revision(6), (vec![], Some(4))));
}

#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let limits = Limits {
        streams: 2,
        watches: 3,
        key_bytes: 10,
    };
    let hub = Hub::new(limits);
    let mut one = feed(&hub, &[("a", ""), ("a", "")]);
    let mut two = feed(&hub, &[("a", "")]);
    assert_eq!(hub.open().map(|_| ()), Err(Full), "too many streams");
    assert_eq!(two.subscribe(&keys("a", "")), Err(Full), "too many watches");
    one.unsubscribe(&keys("a", ""));
    assert_eq!(
        two.subscribe(&keys("12345", "12346")),
        Err(Full),
        "too many bytes"
    );
    assert_eq!(two.subscribe(&keys("1234", "1235")), Ok(()));
    two.unsubscribe(&keys("not there", ""));
    drop(two);
    let three = feed(&hub, &[("a", ""), ("b", "")]);
    drop((one, three));
    let subscriptions = hub.subscriptions();
    assert_eq!(
        (
            subscriptions.watches,
            subscriptions.key_bytes,
            subscriptions.inboxes.len()
        ),
        (0, 0, 0)
    );
    let change = Change {
        key: Bytes::from_static(b"a"),
        before: None,
        after: None,
    };
    assert!(subscriptions.index.interested(&[change]).is_empty());
}
