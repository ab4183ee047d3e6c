//! Failures of our own: the replica stops rather than diverge.

use quorate_format::envelope::OpenError;
use quorate_types::Index;

/// Why an entry cannot be applied. The state is as it was before the entry.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The entry is not the next one.
    #[error("entry {got} was to be applied where entry {expected} is next")]
    Gap {
        /// The index that is next.
        expected: Index,
        /// The index that came.
        got: Index,
    },
    /// The entry's bytes cannot be read.
    #[error("entry {index} cannot be read")]
    Unreadable {
        /// Its index.
        index: Index,
        /// What is wrong with it.
        #[source]
        source: OpenError,
    },
    /// The entry can be read but has a part that this build does not know or that no build writes.
    #[error("entry {index} has {what} that this build does not know: is it of a later release?")]
    Unknown {
        /// Its index.
        index: Index,
        /// Which part.
        what: &'static str,
    },
    /// The entry's meaning belongs to a level that this build does not know.
    #[error(
        "entry {index} needs feature level {needs}, this build knows {known}: install the release that the other \
         replicas run"
    )]
    FeatureLevel {
        /// Its index.
        index: Index,
        /// The level it needs, or raises to.
        needs: u32,
        /// The highest level known here.
        known: u32,
    },
}
