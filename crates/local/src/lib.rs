//! A cluster of real replicas as child processes of this one, on loopback: what `quorate dev`, the benches and the tests
//! of the whole start, kill, pause and start again.
//!
//! Promises: every replica keeps its ports and its directory over restarts; a signal reaches the process it is meant for
//! or nobody (a process id that was reused is never hit); nothing outlives the owner, neither when a [`Cluster`] is
//! dropped nor when its process is killed, and a paused replica neither. Left out on purpose: what a replica is told
//! beyond the flags in [`Plan`], and every judgement of what it does.

mod cluster;
mod error;
mod plan;
mod ports;
mod process;

pub use cluster::Cluster;
pub use error::LocalError;
pub use plan::Plan;
pub use ports::free as free_ports;
pub use process::{Process, State};
