//! Clusters of real processes on loopback: killed, stopped, restarted, fed with garbage, and judged by what their clients
//! saw. Needs no privileges. What needs a network that can be cut stands in `tests/faults`.
#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

mod compaction;
mod crash;
mod disaster;
mod hostile;
mod hostile_etcd;
mod leases;
mod locks;
mod members;
mod planned;
mod support;
mod wrong;
