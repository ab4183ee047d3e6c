//! Ids and counters, each its own type so that one cannot be passed for another.

use std::fmt;
use std::str::FromStr;

/// A counter: a `u64` with a name.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The next value.
            ///
            /// # Panics
            /// When the counter would pass `u64::MAX`, which no cluster reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a 64-bit counter does not run out"))
            }
        }

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
    };
}

counter!(
    /// A replica's id in the Raft group. Handed out once, never used again for another directory.
    NodeId
);
counter!(
    /// etcd's meaning: the count of accepted changes to a keyspace. A refused command does not raise it.
    Revision
);
counter!(
    /// A session's fencing number. A later session of any worker has a larger one.
    Epoch
);
counter!(
    /// Log time in milliseconds since the Unix epoch: the running maximum of the proposers' stamps. It never goes back,
    /// but it may stand still while no entry is proposed.
    LogTime
);

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 32 hexadecimal digits")
    }
}

impl std::error::Error for ParseIdError {}

/// A random 128-bit id, shown as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The 16 bytes, big-endian: the form on the wire and on disk.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// From 16 big-endian bytes; `None` for any other length.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(ParseIdError);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| ParseIdError)
            }
        }
    };
}

random_id!(
    /// Names one cluster; a directory or a peer of another cluster is refused.
    ClusterId
);
random_id!(
    /// Names one run of a replica's process. Two runs at the same address differ in it.
    BootId
);
random_id!(
    /// Names one data directory. A wiped volume gets a new one, so that it cannot vote under its predecessor's id.
    Incarnation
);
random_id!(
    /// Names one client that numbers its writes.
    ClientId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_round_trip_as_text_and_bytes() {
        for value in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = ClusterId(value);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(ClusterId::from_bytes(&id.to_bytes()), Some(id));
        }
    }

    #[test]
    fn texts_that_are_no_ids() {
        for text in [
            "",
            "0",
            "+0000000000000000000000000000000",
            "g0000000000000000000000000000000",
            &"0".repeat(33),
        ] {
            assert_eq!(text.parse::<BootId>(), Err(ParseIdError), "{text:?}");
        }
        assert_eq!(ClientId::from_bytes(&[0; 15]), None);
    }
}
