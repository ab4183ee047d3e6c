//! Streams of workers: what happens on one, and which session hangs on which.

pub(crate) mod attachments;
pub(crate) mod stream;
