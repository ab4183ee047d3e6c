//! What became of each write of a round.
//!
//! Promises: every write that was due is here, with the moments (`CLOCK_MONOTONIC`, nanoseconds) at which it was due,
//! was handed to the client, and was answered. Left out on purpose: judging; see [`crate::gap`] and [`crate::judge`].

/// Writes of a round, by sequence.
#[derive(Debug, Clone, Default)]
pub struct Records {
    writes: Vec<Write>,
    /// Writes that were due and never left, because the client process was too far behind.
    skipped: u64,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its number in the round.
    pub sequence: u64,
    /// When it should have left.
    pub due_ns: u64,
    /// When it was handed to the client.
    pub sent_ns: u64,
    /// What became of it.
    pub end: End,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Acknowledged, with whatever the system gave in return.
    Acked {
        /// When the answer was there.
        at_ns: u64,
        /// What it gave.
        receipt: u64,
    },
    /// The caller got an error.
    Failed {
        /// In its words.
        why: String,
    },
}

impl Records {
    /// Notes a write that has ended.
    pub fn add(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Notes writes that never left.
    pub fn skip(&mut self, skipped: u64) {
        self.skipped += skipped;
    }

    /// All that have ended.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Sequence and receipt of each acknowledged write.
    pub fn acked(&self) -> impl Iterator<Item = (u64, u64)> {
        self.writes.iter().filter_map(|write| match write.end {
            End::Acked { receipt, .. } => Some((write.sequence, receipt)),
            End::Failed { .. } => None,
        })
    }

    /// Sequence and reason of each failed write.
    pub fn failed(&self) -> impl Iterator<Item = (u64, &str)> {
        self.writes.iter().filter_map(|write| match &write.end {
            End::Failed { why } => Some((write.sequence, why.as_str())),
            End::Acked { .. } => None,
        })
    }

    /// Writes that left more than `slack_ns` after they were due, or not at all.
    #[must_use]
    pub fn late(&self, slack_ns: u64) -> u64 {
        let late = |write: &&Write| write.sent_ns.saturating_sub(write.due_ns) > slack_ns;
        self.writes.iter().filter(late).count() as u64 + self.skipped
    }

    /// The longest time that a write left after it was due.
    #[must_use]
    pub fn latest_ns(&self) -> u64 {
        let lateness = |write: &Write| write.sent_ns.saturating_sub(write.due_ns);
        self.writes.iter().map(lateness).max().unwrap_or(0)
    }
}

impl Write {
    /// When it was acknowledged.
    #[must_use]
    pub fn acked_ns(&self) -> Option<u64> {
        match self.end {
            End::Acked { at_ns, .. } => Some(at_ns),
            End::Failed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(due_ns: u64, sent_ns: u64) -> Write {
        let end = End::Acked {
            at_ns: sent_ns + 1,
            receipt: 0,
        };
        Write {
            sequence: 0,
            due_ns,
            sent_ns,
            end,
        }
    }

    #[test]
    fn late_writes_are_counted() {
        let mut records = Records::default();
        for (due_ns, sent_ns) in [(0, 0), (10, 15), (20, 26), (30, 29), (40, 60)] {
            records.add(write(due_ns, sent_ns));
        }
        records.skip(2);
        assert_eq!(records.late(5), 4);
        assert_eq!(records.latest_ns(), 20);
    }
}
