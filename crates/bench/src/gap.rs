//! How long a client waited, from the records of a round.
//!
//! Promises: pure; the order in which answers were noted does not matter.

use crate::fault::GapRule;
use crate::record::Write;

/// A time without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When it began, `CLOCK_MONOTONIC`.
    pub from_ns: u64,
    /// How long it took.
    pub ns: u64,
}

/// The gap of a round. The fault was begun at `fault_ns` and done at `struck_ns`; what happens from `end_ns`
/// on does not count. `None` when no write that was sent after the fault has been acknowledged.
#[must_use]
pub fn gap(rule: GapRule, writes: &[Write], fault_ns: u64, struck_ns: u64, end_ns: u64) -> Option<Gap> {
    let answered_ns = first_answer_ns(writes, struck_ns)?;
    match rule {
        GapRule::FaultToAnswer => Some(Gap {
            from_ns: fault_ns,
            ns: answered_ns.saturating_sub(fault_ns),
        }),
        GapRule::LongestSilence => longest_silence(writes, fault_ns, end_ns),
    }
}

/// When the first write that was sent after `fault_ns` was acknowledged.
#[must_use]
pub fn first_answer_ns(writes: &[Write], fault_ns: u64) -> Option<u64> {
    let later = writes.iter().filter(|write| write.sent_ns > fault_ns);
    later.filter_map(Write::acked_ns).min()
}

/// When the first acknowledgement came at or after `from_ns`.
pub(crate) fn first_ack_from_ns(writes: &[Write], from_ns: u64) -> Option<u64> {
    let acks = writes.iter().filter_map(Write::acked_ns);
    acks.filter(|at_ns| *at_ns >= from_ns).min()
}

/// The longest time between two consecutive acknowledgements of which the later one came after `from_ns` and the
/// earlier one before `end_ns`.
#[must_use]
pub fn longest_silence(writes: &[Write], from_ns: u64, end_ns: u64) -> Option<Gap> {
    let mut acks: Vec<u64> = writes.iter().filter_map(Write::acked_ns).collect();
    acks.sort_unstable();
    let pairs = acks.windows(2).map(|pair| (pair[0], pair[1]));
    let within = pairs.filter(|(earlier, later)| *later > from_ns && *earlier < end_ns);
    let silences = within.map(|(earlier, later)| Gap {
        from_ns: earlier,
        ns: later - earlier,
    });
    silences.max_by_key(|silence| silence.ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::End;

    /// Writes by (sent, acked); acked 0 is a failure.
    fn writes(moments: &[(u64, u64)]) -> Vec<Write> {
        let write = |(sequence, (sent_ns, acked_ns)): (usize, &(u64, u64))| Write {
            sequence: sequence as u64,
            due_ns: *sent_ns,
            sent_ns: *sent_ns,
            end: match acked_ns {
                0 => End::Failed {
                    why: "no answer".to_owned(),
                },
                at_ns => End::Acked {
                    at_ns: *at_ns,
                    receipt: 0,
                },
            },
        };
        moments.iter().enumerate().map(write).collect()
    }

    #[test]
    fn gaps() {
        use GapRule::{FaultToAnswer, LongestSilence};
        type Case<'a> = (&'a str, GapRule, &'a [(u64, u64)], Option<u64>);
        // The fault is begun at 98 and done at 100; the end is at 200.
        let cases: &[Case] = &[
            ("nothing was written", FaultToAnswer, &[], None),
            ("nothing was answered", FaultToAnswer, &[(90, 95), (110, 0)], None),
            (
                "a write from before the fault does not count",
                FaultToAnswer,
                &[(99, 105), (110, 130)],
                Some(32),
            ),
            (
                "one sent at the very moment does not, either",
                FaultToAnswer,
                &[(100, 105), (110, 130)],
                Some(32),
            ),
            (
                "the first answer counts, not the first write",
                FaultToAnswer,
                &[(110, 150), (120, 140)],
                Some(42),
            ),
            (
                "a failure is no answer",
                FaultToAnswer,
                &[(110, 0), (120, 160)],
                Some(62),
            ),
            (
                "silence over the fault",
                LongestSilence,
                &[(90, 95), (101, 120), (121, 125)],
                Some(25),
            ),
            (
                "silence after the fault",
                LongestSilence,
                &[(98, 101), (102, 104), (105, 135)],
                Some(31),
            ),
            (
                "the old leader answers on",
                LongestSilence,
                &[(98, 101), (102, 103), (104, 105), (106, 107)],
                Some(2),
            ),
            (
                "silence before the fault does not count",
                LongestSilence,
                &[(10, 20), (70, 80), (90, 97), (99, 100), (101, 102)],
                Some(3),
            ),
            (
                "nor after the end",
                LongestSilence,
                &[(99, 100), (101, 102), (198, 200), (290, 300)],
                Some(98),
            ),
            (
                "but silence over the end does",
                LongestSilence,
                &[(99, 100), (101, 102), (150, 190), (290, 300)],
                Some(110),
            ),
            (
                "answers in another order",
                LongestSilence,
                &[(101, 130), (102, 110), (90, 95)],
                Some(20),
            ),
            (
                "no answer at all after the fault",
                LongestSilence,
                &[(90, 95), (96, 105), (110, 0)],
                None,
            ),
        ];
        for (name, rule, moments, want) in cases {
            let got = gap(*rule, &writes(moments), 98, 100, 200);
            assert_eq!(got.map(|gap| gap.ns), *want, "{name}");
        }
    }

    #[test]
    fn a_gap_begins_with_the_fault_or_the_last_answer_before_the_silence() {
        let writes = writes(&[(98, 101), (102, 104), (105, 135)]);
        let from_ns = |rule| gap(rule, &writes, 98, 100, 200).map(|gap| gap.from_ns);
        assert_eq!(from_ns(GapRule::FaultToAnswer), Some(98));
        assert_eq!(from_ns(GapRule::LongestSilence), Some(104));
    }
}
