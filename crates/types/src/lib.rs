//! The vocabulary that every crate of Quorate shares: ids, log positions, members, limits.
//!
//! Promises: plain values without behaviour beyond order, text form and validation. Left out on purpose: async,
//! IO, clocks, randomness, and any encoding (durable forms live in `quorate-format`, wire forms in `quorate-api`
//! and in the peer protocol of `quorate-replica`).

mod id;
pub mod limits;
mod member;
mod position;

pub use id::{BootId, ClientId, ClusterId, Epoch, Incarnation, LogTime, NodeId, ParseIdError, Revision};
pub use member::{AddressError, Member, MemberName, NameError, check_address};
pub use position::{Index, Position, Term};
