//! `quorate dev` through the real binary, driven by lines as a script drives it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fleet;
mod lifecycle;
mod screen;
mod verbs;
mod wrong;
