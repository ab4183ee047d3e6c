//! Random logs.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_machine::{
    AllocateIds, AlterAlias, AlterCollection, AlterDatabase, CloseSession, Command, ConsistencyLevel,
    CreateAlias, CreateCollection, CreateDatabase, CreatePartition, DataType, DropAlias, DropCollection,
    DropDatabase, DropPartition, Field, IdleClient, KvAccess, KvAuthChange, KvCaller, KvCompare, KvDelete,
    KvGrant, KvOp, KvOperand, KvPassword, KvPasswordKind, KvPermission, KvPut, KvRange, KvRelation, KvSecret,
    KvTxn, LeaseId, OpenSession, Properties, RenameCollection, RequestId, Schema, Worker, WorkerKind,
};
use quorate_types::{ClientId, Epoch, LogTime, Revision};

/// One entry to be.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) stamp_ms: u64,
    pub(crate) request: Option<RequestId>,
    pub(crate) command: Command,
}

pub(crate) fn entries(log: &[Step]) -> Vec<Bytes> {
    let encode = |step: &Step| step.command.encode(step.stamp_ms, step.request);
    log.iter().map(encode).collect()
}

/// A log whose clients register first, behind the raising of the feature level or not.
pub(crate) fn log() -> impl Strategy<Value = Vec<Step>> {
    let register = |client| Step {
        stamp_ms: 1,
        request: None,
        command: Command::RegisterClient {
            client: ClientId(client),
        },
    };
    let raise = |level| Step {
        stamp_ms: 1,
        request: None,
        command: Command::RaiseFeatureLevel { level },
    };
    let steps = prop::collection::vec(step(), 1..40);
    (prop::option::weighted(0.8, Just(4)), steps).prop_map(move |(level, steps)| {
        let begin = level.map(raise).into_iter().chain([1, 2].map(register));
        begin.chain(steps).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    (0u64..50, prop::option::weighted(0.4, request()), command()).prop_map(|(stamp_ms, request, command)| {
        Step {
            stamp_ms,
            request,
            command,
        }
    })
}

fn request() -> impl Strategy<Value = RequestId> {
    (1u128..4, 0u64..12, 0u64..6).prop_map(|(client, sequence, floor)| RequestId {
        client: ClientId(client),
        sequence,
        floor,
    })
}

fn database() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "", "default", "db", "nowhere"]).prop_map_into()
}

/// Of collections and aliases alike, so that they meet.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d", "not valid"]).prop_map_into()
}

fn properties() -> impl Strategy<Value = Properties> {
    let key = prop::sample::select(vec!["k", "l", "mmap.enabled"]);
    let value = prop::sample::select(vec!["", "1", "true", "x"]);
    prop::collection::btree_map(key.prop_map_into(), value.prop_map_into(), 0..3)
}

fn schema() -> impl Strategy<Value = Schema> {
    (any::<bool>(), any::<bool>(), 0u32..3).prop_map(|(dynamic_fields, keyed, vectors)| {
        let mut id = Field::new("id", DataType::Int64);
        id.primary_key = true;
        let mut fields = vec![id];
        for number in 0..vectors {
            let mut vector = Field::new(format!("v{number}"), DataType::FloatVector);
            vector.dimension = 8;
            fields.push(vector);
        }
        if keyed {
            let mut tenant = Field::new("tenant", DataType::Int64);
            tenant.partition_key = true;
            fields.push(tenant);
        }
        Schema {
            fields,
            dynamic_fields,
        }
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => database_command(),
        6 => collection_command(),
        4 => part_command(),
        3 => session_command(),
        2 => client_command(),
        5 => kv_command(),
        2 => kv_lease_command(),
        3 => kv_auth_command(),
        2 => by_somebody(),
    ]
}

fn user() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["root", "root", "u"]).prop_map_into()
}

fn role() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["root", "r"]).prop_map_into()
}

fn password() -> impl Strategy<Value = Option<KvPassword>> {
    let password = value().prop_map(|hash| KvPassword {
        kind: KvPasswordKind::Pbkdf2HmacSha512,
        rounds: 2,
        salt: Bytes::from("s"),
        hash,
    });
    prop::option::weighted(0.8, password)
}

fn permission() -> impl Strategy<Value = KvPermission> {
    let access = prop::sample::select(vec![KvAccess::Read, KvAccess::Write, KvAccess::ReadWrite]);
    (access, key(), range_end()).prop_map(|(access, key, range_end)| KvPermission {
        access,
        key,
        range_end,
    })
}

