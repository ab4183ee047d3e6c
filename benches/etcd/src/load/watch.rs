//! Watchers of one key, which is written at a pace.
//!
//! Promises: the pace is that of an open loop, the same for both systems; an event's time runs from the moment at which its put
//! was sent, which the value carries, until the watcher has it; an event that has not come long after the last put failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::watch_client::WatchClient;
use quorate_api::etcdserverpb::watch_request::RequestUnion;
use quorate_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use quorate_bench::BenchError;
use quorate_bench::parts::{OpenLoop, Target, now_ns};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{VALUE_BYTES, gather, window};
use crate::figures::{Noted, Sample, Stretch};
use crate::system::System;

const KEY: &[u8] = b"bench/watched";
/// Events of a second, of all watchers together, unless there are few of them.
const EVENTS_PER_SECOND: usize = 50_000;
/// Puts of a second, at most.
const PUTS_PER_SECOND_MAX: usize = 100;
const OPEN_PATIENCE: Duration = Duration::from_secs(30);
/// Requests of a stream that are not sent yet.
const UNSENT_MAX: usize = 16;

/// Puts of a second for so many watchers.
fn puts_per_second(watchers: usize) -> usize {
    (EVENTS_PER_SECOND / watchers.max(1)).clamp(1, PUTS_PER_SECOND_MAX)
}

/// Watchers of each stream when there is one stream to each connection.
fn of_streams(watchers: usize, streams: usize) -> Vec<usize> {
    let share = |stream| watchers / streams + usize::from(stream < watchers % streams);
    (0..streams).map(share).filter(|share| *share > 0).collect()
}

/// One stretch.
pub(super) async fn stretch(
    system: &System,
    channels: &[Channel],
    watchers: usize,
    long: Duration,
) -> Result<Stretch, BenchError> {
    let mut opening = JoinSet::new();
    for (channel, share) in channels.iter().zip(of_streams(watchers, channels.len())) {
        opening.spawn(timeout(OPEN_PATIENCE, open(channel.clone(), share)));
    }
    // How many puts there were, once that is known.
    let (puts, known) = watch::channel(None);
    let mut tasks = JoinSet::new();
    while let Some(joined) = opening.join_next().await {
        let opened = joined.map_err(|error| BenchError::Broken(error.to_string()))?;
        let opened = opened.map_err(|_| BenchError::Etcd("watches are not created".to_owned()))?;
        let stream = opened.map_err(|status| BenchError::Etcd(format!("watch: {}", status.message())))?;
        tasks.spawn(stream.events(known.clone()));
    }
    let period = Duration::from_secs(1) / u32::try_from(puts_per_second(watchers)).unwrap_or(1);
    let open = OpenLoop::start(Arc::new(Puts(KvClient::new(channels[0].clone()))), period)?;
    let window = window(system, long).await;
    let records = open.finish().await?;
    puts.send_replace(Some(records.acked().count() as u64));
    let mut noted = gather(tasks, "events are missing").await;
    for (_, why) in records.failed() {
        noted.fail(why);
    }
    Ok(Stretch { window, noted })
}

/// The value begins with the moment.
struct Puts(KvClient<Channel>);

impl Target for Puts {
    fn write(&self, sequence: u64) -> BoxFuture<'static, Result<u64, String>> {
        let mut client = self.0.clone();
        async move {
            let mut value = vec![b'v'; VALUE_BYTES];
            value[..8].copy_from_slice(&now_ns().to_be_bytes());
            let request = PutRequest {
                key: Bytes::from_static(KEY),
                value: value.into(),
                ..Default::default()
            };
            let put = client.put(request).await;
            put.map(|_| sequence)
                .map_err(|status| status.message().to_owned())
        }
        .boxed()
    }
}

