//! The client commands through the real binary, against real replicas: what stands on standard output, what on standard
//! error, and the exit code.

#![allow(clippy::unwrap_used)]

mod catalog;
mod house;
mod leader;
mod listing;
mod sessions;
mod snapshot;
mod status;
mod tls;
mod watch;
mod wrong;
