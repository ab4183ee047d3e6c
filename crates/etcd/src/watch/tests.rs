//! Streams on a machine in memory.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use quorate_api::etcdserverpb::watch_create_request::FilterType;
use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest};
use quorate_replica::machine::{Command, KvOp, KvPut, KvTxn};
use quorate_types::Revision;
use tonic::Code;

use super::testing::*;
use super::*;
use crate::auth::testing::enable;
use crate::limits::{MESSAGE_BYTES_MAX, WATCH_QUEUE_SETS};
use crate::testing::{Memory, bytes, delete, delete_command, put, put_command, txn_command};

#[tokio::test]
async fn a_watch_gets_what_happens_from_its_creation_to_its_end() {
    let served = serve(Memory::new()).await;
    served.node.put(&[("a", "1")]);
    let mut client = served.client();
    client.ask(RequestUnion::CreateRequest(on("a", "")));
    let created = client.next().await;
    let want = WatchResponse {
        header: Some(served.node.stamp().header(Revision(2))),
        created: true,
        ..WatchResponse::default()
    };
    assert_eq!(created, want);
    assert_eq!(client.create(on("a", "c")).await, 1);
    served.node.put(&[("a", "2"), ("b", "1"), ("c", "1")]);
    let mut got = [client.next().await, client.next().await].map(|response| told(&response));
    got.sort();
    assert_eq!(got, [events(0, 3, &["+a=2@3"]), events(1, 3, &["+a=2@3"])]);
    assert_eq!(told(&client.next().await), events(1, 4, &["+b=1@4"]));
    client.cancel(1).await;
    served.node.wrote([
        put_command("b", "2"),
        txn_command(vec![put("x"), delete("a", "c"), put("y")]),
    ]);
    assert_eq!(told(&client.next().await), events(0, 7, &["-a=@7"]));
    assert_eq!(client.is_quiet().await, 7);
}

#[tokio::test]
async fn all_events_of_a_revision_come_together_and_in_order() {
    let served = serve(Memory::new()).await;
    served.node.put(&[("b", "1")]);
    let mut client = served.client();
    client.create(on("", "\0")).await;
    served
        .node
        .wrote([txn_command(vec![put("z"), delete("a", "c"), put("y"), put("c")])]);
    assert_eq!(
        told(&client.next().await),
        events(0, 3, &["+z=v@3", "-b=@3", "+y=v@3", "+c=v@3"])
    );
}

#[tokio::test]
async fn the_past_is_replayed_and_the_present_follows() {
    let served = serve(Memory::new()).await;
    served.node.put(&[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")]);
    let mut client = served.client();
    client.create(since("a", "", 2)).await;
    assert_eq!(told(&client.next().await), events(0, 5, &["+a=1@2", "+a=2@4"]));
    client.create(since("a", "c", 3)).await;
    assert_eq!(told(&client.next().await), events(1, 5, &["+b=1@3", "+a=2@4"]));
    served.node.put(&[("b", "2")]);
    assert_eq!(told(&client.next().await), events(1, 6, &["+b=2@6"]));
    // From the present revision on, and from the next one.
    client.create(since("b", "", 6)).await;
    assert_eq!(told(&client.next().await), events(2, 6, &["+b=2@6"]));
    client.create(since("c", "", 7)).await;
    served.node.put(&[("c", "2")]);
    assert_eq!(told(&client.next().await), events(3, 7, &["+c=2@7"]));
    assert_eq!(client.is_quiet().await, 7);
}

#[tokio::test]
async fn a_watch_of_the_future_waits_for_it() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    client.create(since("a", "", 4)).await;
    client.create(on("b", "")).await;
    served.node.put(&[("a", "2"), ("a", "3"), ("a", "4"), ("b", "5")]);
    assert_eq!(told(&client.next().await), events(0, 4, &["+a=4@4"]));
    assert_eq!(told(&client.next().await), events(1, 5, &["+b=5@5"]));
}

#[tokio::test]
async fn filters_and_what_was_there_before() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    let filtered = |filter: FilterType| WatchCreateRequest {
        filters: vec![filter as i32],
        ..on("a", "")
    };
    client.create(filtered(FilterType::Noput)).await;
    client.create(filtered(FilterType::Nodelete)).await;
    let mut request = on("a", "");
    request.prev_kv = true;
    client.create(request).await;
    served.node.wrote([
        put_command("a", "1"),
        put_command("a", "2"),
        delete_command("a", ""),
        put_command("a", "3"),
    ]);
    let mut got: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    while got.values().map(Vec::len).sum::<usize>() < 8 {
        let (id, _, events) = told(&client.next().await);
        got.entry(id).or_default().extend(events);
    }
    assert_eq!(got[&0], ["-a=@4"]);
    assert_eq!(got[&1], ["+a=1@2", "+a=2@3", "+a=3@5"]);
    assert_eq!(got[&2], ["+a=1@2", "+a=2@3 was 1", "-a=@4 was 2", "+a=3@5"]);
    client.is_quiet().await;
}

