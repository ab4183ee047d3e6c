//! Scenarios in which nobody may be deposed, on a machine that may stand still.

use std::time::Duration;

use quorate_testkit::calm::on_a_calm_machine;

use crate::support::{Running, on_group, plan};

/// Followers of the tests' profile wait for 80 ms at least.
const PAUSE: Duration = Duration::from_millis(60);

/// Runs `test` on a group that is ready, inside its network, as [`on_group`] does; again when the machine stood still.
pub(crate) fn on_calm_group(test: impl AsyncFn(&Running) + Sync) {
    on_a_calm_machine(PAUSE, || on_group(plan(), &test));
}
