//! The client against scripted replicas: everything runs over a network inside the test and on paused time, so that
//! a test that takes ten seconds of the client's life takes none of ours, and repeats itself exactly.

#![allow(clippy::unwrap_used)]

mod calls;
mod chaos;
mod cluster;
mod network;
mod once;
mod replica;
mod seeds;
mod session;
mod shutdown;
mod watch;
mod writes;
