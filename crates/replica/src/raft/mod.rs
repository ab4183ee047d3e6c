//! openraft's side of the replica: its types, its runtime, and the adapters to our log, machine and snapshots.

pub(crate) mod config;
pub(crate) mod log;
pub(crate) mod membership;
pub(crate) mod runtime;
pub(crate) mod state;
pub(crate) mod types;

#[cfg(test)]
mod suite;
