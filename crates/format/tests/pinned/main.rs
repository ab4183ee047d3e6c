//! The exact bytes of one value of every durable message, both directions.
//!
//! A failure here means that a cluster could no longer read what it wrote. The bytes are never edited to make a test pass:
//! a format changes only by a new field (which leaves these bytes as they are) or by a new format byte. Pins are added for
//! what is new.

#![allow(clippy::unwrap_used)]

mod etcd;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

use prost::Message;
use quorate_format::raft::{Membership, Small, Vote};
use quorate_format::v1::answer::Outcome;
use quorate_format::v1::default_value::Kind;
use quorate_format::v1::entry::Command;
use quorate_format::v1::snapshot_record::Record;
use quorate_format::v1::*;
use quorate_format::{envelope, v1};
use quorate_types::{Incarnation, Index, Member, MemberName, NodeId, Position, Term};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// Both directions, in the envelope.
fn pin<M: Message + Default + PartialEq + Debug>(value: &M, want: &str) {
    let name = std::any::type_name::<M>();
    assert_eq!(hex(&envelope::seal(value)), want, "{name} writes other bytes");
    let read: M = envelope::open(&unhex(want)).unwrap();
    assert_eq!(&read, value, "{name} reads another value");
}

fn pin_small<S: Small + PartialEq + Debug>(value: &S, want: &str) {
    assert_eq!(hex(&value.seal()), want);
    assert_eq!(&S::open(&unhex(want)).unwrap(), value);
}

fn map<V: Clone>(pairs: &[(&str, V)]) -> BTreeMap<String, V> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn field() -> Field {
    Field {
        id: 100,
        name: "f".into(),
        description: "d".into(),
        data_type: 22,
        element_type: 21,
        primary_key: true,
        auto_id: true,
        partition_key: true,
        nullable: true,
        default_value: Some(DefaultValue {
            kind: Some(Kind::IntValue(-1)),
        }),
        dimension: 8,
        max_length: 9,
        max_capacity: 10,
        properties: map(&[("b", "2".to_owned()), ("a", "1".to_owned())]),
    }
}

fn schema() -> Schema {
    Schema {
        fields: vec![field()],
        dynamic_fields: true,
    }
}

fn shard() -> Shard {
    Shard {
        virtual_channel: "q-dml_3_446v0".into(),
        physical_channel: "q-dml_3".into(),
    }
}

fn worker() -> Worker {
    Worker {
        kind: 2,
        name: "q1".into(),
        address: "h:1".into(),
        zone: "z".into(),
        resource_group: "g".into(),
        capacity: map(&[("slots", 300), ("memory", 4)]),
    }
}

fn client() -> bytes::Bytes {
    bytes::Bytes::from_static(&[0xc1; 16])
}

#[test]
fn rows() {
    let properties = map(&[("k", "v".to_owned())]);
    pin(&IdRow { id: 446 }, "0108be03");
    pin(
        &DatabaseRow {
            name: "db".into(),
            properties: properties.clone(),
            created_at_ms: 7,
        },
        "010a02646212060a016b1201761807",
    );
    let collection = CollectionRow {
        database_id: 1,
        name: "books".into(),
        description: "d".into(),
        schema: Some(schema()),
        shards: vec![shard()],
        consistency_level: 3,
        properties,
        created_at_ms: 7,
        partitions: 2,
        aliases: vec!["a".into(), "b".into()],
    };
    pin(
        &collection,
        "0108011205626f6f6b731a0164223b0a3708641201661a0164201628153001380140014801520b10ffffffffffffffffff0158086009680a72060a016112013172060a016212013210012a180a0d712d646d6c5f335f34343676301207712d646d6c5f3330033a060a016b12017640074802520161520162",
    );
    pin(
        &PartitionRow {
            name: "p".into(),
            created_at_ms: 7,
        },
        "010a01701007",
    );
    pin(
        &AliasRow {
            collection_id: 446,
            collection_name: "books".into(),
        },
        "0108be031205626f6f6b73",
    );
    pin(
        &ChannelUseRow {
            shards: vec![0, 1, 300],
        },
        "010a040001ac02",
    );
    pin(&LeaseRow { ttl_ms: 10_000 }, "0108904e");
    pin(
        &SessionRow {
            epoch: 3,
            worker: Some(worker()),
            opened_at_ms: 7,
            ttl_ms: 10_000,
        },
        "01080312290802120271311a03683a3122017a2a0167320a0a066d656d6f72791004320a0a05736c6f747310ac02180720904e",
    );
}

