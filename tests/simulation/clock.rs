//! The process's clocks, made a function of the simulation.
//!
//! Everything of ours tells time by tokio's clock or by an injected one, but a library below does not: HTTP/2 forgets a
//! stream that was reset one second ago by the system's clock, and answers of HTTP carry the date. On a busy machine
//! that alone made two runs of one seed differ. So this program defines the function that the standard library asks,
//! and answers with simulated time while a simulation runs. Promises: in this process `Instant::now` and
//! `SystemTime::now` move only with [`set`], once it was called. Left out on purpose: systems other than Linux, where
//! the clocks stay real and traces may differ on a busy machine; and whoever asks the kernel directly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds since the Unix epoch; 0 while no simulation runs.
static NOW_NS: AtomicU64 = AtomicU64::new(0);

/// From now on it is this long after the Unix epoch, on every clock of this process.
pub(crate) fn set(since_epoch: Duration) {
    let now = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
    NOW_NS.store(now, Ordering::Relaxed);
}

/// Stands in for the C library's function of this name, for everything that is linked into this program.
///
/// # Safety
/// As the original: `time` must be valid for a write, or null.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the one way to the standard library's clocks is the C library's function"
)]
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let now = NOW_NS.load(Ordering::Relaxed);
    if now == 0 || time.is_null() {
        // SAFETY: the system call of the same name takes the same arguments, and checks the pointer itself.
        let outcome = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return -libc::c_int::from(outcome != 0);
    }
    let seconds = libc::time_t::try_from(now / 1_000_000_000).unwrap_or_default();
    let nanoseconds = libc::c_long::try_from(now % 1_000_000_000).unwrap_or_default();
    // SAFETY: the caller promises that `time` is valid, and it is not null.
    unsafe {
        time.write(libc::timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        })
    };
    0
}
