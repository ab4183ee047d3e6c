//! Whether the machine itself stood still during a round.
//!
//! Promises: two threads that want next to nothing say how long they waited for it: one sleeps for a millisecond again and
//! again, one has a single byte made durable beside the members' data. Where one of them waited for 10 ms and more, a gap
//! says as much of the machine as of the group. The main figures are of all rounds all the same; those of the calm rounds
//! are told beside them. Before a fault the machine is given time to come to rest. Left out on purpose: whose fault a pause is. The members themselves load the machine, too, so a group
//! that has cores and a disk to itself sees fewer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::now_ns;

/// What is slept.
const NAP: Duration = Duration::from_millis(1);
/// Between two bytes.
const BYTE_EVERY: Duration = Duration::from_millis(10);
/// A shorter wait is none.
pub(crate) const PAUSE_MS: u64 = 10;
/// A machine is at rest when there was no pause for so long.
const REST: Duration = Duration::from_millis(500);
/// For so long it is waited for; a machine that is busy with others never rests.
const REST_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pauses that are remembered; there are no more in a run whose figures are worth anything.
const PAUSES_MAX: usize = 65_536;

/// From and until, nanoseconds.
type Pause = (u64, u64);

/// See the module. Its threads end with it.
pub(crate) struct Meter {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    pauses: Mutex<Vec<Pause>>,
}

impl Shared {
    fn pauses(&self) -> MutexGuard<'_, Vec<Pause>> {
        // Nothing panics while it holds the lock.
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `what` until the end, and notes when it took too long.
    fn watch(&self, mut what: impl FnMut() -> io::Result<()>, rest: Duration) {
        while !self.stop.load(Ordering::Relaxed) {
            let from_ns = now_ns();
            if what().is_err() {
                return;
            }
            let to_ns = now_ns();
            let is_pause = to_ns.saturating_sub(from_ns) >= PAUSE_MS * 1_000_000;
            let mut pauses = self.pauses();
            if is_pause && pauses.len() < PAUSES_MAX {
                pauses.push((from_ns, to_ns));
            }
            drop(pauses);
            thread::sleep(rest);
        }
    }
}

impl Meter {
    /// Starts both threads; the byte lies in `directory`.
    pub(crate) fn start(directory: &Path) -> io::Result<Self> {
        let file = File::create(directory.join("pauses"))?;
        let shared = Arc::new(Shared::default());
        let (sleeper, writer) = (Arc::clone(&shared), Arc::clone(&shared));
        let nap = move || {
            thread::sleep(NAP);
            Ok(())
        };
        let byte = move || {
            file.write_all_at(b"q", 0)?;
            file.sync_data()
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        Ok(Self {
            shared,
            threads: vec![
                named("nap").spawn(move || sleeper.watch(nap, Duration::ZERO))?,
                named("byte").spawn(move || writer.watch(byte, BYTE_EVERY))?,
            ],
        })
    }

    /// The longest pause that overlaps this time, nanoseconds; 0 when there was none. One that is not over yet is not seen.
    pub(crate) fn longest_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        longest_ns(&self.shared.pauses(), from_ns, to_ns)
    }

    /// Waits until the machine is at rest, a bounded time. What a round stirs up (a member that loads its state, freed memory that a
    /// virtual machine's host takes back) would be measured by the next one otherwise, and no crash comes a second after another.
    pub(crate) async fn rest(&self) {
        let resting = async {
            loop {
                let now_ns = now_ns();
                let from_ns = now_ns.saturating_sub(u64::try_from(REST.as_nanos()).unwrap_or(u64::MAX));
                if self.longest_ns(from_ns, now_ns) == 0 {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // Without rest the round goes on, and is told among those with pauses if there are more.
        let _ = tokio::time::timeout(REST_PATIENCE, resting).await;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

fn longest_ns(pauses: &[Pause], from_ns: u64, to_ns: u64) -> u64 {
    let within = pauses.iter().filter(|(from, to)| *from < to_ns && *to > from_ns);
    within.map(|(from, to)| to - from).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_that_overlaps_counts_whole() {
        let pauses = [(10, 30), (50, 55), (90, 120)];
        let cases = [
            ("before all", 0, 10, 0),
            ("one begins within", 0, 11, 20),
            ("one ends within", 29, 40, 20),
            ("between two", 30, 50, 0),
            ("one within", 40, 60, 5),
            ("around all", 0, 200, 30),
            ("within one", 100, 101, 30),
        ];
        for (name, from, to, want) in cases {
            assert_eq!(longest_ns(&pauses, from, to), want, "{name}");
        }
    }

    #[test]
    fn only_what_takes_long_is_a_pause() {
        let shared = Shared::default();
        let mut turn = 0;
        let what = || {
            turn += 1;
            match turn {
                1 => Ok(()),
                2 => {
                    thread::sleep(Duration::from_millis(PAUSE_MS));
                    Ok(())
                }
                _ => Err(io::Error::other("the end")),
            }
        };
        shared.watch(what, Duration::ZERO);
        // The first may have taken long on a machine that stands still.
        assert!((1..=2).contains(&shared.pauses().len()));
        let meter = Meter::start(tempfile::tempdir().expect("a directory").path()).expect("starts");
        assert!(meter.longest_ns(0, u64::MAX) < u64::MAX);
    }
}