#[test]
fn parts_of_rows() {
    pin(
        &schema(),
        "010a3708641201661a0164201628153001380140014801520b10ffffffffffffffffff0158086009680a72060a016112013172060a01621201321001",
    );
    pin(
        &field(),
        "0108641201661a0164201628153001380140014801520b10ffffffffffffffffff0158086009680a72060a016112013172060a0162120132",
    );
    pin(&shard(), "010a0d712d646d6c5f335f34343676301207712d646d6c5f33");
    pin(
        &worker(),
        "010802120271311a03683a3122017a2a0167320a0a066d656d6f72791004320a0a05736c6f747310ac02",
    );
    let default = |kind| DefaultValue { kind: Some(kind) };
    pin(&default(Kind::BoolValue(true)), "010801");
    pin(&default(Kind::IntValue(-1)), "0110ffffffffffffffffff01");
    pin(&default(Kind::FloatValue(0.5)), "011d0000003f");
    pin(&default(Kind::DoubleValue(-0.5)), "0121000000000000e0bf");
    pin(&default(Kind::StringValue("s".into())), "012a0173");
}

fn entry(command: Command) -> Entry {
    Entry {
        stamp_ms: 1000,
        feature_level: 1,
        request: None,
        by: None,
        command: Some(command),
    }
}

#[test]
fn commands_of_the_catalog() {
    let (database, name) = (String::from("db"), String::from("n"));
    let (collection, alias) = (String::from("c"), String::from("a"));
    let (set, remove) = (map(&[("k", "v".to_owned())]), vec![String::from("r")]);
    let properties = set.clone();
    let create = v1::CreateDatabase {
        name: name.clone(),
        properties: properties.clone(),
    };
    pin(
        &entry(Command::CreateDatabase(create)),
        "0108e8071001520b0a016e12060a016b120176",
    );
    pin(
        &entry(Command::DropDatabase(v1::DropDatabase { name: name.clone() })),
        "0108e80710015a030a016e",
    );
    let alter = v1::AlterDatabase {
        name: name.clone(),
        set: set.clone(),
        remove: remove.clone(),
    };
    pin(
        &entry(Command::AlterDatabase(alter)),
        "0108e8071001620e0a016e12060a016b1201761a0172",
    );
    let create = v1::CreateCollection {
        database: database.clone(),
        name: name.clone(),
        description: "d".into(),
        schema: Some(schema()),
        shards: 2,
        consistency_level: 3,
        properties,
        partitions: 16,
    };
    pin(
        &entry(Command::CreateCollection(create)),
        "0108e80710016a550a02646212016e1a0164223b0a3708641201661a0164201628153001380140014801520b10ffffffffffffffffff0158086009680a72060a016112013172060a01621201321001280230033a060a016b1201764010",
    );
    let drop = v1::DropCollection {
        database: database.clone(),
        name: name.clone(),
    };
    pin(
        &entry(Command::DropCollection(drop)),
        "0108e807100172070a02646212016e",
    );
    let alter = v1::AlterCollection {
        database: database.clone(),
        name: name.clone(),
        set,
        remove,
        description: Some(String::new()),
    };
    pin(
        &entry(Command::AlterCollection(alter)),
        "0108e80710017a140a02646212016e1a060a016b1201762201722a00",
    );
    let rename = v1::RenameCollection {
        database: database.clone(),
        name: name.clone(),
        new_name: "m".into(),
        new_database: "e".into(),
    };
    pin(
        &entry(Command::RenameCollection(rename)),
        "0108e807100182010d0a02646212016e1a016d220165",
    );
    let create = v1::CreatePartition {
        database: database.clone(),
        collection: collection.clone(),
        name: name.clone(),
    };
    pin(
        &entry(Command::CreatePartition(create)),
        "0108e80710018a010a0a0264621201631a016e",
    );
    let drop = v1::DropPartition {
        database: database.clone(),
        collection: collection.clone(),
        name,
    };
    pin(
        &entry(Command::DropPartition(drop)),
        "0108e807100192010a0a0264621201631a016e",
    );
    let create = v1::CreateAlias {
        database: database.clone(),
        collection: collection.clone(),
        alias: alias.clone(),
    };
    pin(
        &entry(Command::CreateAlias(create)),
        "0108e80710019a010a0a0264621201631a0161",
    );
    let drop = v1::DropAlias {
        database: database.clone(),
        alias: alias.clone(),
    };
    pin(
        &entry(Command::DropAlias(drop)),
        "0108e8071001a201070a026462120161",
    );
    pin(
        &entry(Command::AlterAlias(v1::AlterAlias {
            database,
            collection,
            alias,
        })),
        "0108e8071001aa010a0a0264621201631a0161",
    );
}

