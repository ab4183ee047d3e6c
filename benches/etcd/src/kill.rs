//! The leader is killed under an open loop of puts, as programs see it that use the crate `etcd-client`.
//!
//! Promises: 1,000 puts are due in a second, whether or not earlier ones were answered; nothing is tried again but by that
//! crate. A round shows the gap (from the kill to the first answer to a put that was sent after it), the longest silence between
//! two answers, the slowest put (which may have been under way when the leader died), and what failed. Left out on
//! purpose: whether acknowledged puts are there, which `quorate bench failover` and the cluster tests look for.

#[cfg(feature = "etcd-client")]
mod rounds;

use quorate_bench::{BenchError, Percentiles};

use crate::plan::Which;
use crate::system::System;

/// Whether its client is built.
pub(crate) const IS_BUILT: bool = cfg!(feature = "etcd-client");

/// Which members a client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// All three.
    All,
    /// One that is not the leader, and so survives.
    Follower,
}

impl View {
    #[cfg_attr(not(feature = "etcd-client"), allow(dead_code, reason = "rounds alone"))]
    const BOTH: [Self; 2] = [Self::All, Self::Follower];

    /// The word in tables and records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all three",
            Self::Follower => "follower",
        }
    }
}

/// Rounds of one system and one kind of client.
#[derive(Debug)]
pub(crate) struct Kills {
    pub(crate) which: Which,
    pub(crate) view: View,
    pub(crate) rounds: u32,
    pub(crate) gaps_ns: Vec<u64>,
    pub(crate) silences_ns: Vec<u64>,
    pub(crate) slowest_ns: Vec<u64>,
    /// Rounds after which nobody answered any more.
    pub(crate) unrecovered: u32,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) puts: u64,
    /// Puts that left more than a millisecond late.
    pub(crate) late: u64,
}

impl Kills {
    #[cfg_attr(not(feature = "etcd-client"), allow(dead_code, reason = "rounds and tests"))]
    pub(crate) fn new(which: Which, view: View) -> Self {
        Self {
            which,
            view,
            rounds: 0,
            gaps_ns: Vec::new(),
            silences_ns: Vec::new(),
            slowest_ns: Vec::new(),
            unrecovered: 0,
            failed: 0,
            first_failure: None,
            puts: 0,
            late: 0,
        }
    }

    pub(crate) fn gap_ms(&self) -> Option<Percentiles> {
        Percentiles::of_ns(&self.gaps_ns)
    }

    pub(crate) fn silence_ms(&self) -> Option<Percentiles> {
        Percentiles::of_ns(&self.silences_ns)
    }

    pub(crate) fn slowest_ms(&self) -> Option<Percentiles> {
        Percentiles::of_ns(&self.slowest_ns)
    }
}

/// So many rounds of each system and each kind of client, in turns.
pub(crate) async fn run(systems: &[System], rounds: u32) -> Result<Vec<Kills>, BenchError> {
    #[cfg(feature = "etcd-client")]
    return rounds::run(systems, rounds).await;
    #[cfg(not(feature = "etcd-client"))]
    Err(BenchError::Usage(format!(
        "{rounds} rounds with {} systems: built without the feature etcd-client",
        systems.len()
    )))
}
