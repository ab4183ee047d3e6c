//! What one command may see and write.
//!
//! Promises: a transaction reads the state as it was plus its own writes; dropping it leaves no trace, so a refusal needs
//! no undoing; its writes keep the order in which they were first made. With one exception: etcd's keys and leases are changed in
//! place, because a second hold on persistent maps would make each write copy every node on its way. So whoever refuses does it
//! before the first change of them. Left out on purpose: everything that is not in the state or the entry: no clock, no chance, no
//! other command.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use quorate_types::{Epoch, LogTime};

use crate::clients::Clients;
use crate::keyspace::{Keyspace, Write};
use crate::state::{Head, State};
use crate::table::Rows;
use crate::user::User;

/// See the module.
pub(crate) struct Txn<'a> {
    rows: &'a Keyspace,
    /// By key; the number is the place in the write order.
    writes: BTreeMap<Bytes, (usize, Option<Bytes>)>,
    /// The counters as they will be.
    pub(crate) head: Head,
    clients_before: &'a Clients,
    /// The clients as they will be, once a command has asked for them.
    clients: Option<Clients>,
    /// etcd's keys and leases, in place.
    user: &'a mut User,
    /// The log time of the command.
    pub(crate) log_time: LogTime,
}

/// What an accepted transaction changes.
pub(crate) struct Effects {
    /// In their order.
    pub(crate) writes: Vec<Write>,
    pub(crate) head: Head,
    /// Absent when no command asked for them.
    pub(crate) clients: Option<Clients>,
}

impl<'a> Txn<'a> {
    pub(crate) fn begin(state: &'a mut State) -> Self {
        Self {
            rows: &state.meta,
            writes: BTreeMap::new(),
            head: state.head,
            clients_before: &state.clients,
            clients: None,
            user: &mut state.user,
            log_time: state.log_time,
        }
    }

    /// A new id, for whatever kind of object.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.head.last_id = self
            .head
            .last_id
            .checked_add(1)
            .expect("a 64-bit counter does not run out");
        self.head.last_id
    }

    /// A new epoch, larger than every one before.
    pub(crate) fn next_epoch(&mut self) -> Epoch {
        let next = Epoch(self.head.last_epoch).next();
        self.head.last_epoch = next.0;
        next
    }

    /// etcd's keys, to be read.
    pub(crate) fn user_now(&self) -> &User {
        self.user
    }

    /// etcd's keys, to be read and changed: the changes are of one revision, and stay.
    pub(crate) fn user(&mut self) -> &mut User {
        self.user
    }

    /// The clients, to be changed.
    pub(crate) fn clients(&mut self) -> &mut Clients {
        self.clients.get_or_insert_with(|| self.clients_before.clone())
    }

    /// Buffers a write; `None` deletes.
    pub(crate) fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        let place = self.writes.len();
        self.writes
            .entry(key)
            .and_modify(|(_, written)| written.clone_from(&value))
            .or_insert((place, value));
    }

    /// What the transaction comes to.
    pub(crate) fn finish(self) -> Effects {
        let mut writes: Vec<_> = self.writes.into_iter().collect();
        writes.sort_unstable_by_key(|(_, (place, _))| *place);
        let writes = writes.into_iter().map(|(key, (_, value))| (key, value));
        self.user.close();
        Effects {
            writes: writes.collect(),
            head: self.head,
            clients: self.clients,
        }
    }
}

impl Rows for Keyspace {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key).map(|row| &row.value[..])
    }

    fn scan<'a>(
        &'a self,
        prefix: Vec<u8>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        Keyspace::scan(self, prefix, after).map(|(key, row)| (&key[..], &row.value[..]))
    }
}

