//! What to measure.

use std::path::PathBuf;

use quorate_types::limits::{COLLECTIONS_MAX, GENERAL_CAPACITY_MAX};

use crate::error::BenchError;
use crate::fault::Fault;
use crate::quorate::ROUND_CAPACITY;

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `quorate` binary that the replicas run.
    pub program: PathBuf,
    /// Three or five.
    pub replicas: usize,
    /// Rounds of each fault.
    pub rounds: u32,
    /// The faults, one after the other.
    pub faults: Vec<Fault>,
    /// The replicas' timeouts: `lan`, `zone` or `region`; `None` leaves the default.
    pub profile: Option<String>,
    /// Where data and logs go, kept afterwards; `None` takes a temporary directory.
    pub directory: Option<PathBuf>,
    /// Objects in the catalog before the first round: half of them collections, half their partitions.
    pub objects: u64,
    /// Megabytes of rows before the first round.
    pub ballast_mb: u64,
    /// An etcd binary to run the same faults against.
    pub compare_etcd: Option<PathBuf>,
    /// Also measure how long a replica takes from its start until it is ready.
    pub restart_time: bool,
    /// The commit of the replicas' source, for the record.
    pub commit: String,
}

/// Objects that leave room for the bench's own.
const OBJECTS_MAX: u64 = {
    let capacity = GENERAL_CAPACITY_MAX - ROUND_CAPACITY;
    let collections = COLLECTIONS_MAX as u64 - ROUND_CAPACITY;
    2 * if capacity < collections {
        capacity
    } else {
        collections
    }
};
/// Ballast that every machine of a sensible size can hold three times.
const BALLAST_MB_MAX: u64 = 16_384;
const ROUNDS_MAX: u32 = 100_000;

impl Options {
    /// Refuses what cannot be done.
    ///
    /// # Errors
    /// [`BenchError::Usage`], which says what can.
    pub fn check(&self) -> Result<(), BenchError> {
        let refuse = |what: String| Err(BenchError::Usage(what));
        if ![3, 5].contains(&self.replicas) {
            return refuse(format!(
                "--replicas is {}; a failover takes 3 or 5",
                self.replicas
            ));
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return refuse(format!("--rounds is {}; take 1 to {ROUNDS_MAX}", self.rounds));
        }
        if self.faults.is_empty() && !self.restart_time {
            return refuse(
                "there is no fault to measure; name one with --fault, or take --restart-time".to_owned(),
            );
        }
        if self.objects > OBJECTS_MAX {
            return refuse(format!(
                "--objects is {}; the catalog has room for {OBJECTS_MAX}",
                self.objects
            ));
        }
        if self.ballast_mb > BALLAST_MB_MAX {
            return refuse(format!(
                "--ballast-mb is {}; take at most {BALLAST_MB_MAX}",
                self.ballast_mb
            ));
        }
        match &self.compare_etcd {
            Some(path) if !path.is_file() => refuse(format!(
                "--compare-etcd names {}, which is no file; give the path of an etcd binary",
                path.display()
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        let good = Options {
            program: "quorate".into(),
            replicas: 3,
            rounds: 1,
            faults: vec![Fault::Kill],
            profile: None,
            directory: None,
            objects: 100_000,
            ballast_mb: 0,
            compare_etcd: None,
            restart_time: false,
            commit: "unknown".to_owned(),
        };
        assert!(good.check().is_ok());
        let cases = [
            (
                "--replicas",
                Options {
                    replicas: 4,
                    ..good.clone()
                },
            ),
            (
                "--rounds",
                Options {
                    rounds: 0,
                    ..good.clone()
                },
            ),
            (
                "--fault",
                Options {
                    faults: Vec::new(),
                    ..good.clone()
                },
            ),
            (
                "--objects",
                Options {
                    objects: 140_000,
                    ..good.clone()
                },
            ),
            (
                "--ballast-mb",
                Options {
                    ballast_mb: 1 << 20,
                    ..good.clone()
                },
            ),
            (
                "--compare-etcd",
                Options {
                    compare_etcd: Some("/no/such/etcd".into()),
                    ..good.clone()
                },
            ),
        ];
        for (flag, options) in cases {
            let error = options.check().expect_err(flag).to_string();
            assert!(error.contains(flag), "{flag}: {error}");
        }
        assert!(
            Options {
                faults: Vec::new(),
                restart_time: true,
                ..good
            }
            .check()
            .is_ok()
        );
    }
}
