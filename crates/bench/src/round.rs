//! One round: writes flow, the leader is struck, writes flow again, the member comes back, everything is checked.

use std::time::Duration;

use quorate_host::entropy::random_fraction;
use tokio::time::{sleep, timeout};

use crate::clock::now_ns;
use crate::error::{BenchError, with_causes};
use crate::fault::{Fault, GapRule};
use crate::gap::{Gap, first_ack_from_ns, first_answer_ns, gap};
use crate::judge::Tally;
use crate::pace::OpenLoop;
use crate::pauses::Meter;
use crate::phases::{Steps, after_fault};
use crate::system::System;

/// One write each.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);
/// Acknowledged writes before the fault, at least.
const WARM_UP_WRITES: usize = 200;
/// Writes must begin to flow within this.
const WARM_UP_PATIENCE: Duration = Duration::from_secs(30);
/// Added at random, so that faults do not keep step with heartbeats.
const JITTER: Duration = Duration::from_millis(120);
/// A fault after which nobody answers for this long has no gap.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(30);
/// After the recovery the writes are looked at for so long before the member comes back: a second silence would count.
const TAIL: Duration = Duration::from_millis(200);

/// What a round showed.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// `None` when nobody answered any more.
    pub(crate) gap: Option<Gap>,
    /// When the fault was begun, `CLOCK_MONOTONIC`.
    pub(crate) fault_ns: u64,
    pub(crate) steps: Steps,
    pub(crate) writes: u64,
    pub(crate) late: u64,
    pub(crate) latest_ns: u64,
    pub(crate) failed: u64,
    /// Why the first of them failed.
    pub(crate) first_failure: Option<String>,
    pub(crate) tally: Tally,
    /// The fault cost more than one term: an election failed, or leadership changed again.
    pub(crate) unrest: bool,
    /// How long the machine itself stood still meanwhile; 0 when it did not.
    pub(crate) paused_ns: u64,
    /// Memory of the leader when it was struck, megabytes.
    pub(crate) leader_mb: Option<u64>,
}

/// Runs a round of `fault`. The system has `patience` to settle before it and after it.
pub(crate) async fn run(
    system: &dyn System,
    fault: Fault,
    patience: Duration,
    meter: &Meter,
) -> Result<Round, BenchError> {
    let before = system.settle(patience).await?;
    let target = system.begin().await?;
    let open = OpenLoop::start(target, PERIOD)?;
    let flowing = open.wait_for(|records| (records.acked().count() >= WARM_UP_WRITES).then_some(()));
    if timeout(WARM_UP_PATIENCE, flowing).await.ok().flatten().is_none() {
        return Err(BenchError::Unsettled {
            system: system.name().to_owned(),
            after_s: WARM_UP_PATIENCE.as_secs(),
            why: format!(
                "writes do not flow; the first failure: {:?}",
                first_failure(&open.so_far())
            ),
        });
    }
    meter.rest().await;
    sleep(JITTER.mul_f64(random_fraction())).await;
    let leader_mb = system
        .pid(before.leader)
        .and_then(crate::surroundings::resident_mb);

    // The gap counts from before the signal, and a write that can close it left after the signal was given.
    let fault_ns = now_ns();
    let refused = match system.strike(fault, before.leader).await {
        Ok(()) => None,
        // A transfer is a call like others, and may fail like others.
        Err(error) if fault == Fault::Transfer => Some(with_causes(&error)),
        Err(error) => return Err(error),
    };
    let struck_ns = if fault.gap_rule() == GapRule::FaultToAnswer {
        now_ns()
    } else {
        fault_ns
    };
    let answered = open.wait_for(|records| first_answer_ns(records.writes(), struck_ns));
    let answered = timeout(RECOVERY_PATIENCE, answered).await.ok().flatten();
    system.ended(fault, before.leader).await?;
    sleep(TAIL).await;
    let end_ns = now_ns();
    let steps = if answered.is_some() {
        system.steps(before).await?
    } else {
        Vec::new()
    };

    // A silence that lasts beyond the end counts whole, and is over before the member comes back and is in its way.
    let goes_on = open.wait_for(|records| first_ack_from_ns(records.writes(), end_ns));
    // Whoever does not answer here has no gap that would be believed, or is found out when the records are checked.
    let _ = timeout(RECOVERY_PATIENCE, goes_on).await;
    system.repair(fault, before.leader)?;
    let after = system.settle(patience).await?;
    let records = open.finish().await?;
    let tally = system.check(&records).await?;
    let writes = records.writes();
    let gap = gap(fault.gap_rule(), writes, fault_ns, struck_ns, end_ns);
    // A silence counts whole, and so does a pause within it.
    let looked_at_ns = gap.map_or(end_ns, |gap| end_ns.max(gap.from_ns + gap.ns));
    Ok(Round {
        gap,
        fault_ns,
        steps: after_fault(&steps, fault_ns, writes),
        writes: writes.len() as u64,
        late: records.late(late_after_ns()),
        latest_ns: records.latest_ns(),
        failed: records.failed().count() as u64 + u64::from(refused.is_some()),
        first_failure: refused.or_else(|| first_failure(&records)),
        tally,
        unrest: after.term > before.term + 1,
        // By now a pause within the round is over.
        paused_ns: meter.longest_ns(fault_ns, looked_at_ns),
        leader_mb,
    })
}

impl Round {
    pub(crate) fn gap_ns(&self) -> Option<u64> {
        self.gap.map(|gap| gap.ns)
    }
}

fn late_after_ns() -> u64 {
    u64::try_from(PERIOD.as_nanos()).unwrap_or(u64::MAX)
}

fn first_failure(records: &crate::record::Records) -> Option<String> {
    records.failed().next().map(|(_, why)| why.to_owned())
}
