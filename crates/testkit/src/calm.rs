//! Tests in which nobody may be deposed, on a machine that may stand still.
//!
//! Promises: when such a test fails while the processes or the disk stood still for almost as long as a follower waits
//! for its leader, the failure says nothing about the replicas (they were right to elect another), and the test is run
//! again, a bounded number of times. A failure on a machine that kept up is a failure at once. Left out on purpose:
//! tests that want a leader replaced; a pause cannot make those fail.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A machine that pauses in each of so many runs is too busy to tell anything.
const RUNS_MAX: usize = 4;
/// Between two measurements.
const PERIOD: Duration = Duration::from_millis(5);

/// Runs `test`; again when it failed while the machine stood still for `pause` or longer, four times at most.
///
/// `pause` is a little less than what a follower of the tested replicas waits before it stands for election.
///
/// # Panics
/// As `test` does, when the machine kept up or has had its chances; and when no temporary file can be written.
pub fn on_a_calm_machine(pause: Duration, test: impl Fn()) {
    for run in 1.. {
        let meter = Meter::start();
        let result = catch_unwind(AssertUnwindSafe(&test));
        let longest = meter.stop();
        match result {
            Ok(()) => return,
            Err(panic) if longest < pause || run == RUNS_MAX => {
                println!("the machine's longest pause was {longest:?}");
                resume_unwind(panic)
            }
            Err(_) => {
                println!("the machine stood still for {longest:?}, which is no fault of a replica: once more")
            }
        }
    }
}

/// Measures for how long the machine, or the disk below the temporary directory, stands still.
struct Meter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Meter {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut file = tempfile::tempfile().expect("a temporary file");
        let measure = move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_all(&[0])
                    .and_then(|()| file.sync_data())
                    .expect("a temporary file that can be written");
                std::thread::sleep(PERIOD);
                longest = longest.max(began.elapsed().saturating_sub(PERIOD));
            }
            longest
        };
        Self {
            stop,
            thread: std::thread::spawn(measure),
        }
    }

    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it measures until it is stopped")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often a test is run, and whether it fails in the end.
    fn runs(pause: Duration, fails: impl Fn(usize) -> bool) -> (usize, bool) {
        let runs = Cell::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            on_a_calm_machine(pause, || {
                runs.set(runs.get() + 1);
                assert!(!fails(runs.get()), "as it was told to");
            });
        }));
        (runs.get(), outcome.is_err())
    }

    #[test]
    fn failures_count_on_a_calm_machine_and_are_tried_again_on_another() {
        // Every machine pauses for nothing at all, and none for a year.
        let (never, always) = (Duration::from_secs(31_536_000), Duration::ZERO);
        assert_eq!(runs(never, |_| false), (1, false));
        assert_eq!(runs(never, |_| true), (1, true));
        assert_eq!(runs(always, |run| run < 3), (3, false));
        assert_eq!(runs(always, |_| true), (RUNS_MAX, true));
    }
}
