//! A map from ranges of keys that finds those which a key lies in.
//!
//! Promises: inserting and removing cost O(log n), finding O(log n) and what is found, whatever the ranges; nobody who
//! chooses the ranges can make it slower, because the shape hangs on a secret. A treap: a search tree by range that is a heap
//! by chance, in which each node knows how far the ranges below it reach.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use super::keys::{Range, Until};

/// See the module.
pub(super) struct Ranges<V> {
    root: Tree<V>,
    chance: RandomState,
}

type Tree<V> = Option<Box<Node<V>>>;

struct Node<V> {
    range: Range,
    value: V,
    /// No node below has a higher one.
    priority: u64,
    /// The furthest end of this range and of those below.
    reach: Until,
    /// Ranges before this one.
    left: Tree<V>,
    /// Ranges behind this one.
    right: Tree<V>,
}

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Self {
            root: None,
            chance: RandomState::new(),
        }
    }
}

impl<V> Ranges<V> {
    pub(super) fn get_mut(&mut self, range: &Range) -> Option<&mut V> {
        let mut tree = self.root.as_mut();
        while let Some(node) = tree {
            tree = match range.cmp(&node.range) {
                Ordering::Equal => return Some(&mut node.value),
                Ordering::Less => node.left.as_mut(),
                Ordering::Greater => node.right.as_mut(),
            };
        }
        None
    }

    /// Inserts a range that is not there yet.
    pub(super) fn insert(&mut self, range: Range, value: V) {
        let node = Node {
            priority: self.chance.hash_one(&range),
            reach: range.until.clone(),
            range,
            value,
            left: None,
            right: None,
        };
        self.root = Some(insert(self.root.take(), Box::new(node)));
    }

    pub(super) fn remove(&mut self, range: &Range) -> Option<V> {
        remove(&mut self.root, range)
    }

    /// Calls `visit` with the value of every range that `key` lies in.
    pub(super) fn each<'a>(&'a self, key: &[u8], visit: &mut impl FnMut(&'a V)) {
        each(self.root.as_deref(), key, visit);
    }
}

impl<V> Node<V> {
    /// Brings `reach` up to date after a change below.
    fn measure(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten();
        let furthest = below.map(|node| &node.reach).fold(&self.range.until, Ord::max);
        if self.reach != *furthest {
            self.reach = furthest.clone();
        }
    }
}

fn each<'a, V>(tree: Option<&'a Node<V>>, key: &[u8], visit: &mut impl FnMut(&'a V)) {
    let Some(node) = tree else {
        return;
    };
    if !node.reach.is_behind(key) {
        return;
    }
    each(node.left.as_deref(), key, visit);
    if *node.range.first <= *key {
        if node.range.until.is_behind(key) {
            visit(&node.value);
        }
        each(node.right.as_deref(), key, visit);
    }
}

fn insert<V>(tree: Tree<V>, mut new: Box<Node<V>>) -> Box<Node<V>> {
    let Some(mut node) = tree else {
        return new;
    };
    if node.priority < new.priority {
        (new.left, new.right) = split(Some(node), &new.range);
        new.measure();
        return new;
    }
    let side = match new.range < node.range {
        true => &mut node.left,
        false => &mut node.right,
    };
    *side = Some(insert(side.take(), new));
    node.measure();
    node
}

fn remove<V>(tree: &mut Tree<V>, range: &Range) -> Option<V> {
    let mut node = tree.take()?;
    let removed = match range.cmp(&node.range) {
        Ordering::Less => remove(&mut node.left, range),
        Ordering::Greater => remove(&mut node.right, range),
        Ordering::Equal => {
            let Node {
                value, left, right, ..
            } = *node;
            *tree = merge(left, right);
            return Some(value);
        }
    };
    if removed.is_some() {
        node.measure();
    }
    *tree = Some(node);
    removed
}

/// What lies before `at`, and the rest.
fn split<V>(tree: Tree<V>, at: &Range) -> (Tree<V>, Tree<V>) {
    let Some(mut node) = tree else {
        return (None, None);
    };
    if node.range < *at {
        let (before, rest) = split(node.right.take(), at);
        node.right = before;
        node.measure();
        (Some(node), rest)
    } else {
        let (before, rest) = split(node.left.take(), at);
        node.left = rest;
        node.measure();
        (before, Some(node))
    }
}

/// One tree of two, all of the first one before the second.
fn merge<V>(first: Tree<V>, second: Tree<V>) -> Tree<V> {
    match (first, second) {
        (None, tree) | (tree, None) => tree,
        (Some(mut first), Some(mut second)) => Some(if first.priority > second.priority {
            first.right = merge(first.right.take(), Some(second));
            first.measure();
            first
        } else {
            second.left = merge(Some(first), second.left.take());
            second.measure();
            second
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn range(first: u16, until: Option<u16>) -> Range {
        let bytes = |number: u16| Bytes::copy_from_slice(&number.to_be_bytes());
        Range {
            first: bytes(first),
            until: until.map_or(Until::Never, |end| Until::Before(bytes(end))),
        }
    }

    /// Numbers without a pattern, the same in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u64) -> u16 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u16::try_from((self.0 >> 33) % bound).unwrap()
        }
    }

    fn depth<V>(tree: &Tree<V>) -> usize {
        tree.as_ref()
            .map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    fn check<V>(tree: &Tree<V>) {
        let Some(node) = tree else {
            return;
        };
        let below = [&node.left, &node.right];
        for child in below.into_iter().flatten() {
            assert!(child.priority <= node.priority && child.reach <= node.reach);
        }
        let reached = below.into_iter().flatten().any(|child| child.reach == node.reach);
        assert!(reached || node.reach == node.range.until);
        check(&node.left);
        check(&node.right);
    }

    #[test]
    fn it_finds_what_a_list_finds() {
        let mut numbers = Numbers(7);
        let mut ranges = Ranges::default();
        let mut list = BTreeMap::new();
        for step in 0..4_000_u32 {
            let first = numbers.below(64);
            let until = match numbers.below(8) {
                0 => None,
                _ => Some(first + 1 + numbers.below(32)),
            };
            let range = range(first, until);
            if numbers.below(3) == 0 {
                assert_eq!(ranges.remove(&range), list.remove(&range));
            } else if let Some(value) = ranges.get_mut(&range) {
                assert_eq!(list.insert(range, step), Some(*value));
                *value = step;
            } else {
                ranges.insert(range.clone(), step);
                assert_eq!(list.insert(range, step), None);
            }
            check(&ranges.root);
            let key = numbers.below(100).to_be_bytes();
            let mut found = Vec::new();
            ranges.each(&key, &mut |value| found.push(*value));
            let within = list.iter().filter(|(range, _)| range.contains(&key));
            // Both in the order of the ranges.
            assert_eq!(found, within.map(|(_, value)| *value).collect::<Vec<_>>());
        }
        for range in list.keys() {
            assert!(ranges.remove(range).is_some());
        }
        assert!(ranges.root.is_none());
    }

    #[test]
    fn ranges_in_order_make_no_list_of_it() {
        let mut ranges = Ranges::default();
        for first in 0..10_000 {
            ranges.insert(range(first, Some(first + 1)), ());
        }
        assert!(depth(&ranges.root) < 100, "{}", depth(&ranges.root));
        let mut found = 0;
        ranges.each(&5_000_u16.to_be_bytes(), &mut |()| found += 1);
        assert_eq!(found, 1);
    }
}
