//! Ids of the machine's objects, each its own type. All come from one counter, so that no two objects share a number,
//! and no id is ever given twice.

use std::fmt;

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl crate::table::FixedKey for $name {
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_be_bytes());
            }

            fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
                let (head, rest) = bytes.split_first_chunk()?;
                Some((Self(u64::from_be_bytes(*head)), rest))
            }
        }
    };
}

object_id!(
    /// A database.
    DatabaseId
);
object_id!(
    /// A collection.
    CollectionId
);
object_id!(
    /// A partition.
    PartitionId
);
object_id!(
    /// A lease. The id of a worker's session is the id of its lease.
    LeaseId
);
