//! The client of a Quorate cluster: what workers, the command line and the benches use.
//!
//! Promises: from any one reachable address it finds the group and its leader and follows every change of leader by
//! itself; a call meets no error that a retry can cure before its deadline is over; a write is executed at most once,
//! however often it had to be sent (see [`Error::Unavailable`] for the one case in which its fate stays open); a
//! session outlives the leader that opened it; a watch delivers every change once and in order.
//!
//! Left out on purpose: caching of what was read, and any knowledge of what a command means. The messages of
//! `quorate.v1` are the vocabulary, re-exported as [`v1`]; the client fills in their request ids.
//!
//! ```no_run
//! # async fn example() -> Result<(), quorate_client::Error> {
//! use quorate_client::{Client, v1};
//!
//! let client = Client::connect(["quorate-0:2379", "quorate-1:2379", "quorate-2:2379"])?;
//! let created = client
//!     .root()
//!     .create_database(v1::CreateDatabaseRequest { name: "books".to_owned(), ..Default::default() })
//!     .await?;
//! println!("database {}", created.database_id);
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Everything runs on tokio's clock, over a [`quorate_host::Network`] and with [`quorate_host::entropy`], so that the
//! same code runs in the deterministic simulation.

mod builder;
mod call;
mod client;
mod cluster;
mod core;
mod error;
mod ids;
mod numbered;
mod once;
mod pages;
mod root;
mod session;
mod snapshots;
mod stale;
mod topology;
mod watch;
mod wire;
mod writes;

pub use quorate_api::v1;

pub use quorate_tls::ClientFiles as TlsFiles;

pub use builder::Builder;
pub use client::Client;
pub use cluster::Cluster;
pub use error::{Error, Outcome};
pub use ids::Ids;
pub use numbered::Numbered;
pub use root::Root;
pub use session::{OpenSession, Session, SessionState, Sessions};
pub use snapshots::{Saving, Snapshots};
pub use stale::{Stale, StaleRoot};
pub use topology::Leader;
pub use watch::{OnCompaction, Watch, WatchItem};
pub use writes::{Answer, Writes};