fn kv_auth_change() -> impl Strategy<Value = KvAuthChange> {
    let secret = (31usize..33).prop_map(|bytes| KvSecret(Bytes::from(vec![7; bytes])));
    prop_oneof![
        3 => secret.prop_map(|secret| KvAuthChange::Enable { secret }),
        1 => Just(KvAuthChange::Disable),
        5 => (user(), prop::bool::weighted(0.2), password()).prop_map(|(name, no_password, password)| {
            KvAuthChange::AddUser { name, no_password, password }
        }),
        1 => user().prop_map(|name| KvAuthChange::DeleteUser { name }),
        1 => (user(), password()).prop_map(|(name, password)| KvAuthChange::ChangePassword { name, password }),
        5 => (user(), role()).prop_map(|(user, role)| KvAuthChange::GrantRole { user, role }),
        1 => (user(), role()).prop_map(|(user, role)| KvAuthChange::RevokeRole { user, role }),
        3 => role().prop_map(|name| KvAuthChange::AddRole { name }),
        1 => role().prop_map(|name| KvAuthChange::DeleteRole { name }),
        3 => (role(), prop::option::weighted(0.9, permission()))
            .prop_map(|(role, permission)| KvAuthChange::GrantPermission { role, permission }),
        1 => (role(), key(), range_end())
            .prop_map(|(role, key, range_end)| KvAuthChange::RevokePermission { role, key, range_end }),
    ]
}

fn kv_auth_command() -> impl Strategy<Value = Command> {
    kv_auth_change().prop_map(Command::KvAuth)
}

fn by_somebody() -> impl Strategy<Value = Command> {
    let command = prop_oneof![
        4 => kv_command(),
        2 => kv_lease_command(),
        3 => kv_auth_command(),
    ];
    (user(), 1u64..20, command)
        .prop_map(|(user, revision, command)| Command::By(KvCaller { user, revision }, Box::new(command)))
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "bb", "c"]).prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "", "", "\0", "b", "c"]).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "x", "y"]).prop_map(Bytes::from)
}

fn kv_op() -> impl Strategy<Value = KvOp> {
    let put = (
        key(),
        value(),
        any::<bool>(),
        prop::bool::weighted(0.1),
        kv_lease(),
    );
    prop_oneof![
        3 => put.prop_map(|(key, value, prev_kv, ignore_value, lease)| {
            let ignore_lease = lease < 0;
            let lease = lease.max(0);
            KvOp::Put(KvPut { key, value, prev_kv, ignore_value, ignore_lease, lease })
        }),
        2 => (key(), range_end(), any::<bool>())
            .prop_map(|(key, range_end, prev_kv)| KvOp::Delete(KvDelete { key, range_end, prev_kv })),
        1 => (key(), range_end(), 0u64..9)
            .prop_map(|(key, range_end, revision)| KvOp::Range(KvRange { key, range_end, revision, ..KvRange::default() })),
    ]
}

fn kv_compare() -> impl Strategy<Value = KvCompare> {
    let operand = prop_oneof![
        (0i64..3).prop_map(KvOperand::Version),
        (0i64..9).prop_map(KvOperand::Mod),
        value().prop_map(KvOperand::Value),
    ];
    let relation = prop::sample::select(vec![
        KvRelation::Equal,
        KvRelation::NotEqual,
        KvRelation::Greater,
        KvRelation::Less,
    ]);
    (key(), range_end(), relation, operand).prop_map(|(key, range_end, relation, operand)| KvCompare {
        key,
        range_end,
        relation,
        operand,
    })
}

/// Mostly none; a negative one stands for "as it is".
fn kv_lease() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 0, 0, 0, 1, 2, -1])
}

fn kv_lease_command() -> impl Strategy<Value = Command> {
    let lease = || 0i64..4;
    let grant = (1i64..4, 1u64..40).prop_map(|(lease, granted)| KvGrant {
        lease,
        granted: Revision(granted),
    });
    prop_oneof![
        3 => (lease(), 0u64..3).prop_map(|(lease, ttl_s)| Command::GrantKvLease { lease, ttl_s }),
        1 => lease().prop_map(|lease| Command::RevokeKvLease { lease }),
        1 => prop::collection::vec(grant, 0..12).prop_map(|grants| Command::ExpireKvLeases { grants }),
    ]
}