#[tokio::test]
async fn requests_that_make_no_watch_say_why_and_end_nothing() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let empty = "mvcc: watcher range is empty";
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    let with_id = |watch_id, request: WatchCreateRequest| WatchCreateRequest { watch_id, ..request };
    assert_eq!(client.refused(since("a", "", -1)).await, compacted);
    assert_eq!(
        client.refused(since("b", "a", -1)).await,
        compacted,
        "found first"
    );
    assert_eq!(client.refused(on("b", "a")).await, empty);
    assert_eq!(client.refused(on("b", "b")).await, empty);
    assert_eq!(client.create(with_id(5, on("a", ""))).await, 5);
    assert_eq!(client.refused(with_id(5, on("b", ""))).await, duplicate);
    assert_eq!(
        client.refused(with_id(5, on("b", "a"))).await,
        empty,
        "found first"
    );
    // What means nothing is passed over.
    client.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 77 }));
    client.send(Ok(WatchRequest { request_union: None }));
    assert_eq!(client.create(on("a", "")).await, 0);
    client.cancel(5).await;
    assert_eq!(client.create(with_id(5, since("b", "", 0))).await, 5);
    served.node.put(&[("b", "1")]);
    assert_eq!(told(&client.next().await), events(5, 2, &["+b=1@2"]));
}

#[tokio::test]
async fn what_is_compacted_cannot_be_watched() {
    let served = serve(Memory::new()).await;
    served.node.put(&[("a", "1"), ("b", "1"), ("a", "2")]);
    served.node.compact(3);
    let mut client = served.client();
    assert_eq!(client.create(since("a", "", 2)).await, 0);
    let canceled = client.next().await;
    let want = WatchResponse {
        header: Some(served.node.stamp().header(Revision(0))),
        canceled: true,
        compact_revision: 3,
        ..WatchResponse::default()
    };
    assert_eq!(canceled, want);
    // From the compacted revision on there is something.
    assert_eq!(client.create(since("", "\0", 3)).await, 1);
    assert_eq!(told(&client.next().await), events(1, 4, &["+b=1@3", "+a=2@4"]));
    assert_eq!(client.is_quiet().await, 4);
    // Its id is taken until the client knows.
    let mut request = on("a", "");
    request.watch_id = 5;
    client.create(request.clone()).await;
    client.cancel(0).await;
}

#[tokio::test]
async fn a_compaction_of_everything_takes_nothing_from_who_is_synced() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    client.create(on("a", "")).await;
    // The hub sees one state that has both.
    served.node.wrote([
        put_command("a", "1"),
        delete_command("a", ""),
        Command::CompactKv { revision: 3 },
    ]);
    assert_eq!(told(&client.next().await), events(0, 2, &["+a=1@2"]));
    assert_eq!(told(&client.next().await), events(0, 3, &["-a=@3"]));
}

