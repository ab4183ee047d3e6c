//! What a replica or a client needs of the machine it runs on: sockets, wall clock, randomness.
//!
//! Promises: everything above reaches the outside world through these three seams (and the store's trait for disks),
//! so that a whole cluster also runs in one process under simulation, each run a function of its seed. Durations and
//! timers are tokio's, which the simulation drives. Left out on purpose: TLS (a layer over
//! [`Network`], in a crate of its own), name-resolution policy, retries.

mod answered;
mod clock;
mod connection;
pub mod entropy;
mod grpc;
mod network;

pub use answered::Mishap;
pub use clock::{Clock, SystemClock};
pub use connection::{Connection, Ended, ServedConnection};
pub use grpc::{channel_endpoint, connect_lazy, connect_lazy_noting, incoming};
pub use network::{BoxFuture, Io, Listen, Listener, Network, Stream, Tcp};
