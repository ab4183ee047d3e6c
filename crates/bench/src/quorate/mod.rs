//! Quorate under test: a local cluster, the client that is measured, and the one that looks after the cluster.

mod fill;
mod group;
mod restart;
mod target;

pub(crate) use fill::{ballast, objects};
pub(crate) use group::{Group, NAME};
pub(crate) use restart::restart_times;
pub(crate) use target::ROUND_CAPACITY;
