//! `quorate dev` through the real binary, driven by lines as a script drives it.
#![allow(clippy::unwrap_used, missing_docs)]

mod fleet;
mod lifecycle;
mod screen;
mod verbs;
mod wrong;
