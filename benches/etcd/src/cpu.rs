//! Processor time of processes, from `/proc/PID/stat`.
//!
//! Promises: user and system time of all threads, those that have ended included. Left out on purpose: children, and the
//! kernel's own threads, which work for everybody.

use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second; the kernel's interface fixes it.
const TICKS_PER_SECOND: u64 = 100;

/// What these processes have used so far; one that is gone counts as nothing.
pub(crate) fn used(pids: &[u32]) -> Duration {
    let ticks = pids.iter().filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        ticks(&stat)
    });
    Duration::from_millis(ticks.sum::<u64>() * 1_000 / TICKS_PER_SECOND)
}

/// User and system ticks. The second field is the program's name, in brackets, and may have spaces and brackets in it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The state is the third field; user time is the fourteenth and system time the fifteenth.
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Microseconds for each of `count`; `None` of none.
#[allow(clippy::cast_precision_loss)] // operations of a bench fit a double
pub(crate) fn micros_each(time: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| time.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read() {
        let cases = [
            (
                "plain",
                "7 (etcd) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 9 0 1 2 3",
                Some(300),
            ),
            (
                "a name with all that can be in it",
                "7 (a) b (c) R 1 7 7 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 9",
                Some(3),
            ),
            ("cut", "7 (etcd) S 1 7 7 0 -1 4194560 100 0 0 0 250", None),
            ("empty", "", None),
        ];
        for (name, stat, want) in cases {
            assert_eq!(ticks(stat), want, "{name}");
        }
    }

    #[test]
    fn time_is_shared_out() {
        let time = Duration::from_millis(30);
        for (count, want) in [(0, None), (1, Some(30_000.0)), (300, Some(100.0))] {
            assert_eq!(micros_each(time, count), want);
        }
    }

    #[test]
    fn this_process_uses_some() {
        let own = [std::process::id()];
        let before = used(&own);
        while used(&own) == before {
            std::hint::black_box((0..1_000_000_u64).fold(0, |sum, number| sum ^ number));
        }
        assert_eq!(used(&[u32::MAX]), Duration::ZERO);
    }
}
