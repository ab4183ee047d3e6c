//! The machine and the source that a figure belongs to.
//!
//! Promises: what cannot be found out is said to be unknown; nothing here fails a bench.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// File systems that keep nothing: fsync costs nothing there, and the figures say little.
const MEMORY_FILE_SYSTEMS: &[&str] = &["tmpfs", "ramfs"];

/// Load over the last minute.
#[must_use]
pub fn load() -> Option<f64> {
    first_number(&std::fs::read_to_string("/proc/loadavg").ok()?)
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Cores that this process may use; 0 when unknown.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Memory that a process holds, megabytes.
pub(crate) fn resident_mb(pid: u32) -> Option<u64> {
    resident(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1_024)
}

/// The kind of file system that holds `directory`.
#[must_use]
pub fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    mounted(&std::fs::read_to_string("/proc/self/mounts").ok()?, &directory)
}

pub(crate) fn is_memory(file_system: &str) -> bool {
    MEMORY_FILE_SYSTEMS.contains(&file_system)
}

fn mounted(mounts: &str, directory: &Path) -> Option<String> {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = fields.filter(|(point, _)| directory.starts_with(point));
    // The longest mount point wins, and of two on the same the later.
    let (_, kind) = holding.max_by_key(|(point, _)| point.len())?;
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(first_number("0.52 0.58 0.59 1/467 12345\n"), Some(0.52));
        assert_eq!(first_number(""), None);
        assert_eq!(
            resident("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t 1050624 kB\n"),
            Some(1_026)
        );
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn the_innermost_mount_holds_a_directory() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        for (directory, want) in [
            ("/home", "ext4"),
            ("/tmp", "tmpfs"),
            ("/tmp/x", "tmpfs"),
            ("/tmp/disk/x", "xfs"),
        ] {
            assert_eq!(
                mounted(mounts, Path::new(directory)).as_deref(),
                Some(want),
                "{directory}"
            );
        }
        assert_eq!(mounted("", Path::new("/")), None);
    }
}
