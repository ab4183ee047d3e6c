//! Breaks clusters and judges what their clients saw: for the project's own whole-system tests, and for users' tests.
//!
//! Promises: [`netns`] puts every replica into a network namespace of its own, where links can be cut in one direction
//! or both, and leaves nothing behind; [`load`] drives writers and readers through the Rust client and notes what each
//! call was told; [`judge`] decides from these notes and the cluster's own history whether an acknowledged write was
//! lost or doubled, or a read was stale; [`agree`] compares the replicas with one another; [`certificates`] signs what TLS
//! is tried with; [`etcd_client`] tells what programs with that crate see; [`proxy`] cuts connections of theirs; [`calm`]
//! tries a test again that a pause of the machine has failed.
//!
//! Left out on purpose: clusters on loopback, which `quorate-local` starts; and what to break when, which is each
//! test's own story.

pub mod agree;
pub mod calm;
pub mod certificates;
mod error;
pub mod etcd_client;
pub mod judge;
pub mod load;
pub mod netns;
mod process;
pub mod proxy;
pub mod record;
pub mod room;

pub use error::KitError;
pub use process::{Process, ProcessState};