#[test]
fn other_commands() {
    let allocate = Command::AllocateIds(v1::AllocateIds { count: 1000 });
    let request = RequestId {
        client: client(),
        sequence: 5,
        floor: 4,
    };
    pin(
        &Entry {
            request: Some(request),
            ..entry(allocate)
        },
        "0108e80710011a160a10c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c110051804b2010308e807",
    );
    let open = v1::OpenSession {
        worker: Some(worker()),
        ttl_ms: 10_000,
    };
    pin(
        &entry(Command::OpenSession(open)),
        "0108e8071001ba012e0a290802120271311a03683a3122017a2a0167320a0a066d656d6f72791004320a0a05736c6f747310ac0210904e",
    );
    pin(
        &entry(Command::CloseSession(v1::CloseSession {
            session_id: 9,
            epoch: 3,
        })),
        "0108e8071001c2010408091003",
    );
    pin(
        &entry(Command::ExpireLeases(v1::ExpireLeases { ids: vec![9, 300] })),
        "0108e8071001ca01050a0309ac02",
    );
    pin(
        &entry(Command::RegisterClient(v1::RegisterClient { client: client() })),
        "0108e8071001d201120a10c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1",
    );
    let idle = IdleClient {
        client: client(),
        last_used_ms: 7,
    };
    pin(
        &entry(Command::EvictClients(v1::EvictClients { clients: vec![idle] })),
        "0108e8071001da01160a140a10c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c11007",
    );
    pin(
        &entry(Command::RaiseFeatureLevel(v1::RaiseFeatureLevel { level: 2 })),
        "0108e8071001e201020802",
    );
}

#[test]
fn answers() {
    let pin = |outcome, want| {
        pin(
            &Answer {
                outcome: Some(outcome),
            },
            want,
        )
    };
    pin(Outcome::DatabaseCreated(CreatedId { id: 2 }), "0152020802");
    pin(Outcome::DatabaseDropped(Dropped { existed: true }), "015a020801");
    pin(Outcome::DatabaseAltered(Done {}), "016200");
    pin(
        Outcome::CollectionCreated(CollectionCreated {
            id: 446,
            shards: vec![shard()],
        }),
        "016a1d08be0312180a0d712d646d6c5f335f34343676301207712d646d6c5f33",
    );
    pin(Outcome::CollectionDropped(Dropped { existed: false }), "017200");
    pin(Outcome::CollectionAltered(Done {}), "017a00");
    pin(Outcome::CollectionRenamed(Done {}), "01820100");
    pin(Outcome::PartitionCreated(CreatedId { id: 447 }), "018a010308bf03");
    pin(
        Outcome::PartitionDropped(Dropped { existed: true }),
        "019201020801",
    );
    pin(Outcome::AliasCreated(Done {}), "019a0100");
    pin(Outcome::AliasDropped(Dropped { existed: true }), "01a201020801");
    pin(Outcome::AliasAltered(Done {}), "01aa0100");
    pin(
        Outcome::IdsAllocated(IdsAllocated {
            first: 448,
            count: 10,
        }),
        "01b2010508c003100a",
    );
    pin(
        Outcome::SessionOpened(SessionOpened {
            id: 9,
            epoch: 3,
            replaced: 8,
        }),
        "01ba0106080910031808",
    );
    pin(Outcome::SessionClosed(Done {}), "01c20100");
    pin(Outcome::LeasesExpired(Counted { count: 2 }), "01ca01020802");
    pin(Outcome::ClientRegistered(Done {}), "01d20100");
    pin(Outcome::ClientsEvicted(Counted { count: 1 }), "01da01020801");
    pin(Outcome::FeatureLevelRaised(Counted { count: 2 }), "01e201020802");
    let refusal = Refusal {
        code: RefusalCode::AliasExists.into(),
        name: "a".into(),
        scope: "db".into(),
        other: "books".into(),
        rule: 1,
        number: 2,
        bound: 3,
        client: client(),
    };
    pin(
        Outcome::Refusal(refusal),
        "010a2808291201611a0264622205626f6f6b732801300238034210c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1",
    );
}