struct Stream {
    watchers: u64,
    /// Open as long as this is there.
    _requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

/// Creates so many watches on one stream. The first request leaves before headers are awaited: etcd sends them with its first answer.
async fn open(channel: Channel, watchers: usize) -> Result<Stream, Status> {
    let (requests, unsent) = mpsc::channel(UNSENT_MAX);
    // The channel is empty.
    let _ = requests.try_send(create());
    let answers = WatchClient::new(channel)
        .watch(ReceiverStream::new(unsent))
        .await?;
    let mut answers = answers.into_inner();
    for watcher in 0..watchers {
        if watcher > 0 {
            let sent = requests.send(create()).await;
            sent.map_err(|_| Status::unavailable("the stream is gone"))?;
        }
        let answer = answers.message().await?;
        if !answer.is_some_and(|answer| answer.created && !answer.canceled) {
            return Err(Status::internal("a watch is not created"));
        }
    }
    Ok(Stream {
        watchers: watchers as u64,
        _requests: requests,
        answers,
    })
}

fn create() -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: Bytes::from_static(KEY),
            ..Default::default()
        })),
    }
}

impl Stream {
    /// Notes events until each watch has had those of all puts.
    async fn events(mut self, mut puts: watch::Receiver<Option<u64>>) -> Noted {
        let (mut noted, mut seen) = (Noted::default(), 0);
        loop {
            let all = puts.borrow_and_update().map(|puts| puts * self.watchers);
            if all.is_some_and(|all| seen >= all) {
                return noted;
            }
            let answer = tokio::select! {
                answer = self.answers.message() => answer,
                Ok(()) = puts.changed(), if all.is_none() => continue,
            };
            let at_ns = now_ns();
            match answer {
                Ok(Some(answer)) if !answer.canceled => {
                    seen += answer.events.len() as u64;
                    noted
                        .samples
                        .extend(answer.events.iter().map(|event| sample(event, at_ns)));
                }
                Ok(_) => {
                    noted.fail("a watch or its stream ended");
                    return noted;
                }
                Err(status) => {
                    noted.fail(format!("{:?}: {}", status.code(), status.message()));
                    return noted;
                }
            }
        }
    }
}

fn sample(event: &quorate_api::mvccpb::Event, at_ns: u64) -> Sample {
    let value = event.kv.as_ref().map(|kv| &kv.value);
    let moment = value.and_then(|value| value.first_chunk::<8>());
    let sent_ns = moment.map_or(at_ns, |moment| u64::from_be_bytes(*moment));
    Sample {
        at_ns,
        took_ns: at_ns.saturating_sub(sent_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces() {
        for (watchers, want) in [(1, 100), (100, 100), (1_000, 50), (10_000, 5), (90_000, 1)] {
            assert_eq!(puts_per_second(watchers), want, "{watchers}");
        }
    }

    #[test]
    fn watchers_are_shared_out() {
        let cases: &[(usize, usize, &[usize])] = &[(1, 3, &[1]), (7, 3, &[3, 2, 2]), (9, 3, &[3, 3, 3])];
        for (watchers, streams, want) in cases {
            assert_eq!(of_streams(*watchers, *streams), *want, "{watchers}");
        }
    }

    #[test]
    fn an_events_time_runs_from_its_put() {
        let event = |value: &[u8]| quorate_api::mvccpb::Event {
            kv: Some(quorate_api::mvccpb::KeyValue {
                value: Bytes::copy_from_slice(value),
                ..Default::default()
            }),
            ..Default::default()
        };
        let cases = [
            ("sent before", event(&[0, 0, 0, 0, 0, 0, 0, 7, 9]), 3),
            ("a clock that stands", event(&[0, 0, 0, 0, 0, 0, 0, 11]), 0),
            ("no moment", event(b"v"), 0),
            ("no key", quorate_api::mvccpb::Event::default(), 0),
        ];
        for (name, event, took_ns) in cases {
            assert_eq!(sample(&event, 10), Sample { at_ns: 10, took_ns }, "{name}");
        }
    }
}
