//! The simulated users of a cluster: a catalog, workers with sessions, writes and reads.
//!
//! Left out on purpose: speed. This load is gentle, so that a laptop shows a cluster at work and not at its limits; see
//! `quorate bench` for those.

pub(super) mod catalog;
pub(super) mod reads;
pub(super) mod workers;
pub(super) mod writes;
