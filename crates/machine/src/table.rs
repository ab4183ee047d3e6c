//! Typed windows on the rows of a keyspace.
//!
//! Promises: a table sees its own rows and no others (its tag is the first byte of their keys); keys keep the order of
//! their parts, so that a prefix is a range. Left out on purpose: which tables there are for whom. Each is a private
//! constant of the file whose rules it serves; only the tags stand in one list, so that no two tables share one.
//!
//! A stored row always decodes: rows are written here or checked by [`crate::audit`] when a snapshot is restored.

use std::marker::PhantomData;

use bytes::Bytes;

use crate::txn::Txn;

/// The tables of the meta keyspace. A number is part of every key: it is never used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableTag {
    Database = 1,
    DatabaseName = 2,
    Collection = 3,
    CollectionName = 4,
    Alias = 5,
    Partition = 6,
    PartitionName = 7,
    ChannelUse = 8,
    Lease = 9,
    Session = 10,
    SessionWorker = 11,
}

impl TableTag {
    pub(crate) const ALL: [Self; 11] = [
        Self::Database,
        Self::DatabaseName,
        Self::Collection,
        Self::CollectionName,
        Self::Alias,
        Self::Partition,
        Self::PartitionName,
        Self::ChannelUse,
        Self::Lease,
        Self::Session,
        Self::SessionWorker,
    ];

    /// The table of a key.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        let first = *key.first()?;
        Self::ALL.into_iter().find(|tag| *tag as u8 == first)
    }
}

/// Something that rows can be read from: the present state, or a transaction with its own writes on top.
pub(crate) trait Rows {
    /// The value of a key.
    fn value(&self, key: &[u8]) -> Option<&[u8]>;

    /// Keys that start with `prefix`, ascending, after `after` if it is given, with their values.
    fn scan<'a>(
        &'a self,
        prefix: Vec<u8>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a, Self>;
}

/// A part of a key with a fixed length.
pub(crate) trait FixedKey: Copy {
    fn write(self, out: &mut Vec<u8>);
    /// The part, and what follows it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])>;
}

/// A key of a table, without the table's tag.
pub(crate) trait Key: Sized {
    /// The borrowed form that looks things up.
    type Ref<'a>: Copy;
    fn write(key: Self::Ref<'_>, out: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// What stands in a row, together with its key.
pub(crate) trait Value<K>: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(key: K, bytes: &[u8]) -> Option<Self>;
}

/// See the module.
pub(crate) struct Table<K, V> {
    tag: TableTag,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

const DECODES: &str = "a stored row decodes";

impl<K: Key, V: Value<K>> Table<K, V> {
    pub(crate) const fn new(tag: TableTag) -> Self {
        Self {
            tag,
            types: PhantomData,
        }
    }

    /// The whole key of a row.
    pub(crate) fn key(&self, key: K::Ref<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(self.tag as u8);
        K::write(key, &mut out);
        out
    }

    /// The start of all keys of the table.
    pub(crate) fn start(&self) -> Vec<u8> {
        vec![self.tag as u8]
    }

    /// The start of all keys of the table that begin with `part`.
    pub(crate) fn prefix(&self, part: impl FixedKey) -> Vec<u8> {
        let mut out = self.start();
        part.write(&mut out);
        out
    }

    /// A whole key and its value; `None` when they are not of this table or damaged.
    pub(crate) fn decode(&self, key: &[u8], value: &[u8]) -> Option<V> {
        let (&tag, rest) = key.split_first()?;
        if tag != self.tag as u8 {
            return None;
        }
        V::decode(K::read(rest)?, value)
    }

    pub(crate) fn get(&self, rows: &impl Rows, key: K::Ref<'_>) -> Option<V> {
        let key = self.key(key);
        let value = rows.value(&key)?;
        Some(self.decode(&key, value).expect(DECODES))
    }

    pub(crate) fn has(&self, rows: &impl Rows, key: K::Ref<'_>) -> bool {
        rows.value(&self.key(key)).is_some()
    }

