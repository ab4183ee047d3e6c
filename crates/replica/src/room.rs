//! Room for proposals: how many may wait for their outcome at once, and how many bytes they may have together.
//!
//! Promises: who gets no place is told so at once, and nothing was done for it; a place is free again when it is dropped.
//! Left out on purpose: waiting for a place. Whoever is refused may ask again; a queue in front of a full queue helps nobody.

use std::sync::Arc;

use quorate_types::limits::{COMMAND_BYTES_MAX, PROPOSAL_BYTES_IN_FLIGHT_MAX, PROPOSALS_IN_FLIGHT_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::unavailable::Unavailable;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(crate) struct Room {
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// What there is too much of when there is no room.
    what: &'static str,
}

/// A place in a room.
pub(crate) struct Place {
    _one: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            count: Arc::new(Semaphore::new(PROPOSALS_IN_FLIGHT_MAX)),
            bytes: Arc::new(Semaphore::new(PROPOSAL_BYTES_IN_FLIGHT_MAX)),
            what,
        }
    }

    /// A place for one more proposal of `bytes`, held until its outcome is known.
    pub(crate) fn admit(&self, bytes: usize) -> Result<Place, Unavailable> {
        let too_large = Unavailable::TooLarge { bytes };
        if bytes > COMMAND_BYTES_MAX {
            return Err(too_large);
        }
        let bytes = u32::try_from(bytes).map_err(|_| too_large)?;
        let one = Arc::clone(&self.count).try_acquire_owned();
        let all = Arc::clone(&self.bytes).try_acquire_many_owned(bytes);
        match (one, all) {
            (Ok(one), Ok(all)) => Ok(Place {
                _one: one,
                _bytes: all,
            }),
            _ => Err(Unavailable::Overloaded { what: self.what }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_and_bytes_are_bounded_and_places_come_back() {
        let overloaded = Unavailable::Overloaded { what: "tests" };
        let cases = [
            ("many small ones", 1, PROPOSALS_IN_FLIGHT_MAX),
            (
                "few large ones",
                COMMAND_BYTES_MAX,
                PROPOSAL_BYTES_IN_FLIGHT_MAX / COMMAND_BYTES_MAX,
            ),
        ];
        for (name, bytes, fit) in cases {
            let room = Room::new("tests");
            let mut places: Vec<Place> = std::iter::from_fn(|| room.admit(bytes).ok()).collect();
            assert_eq!(places.len(), fit, "{name}");
            assert_eq!(room.admit(bytes).map(|_| ()), Err(overloaded.clone()), "{name}");
            places.pop();
            assert!(room.admit(bytes).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_no_log_takes_is_too_large() {
        let bytes = COMMAND_BYTES_MAX + 1;
        let refused = Room::new("tests").admit(bytes).map(|_| ());
        assert_eq!(refused, Err(Unavailable::TooLarge { bytes }));
    }
}
