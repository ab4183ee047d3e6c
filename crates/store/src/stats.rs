//! How the disk does: what a replica watches to find out that its own disk is slow or stuck.

use std::time::Duration;

/// Figures of a running store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Flushes of the log since the store was opened.
    pub flushes: u64,
    /// Median time of the last flushes, from the first byte handed to the disk until it said "durable".
    pub flush_p50: Duration,
    /// 99th percentile of the same flushes.
    pub flush_p99: Duration,
    /// Entries that those flushes made durable since the store was opened; divided by `flushes`, the group size.
    pub entries_flushed: u64,
    /// Age of the oldest write that is not durable yet; `None` when all is. A stuck disk shows here first.
    pub oldest_unfinished: Option<Duration>,
    /// Bytes of writes that wait for the disk.
    pub queue_bytes: usize,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes of the newest snapshot.
    pub snapshot_bytes: u64,
}

/// The flushes whose times are kept.
const WINDOW: usize = 1024;

/// Counts flushes and remembers the times of the last ones.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    count: u64,
    entries: u64,
    recent: Vec<Duration>,
}

impl Flushes {
    pub(crate) fn record(&mut self, took: Duration, entries: usize) {
        let slot = usize::try_from(self.count).unwrap_or(0) % WINDOW;
        match self.recent.get_mut(slot) {
            Some(old) => *old = took,
            None => self.recent.push(took),
        }
        self.count += 1;
        self.entries += u64::try_from(entries).unwrap_or(0);
    }

    /// The figures that come from here; the caller fills in the rest.
    pub(crate) fn stats(&self) -> StoreStats {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        let percentile = |p: usize| sorted.get(sorted.len() * p / 100).copied().unwrap_or_default();
        StoreStats {
            flushes: self.count,
            flush_p50: percentile(50),
            flush_p99: percentile(99),
            entries_flushed: self.entries,
            ..StoreStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_recent_flushes() {
        let mut flushes = Flushes::default();
        assert_eq!(flushes.stats(), StoreStats::default());
        for _ in 0..WINDOW {
            flushes.record(Duration::from_secs(9), 1);
        }
        for micros in 0..1024 {
            flushes.record(Duration::from_micros(micros), 2);
        }
        let stats = flushes.stats();
        assert_eq!((stats.flushes, stats.entries_flushed), (2048, 3072));
        assert_eq!(stats.flush_p50, Duration::from_micros(512));
        assert_eq!(stats.flush_p99, Duration::from_micros(1013));
    }
}