fn kv_command() -> impl Strategy<Value = Command> {
    let ops = || prop::collection::vec(kv_op(), 0..3);
    let flat = move || {
        let compares = prop::collection::vec(kv_compare(), 0..2);
        (compares, ops(), ops()).prop_map(|(compares, success, failure)| KvTxn {
            compares,
            success,
            failure,
        })
    };
    let nested = (flat(), flat()).prop_map(|(mut outer, inner)| {
        outer.success.push(KvOp::Txn(inner));
        outer
    });
    prop_oneof![
        6 => flat().prop_map(Command::Kv),
        1 => nested.prop_map(Command::Kv),
        1 => (0u64..9).prop_map(|revision| Command::CompactKv { revision }),
    ]
}

fn database_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (database(), properties())
            .prop_map(|(name, properties)| Command::CreateDatabase(CreateDatabase { name, properties })),
        database().prop_map(|name| Command::DropDatabase(DropDatabase { name })),
        (database(), properties(), prop::collection::vec("[kl]", 0..2))
            .prop_map(|(name, set, remove)| Command::AlterDatabase(AlterDatabase { name, set, remove })),
    ]
}

fn collection_command() -> impl Strategy<Value = Command> {
    let create = (database(), name(), schema(), 0u32..4, 0u32..4, properties());
    prop_oneof![
        4 => create.prop_map(|(database, name, schema, shards, partitions, properties)| {
            let partitions = if schema.has_partition_key() { partitions } else { 0 };
            Command::CreateCollection(CreateCollection {
                database,
                name,
                description: String::new(),
                schema,
                shards,
                consistency_level: ConsistencyLevel::Bounded,
                properties,
                partitions,
            })
        }),
        2 => (database(), name())
            .prop_map(|(database, name)| Command::DropCollection(DropCollection { database, name })),
        1 => (database(), name(), properties(), prop::option::of("[de]"))
            .prop_map(|(database, name, set, description)| Command::AlterCollection(AlterCollection {
                database,
                name,
                set,
                remove: vec!["k".to_owned()],
                description,
            })),
        2 => (database(), name(), name(), database()).prop_map(|(database, name, new_name, new_database)| {
            Command::RenameCollection(RenameCollection { database, name, new_name, new_database })
        }),
    ]
}

fn part_command() -> impl Strategy<Value = Command> {
    let partition = || prop::sample::select(vec!["p", "q", "_default", "_default_0"]).prop_map_into();
    prop_oneof![
        (database(), name(), partition()).prop_map(|(database, collection, name)| {
            Command::CreatePartition(CreatePartition {
                database,
                collection,
                name,
            })
        }),
        (database(), name(), partition()).prop_map(|(database, collection, name)| {
            Command::DropPartition(DropPartition {
                database,
                collection,
                name,
            })
        }),
        (database(), name(), name()).prop_map(|(database, collection, alias)| {
            Command::CreateAlias(CreateAlias {
                database,
                collection,
                alias,
            })
        }),
        (database(), name()).prop_map(|(database, alias)| Command::DropAlias(DropAlias { database, alias })),
        (database(), name(), name()).prop_map(|(database, collection, alias)| {
            Command::AlterAlias(AlterAlias {
                database,
                collection,
                alias,
            })
        }),
    ]
}

fn session_command() -> impl Strategy<Value = Command> {
    let kind = prop::sample::select(vec![WorkerKind::Proxy, WorkerKind::QueryNode]);
    prop_oneof![
        3 => (kind, "[qr]", 999u64..1002).prop_map(|(kind, name, ttl_ms)| {
            let worker = Worker {
                kind,
                name,
                address: "h:1".into(),
                zone: String::new(),
                resource_group: "g".into(),
                capacity: [("slots".to_owned(), ttl_ms)].into(),
            };
            Command::OpenSession(OpenSession { worker, ttl_ms })
        }),
        3 => (1u64..12, 0u64..4).prop_map(|(session, epoch)| {
            Command::CloseSession(CloseSession { session: LeaseId(session), epoch: Epoch(epoch) })
        }),
        1 => prop::collection::vec((1u64..30).prop_map(LeaseId), 0..12).prop_map(|ids| Command::ExpireLeases { ids }),
        1 => (0u64..3).prop_map(|count| Command::AllocateIds(AllocateIds { count })),
        1 => (0u32..5).prop_map(|level| Command::RaiseFeatureLevel { level }),
    ]
}

fn client_command() -> impl Strategy<Value = Command> {
    let idle = (1u128..4, 0u64..50).prop_map(|(client, last_used)| IdleClient {
        client: ClientId(client),
        last_used: LogTime(last_used),
    });
    prop_oneof![
        (1u128..4).prop_map(|client| Command::RegisterClient {
            client: ClientId(client)
        }),
        prop::collection::vec(idle, 0..4).prop_map(|clients| Command::EvictClients { clients }),
    ]
}
