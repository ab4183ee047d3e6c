//! The rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Client, KvClient};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate_bench::BenchError;
use quorate_bench::parts::{
    GapRule, OpenLoop, Records, Target, first_answer_ns, gap, longest_silence, now_ns,
};
use tokio::time::{sleep, timeout};

use super::{Kills, View};
use crate::load::VALUE_BYTES;
use crate::system::System;

const PERIOD: Duration = Duration::from_millis(1);
/// A put that left later than that was late.
const LATE_NS: u64 = 1_000_000;
/// Acknowledged puts before the kill, at least.
const WARM_UP_PUTS: usize = 500;
const WARM_UP_PATIENCE: Duration = Duration::from_secs(30);
/// A kill after which nobody answers for this long has no gap.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(30);
/// After the recovery the puts are looked at for so long: a second silence would count.
const TAIL: Duration = Duration::from_millis(500);
/// A put fails after this; programs do set such a time.
const PUT_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(systems: &[System], rounds: u32) -> Result<Vec<Kills>, BenchError> {
    let pairs = systems
        .iter()
        .flat_map(|system| View::BOTH.map(|view| (system, Kills::new(system.which, view))));
    let mut pairs: Vec<(&System, Kills)> = pairs.collect();
    for number in 0..rounds {
        for (system, kills) in &mut pairs {
            let (name, client) = (kills.which.name(), kills.view.name());
            eprintln!("kill {} of {rounds}: {name}, {client}", number + 1);
            round(system, kills).await?;
        }
    }
    Ok(pairs.into_iter().map(|(_, kills)| kills).collect())
}

async fn round(system: &System, kills: &mut Kills) -> Result<(), BenchError> {
    let leader = system.settle().await?;
    let endpoints = endpoints(system.addresses(), leader, kills.view);
    let client = Client::connect(&endpoints, None).await;
    let client = client.map_err(|error| BenchError::Etcd(format!("connect: {error}")))?;
    let puts = Puts {
        client: client.kv_client(),
        sent: AtomicU64::new(0),
    };
    let open = OpenLoop::start(Arc::new(puts), PERIOD)?;
    let flowing = open.wait_for(|records| (records.acked().count() >= WARM_UP_PUTS).then_some(()));
    if timeout(WARM_UP_PATIENCE, flowing).await.ok().flatten().is_none() {
        return Err(BenchError::Unsettled {
            system: kills.which.name().to_owned(),
            after_s: WARM_UP_PATIENCE.as_secs(),
            why: format!("puts do not flow: {:?}", open.so_far().failed().next()),
        });
    }
    let fault_ns = now_ns();
    system.kill(leader)?;
    let struck_ns = now_ns();
    let answered = open.wait_for(|records| first_answer_ns(records.writes(), struck_ns));
    let recovered = timeout(RECOVERY_PATIENCE, answered)
        .await
        .ok()
        .flatten()
        .is_some();
    sleep(TAIL).await;
    let end_ns = now_ns();
    let records = open.finish().await?;
    note(kills, &records, (fault_ns, struck_ns, end_ns));
    kills.unrecovered += u32::from(!recovered);
    system.restart(leader).await
}

fn endpoints(addresses: &[String], leader: usize, view: View) -> Vec<String> {
    match view {
        View::All => addresses.to_vec(),
        View::Follower => {
            let follower = addresses.get((leader + 1) % addresses.len().max(1));
            follower.into_iter().cloned().collect()
        }
    }
}

fn note(kills: &mut Kills, records: &Records, (fault_ns, struck_ns, end_ns): (u64, u64, u64)) {
    let writes = records.writes();
    kills.rounds += 1;
    let waited = gap(GapRule::FaultToAnswer, writes, fault_ns, struck_ns, end_ns);
    kills.gaps_ns.extend(waited.map(|gap| gap.ns));
    let silence = longest_silence(writes, fault_ns, end_ns);
    kills.silences_ns.extend(silence.map(|gap| gap.ns));
    let took = writes
        .iter()
        .filter_map(|write| Some(write.acked_ns()?.saturating_sub(write.sent_ns)));
    kills.slowest_ns.extend(took.max());
    kills.puts += writes.len() as u64;
    kills.late += records.late(LATE_NS);
    for (_, why) in records.failed() {
        kills.failed += 1;
        kills.first_failure.get_or_insert_with(|| why.to_owned());
    }
}

/// Each to a key of its own, among a few.
struct Puts {
    client: KvClient,
    sent: AtomicU64,
}

impl Target for Puts {
    fn write(&self, sequence: u64) -> BoxFuture<'static, Result<u64, String>> {
        let mut client = self.client.clone();
        let key = format!("bench/kill/{}", self.sent.fetch_add(1, Ordering::Relaxed) % 1_000);
        async move {
            let put = client.put(key, vec![b'v'; VALUE_BYTES], None);
            match timeout(PUT_PATIENCE, put).await {
                Ok(Ok(_)) => Ok(sequence),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} s", PUT_PATIENCE.as_secs())),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use quorate_bench::parts::{End, Write};

    use super::*;
    use crate::plan::Which;

    #[test]
    fn whom_a_client_knows() {
        let addresses = ["a", "b", "c"].map(str::to_owned);
        let cases: [(usize, View, &[&str]); 3] = [
            (1, View::All, &["a", "b", "c"]),
            (1, View::Follower, &["c"]),
            (2, View::Follower, &["a"]),
        ];
        for (leader, view, want) in cases {
            assert_eq!(endpoints(&addresses, leader, view), want);
        }
    }

    #[test]
    fn what_a_round_showed() {
        let mut records = Records::default();
        let ms = 1_000_000;
        // The kill takes from 100 to 101; one put was under way, and one failed.
        for (sent, at) in [
            (98, Some(99)),
            (99, Some(400)),
            (102, None),
            (103, Some(130)),
            (130, Some(131)),
        ] {
            records.add(Write {
                sequence: sent,
                due_ns: sent * ms,
                sent_ns: sent * ms,
                end: match at {
                    Some(at) => End::Acked {
                        at_ns: at * ms,
                        receipt: 0,
                    },
                    None => End::Failed {
                        why: "gone".to_owned(),
                    },
                },
            });
        }
        let mut kills = Kills::new(Which::Etcd, View::All);
        note(&mut kills, &records, (100 * ms, 101 * ms, 200 * ms));
        assert_eq!(kills.gaps_ns, [30 * ms]);
        assert_eq!(kills.slowest_ns, [301 * ms]);
        assert_eq!((kills.rounds, kills.failed, kills.puts, kills.late), (1, 1, 5, 0));
        assert_eq!(kills.first_failure.as_deref(), Some("gone"));
    }
}
