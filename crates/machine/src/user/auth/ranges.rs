//! Sets of keys, as permissions name them.
//!
//! Promises: what is covered by several ranges together is covered, as in etcd, so a role for `[a, m)` and one for `[m, z)` let
//! a user read `[a, z)`. Left out on purpose: what may be done with the keys.

use bytes::Bytes;

/// Where a range ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The first key behind it.
    Before(Bytes),
    /// Nowhere.
    Never,
}

impl End {
    fn of(key: &Bytes, range_end: &Bytes) -> Self {
        match &range_end[..] {
            [] => Self::Before(successor(key)),
            [0] => Self::Never,
            _ => Self::Before(range_end.clone()),
        }
    }

    fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < &end[..],
            Self::Never => true,
        }
    }
}

/// The key right behind `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

/// See the module. Ascending; no two overlap or touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(Bytes, End)>);

impl Ranges {
    /// Of keys and their range ends.
    pub(super) fn new<'a>(ranges: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> Self {
        let mut all: Vec<_> = ranges
            .map(|(key, range_end)| (key.clone(), End::of(key, range_end)))
            .filter(|(key, end)| end.is_behind(key))
            .collect();
        all.sort_unstable();
        let mut merged: Vec<(Bytes, End)> = Vec::with_capacity(all.len());
        for (key, end) in all {
            match merged.last_mut() {
                Some((_, last)) if *last >= End::Before(key.clone()) => {
                    if end > *last {
                        *last = end;
                    }
                }
                _ => merged.push((key, end)),
            }
        }
        Self(merged)
    }

    /// The end of the range that `key` is in.
    fn end_around(&self, key: &[u8]) -> Option<&End> {
        let behind = self.0.partition_point(|(first, _)| first[..] <= *key);
        let (_, end) = self.0.get(behind.checked_sub(1)?)?;
        end.is_behind(key).then_some(end)
    }
}

/// Whether some sets together have all keys of a range, which must have its first key even when it is empty otherwise.
pub(super) fn cover<'a>(
    sets: impl Iterator<Item = &'a Ranges> + Clone,
    key: &Bytes,
    range_end: &Bytes,
) -> bool {
    let wanted = End::of(key, range_end);
    let mut at = key;
    loop {
        // As far as one of them leads; each step is at least one range further.
        let Some(reached) = sets.clone().filter_map(|set| set.end_around(at)).max() else {
            return false;
        };
        match reached {
            reached if *reached >= wanted => return true,
            End::Before(end) => at = end,
            End::Never => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: &[(&'static str, &'static str)]) -> Ranges {
        let owned: Vec<_> = ranges
            .iter()
            .map(|(key, end)| (Bytes::from(*key), Bytes::from(*end)))
            .collect();
        Ranges::new(owned.iter().map(|(key, end)| (key, end)))
    }

    fn covered(sets: &[&Ranges], key: &'static str, range_end: &'static str) -> bool {
        cover(sets.iter().copied(), &Bytes::from(key), &Bytes::from(range_end))
    }

    #[test]
    fn one_set_covers_what_its_ranges_do_together() {
        let of: &[(&[(&str, &str)], &str, &str, bool)] = &[
            (&[], "a", "", false),
            (&[("a", "")], "a", "", true),
            (&[("a", "")], "a\0", "", false),
            (&[("a", "")], "b", "", false),
            (&[("a", "")], "a", "b", false),
            (&[("a", "")], "a", "a\0", true),
            (&[("a", ""), ("a\0", "")], "a", "a\0\0", true),
            (&[("b", "d")], "a", "", false),
            (&[("b", "d")], "b", "", true),
            (&[("b", "d")], "c", "", true),
            (&[("b", "d")], "d", "", false),
            (&[("b", "d")], "b", "d", true),
            (&[("b", "d")], "b", "c", true),
            (&[("b", "d")], "a", "d", false),
            (&[("b", "d")], "b", "e", false),
            (&[("b", "d")], "b", "\0", false),
            (&[("b", "d"), ("d", "f")], "b", "f", true),
            (&[("b", "d"), ("d0", "f")], "b", "f", false),
            (&[("d", "f"), ("b", "e")], "c", "f", true),
            (&[("b", "z"), ("c", "d")], "b", "y", true),
            (&[("b", "\0")], "b", "\0", true),
            (&[("b", "\0")], "z", "", true),
            (&[("b", "\0")], "c", "\0", true),
            (&[("b", "\0")], "a", "\0", false),
            (&[("b", "\0"), ("a", "b")], "a", "\0", true),
            (&[("b", "\0"), ("c", "d")], "c", "z", true),
            (&[("\0", "\0")], "\0", "\0", true),
            // Empty ranges: permitted where their first key is.
            (&[("b", "d")], "c", "a", true),
            (&[("b", "d")], "d", "a", false),
            (&[("d", "b")], "c", "", false),
        ];
        for (set, key, range_end, want) in of {
            assert_eq!(
                covered(&[&ranges(set)], key, range_end),
                *want,
                "{set:?} and {key:?} {range_end:?}"
            );
        }
    }

    #[test]
    fn several_sets_cover_together_as_one_does() {
        let parts = [("b", "d"), ("d", "f"), ("e", "h"), ("h", "\0")];
        let whole = ranges(&parts);
        let each = parts.map(|part| ranges(&[part]));
        let sets: Vec<&Ranges> = each.iter().rev().collect();
        for key in ["a", "b", "c", "d", "g", "h", "z"] {
            for range_end in ["", "\0", "c", "d", "e", "h", "z"] {
                assert_eq!(
                    covered(&sets, key, range_end),
                    covered(&[&whole], key, range_end),
                    "{key:?} {range_end:?}"
                );
            }
        }
        assert!(!covered(&[&each[0], &each[2]], "b", "g"), "there is a gap");
    }
}