#[test]
fn snapshot_records() {
    let pin = |record, want| pin(&SnapshotRecord { record: Some(record) }, want);
    let header = SnapshotHeader {
        applied_index: Some(0),
        log_time_ms: 1000,
        feature_level: 1,
        last_id: 448,
        last_epoch: 3,
        keyspaces: vec![SnapshotKeyspace {
            keyspace: 1,
            revision: 12,
            history_floor: 2,
        }],
    };
    pin(
        Record::Header(header),
        "010a14080010e807180120c003280332060801100c1802",
    );
    let row = Row {
        value: "v".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        lease: 0,
    };
    let stored = StoredRow {
        key: "k".into(),
        row: Some(row.clone()),
    };
    pin(
        Record::Rows(SnapshotRows {
            keyspace: 1,
            rows: vec![stored],
        }),
        "0112120801120e0a016b12090a0176100218032002",
    );
    let change = StoredChange {
        revision: 3,
        key: "k".into(),
        before: None,
        after: Some(row),
    };
    pin(
        Record::Changes(SnapshotChanges {
            keyspace: 1,
            changes: vec![change],
        }),
        "011a1408011210080312016b22090a0176100218032002",
    );
    let known = StoredClient {
        client: client(),
        floor: 4,
        last_used_ms: 7,
    };
    pin(
        Record::Clients(SnapshotClients { clients: vec![known] }),
        "0122180a160a10c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c110041807",
    );
    let answer = StoredAnswer {
        client: client(),
        sequence: 5,
        answer: "a".into(),
    };
    pin(
        Record::Answers(SnapshotAnswers {
            answers: vec![answer],
        }),
        "012a190a170a10c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c110051a0161",
    );
    pin(
        Record::Retired(SnapshotRetired {
            clients: vec![client()],
        }),
        "0132120a10c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1",
    );
    let trailer = SnapshotTrailer {
        records: 6,
        checksum: vec![0xcc; 16].into(),
        digest: vec![0xdd; 16].into(),
        rows: 1,
        changes: 1,
        clients: 1,
        answers: 1,
    };
    pin(
        Record::Trailer(trailer),
        "013a2e08061210cccccccccccccccccccccccccccccccc1a10dddddddddddddddddddddddddddddddd2001280130013801",
    );
    let backup = BackupHeader {
        cluster_id: vec![0xbb; 16].into(),
        release: "0.1".into(),
    };
    pin(
        Record::Backup(backup),
        "0142170a10bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1203302e31",
    );
}

#[test]
fn small_values() {
    let vote = Vote {
        term: Term(3),
        node: NodeId(2),
        committed: true,
    };
    pin_small(&vote, "010300000000000000020000000000000001");
    let position = Position {
        term: Term(3),
        leader: NodeId(2),
        index: Index(300),
    };
    pin_small(&position, "01030000000000000002000000000000002c01000000000000");
    let member = Member {
        node: NodeId(1),
        name: MemberName::new("q-0").unwrap(),
        incarnation: Incarnation(0xabcd),
        peer_address: "h:1".into(),
        liveness_address: "h:2".into(),
        client_address: "h:3".into(),
    };
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    let membership = Membership {
        configs: vec![ids(&[1, 2]), ids(&[3])],
        members: vec![
            member,
            Member {
                node: NodeId(2),
                ..Member::default()
            },
        ],
    };
    pin_small(
        &membership,
        "01020000000000000002000000000000000100000000000000020000000000000001000000000000000300000000000000020000000000000001000000000000000300000000000000712d300000000000000000000000000000abcd0300000000000000683a310300000000000000683a320300000000000000683a330200000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    );
}
