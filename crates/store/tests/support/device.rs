//! An ext4 file system in a file, mounted through a loop device: it can lose power, fail, and be full. Needs root.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The file system; unmounted when dropped.
pub struct Device {
    dir: tempfile::TempDir,
    mounted: bool,
}

/// Runs this program again in a mount namespace of its own, and gives its outcome; `None` when it runs in one already,
/// or when there can be none.
///
/// A process that makes its own namespace meanwhile (a container, `ip netns exec`) would copy our mounts into it, and
/// the file system would live on after we unmounted it.
pub fn in_own_namespace() -> Option<ExitCode> {
    const MARK: &str = "QUORATE_TEST_OWN_NAMESPACE";
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--propagation", "private"])
            .env(MARK, "1");
        unshare
    };
    let is_possible = || {
        unshare()
            .arg("true")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if std::env::var_os(MARK).is_some() || !is_possible() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let status = unshare()
        .arg(program)
        .args(std::env::args_os().skip(1))
        .status()
        .ok()?;
    Some(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Why there can be no such device here.
pub fn unavailable() -> Option<String> {
    Device::new(16).map(drop).err()
}

impl Device {
    /// Makes and mounts a file system of so many MiB.
    pub fn new(mib: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = dir.path().join("image");
        let made = File::create(&image).and_then(|file| file.set_len(mib << 20));
        made.map_err(|error| format!("the image: {error}"))?;
        fs::create_dir(dir.path().join("mounted")).map_err(|error| error.to_string())?;
        command(
            "mkfs.ext4",
            &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            &[&image],
        )?;
        let mut device = Self { dir, mounted: false };
        device.mount("rw")?;
        Ok(device)
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    pub fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub fn mount(&mut self, how: &str) -> Result<(), String> {
        // Only our own flushes reach the disk: the journal's timer and the kernel's write-back are far away.
        let options = format!("loop,{how},commit=300");
        command(
            "mount",
            &["-t", "ext4", "-o", &options],
            &[&self.image(), &self.path()],
        )?;
        self.mounted = true;
        Ok(())
    }

    pub fn unmount(&mut self) -> Result<(), String> {
        self.mounted = false;
        command("umount", &[], &[&self.path()])?;
        // The loop device goes a little later. While it is there, the file system may be, too, and a new mount would
        // be the old one.
        for _ in 0..500 {
            let left = Command::new("losetup").arg("-j").arg(self.image()).output();
            if left.is_ok_and(|output| output.status.success() && output.stdout.is_empty()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the loop device is held by somebody else".to_owned())
    }

    /// From now on every write and flush fails, and what the device has not received is lost: the journal is aborted
    /// without being written.
    pub fn shut_down(&self) {
        const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
        let no_log_flush: u32 = 2;
        let directory = File::open(self.path()).unwrap();
        #[expect(unsafe_code, reason = "there is no other way to ask for it")]
        // SAFETY: the descriptor is open for the call, and the argument is the u32 that this request reads.
        let result =
            unsafe { libc::ioctl(directory.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const no_log_flush) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Power comes back: the journal is replayed.
    pub fn power_on(&mut self) {
        self.unmount().unwrap();
        self.mount("rw").unwrap();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.mounted {
            // The image goes with its directory either way.
            let _ = self.unmount();
        }
    }
}

fn command(name: &str, options: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(name)
        .args(options)
        .args(paths)
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
