//! What the bench says while it runs: one line at a time, to whoever wants to hear it.

use std::cell::Cell;
use std::sync::Arc;

/// Takes a line for people; not part of the result.
pub type Progress = Arc<dyn Fn(String) + Send + Sync>;

/// Says how far a long piece of work is, at each tenth of it.
pub(crate) struct Share<'a> {
    progress: &'a Progress,
    what: &'static str,
    whole: u64,
    tenths: Cell<u64>,
}

impl<'a> Share<'a> {
    pub(crate) fn new(progress: &'a Progress, what: &'static str, whole: u64) -> Self {
        Self {
            progress,
            what,
            whole,
            tenths: Cell::new(0),
        }
    }

    /// `done` of the whole is done.
    pub(crate) fn show(&self, done: u64) {
        let tenths = (done * 10).checked_div(self.whole).unwrap_or(10);
        if tenths > self.tenths.replace(tenths) {
            (self.progress)(format!("{}: {done} of {}", self.what, self.whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[test]
    fn each_tenth_is_said_once() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&lines);
        let progress: Progress =
            Arc::new(move |line| said.lock().unwrap_or_else(PoisonError::into_inner).push(line));
        let share = Share::new(&progress, "loading", 1_000);
        (1..=1_000).for_each(|done| share.show(done));
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[0], "loading: 100 of 1000");
        assert_eq!(lines[9], "loading: 1000 of 1000");
    }
}
