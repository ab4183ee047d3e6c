//! Failover as a client sees it: what stands behind `quorate bench failover`.
//!
//! Promises: the client is this process, at normal priority, and the replicas are processes of their own; one write is due
//! each millisecond, whether or not earlier ones were answered; a gap that the client had is never hidden by the way it is
//! measured ([`Fault`] says how), and every acknowledged write is looked for afterwards. A real etcd can be struck in the
//! same run, in turns, with a client that loses as little time as etcd allows.
//!
//! Left out on purpose: throughput, and the command line. What is pure (schedule, records, gaps, percentiles, verdicts,
//! tables) is apart from what touches processes, sockets and clocks.

mod clock;
mod error;
mod etcd;
mod fault;
mod gap;
mod json;
mod judge;
mod options;
mod pace;
mod pauses;
mod percentile;
mod phases;
mod progress;
mod quorate;
mod record;
mod report;
mod round;
mod run;
mod surroundings;
mod system;
mod table;

pub use error::BenchError;
pub use fault::{Fault, UnknownFault};
pub use options::Options;
pub use percentile::Percentiles;
pub use progress::Progress;
pub use report::{Outcome, Report, Setting};
pub use run::failover;

/// What other benches measure with, too: the same clock, schedule, records, percentiles and tables, and the same etcd.
pub mod parts {
    pub use crate::clock::now_ns;
    pub use crate::error::with_causes;
    pub use crate::etcd::{Member, Members, Timing};
    pub use crate::fault::GapRule;
    pub use crate::gap::{Gap, first_answer_ns, gap, longest_silence};
    pub use crate::pace::{OpenLoop, Target};
    pub use crate::percentile::{milliseconds, nearest_rank};
    pub use crate::record::{End, Records, Write};
    pub use crate::surroundings::{cores, file_system, load, unix_ms};
    pub use crate::table::aligned;
}