    /// Rows whose keys start with `prefix`, ascending, after `after` if it is given.
    pub(crate) fn scan<'a, R: Rows>(
        self,
        rows: &'a R,
        prefix: Vec<u8>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], V)> + use<'a, K, V, R> {
        rows.scan(prefix, after)
            .map(move |(key, value)| (key, self.decode(key, value).expect(DECODES)))
    }

    /// Writes a row. A value that stands there already is no write, so that it makes no revision.
    pub(crate) fn put(&self, txn: &mut Txn<'_>, key: K::Ref<'_>, value: &V) {
        let key = self.key(key);
        let value = value.encode();
        if txn.value(&key) != Some(&value) {
            txn.write(Bytes::from(key), Some(Bytes::from(value)));
        }
    }

    pub(crate) fn delete(&self, txn: &mut Txn<'_>, key: K::Ref<'_>) {
        let key = self.key(key);
        txn.write(Bytes::from(key), None);
    }
}

impl<F: FixedKey> Key for F {
    type Ref<'a> = F;

    fn write(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        key.write(out);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = F::read(bytes)?;
        rest.is_empty().then_some(key)
    }
}

/// The key of a table's only row.
impl FixedKey for () {
    fn write(self, _out: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        Some(((), bytes))
    }
}

impl<A: FixedKey, B: FixedKey> FixedKey for (A, B) {
    fn write(self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (a, rest) = A::read(bytes)?;
        let (b, rest) = B::read(rest)?;
        Some(((a, b), rest))
    }
}

/// A text is always the last part, so it needs no end mark.
impl Key for String {
    type Ref<'a> = &'a str;

    fn write(key: Self::Ref<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(std::str::from_utf8(bytes).ok()?.to_owned())
    }
}

/// Something, and a text under it.
impl<F: FixedKey> Key for Under<F> {
    type Ref<'a> = (F, &'a str);

    fn write((under, text): Self::Ref<'_>, out: &mut Vec<u8>) {
        under.write(out);
        out.extend_from_slice(text.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (under, rest) = F::read(bytes)?;
        Some(Self(under, <String as Key>::read(rest)?))
    }
}

/// The key of a name that is unique under something: a collection's in its database.
pub(crate) struct Under<F>(pub(crate) F, pub(crate) String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_id::{CollectionId, DatabaseId, PartitionId};

    #[test]
    fn keys_keep_the_order_of_their_parts() {
        type Name = Under<DatabaseId>;
        let key = |id: u64, name: &str| {
            let mut out = Vec::new();
            <Name as Key>::write((DatabaseId(id), name), &mut out);
            out
        };
        let sorted = [
            key(1, "z"),
            key(2, ""),
            key(2, "a"),
            key(2, "ab"),
            key(2, "b"),
            key(256, "a"),
        ];
        assert!(sorted.is_sorted());
        let read = <Name as Key>::read(&key(256, "é")).expect("a key");
        assert_eq!((read.0, read.1.as_str()), (DatabaseId(256), "é"));
    }

    #[test]
    fn what_is_no_key_is_none() {
        assert!(<CollectionId as Key>::read(&[0; 7]).is_none());
        assert!(<CollectionId as Key>::read(&[0; 9]).is_none());
        assert!(<(CollectionId, PartitionId) as Key>::read(&[0; 15]).is_none());
        assert!(<Under<DatabaseId> as Key>::read(&[0; 7]).is_none());
        assert!(<Under<DatabaseId> as Key>::read(&[0, 0, 0, 0, 0, 0, 0, 1, 0xff]).is_none());
        assert!(<() as Key>::read(&[0]).is_none());
    }

    #[test]
    fn tags_are_found_by_their_byte() {
        for tag in TableTag::ALL {
            assert_eq!(TableTag::of(&[tag as u8, 9]), Some(tag));
        }
        assert_eq!(TableTag::of(&[0]), None);
        assert_eq!(TableTag::of(&[]), None);
    }
}