impl<'t> Rows for Txn<'t> {
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        match self.writes.get(key) {
            Some((_, written)) => written.as_deref(),
            None => self.rows.value(key),
        }
    }

    fn scan<'b>(
        &'b self,
        prefix: Vec<u8>,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + use<'b, 't> {
        let from = match after {
            Some(after) if after >= prefix.as_slice() => Bound::Excluded(after),
            _ => Bound::Included(prefix.as_slice()),
        };
        let written = self
            .writes
            .range::<[u8], _>((from, Bound::Unbounded))
            .map(|(key, (_, value))| (&key[..], value.as_deref()));
        let merged = Merged {
            rows: Rows::scan(self.rows, prefix.clone(), after).peekable(),
            written: written.peekable(),
        };
        merged.take_while(move |(key, _)| key.starts_with(&prefix))
    }
}

/// Two ascending streams as one; a written key hides the row under it, and a deleted one shows nothing.
struct Merged<R: Iterator, W: Iterator> {
    rows: Peekable<R>,
    written: Peekable<W>,
}

impl<'a, R, W> Iterator for Merged<R, W>
where
    R: Iterator<Item = (&'a [u8], &'a [u8])>,
    W: Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
{
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(&(written, _)) = self.written.peek() else {
                return self.rows.next();
            };
            match self.rows.peek() {
                Some(&(row, _)) if row < written => return self.rows.next(),
                Some(&(row, _)) if row == written => drop(self.rows.next()),
                _ => {}
            }
            if let Some((key, Some(value))) = self.written.next() {
                return Some((key, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(txn: &mut Txn<'_>, key: &'static str, value: Option<&'static str>) {
        txn.write(Bytes::from(key), value.map(Bytes::from));
    }

    fn scan(txn: &Txn<'_>, prefix: &str, after: Option<&str>) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        txn.scan(prefix.into(), after.map(str::as_bytes))
            .map(|(key, value)| format!("{}={}", text(key), text(value)))
            .collect()
    }

    #[test]
    fn a_transaction_sees_its_own_writes_on_top_of_the_state() {
        let mut state = State::empty();
        let rows = ["pa", "pc", "pe", "q"].map(|key| (Bytes::from(key), Some(Bytes::from("old"))));
        state.meta.commit(rows.to_vec());
        let mut txn = Txn::begin(&mut state);
        write(&mut txn, "pd", Some("new"));
        write(&mut txn, "pc", None);
        write(&mut txn, "pb", Some("new"));
        write(&mut txn, "pe", Some("new"));
        write(&mut txn, "px", None);

        assert_eq!(txn.value(b"pa"), Some(&b"old"[..]));
        assert_eq!(txn.value(b"pc"), None);
        assert_eq!(txn.value(b"pe"), Some(&b"new"[..]));
        assert_eq!(scan(&txn, "p", None), ["pa=old", "pb=new", "pd=new", "pe=new"]);
        assert_eq!(scan(&txn, "p", Some("pb")), ["pd=new", "pe=new"]);
        assert_eq!(scan(&txn, "r", None), [""; 0]);
    }

    #[test]
    fn writes_keep_the_order_of_their_first_making() {
        let mut state = State::empty();
        let mut txn = Txn::begin(&mut state);
        write(&mut txn, "b", Some("1"));
        write(&mut txn, "a", Some("2"));
        write(&mut txn, "b", Some("3"));
        let effects = txn.finish();
        let writes: Vec<_> = effects
            .writes
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()))
            .collect();
        assert_eq!(writes, [(&b"b"[..], Some(&b"3"[..])), (b"a", Some(b"2"))]);
    }

    #[test]
    fn ids_and_epochs_rise_and_are_lost_with_the_transaction() {
        let mut state = State::empty();
        state.head.last_id = 41;
        let mut txn = Txn::begin(&mut state);
        assert_eq!((txn.next_id(), txn.next_id()), (42, 43));
        assert_eq!((txn.next_epoch(), txn.next_epoch()), (Epoch(1), Epoch(2)));
        drop(txn);
        assert_eq!(state.head.last_id, 41);
    }
}
