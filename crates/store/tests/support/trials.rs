//! Tests that need something of the machine: skipped with the reason where it is missing, unless
//! `QUORATE_REQUIRE_PRIVILEGED=1` says that a skip is a failure.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Runs the trials, or lists them as ignored.
pub fn run(unavailable: Option<String>, trials: Vec<(&'static str, fn())>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They measure time and use loop devices: one after the other.
    arguments.test_threads = Some(1);
    let required = std::env::var_os("QUORATE_REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
    if let Some(reason) = &unavailable {
        eprintln!("ignored, because they need root, ext4 and loop devices: {reason}");
    }
    let trials = trials.into_iter().map(|(name, test)| match &unavailable {
        Some(reason) if required => {
            let failure = format!("required, but there is no way to run it here: {reason}");
            Trial::test(name, move || Err(Failed::from(failure)))
        }
        other => Trial::test(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(other.is_some()),
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
