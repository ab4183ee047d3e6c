//! What stretches showed, and several of them together. Pure.
//!
//! Promises: throughput is the median of the stretches; percentiles are by nearest rank over the calls of all of them; what
//! ended outside of a stretch does not count in it.

use std::time::Duration;

use quorate_bench::parts::{milliseconds, nearest_rank};

use crate::cpu::micros_each;

/// One call, or one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When it was answered.
    pub(crate) at_ns: u64,
    /// How long that took.
    pub(crate) took_ns: u64,
}

/// What a client noted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted {
    pub(crate) samples: Vec<Sample>,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
}

impl Noted {
    pub(crate) fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| why.into());
    }
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// Processor time of the three server processes.
    pub(crate) servers: Duration,
    /// And of the load generator.
    pub(crate) client: Duration,
}

/// One stretch of one system.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) window: Window,
    pub(crate) noted: Noted,
}

/// Stretches of one system in one row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) stretches: usize,
    /// All calls.
    pub(crate) count: u64,
    /// Calls in a second, of each stretch.
    pub(crate) rates: Vec<f64>,
    /// Their median.
    pub(crate) rate: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) p999_ms: Option<f64>,
    /// Processor time of the servers for each call, microseconds.
    pub(crate) servers_us: Option<f64>,
    /// And of the load generator.
    pub(crate) client_us: Option<f64>,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
}

impl Figures {
    pub(crate) fn of(stretches: &[Stretch]) -> Self {
        let (mut took, mut rates) = (Vec::new(), Vec::new());
        let (mut servers, mut client) = (Duration::ZERO, Duration::ZERO);
        let mut all = Noted::default();
        for Stretch { window, noted } in stretches {
            let within = window.begin_ns..window.end_ns;
            let before = took.len();
            let samples = noted
                .samples
                .iter()
                .filter(|sample| within.contains(&sample.at_ns));
            took.extend(samples.map(|sample| sample.took_ns));
            let seconds = Duration::from_nanos(window.end_ns.saturating_sub(window.begin_ns)).as_secs_f64();
            if seconds > 0.0 {
                rates.push(number(took.len() - before) / seconds);
            }
            servers += window.servers;
            client += window.client;
            all.failed += noted.failed;
            all.first_failure = all.first_failure.or_else(|| noted.first_failure.clone());
        }
        took.sort_unstable();
        let count = took.len() as u64;
        let at = |permille| nearest_rank(&took, permille).map(milliseconds);
        Self {
            stretches: stretches.len(),
            count,
            rate: median(&rates),
            rates,
            p50_ms: at(500),
            p99_ms: at(990),
            p999_ms: at(999),
            servers_us: micros_each(servers, count),
            client_us: micros_each(client, count),
            failed: all.failed,
            first_failure: all.first_failure,
        }
    }
}

/// The middle one; of an even number the lower of the two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[allow(clippy::cast_precision_loss)] // calls of a bench fit a double
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(begin_s: u64, end_s: u64, samples: &[(u64, u64)], failed: u64) -> Stretch {
        let second = 1_000_000_000;
        let samples = samples.iter().map(|&(at_s, took_ms)| Sample {
            at_ns: at_s * second,
            took_ns: took_ms * 1_000_000,
        });
        Stretch {
            window: Window {
                begin_ns: begin_s * second,
                end_ns: end_s * second,
                servers: Duration::from_micros(600),
                client: Duration::from_micros(60),
            },
            noted: Noted {
                samples: samples.collect(),
                failed,
                first_failure: (failed > 0).then(|| format!("{failed} failed")),
            },
        }
    }

    #[test]
    fn stretches_are_put_together() {
        let none = Figures::of(&[]);
        assert_eq!(none, Figures::default());
        let stretches = [
            // One too early, one too late, and the end does not belong to it.
            stretch(10, 12, &[(9, 99), (10, 1), (11, 3), (12, 99), (13, 99)], 0),
            stretch(20, 21, &[(20, 2), (20, 4), (20, 5), (20, 6)], 2),
            stretch(30, 31, &[], 3),
        ];
        let got = Figures::of(&stretches);
        let want = Figures {
            stretches: 3,
            count: 6,
            rates: vec![1.0, 4.0, 0.0],
            rate: Some(1.0),
            p50_ms: Some(3.0),
            p99_ms: Some(6.0),
            p999_ms: Some(6.0),
            servers_us: Some(300.0),
            client_us: Some(30.0),
            failed: 5,
            first_failure: Some("2 failed".to_owned()),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn what_clients_noted_is_put_together() {
        let mut all = Noted::default();
        all.add(stretch(0, 1, &[(1, 1)], 0).noted);
        all.fail("first");
        all.add(stretch(0, 1, &[(2, 1), (3, 1)], 4).noted);
        all.fail("last");
        assert_eq!((all.samples.len(), all.failed), (3, 6));
        assert_eq!(all.first_failure.as_deref(), Some("first"));
    }

    #[test]
    fn medians() {
        let cases: [(&[f64], Option<f64>); 4] = [
            (&[], None),
            (&[7.0], Some(7.0)),
            (&[9.0, 3.0], Some(3.0)),
            (&[9.0, 3.0, 4.0], Some(4.0)),
        ];
        for (values, want) in cases {
            assert_eq!(median(values), want, "{values:?}");
        }
    }
}
