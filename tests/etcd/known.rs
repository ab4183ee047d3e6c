//! Differences that are on purpose: read from one file, where each has its reason.
//!
//! Promises: a difference is on purpose only in the area, at the operation and with the very lines that the file says; an entry
//! whose operation no longer differs, or is in no script, fails the test that would have met it.

use std::collections::BTreeSet;

/// The file. An entry is a block of lines: the area in brackets and the operation, why, and what differs.
const FILE: &str = include_str!("differences");

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) area: String,
    pub(crate) operation: String,
    /// Lines with the signs `-` (etcd) and `+` (Quorate).
    lines: Vec<String>,
}

/// Whatever etcd says, where that is long and beside the point.
const ANYTHING: &str = "- ...";

impl Known {
    fn is(&self, printed: &[String]) -> bool {
        let differing = printed.iter().filter(|line| !line.starts_with(' '));
        if self.lines.iter().any(|line| line == ANYTHING) {
            let ours = |line: &&String| line.starts_with('+');
            return self.lines.iter().filter(ours).eq(differing.filter(ours));
        }
        self.lines.iter().eq(differing)
    }
}

/// All of them.
pub(crate) fn all() -> Result<Vec<Known>, String> {
    read(FILE)
}

fn read(file: &str) -> Result<Vec<Known>, String> {
    let mut all: Vec<Known> = Vec::new();
    let mut reasons = 0;
    for (number, line) in (1..).zip(file.lines()) {
        let wrong = |what: &str| format!("differences, line {number}: {what}");
        if let Some(head) = line.strip_prefix('[') {
            let (area, operation) = head
                .split_once("] ")
                .ok_or_else(|| wrong("no area and operation"))?;
            if reasons != all.len() {
                return Err(wrong("the entry before has no reason"));
            }
            all.push(Known {
                area: area.to_owned(),
                operation: operation.to_owned(),
                lines: Vec::new(),
            });
        } else if line.starts_with(['-', '+']) {
            let last = all.last_mut().ok_or_else(|| wrong("a difference of nothing"))?;
            last.lines.push(line.to_owned());
        } else if let Some(reason) = line.strip_prefix("why: ") {
            reasons += usize::from(!reason.trim().is_empty());
        } else if !line.trim().is_empty() && !line.starts_with(['#', ' ']) {
            return Err(wrong("neither an entry, a reason nor a difference"));
        }
    }
    match all.iter().find(|known| known.lines.is_empty()) {
        Some(known) => Err(format!(
            "differences: {:?} does not say what differs",
            known.operation
        )),
        None if reasons != all.len() => Err("differences: an entry has no reason".to_owned()),
        None => Ok(all),
    }
}

/// What an area has met of the differences that are on purpose.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: Vec<Known>,
    met: BTreeSet<usize>,
}

impl Ledger {
    pub(crate) fn of(area: &str) -> Result<Self, String> {
        let known = all()?.into_iter().filter(|known| known.area == area).collect();
        Ok(Self {
            known,
            met: BTreeSet::new(),
        })
    }

    /// Whether this difference is on purpose; if so it was met.
    pub(crate) fn is_known(&mut self, operation: &str, printed: &[String]) -> bool {
        let mut known = self.known.iter();
        let at = known.position(|known| known.operation == operation && known.is(printed));
        self.met.extend(at);
        at.is_some()
    }

    /// Entries that no longer differ as they say.
    pub(crate) fn unmet(&self) -> Vec<&Known> {
        let unmet = self
            .known
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.met.contains(at));
        unmet.map(|(_, known)| known).collect()
    }
}
