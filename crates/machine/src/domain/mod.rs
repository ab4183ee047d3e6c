//! The domains: each decides its own commands, and keeps its tables to itself.
//!
//! A decide function checks everything first and writes last; it returns a reply or a refusal. A domain that needs
//! another's rows calls its functions, never its tables.

pub(crate) mod id;
pub(crate) mod kv;
pub(crate) mod root;
pub(crate) mod session;
