//! The steps of a failover, laid over the moment of the fault.
//!
//! Promises: the new leader's moments and ours are of one clock (`CLOCK_MONOTONIC` of this machine), so that they can be
//! subtracted; a step from before the fault belongs to an earlier failover and is left out.

use crate::gap::first_ack_from_ns;
use crate::percentile::Percentiles;
use crate::record::Write;

/// What the client adds to the new leader's steps: the first acknowledgement that it saw from then on.
const CLIENT: &str = "client";

/// Name and nanoseconds after the fault, in order of time.
pub(crate) type Steps = Vec<(String, u64)>;

/// The new leader's `steps` (name, moment) after the fault, and the client's.
pub(crate) fn after_fault(steps: &[(String, u64)], fault_ns: u64, writes: &[Write]) -> Steps {
    let later = steps.iter().filter(|(_, at_ns)| *at_ns >= fault_ns);
    let mut after: Steps = later
        .map(|(name, at_ns)| (name.clone(), at_ns - fault_ns))
        .collect();
    after.sort_by_key(|(_, ns)| *ns);
    if let Some((_, last_ns)) = after.last()
        && let Some(ack_ns) = first_ack_from_ns(writes, fault_ns + last_ns)
    {
        after.push((CLIENT.to_owned(), ack_ns - fault_ns));
    }
    after
}

/// Percentiles of each step over all rounds, in order of their medians. Steps that only some rounds had count among
/// those.
pub(crate) fn summary(rounds: &[Steps]) -> Vec<(String, Percentiles)> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rounds.iter().flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let of = |name: &str| {
        let steps = rounds.iter().flatten().filter(|(step, _)| step == name);
        Percentiles::of_ns(&steps.map(|(_, ns)| *ns).collect::<Vec<u64>>())
    };
    let mut all: Vec<(String, Percentiles)> = names
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), of(name)?)))
        .collect();
    all.sort_by(|(_, a), (_, b)| a.p50.total_cmp(&b.p50));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::End;

    fn ack(at_ns: u64) -> Write {
        Write {
            sequence: 0,
            due_ns: 0,
            sent_ns: 0,
            end: End::Acked { at_ns, receipt: 0 },
        }
    }

    #[test]
    fn steps_after_the_fault() {
        let steps = [
            ("elected".to_owned(), 140),
            ("detected".to_owned(), 120),
            ("candidate".to_owned(), 90),
        ];
        let got = after_fault(&steps, 100, &[ack(95), ack(130), ack(150), ack(160)]);
        let want = [("detected", 20), ("elected", 40), ("client", 50)];
        assert_eq!(got, want.map(|(name, ns)| (name.to_owned(), ns)));
        assert_eq!(after_fault(&[], 100, &[ack(150)]), Steps::new());
    }

    #[test]
    fn summaries_are_in_order_of_time() {
        let ms = |name: &str, ms: u64| (name.to_owned(), ms * 1_000_000);
        let rounds = [
            vec![ms("detected", 1), ms("elected", 5)],
            vec![ms("elected", 7)],
            vec![ms("elected", 9)],
        ];
        let got: Vec<(String, f64)> = summary(&rounds)
            .into_iter()
            .map(|(name, of)| (name, of.p50))
            .collect();
        assert_eq!(got, [("detected".to_owned(), 1.0), ("elected".to_owned(), 7.0)]);
    }
}
