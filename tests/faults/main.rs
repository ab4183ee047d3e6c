//! What a network and a disk can do to a cluster of real processes. Needs root: namespaces, a packet filter, mounts.
//!
//! Where that is missing, every test is listed as ignored and the reason printed; `QUORATE_REQUIRE_PRIVILEGED=1` turns
//! this into failures. What runs without privileges stands in `tests/cluster`.
#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

mod calm;
mod disk;
mod partition;
mod stateful_set;
mod support;
mod witness;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// What a test is called, and what it does.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Timing is tested, and the machine may be small: one after the other.
    arguments.test_threads = Some(1);
    let unavailable = quorate_testkit::netns::unavailable();
    let required = std::env::var_os("QUORATE_REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
    let tests: Vec<Test> = [partition::TESTS, witness::TESTS, disk::TESTS, stateful_set::TESTS].concat();
    if let Some(reason) = &unavailable {
        eprintln!(
            "skipped: {} tests need root, `ip`, `iptables` and `nsenter`; here {reason}",
            tests.len()
        );
    }
    let trials = tests.into_iter().map(|(name, test)| match &unavailable {
        Some(reason) if required => {
            let failure = format!("required, but it cannot run here: {reason}");
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