#[tokio::test]
async fn who_does_not_read_is_no_burden_and_misses_nothing() {
    let served = serve(Memory::new()).await;
    let mut sleeper = served.client();
    let mut waking = served.client();
    for client in [&mut sleeper, &mut waking] {
        client.create(on("a", "")).await;
        client.create(on("x", "")).await;
    }
    let count = 20 * WATCH_QUEUE_SETS;
    for number in 0..count {
        served.node.put(&[("a", &number.to_string())]);
        let (id, revision, _) = told(&waking.next().await);
        assert_eq!((id, usize::try_from(revision)), (0, Ok(number + 2)));
    }
    // Then it reads: the queue, what it has lost from the history, and goes on.
    let mut got = Vec::new();
    while got.len() < count {
        got.extend(told(&sleeper.next().await).2);
    }
    let want: Vec<_> = (0..count)
        .map(|number| format!("+a={number}@{}", number + 2))
        .collect();
    assert_eq!(got, want);
    served.node.put(&[("x", "1"), ("a", "last")]);
    let revision = i64::try_from(count).unwrap() + 2;
    assert_eq!(
        told(&sleeper.next().await),
        events(1, revision, &[&format!("+x=1@{revision}")])
    );
    assert_eq!(told(&sleeper.next().await).0, 0);
    sleeper.is_quiet().await;
}

