//! Bytes that are no stored value: random, truncated, flipped. Every decoder answers with an error or with a value, and
//! never panics.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use quorate_format::envelope::{self, OpenError};
use quorate_format::raft::{Membership, SMALL_BYTES_MAX, Small, Vote};
use quorate_format::v1;
use quorate_types::{Member, NodeId, Position};

/// Gives the bytes to every decoder there is.
fn open_all(bytes: &[u8]) {
    let _ = envelope::open::<v1::Entry>(bytes);
    let _ = envelope::open::<v1::Answer>(bytes);
    let _ = envelope::open::<v1::SnapshotRecord>(bytes);
    let _ = envelope::open::<v1::IdRow>(bytes);
    let _ = envelope::open::<v1::DatabaseRow>(bytes);
    let _ = envelope::open::<v1::CollectionRow>(bytes);
    let _ = envelope::open::<v1::PartitionRow>(bytes);
    let _ = envelope::open::<v1::AliasRow>(bytes);
    let _ = envelope::open::<v1::ChannelUseRow>(bytes);
    let _ = envelope::open::<v1::LeaseRow>(bytes);
    let _ = envelope::open::<v1::SessionRow>(bytes);
    let _ = Vote::open(bytes);
    let _ = Position::open(bytes);
    let _ = Membership::open(bytes);
}

fn membership() -> Membership {
    let member = |node| Member {
        node: NodeId(node),
        peer_address: "host:2380".into(),
        ..Member::default()
    };
    Membership {
        configs: vec![(1..=3).map(NodeId).collect::<BTreeSet<_>>()],
        members: (1..=3).map(member).collect(),
    }
}

fn entry() -> v1::Entry {
    let field = v1::Field {
        name: "vector".into(),
        data_type: 101,
        ..v1::Field::default()
    };
    let create = v1::CreateCollection {
        name: "books".into(),
        schema: Some(v1::Schema {
            fields: vec![field; 3],
            dynamic_fields: true,
        }),
        properties: [("k".to_owned(), "v".to_owned())].into(),
        ..v1::CreateCollection::default()
    };
    v1::Entry {
        stamp_ms: 1,
        feature_level: 1,
        request: Some(v1::RequestId::default()),
        by: None,
        command: Some(v1::entry::Command::CreateCollection(create)),
    }
}

fn record() -> v1::SnapshotRecord {
    let row = v1::StoredRow {
        key: "key".into(),
        row: Some(v1::Row::default()),
    };
    let rows = v1::SnapshotRows {
        keyspace: 1,
        rows: vec![row; 3],
    };
    v1::SnapshotRecord {
        record: Some(v1::snapshot_record::Record::Rows(rows)),
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), enveloped: bool) {
        if enveloped && !bytes.is_empty() {
            bytes[0] = envelope::VERSION;
        }
        open_all(&bytes);
    }

    #[test]
    fn flipped_and_truncated_bytes_never_panic(
        which: prop::sample::Index,
        at: prop::sample::Index,
        end: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let samples = [membership().seal(), envelope::seal(&entry()), envelope::seal(&record())];
        let mut bytes = which.get(&samples).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        open_all(&bytes);
        bytes.truncate(end.index(bytes.len()));
        open_all(&bytes);
    }
}

#[test]
fn small_values_are_refused_when_cut_anywhere_or_too_long() {
    let whole = membership().seal();
    for end in 0..whole.len() {
        assert!(Membership::open(&whole[..end]).is_err(), "cut at {end}");
    }
    let mut longer = whole.to_vec();
    longer.push(0);
    assert!(matches!(Membership::open(&longer), Err(OpenError::Value(_))));
    for vote in [&[][..], &[1], &[1; 17], &[1; 19], &[2; 18]] {
        assert!(Vote::open(vote).is_err(), "{vote:?}");
    }
}

#[test]
fn a_length_that_promises_too_much_costs_nothing() {
    // Eight bytes of length in front of nothing: a naive decoder would reserve exabytes.
    let mut bytes = vec![envelope::VERSION];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(Membership::open(&bytes), Err(OpenError::Value(_))));
    let mut bytes = vec![envelope::VERSION];
    bytes.extend_from_slice(&(SMALL_BYTES_MAX * 4).to_le_bytes());
    bytes.resize(4 * SMALL_BYTES_MAX as usize, 0);
    assert!(matches!(Membership::open(&bytes), Err(OpenError::Value(_))));
}

#[test]
fn a_member_with_a_name_that_is_none_is_refused() {
    let whole = membership();
    let mut bytes = whole.seal().to_vec();
    // The first member's name is empty: its length stands behind one set of three ids and the members' count and node.
    let length_at = 1 + 8 + (8 + 3 * 8) + 8 + 8;
    assert_eq!(bytes[length_at..length_at + 8], [0; 8]);
    bytes[length_at] = 1;
    bytes.insert(length_at + 8, b'-');
    let error = Membership::open(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "a stored value is not valid");
}
