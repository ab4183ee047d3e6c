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
