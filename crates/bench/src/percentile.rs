//! Percentiles of durations.
//!
//! Promises: nearest rank, so that every figure was really measured; of few values, p99 is the largest.

/// The usual four, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Percentiles {
    /// Of durations in nanoseconds; `None` of none.
    #[must_use]
    pub fn of_ns(values: &[u64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_unstable();
        let last = *values.last()?;
        let at = |percent: usize| milliseconds(nearest_rank(&values, percent * 10).unwrap_or(last));
        Some(Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: milliseconds(last),
        })
    }
}

/// The value of `sorted` below or at which so many of a thousand lie; `None` of none.
#[must_use]
pub fn nearest_rank(sorted: &[u64], permille: usize) -> Option<u64> {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1) - 1;
    sorted.get(rank).or(sorted.last()).copied()
}

/// Nanoseconds as milliseconds, to the microsecond.
#[must_use]
pub fn milliseconds(ns: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // microseconds of a bench fit a double
    let us = (ns / 1_000) as f64;
    us / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let ms = |values: &[u64]| values.iter().map(|ms| ms * 1_000_000).collect::<Vec<u64>>();
        let hundred: Vec<u64> = (1..=100).rev().collect();
        type Case<'a> = (&'a str, &'a [u64], Option<[f64; 4]>);
        let cases: &[Case] = &[
            ("none", &[], None),
            ("one", &[7], Some([7.0, 7.0, 7.0, 7.0])),
            (
                "two: the median is the lower",
                &[9, 3],
                Some([3.0, 9.0, 9.0, 9.0]),
            ),
            ("three", &[1, 2, 9], Some([2.0, 9.0, 9.0, 9.0])),
            ("a hundred", &hundred, Some([50.0, 90.0, 99.0, 100.0])),
        ];
        for (name, values, want) in cases {
            let got = Percentiles::of_ns(&ms(values)).map(|of| [of.p50, of.p90, of.p99, of.max]);
            assert_eq!(&got, want, "{name}");
        }
    }
}
