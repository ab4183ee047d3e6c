//! Which keys a watch is on. Pure.
//!
//! Promises: a key and a range's end mean what they mean in etcd; what is kept is a copy, so that a watch does not hold on to
//! the message that asked for it.

use bytes::Bytes;

/// A key alone, or a range of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keys {
    One(Bytes),
    Range(Range),
}

/// Keys from the first one until an end. In the order of their first keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Range {
    pub(super) first: Bytes,
    pub(super) until: Until,
}

/// Where a range ends. In the order of what they leave out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Until {
    Before(Bytes),
    Never,
}

impl Until {
    /// Whether the end lies behind `key`.
    pub(super) fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => *key < **end,
            Self::Never => true,
        }
    }
}

impl Range {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        *self.first <= *key && self.until.is_behind(key)
    }
}

impl Keys {
    /// What a request means; `None` when that is nothing. No key stands for the smallest one.
    pub(super) fn of(key: &[u8], range_end: &[u8]) -> Option<Self> {
        let key: &[u8] = if key.is_empty() { &[0] } else { key };
        let first = Bytes::copy_from_slice(key);
        let until = match range_end {
            [] => return Some(Self::One(first)),
            [0] => Until::Never,
            end if key < end => Until::Before(Bytes::copy_from_slice(end)),
            _ => return None,
        };
        Some(Self::Range(Range { first, until }))
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => **one == *key,
            Self::Range(range) => range.contains(key),
        }
    }

    /// As a read of these keys has them: the key, and the range's end.
    pub(super) fn bounds(&self) -> (Bytes, Bytes) {
        match self {
            Self::One(one) => (one.clone(), Bytes::new()),
            Self::Range(Range { first, until }) => match until {
                Until::Before(end) => (first.clone(), end.clone()),
                Until::Never => (first.clone(), Bytes::from_static(&[0])),
            },
        }
    }

    /// How many are kept in memory.
    pub(super) fn bytes(&self) -> usize {
        let (key, range_end) = self.bounds();
        key.len() + range_end.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_range_ends_mean_what_they_mean_in_etcd() {
        type Case = (
            &'static [u8],
            &'static [u8],
            Option<(&'static [&'static [u8]], &'static [&'static [u8]])>,
        );
        let cases: &[Case] = &[
            (b"b", b"", Some((&[b"b"], &[b"a", b"ba", b""]))),
            (b"b", b"c", Some((&[b"b", b"ba", b"b\xff\xff"], &[b"a", b"c"]))),
            (b"b", b"\0", Some((&[b"b", b"c", b"\xff"], &[b"a", b"\0"]))),
            (b"", b"", Some((&[b"\0"], &[b"\0\0", b"a"]))),
            (b"", b"\0", Some((&[b"\0", b"a", b"\xff"], &[b""]))),
            (b"", b"b", Some((&[b"\0", b"a"], &[b"b"]))),
            (b"\0", b"\0", Some((&[b"\0", b"z"], &[]))),
            (b"b", b"b", None),
            (b"b", b"a", None),
        ];
        for (key, range_end, want) in cases {
            let keys = Keys::of(key, range_end);
            assert_eq!(keys.is_some(), want.is_some(), "{key:?} to {range_end:?}");
            let (Some(keys), Some((within, without))) = (keys, want) else {
                continue;
            };
            for one in *within {
                assert!(keys.contains(one), "{keys:?} and {one:?}");
            }
            for other in *without {
                assert!(!keys.contains(other), "{keys:?} and {other:?}");
            }
            let (key, range_end) = keys.bounds();
            assert_eq!(keys.bytes(), key.len() + range_end.len());
            assert_eq!(Keys::of(&key, &range_end), Some(keys));
        }
    }
}
