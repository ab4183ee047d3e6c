//! Scenarios in which nobody may be deposed, on a machine that may stand still.
//!
//! Promises: when such a scenario fails while the processes or the disk stood still for almost as long as a follower waits
//! for its leader, the failure says nothing about the replicas (they were right to elect another), and the scenario is run
//! again, a bounded number of times. A failure on a machine that kept up is a failure at once. Left out on purpose:
//! scenarios that want a leader replaced; a pause cannot make those fail.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Running, on_group, plan};

/// Followers of the tests' profile wait for 80 ms at least.
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// A machine that pauses in each of so many runs is too busy to tell anything.
const RUNS_MAX: usize = 4;
/// Between two measurements.
const PERIOD: Duration = Duration::from_millis(5);

/// Runs `test` on a group that is ready, inside its network, as [`on_group`] does; again when the machine stood still.
pub(crate) fn on_calm_group(test: impl AsyncFn(&Running) + Sync) {
    for run in 1.. {
        let meter = Meter::start();
        let result = catch_unwind(AssertUnwindSafe(|| on_group(plan(), &test)));
        let pause = meter.stop();
        match result {
            Ok(()) => return,
            Err(panic) if pause < PAUSE_MAX || run == RUNS_MAX => {
                println!("the machine's longest pause was {pause:?}");
                resume_unwind(panic)
            }
            Err(_) => {
                println!("the machine stood still for {pause:?}, which is no fault of a replica: once more")
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
        let mut file = tempfile::tempfile().unwrap();
        let measure = move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_all(&[0]).unwrap();
                file.sync_data().unwrap();
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
        self.thread.join().unwrap()
    }
}
