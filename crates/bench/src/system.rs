//! What a round needs of the system that it strikes: Quorate, or the etcd beside it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::BenchError;
use crate::fault::Fault;
use crate::judge::Tally;
use crate::pace::Target;
use crate::record::Records;

/// Who leads: the place of the member among the system's, and the term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) leader: usize,
    pub(crate) term: u64,
}

/// A group of processes that agrees on writes.
pub(crate) trait System: Send + Sync {
    /// Its name in tables and records.
    fn name(&self) -> &str;

    /// Waits until all members run, one leads, and the others have what it had.
    fn settle(&self, patience: Duration) -> BoxFuture<'_, Result<Reign, BenchError>>;

    /// Makes room for the writes of a round.
    fn begin(&self) -> BoxFuture<'_, Result<Arc<dyn Target>, BenchError>>;

    /// Does `fault` to the member `leader`. Signals are sent at once; a transfer is waited for.
    fn strike(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>>;

    /// Waits until a member that was asked to end has ended; returns at once after the other faults.
    fn ended(&self, fault: Fault, leader: usize) -> BoxFuture<'_, Result<(), BenchError>>;

    /// The steps by which the leader after `reign` came to lead, as moments of `CLOCK_MONOTONIC`. Empty where the
    /// system does not tell.
    fn steps(&self, reign: Reign) -> BoxFuture<'_, Result<Vec<(String, u64)>, BenchError>>;

    /// Starts or resumes the member that was struck.
    fn repair(&self, fault: Fault, leader: usize) -> Result<(), BenchError>;

    /// Checks the round's writes and clears them away.
    fn check<'a>(&'a self, records: &'a Records) -> BoxFuture<'a, Result<Tally, BenchError>>;

    /// The process id of a member, while it runs.
    fn pid(&self, member: usize) -> Option<u32>;

    /// Ends all members.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}
