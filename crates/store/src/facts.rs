//! What is known about a data directory, and the rules by which that changes.

use bytes::Bytes;
use quorate_types::Position;

use crate::error::StoreError;
use crate::identity::Identity;
use crate::limits::{MEMBERSHIP_BYTES_MAX, MEMBERSHIPS_KEPT};

/// A membership and the entry that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipFact {
    /// The entry.
    pub position: Position,
    /// Opaque to the store.
    pub membership: Bytes,
}

/// What is known about the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whose directory it is; `None` until [`Store::save_identity`](crate::Store::save_identity).
    pub identity: Option<Identity>,
    /// How often it was opened, this time included.
    pub boots: u64,
    /// The last [`MEMBERSHIPS_KEPT`] memberships, oldest first. Empty again after the facts had to be rebuilt: nothing
    /// safe may hang on it.
    pub memberships: Vec<MembershipFact>,
}

impl Facts {
    /// Whether that was news.
    pub(crate) fn take_identity(&mut self, identity: Identity) -> Result<bool, StoreError> {
        match &self.identity {
            Some(existing) if *existing == identity => Ok(false),
            Some(existing) => Err(StoreError::IdentityTaken {
                existing: Box::new(existing.clone()),
                wanted: Box::new(identity),
            }),
            None => {
                self.identity = Some(identity);
                Ok(true)
            }
        }
    }

    /// Adds a membership, and forgets those of a tail that was truncated and the oldest beyond the bound.
    pub(crate) fn add_membership(&mut self, position: Position, membership: Bytes) -> Result<(), StoreError> {
        let bytes = membership.len();
        if bytes > MEMBERSHIP_BYTES_MAX {
            return Err(StoreError::MembershipTooLarge { bytes });
        }
        self.memberships
            .retain(|fact| fact.position.index < position.index);
        self.memberships.push(MembershipFact { position, membership });
        let surplus = self.memberships.len().saturating_sub(MEMBERSHIPS_KEPT);
        self.memberships.drain(..surplus);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quorate_types::{ClusterId, Incarnation, MemberName, NodeId};

    use super::*;
    use crate::view::sample::at;

    #[test]
    fn an_identity_is_given_once() {
        let identity = |node| Identity {
            cluster: ClusterId(1),
            node: NodeId(node),
            incarnation: Incarnation(2),
            name: MemberName::new("a").unwrap(),
        };
        let mut facts = Facts::default();
        assert!(facts.take_identity(identity(1)).unwrap());
        assert!(!facts.take_identity(identity(1)).unwrap());
        assert!(facts.take_identity(identity(2)).is_err());
        assert_eq!(facts.identity, Some(identity(1)));
    }

    #[test]
    fn memberships_follow_the_log_and_the_oldest_go() {
        let mut facts = Facts::default();
        for index in 0..40 {
            facts.add_membership(at(1, index), Bytes::new()).unwrap();
        }
        facts.add_membership(at(2, 38), Bytes::new()).unwrap();
        let indexes: Vec<u64> = facts.memberships.iter().map(|f| f.position.index.0).collect();
        assert_eq!(indexes, (8..=38).collect::<Vec<_>>());
        let large = Bytes::from(vec![0; MEMBERSHIP_BYTES_MAX + 1]);
        assert!(facts.add_membership(at(2, 50), large).is_err());
    }
}
