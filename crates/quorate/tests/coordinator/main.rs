//! Whole coordinators in one process, over real sockets, talked to by the real client and by hand.
#![allow(clippy::unwrap_used, missing_docs)]

mod catalog;
mod cluster;
mod etcd;
mod etcd_auth;
mod etcd_operators;
mod health;
mod hostile;
mod http;
mod lifecycle;
mod once;
mod redirect;
mod sessions;
mod snapshots;
mod stale;
mod tls;
mod watch;
mod writes;
