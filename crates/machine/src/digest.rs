//! A 128-bit digest of the state, kept up to date in O(1) for each thing that changes.
//!
//! Promises: replicas that applied the same log have the same digest at the same index, and it covers everything that they
//! must agree on: rows, counters, clients and their answers, log time, feature level, position, history floor. The parts
//! with many members are wrapping sums of xxh3-128 over each member, so that a member can be added and taken out without
//! touching the others. It finds divergence and damage; it is no defence against forgers.

use quorate_types::{ClientId, Revision};
use xxhash_rust::xxh3::xxh3_128;

use crate::feature;
use crate::keyspace::{KeyspaceTag, Row};
use crate::state::State;

/// A hash input: fixed fields, and variable ones behind their length, so that no two inputs read alike.
struct Input(Vec<u8>);

impl Input {
    /// `kind` keeps the members of different sums apart.
    fn new(kind: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 1);
        bytes.push(kind);
        Self(bytes)
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn wide(mut self, number: u128) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// etcd's keyspace, leases and users, which there are from their feature levels on.
    fn user(self, state: &State) -> Self {
        if state.head.feature_level < feature::KV {
            return self;
        }
        let user = state.user.rows();
        let keys = self
            .number(u64::from(user.tag().number()))
            .number(user.revision().0)
            .wide(user.digest())
            .number(user.history().floor().0)
            .number(user.history().changes() as u64);
        if state.head.feature_level < feature::KV_LEASES {
            return keys;
        }
        let leases = state.user.leases();
        let leases = keys
            .number(u64::from(leases.tag().number()))
            .number(leases.revision().0)
            .wide(leases.digest());
        if state.head.feature_level < feature::KV_AUTH {
            return leases;
        }
        let auth = state.user.auth_rows();
        leases
            .number(u64::from(auth.tag().number()))
            .number(auth.revision().0)
            .wide(auth.digest())
    }

    fn digest(self) -> u128 {
        xxh3_128(&self.0)
    }
}

/// A row of a keyspace.
pub(crate) fn row(keyspace: KeyspaceTag, key: &[u8], row: &Row) -> u128 {
    let input = Input::new(b'r', 56 + key.len() + row.value.len())
        .number(u64::from(keyspace.number()))
        .bytes(key)
        .number(row.create_revision.0)
        .number(row.mod_revision.0)
        .number(row.version)
        .bytes(&row.value);
    match keyspace {
        KeyspaceTag::Meta | KeyspaceTag::Leases | KeyspaceTag::Auth => input.digest(),
        KeyspaceTag::User => input.number(row.lease.cast_unsigned()).digest(),
    }
}

/// etcd's keys as they stood at a revision, of which `sum` is the wrapping sum over the rows.
pub(crate) fn keys(revision: Revision, sum: u128) -> u128 {
    Input::new(b'k', 24).number(revision.0).wide(sum).digest()
}

/// A registered client, without its answers.
pub(crate) fn client(id: ClientId, floor: u64, last_used_ms: u64) -> u128 {
    Input::new(b'c', 32)
        .wide(id.0)
        .number(floor)
        .number(last_used_ms)
        .digest()
}

/// A remembered answer.
pub(crate) fn answer(id: ClientId, sequence: u64, answer: &[u8]) -> u128 {
    Input::new(b'a', 32 + answer.len())
        .wide(id.0)
        .number(sequence)
        .bytes(answer)
        .digest()
}

/// A client that was evicted lately.
pub(crate) fn retired(id: ClientId) -> u128 {
    Input::new(b'e', 16).wide(id.0).digest()
}

/// Everything but the place in the log and log time, which move with entries that change nothing.
pub(crate) fn content(state: &State) -> u128 {
    let meta = &state.meta;
    Input::new(b'd', 128)
        .number(u64::from(meta.tag().number()))
        .number(meta.revision().0)
        .wide(meta.digest())
        .number(meta.history().floor().0)
        .number(meta.history().changes() as u64)
        .number(state.head.last_id)
        .number(state.head.last_epoch)
        .number(u64::from(state.head.feature_level))
        .wide(state.clients.digest())
        .user(state)
        .digest()
}

/// Everything.
pub(crate) fn state(state: &State) -> u128 {
    let meta = &state.meta;
    Input::new(b's', 160)
        .number(u64::from(meta.tag().number()))
        .number(meta.revision().0)
        .wide(meta.digest())
        .number(meta.history().floor().0)
        .number(meta.history().changes() as u64)
        .number(state.head.last_id)
        .number(state.head.last_epoch)
        .number(u64::from(state.head.feature_level))
        .number(state.log_time.0)
        .number(u64::from(state.position.is_some()))
        .number(state.position.map_or(0, |index| index.0))
        .wide(state.clients.digest())
        .user(state)
        .digest()
}
