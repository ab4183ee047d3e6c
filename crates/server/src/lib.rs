//! The public face of a replica: the services of `quorate.v1` over gRPC, gRPC health and reflection, and HTTP for probes,
//! metrics and people.
//!
//! Promises: a request is checked before it is proposed; every error says whether anything was executed and who leads
//! (see [`leader`](self) in ARCHITECTURE.md); a client that is slow, silent or hostile harms nobody but itself: what it can
//! hold is bounded ([`limits`]). Left out on purpose: what commands mean (`quorate-machine`), consensus
//! (`quorate-replica`), TLS.
//!
//! Where things are: `service` has one file for each service, `convert` takes messages apart and puts them together,
//! `status` is the one table of errors, `leader` sends callers to who leads, `session` holds the streams of workers,
//! `http` is the HTTP side, `server` puts everything on its listeners.

mod accept;
mod convert;
mod deadline;
mod ended;
mod http;
mod leader;
pub mod limits;
mod preface;
mod server;
mod service;
mod session;
mod status;

pub use server::{Life, Listeners, Options, Server};