#[tokio::test]
async fn who_slept_over_a_compaction_is_told() {
    let served = serve(Memory::new()).await;
    let (mut client, mut waking) = (served.client(), served.client());
    client.create(on("a", "")).await;
    waking.create(on("a", "")).await;
    // More than a queue and what is kept for who is a moment behind.
    let count = 6_000;
    for number in 0..count {
        served.node.put(&[("a", "1")]);
        assert_eq!(told(&waking.next().await).1, number + 2);
    }
    served.node.compact(count as u64);
    let queued = i64::try_from(WATCH_QUEUE_SETS).unwrap();
    for number in 0..queued {
        assert_eq!(told(&client.next().await).1, number + 2);
    }
    let canceled = client.next().await;
    assert_eq!(
        (canceled.canceled, canceled.compact_revision, canceled.watch_id),
        (true, count, 0)
    );
    client.cancel(0).await;
    assert_eq!(client.create(since("a", "", count)).await, 1);
    assert_eq!(told(&client.next().await).2.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_comes_at_whatever_moment_gets_everything_once_and_in_order() {
    const LAST: i64 = 4_000;
    let served = serve(Memory::new()).await;
    let mut readers = Vec::new();
    for number in 0..40_i64 {
        let mut client = served.client();
        let mut revisions = served.node.kv_revisions().await;
        readers.push(tokio::spawn(async move {
            // When the writer has come so far, from a revision before, at or behind that.
            let moment = u64::try_from(number * 90).unwrap();
            let _ = revisions.wait_for(|revision| revision.0 >= moment).await;
            let start = match number % 4 {
                0 => 2,
                1 => (number * 45).max(2),
                2 => number * 90 + 2,
                _ => number * 90 + 20,
            };
            let key = if number % 2 == 0 {
                on("a", "")
            } else {
                on("", "\0")
            };
            client
                .create(WatchCreateRequest {
                    start_revision: start,
                    ..key
                })
                .await;
            let mut next = start;
            while next <= LAST {
                let response = client.next().await;
                assert!(revision(&response) >= next, "{response:?}");
                for event in response.events {
                    let kv = event.kv.expect("a key");
                    assert_eq!(kv.mod_revision, next, "watch {number}");
                    next += 1;
                }
                if number % 5 == 0 {
                    // Now and then one is slow.
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    let node = served.node.clone();
    let writer = tokio::spawn(async move {
        for revision in 2..=LAST {
            node.put(&[("a", "v")]);
            if revision % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    writer.await.expect("written");
    for reader in readers {
        reader.await.expect("everything read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_watches_on_a_key_all_hear_of_it() {
    const STREAMS: usize = 100;
    const WATCHES: usize = 100;
    let served = serve(Memory::new()).await;
    let mut clients = Vec::new();
    for stream in 0..STREAMS {
        let mut client = served.client();
        for watch in 0..WATCHES {
            // As many idle ones as on the key.
            client.create(on("hot", "")).await;
            client.create(on(&format!("idle {stream} {watch}"), "")).await;
        }
        clients.push(client);
    }
    for round in 0..3_i64 {
        served.node.put(&[("hot", "v"), ("other", "v")]);
        for client in &mut clients {
            let mut ids = Vec::new();
            while ids.len() < WATCHES {
                let (id, _, events) = told(&client.next().await);
                assert_eq!(events, [format!("+hot=v@{}", 2 * round + 2)]);
                ids.push(id);
            }
            ids.sort_unstable();
            let hot: Vec<_> = (0..WATCHES)
                .map(|watch| 2 * i64::try_from(watch).unwrap())
                .collect();
            assert_eq!(ids, hot);
        }
    }
}

#[tokio::test]
async fn ten_thousand_watches_may_share_a_stream() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    for id in 0..10_000 {
        assert_eq!(client.create(on("hot", "")).await, id);
    }
    served.node.put(&[("hot", "v")]);
    for id in 0..10_000 {
        assert_eq!(told(&client.next().await), events(id, 2, &["+hot=v@2"]));
    }
    client.is_quiet().await;
}

#[tokio::test]
async fn progress_is_told_on_request_once_everything_has_come() {
    let served = serve(Memory::new()).await;
    served.node.put(&[("a", "1"), ("b", "1")]);
    let mut client = served.client();
    // Without watches nothing is said, and a watch of the future has no progress.
    client.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    client.create(since("a", "", 2)).await;
    client.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    assert_eq!(told(&client.next().await), events(0, 3, &["+a=1@2"]));
    assert_eq!(told(&client.next().await), events(-1, 3, &[]));
    served.node.put(&[("b", "2")]);
    assert_eq!(client.is_quiet().await, 4);
    client.create(since("a", "", 6)).await;
    client.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    served.node.put(&[("a", "5"), ("a", "6")]);
    let mut got = [client.next().await, client.next().await, client.next().await];
    got.sort_by_key(|response| (revision(response), response.watch_id));
    let got = got.map(|response| told(&response));
    assert_eq!(
        got,
        [
            events(0, 5, &["+a=5@5"]),
            events(0, 6, &["+a=6@6"]),
            events(1, 6, &["+a=6@6"])
        ]
    );
    assert_eq!(client.is_quiet().await, 6);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_now_and_then_to_watches_that_want_it() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    let mut request = on("a", "");
    request.progress_notify = true;
    client.create(request).await;
    client.create(on("a", "")).await;
    let begin = tokio::time::Instant::now();
    served.node.put(&[("x", "1")]);
    assert_eq!(told(&client.next().await), events(0, 2, &[]));
    let waited = begin.elapsed();
    let longest = WATCH_PROGRESS_EVERY + WATCH_PROGRESS_EVERY / 10;
    assert!(waited >= WATCH_PROGRESS_EVERY && waited < longest + Duration::from_secs(1));
    // What was heard of is not told of, until nothing was heard for a whole time.
    served.node.put(&[("a", "1")]);
    assert_eq!(told(&client.next().await).1, 3);
    assert_eq!(told(&client.next().await).1, 3);
    let begin = tokio::time::Instant::now();
    assert_eq!(told(&client.next().await), events(0, 3, &[]));
    assert!(begin.elapsed() >= WATCH_PROGRESS_EVERY);
}

#[tokio::test]
async fn large_revisions_are_split_for_who_wants_it() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    let mut request = on("", "\0");
    request.fragment = true;
    client.create(request).await;
    let mut other = served.client();
    other.create(on("", "\0")).await;
    let large = "v".repeat(MESSAGE_BYTES_MAX / 3);
    // Above what a request may be, which is checked where it comes in.
    let put = |key| {
        KvOp::Put(KvPut {
            key: bytes(key),
            value: bytes(&large),
            ..KvPut::default()
        })
    };
    served.node.wrote([Command::Kv(KvTxn {
        success: ["a", "b", "c", "d", "e"].map(put).into(),
        ..KvTxn::default()
    })]);
    let mut pieces = Vec::new();
    loop {
        let piece = client.next().await;
        pieces.push(piece.events.len());
        assert_eq!((piece.watch_id, revision(&piece)), (0, 2));
        if !piece.fragment {
            break;
        }
    }
    assert_eq!(pieces, [2, 2, 1]);
    let whole = other.next().await;
    assert_eq!((whole.events.len(), whole.fragment), (5, false));
}

#[tokio::test]
async fn a_stream_ends_with_the_server() {
    let ending = CancellationToken::new();
    let served = served(Watch::new(Memory::new(), Guard::new(), ending.clone())).await;
    let mut client = served.client();
    client.create(on("a", "")).await;
    assert!(client.stream.next().now_or_never().is_none());
    ending.cancel();
    let stopped = (Code::Unavailable, "etcdserver: server stopped".to_owned());
    assert_eq!(client.end().await, stopped);
    while !served.work.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn half_a_stream_goes_on_and_a_broken_one_ends() {
    let served = serve(Memory::new()).await;
    let mut client = served.client();
    client.create(on("a", "")).await;
    client.requests = None;
    served.node.put(&[("a", "1")]);
    assert_eq!(told(&client.next().await), events(0, 2, &["+a=1@2"]));
    let mut client = served.client();
    client.send(Err(Status::out_of_range("found 3000000 bytes")));
    let too_large = "grpc: received message larger than max: found 3000000 bytes";
    assert_eq!(
        client.end().await,
        (Code::ResourceExhausted, too_large.to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_leader_is_sent_away_when_there_is_none_for_long() {
    let served = serve(Memory::new()).await;
    let mut wants = served.client_that(true).expect("a stream");
    let mut other = served.client();
    wants.create(on("a", "")).await;
    other.create(on("a", "")).await;
    served.node.leads(false);
    let begin = tokio::time::Instant::now();
    let no_leader = (Code::Unavailable, "etcdserver: no leader".to_owned());
    assert_eq!(wants.end().await, no_leader);
    assert!(begin.elapsed() >= leader::LEADERLESS_MAX);
    // One that comes now goes at once; the others hear of what happens here.
    let mut late = served.client_that(true).expect("a stream");
    assert_eq!(late.end().await, no_leader);
    served.node.put(&[("a", "1")]);
    assert_eq!(told(&other.next().await), events(0, 2, &["+a=1@2"]));
}

#[tokio::test]
async fn what_is_too_much_is_refused_in_so_many_words() {
    let mut watch = Watch::new(Memory::new(), Guard::new(), CancellationToken::new());
    watch.hub = Hub::new(Limits {
        streams: 1,
        watches: 2,
        key_bytes: 100,
    });
    let served = served(watch).await;
    let mut client = served.client();
    let refused = served.client_that(false).map(|_| ()).expect_err("too many");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "etcdserver: too many requests")
    );
    let reason = "etcdserver: too many watches at the member";
    assert_eq!(client.refused(on(&"k".repeat(101), "")).await, reason);
    client.create(on("a", "")).await;
    client.create(on("a", "")).await;
    assert_eq!(client.refused(on("a", "")).await, reason);
    client.cancel(0).await;
    assert_eq!(client.create(on("a", "")).await, 2);
}

#[tokio::test]
async fn a_watch_is_for_who_may_read_all_its_keys() {
    let served = serve(Memory::new()).await;
    let mut before = served.client();
    before.create(on("a", "\0")).await;
    enable(&served.node);
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let invalid = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    let nobody = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    let mut one = served.client_by("one");
    one.create(on("a", "m")).await;
    for (key, range_end) in [("a", "n"), ("a", "\0"), ("", ""), ("", "\0"), ("m", "")] {
        let reason = one.refused(on(key, range_end)).await;
        assert_eq!(reason, denied, "{key:?} {range_end:?}");
    }
    served.client_by("root").create(on("", "\0")).await;
    assert_eq!(served.client_by("none").refused(on("a", "")).await, invalid);
    assert_eq!(served.client_by("").refused(on("a", "")).await, nobody);
    assert_eq!(before.is_quiet().await, 1, "what was there goes on");
    let compacted = served.client_by("").refused(since("a", "", -1)).await;
    assert!(compacted.contains("compacted"), "{compacted}");
}
