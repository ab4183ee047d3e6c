//! The screen, on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::fleet::entries;

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(120);

struct Screen {
    child: Child,
    keys: File,
    /// Kept open, so that the terminal lives on after the command.
    terminal: File,
    bytes: Receiver<Vec<u8>>,
    seen: String,
    temporary: tempfile::TempDir,
}

impl Screen {
    fn start(flags: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = name.to_str().unwrap();
        let terminal = File::options().read(true).write(true).open(path).unwrap();
        tcsetwinsize(
            &terminal,
            Winsize {
                ws_row: 24,
                ws_col: 80,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )
        .unwrap();
        let io = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .arg("dev")
            .args(flags)
            .env("TMPDIR", temporary.path())
            .env("TERM", "xterm-256color")
            .stdin(io())
            .stdout(io())
            .stderr(io())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let mut reads = keys.try_clone().unwrap();
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(read @ 1..) = reads.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            terminal,
            bytes,
            seen: String::new(),
            temporary,
        }
    }

    /// Waits until the terminal is told to show this, beyond what was waited for before.
    fn until(&mut self, text: &str) {
        let began = Instant::now();
        let mut from = 0;
        loop {
            if let Some(at) = self.seen[from..].find(text) {
                self.seen.drain(..from + at + text.len());
                return;
            }
            from = self.seen.len().saturating_sub(text.len());
            while !self.seen.is_char_boundary(from) {
                from -= 1;
            }
            match self.bytes.recv_timeout(LONG.saturating_sub(began.elapsed())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("never showed {text:?} ({error}); at last {:?}", self.seen),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn ends_clean(mut self) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < LONG, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
        self.until("\u{1b}[?1049l");
        assert!(echoes(&self.terminal), "the terminal is still raw");
        assert_eq!(entries(self.temporary.path()).len(), 0);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether what is typed is shown and taken line by line, as before.
fn echoes(terminal: &File) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
}

#[test]
fn keys_drive_the_screen_and_the_terminal_is_restored() {
    let mut screen = Screen::start(&["--workers", "4"]);
    screen.until("\u{1b}[?1049h");
    screen.until("Ready 4");
    assert!(!echoes(&screen.terminal));
    screen.press("K");
    screen.until("(the leader)");
    screen.until("LAST FAILOVER");
    screen.until("clients waited");
    screen.until("elect");
    screen.press("q");
    screen.ends_clean();
}

#[test]
fn control_c_restores_the_terminal() {
    let mut screen = Screen::start(&["--replicas", "1", "--workers", "0"]);
    screen.until("starting");
    screen.press("\u{3}");
    screen.ends_clean();
}
