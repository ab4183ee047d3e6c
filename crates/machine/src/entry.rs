//! Entries: commands as the log has them.
//!
//! Promises: what is encoded here decodes to the same command on every replica; an entry that a later release wrote is a
//! [`Fault`], not a guess.

use bytes::Bytes;
use quorate_format::v1::entry::Command as Wire;
use quorate_format::{envelope, v1};
use quorate_types::{ClientId, Epoch, Index, LogTime, Revision};

use crate::clients::IdleClient;
use crate::command::{
    AllocateIds, AlterAlias, AlterCollection, AlterDatabase, CloseSession, Command, CreateAlias,
    CreateCollection, CreateDatabase, CreatePartition, DropAlias, DropCollection, DropDatabase,
    DropPartition, OpenSession, RenameCollection, RequestId,
};
use crate::domain::kv;
use crate::domain::root::{ConsistencyLevel, Schema};
use crate::domain::session::Worker;
use crate::fault::Fault;
use crate::object_id::LeaseId;
use crate::user::{KvCaller, KvGrant};

/// A decoded entry.
pub(crate) struct Entry {
    pub(crate) stamp_ms: u64,
    pub(crate) feature_level: u32,
    pub(crate) request: Option<RequestId>,
    pub(crate) command: Command,
}

/// Whose command it is, and the command itself.
fn parts(command: &Command) -> (Option<&KvCaller>, &Command) {
    match command {
        Command::By(by, command) => (Some(by), parts(command).1),
        command => (None, command),
    }
}

pub(crate) fn encode(command: &Command, stamp_ms: u64, request: Option<RequestId>) -> Bytes {
    let feature_level = command.feature_level();
    let (by, command) = parts(command);
    envelope::seal(&v1::Entry {
        stamp_ms,
        feature_level,
        by: by.map(|by| v1::KvCaller {
            user: by.user.clone(),
            revision: by.revision,
        }),
        request: request.map(|request| v1::RequestId {
            client: client_bytes(request.client),
            sequence: request.sequence,
            floor: request.floor,
        }),
        command: Some(to_wire(command)),
    })
}

/// Reads an entry. `known_level` is checked before anything else in it: the rest may be of a release that this one cannot
/// read.
pub(crate) fn decode(index: Index, bytes: &[u8], known_level: u32) -> Result<Entry, Fault> {
    let entry: v1::Entry = envelope::open(bytes).map_err(|source| Fault::Unreadable { index, source })?;
    crate::feature::check_known(index, entry.feature_level, known_level)?;
    let unknown = |what| Fault::Unknown { index, what };
    let request = match entry.request {
        None => None,
        Some(request) => Some(RequestId {
            client: ClientId::from_bytes(&request.client).ok_or(unknown("a client id"))?,
            sequence: request.sequence,
            floor: request.floor,
        }),
    };
    let wire = entry.command.ok_or(unknown("a command"))?;
    let command = from_wire(wire).map_err(unknown)?;
    Ok(Entry {
        stamp_ms: entry.stamp_ms,
        feature_level: entry.feature_level,
        request,
        command: match entry.by {
            Some(v1::KvCaller { user, revision }) => {
                Command::By(KvCaller { user, revision }, Box::new(command))
            }
            None => command,
        },
    })
}

pub(crate) fn client_bytes(client: ClientId) -> Bytes {
    Bytes::copy_from_slice(&client.to_bytes())
}

fn to_wire(command: &Command) -> Wire {
    match command.clone() {
        Command::CreateDatabase(CreateDatabase { name, properties }) => {
            Wire::CreateDatabase(v1::CreateDatabase { name, properties })
        }
        Command::DropDatabase(DropDatabase { name }) => Wire::DropDatabase(v1::DropDatabase { name }),
        Command::AlterDatabase(AlterDatabase { name, set, remove }) => {
            Wire::AlterDatabase(v1::AlterDatabase { name, set, remove })
        }
        Command::CreateCollection(create) => Wire::CreateCollection(v1::CreateCollection {
            schema: Some(create.schema.to_format()),
            database: create.database,
            name: create.name,
            description: create.description,
            shards: create.shards,
            consistency_level: create.consistency_level as i32,
            properties: create.properties,
            partitions: create.partitions,
        }),
        Command::DropCollection(DropCollection { database, name }) => {
            Wire::DropCollection(v1::DropCollection { database, name })
        }
        Command::AlterCollection(alter) => Wire::AlterCollection(v1::AlterCollection {
            database: alter.database,
            name: alter.name,
            set: alter.set,
            remove: alter.remove,
            description: alter.description,
        }),
        Command::RenameCollection(rename) => Wire::RenameCollection(v1::RenameCollection {
            database: rename.database,
            name: rename.name,
            new_name: rename.new_name,
            new_database: rename.new_database,
        }),
        Command::CreatePartition(CreatePartition {
            database,
            collection,
            name,
        }) => Wire::CreatePartition(v1::CreatePartition {
            database,
            collection,
            name,
        }),
        Command::DropPartition(DropPartition {
            database,
            collection,
            name,
        }) => Wire::DropPartition(v1::DropPartition {
            database,
            collection,
            name,
        }),
        Command::CreateAlias(CreateAlias {
            database,
            collection,
            alias,
        }) => Wire::CreateAlias(v1::CreateAlias {
            database,
            collection,
            alias,
        }),
        Command::DropAlias(DropAlias { database, alias }) => {
            Wire::DropAlias(v1::DropAlias { database, alias })
        }
        Command::AlterAlias(AlterAlias {
            database,
            collection,
            alias,
        }) => Wire::AlterAlias(v1::AlterAlias {
            database,
            collection,
            alias,
        }),
        Command::AllocateIds(AllocateIds { count }) => Wire::AllocateIds(v1::AllocateIds { count }),
        Command::OpenSession(OpenSession { worker, ttl_ms }) => Wire::OpenSession(v1::OpenSession {
            worker: Some(worker.to_format()),
            ttl_ms,
        }),
        Command::CloseSession(CloseSession { session, epoch }) => Wire::CloseSession(v1::CloseSession {
            session_id: session.0,
            epoch: epoch.0,
        }),
        Command::ExpireLeases { ids } => Wire::ExpireLeases(v1::ExpireLeases {
            ids: ids.into_iter().map(|id| id.0).collect(),
        }),
        Command::RegisterClient { client } => Wire::RegisterClient(v1::RegisterClient {
            client: client_bytes(client),
        }),
        Command::EvictClients { clients } => {
            let idle = |idle: IdleClient| v1::IdleClient {
                client: client_bytes(idle.client),
                last_used_ms: idle.last_used.0,
            };
            Wire::EvictClients(v1::EvictClients {
                clients: clients.into_iter().map(idle).collect(),
            })
        }
        Command::RaiseFeatureLevel { level } => Wire::RaiseFeatureLevel(v1::RaiseFeatureLevel { level }),
        Command::Kv(txn) => Wire::Kv(kv::txn_to_wire(txn)),
        Command::CompactKv { revision } => Wire::CompactKv(v1::CompactKv { revision }),
        Command::GrantKvLease { lease, ttl_s } => Wire::GrantKvLease(v1::GrantKvLease { lease, ttl_s }),
        Command::RevokeKvLease { lease } => Wire::RevokeKvLease(v1::RevokeKvLease { lease }),
        Command::ExpireKvLeases { grants } => {
            let grant = |grant: KvGrant| v1::KvGrant {
                lease: grant.lease,
                granted: grant.granted.0,
            };
            Wire::ExpireKvLeases(v1::ExpireKvLeases {
                grants: grants.into_iter().map(grant).collect(),
            })
        }
        Command::KvAuth(change) => Wire::KvAuth(kv::auth_to_wire(change)),
        // Whose it is stands beside it.
        Command::By(_, command) => to_wire(&command),
    }
}

/// The command, or the part of it that this release does not know.
fn from_wire(wire: Wire) -> Result<Command, &'static str> {
    Ok(match wire {
        Wire::CreateDatabase(v1::CreateDatabase { name, properties }) => {
            Command::CreateDatabase(CreateDatabase { name, properties })
        }
        Wire::DropDatabase(v1::DropDatabase { name }) => Command::DropDatabase(DropDatabase { name }),
        Wire::AlterDatabase(v1::AlterDatabase { name, set, remove }) => {
            Command::AlterDatabase(AlterDatabase { name, set, remove })
        }
        Wire::CreateCollection(create) => Command::CreateCollection(CreateCollection {
            database: create.database,
            name: create.name,
            description: create.description,
            schema: Schema::from_format(create.schema.unwrap_or_default()).ok_or("a kind of field")?,
            shards: create.shards,
            consistency_level: ConsistencyLevel::from_format(create.consistency_level)
                .ok_or("a consistency level")?,
            properties: create.properties,
            partitions: create.partitions,
        }),
        Wire::DropCollection(v1::DropCollection { database, name }) => {
            Command::DropCollection(DropCollection { database, name })
        }
        Wire::AlterCollection(alter) => Command::AlterCollection(AlterCollection {
            database: alter.database,
            name: alter.name,
            set: alter.set,
            remove: alter.remove,
            description: alter.description,
        }),
        Wire::RenameCollection(rename) => Command::RenameCollection(RenameCollection {
            database: rename.database,
            name: rename.name,
            new_name: rename.new_name,
            new_database: rename.new_database,
        }),
        Wire::CreatePartition(create) => Command::CreatePartition(CreatePartition {
            database: create.database,
            collection: create.collection,
            name: create.name,
        }),
        Wire::DropPartition(drop) => Command::DropPartition(DropPartition {
            database: drop.database,
            collection: drop.collection,
            name: drop.name,
        }),
        Wire::CreateAlias(create) => Command::CreateAlias(CreateAlias {
            database: create.database,
            collection: create.collection,
            alias: create.alias,
        }),
        Wire::DropAlias(v1::DropAlias { database, alias }) => {
            Command::DropAlias(DropAlias { database, alias })
        }
        Wire::AlterAlias(alter) => Command::AlterAlias(AlterAlias {
            database: alter.database,
            collection: alter.collection,
            alias: alter.alias,
        }),
        Wire::AllocateIds(v1::AllocateIds { count }) => Command::AllocateIds(AllocateIds { count }),
        Wire::OpenSession(open) => Command::OpenSession(OpenSession {
            worker: Worker::from_format(open.worker.unwrap_or_default()).ok_or("a kind of worker")?,
            ttl_ms: open.ttl_ms,
        }),
        Wire::CloseSession(close) => Command::CloseSession(CloseSession {
            session: LeaseId(close.session_id),
            epoch: Epoch(close.epoch),
        }),
        Wire::ExpireLeases(expire) => Command::ExpireLeases {
            ids: expire.ids.into_iter().map(LeaseId).collect(),
        },
        Wire::RegisterClient(register) => Command::RegisterClient {
            client: ClientId::from_bytes(&register.client).ok_or("a client id")?,
        },
        Wire::EvictClients(evict) => {
            let idle = |idle: v1::IdleClient| {
                Some(IdleClient {
                    client: ClientId::from_bytes(&idle.client)?,
                    last_used: LogTime(idle.last_used_ms),
                })
            };
            let clients: Option<_> = evict.clients.into_iter().map(idle).collect();
            Command::EvictClients {
                clients: clients.ok_or("a client id")?,
            }
        }
        Wire::RaiseFeatureLevel(v1::RaiseFeatureLevel { level }) => Command::RaiseFeatureLevel { level },
        Wire::Kv(txn) => Command::Kv(kv::txn_from_wire(txn).ok_or("a transaction")?),
        Wire::CompactKv(v1::CompactKv { revision }) => Command::CompactKv { revision },
        Wire::GrantKvLease(v1::GrantKvLease { lease, ttl_s }) => Command::GrantKvLease { lease, ttl_s },
        Wire::RevokeKvLease(v1::RevokeKvLease { lease }) => Command::RevokeKvLease { lease },
        Wire::ExpireKvLeases(v1::ExpireKvLeases { grants }) => {
            let grant = |grant: v1::KvGrant| KvGrant {
                lease: grant.lease,
                granted: Revision(grant.granted),
            };
            Command::ExpireKvLeases {
                grants: grants.into_iter().map(grant).collect(),
            }
        }
        Wire::KvAuth(change) => Command::KvAuth(kv::auth_from_wire(change).ok_or("a change of users")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Entry, String> {
        super::decode(Index(3), bytes, 1).map_err(|fault| fault.to_string())
    }

    fn sealed(change: impl Fn(&mut v1::Entry)) -> Bytes {
        let mut entry = v1::Entry {
            stamp_ms: 5,
            feature_level: 1,
            request: None,
            by: None,
            command: Some(Wire::AllocateIds(v1::AllocateIds { count: 1 })),
        };
        change(&mut entry);
        envelope::seal(&entry)
    }

    #[test]
    fn what_is_encoded_decodes() {
        let command = Command::AllocateIds(AllocateIds { count: 7 });
        let request = RequestId {
            client: ClientId(9),
            sequence: 2,
            floor: 1,
        };
        let entry = decode(&command.encode(1234, Some(request))).expect("just encoded");
        assert_eq!((entry.stamp_ms, entry.feature_level), (1234, 1));
        assert_eq!((entry.request, entry.command), (Some(request), command));
    }

    #[test]
    fn what_another_replica_hands_over_is_read_back_or_refused() {
        let command = Command::AllocateIds(AllocateIds { count: 7 });
        let entry = command.encode(1234, None);
        assert_eq!(Command::decode(&entry), Some((command, None)));
        let later = Command::RaiseFeatureLevel { level: 99 }.encode(0, None);
        for bytes in [&b""[..], &b"\x09"[..], &entry[..entry.len() - 1], &later[..]] {
            assert_eq!(Command::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn entries_that_cannot_be_understood_are_faults() {
        let unknown_worker = v1::OpenSession {
            worker: Some(v1::Worker {
                kind: 99,
                ..v1::Worker::default()
            }),
            ttl_ms: 1,
        };
        let cases: Vec<(Bytes, &str)> = vec![
            (Bytes::new(), "entry 3 cannot be read"),
            (Bytes::from_static(&[9]), "entry 3 cannot be read"),
            (Bytes::from_static(&[1, 0xff, 0xff]), "entry 3 cannot be read"),
            (
                sealed(|entry| entry.command = None),
                "entry 3 has a command that this build does not know: is it of a later release?",
            ),
            (
                sealed(|entry| (entry.command, entry.feature_level) = (None, 2)),
                "entry 3 needs feature level 2, this build knows 1: install the release that the other replicas run",
            ),
            (
                sealed(|entry| entry.request = Some(v1::RequestId::default())),
                "entry 3 has a client id that this build does not know: is it of a later release?",
            ),
            (
                sealed(|entry| entry.command = Some(Wire::OpenSession(unknown_worker.clone()))),
                "entry 3 has a kind of worker that this build does not know: is it of a later release?",
            ),
            (
                sealed(|entry| entry.command = Some(Wire::CreateCollection(v1::CreateCollection::default()))),
                "entry 3 has a consistency level that this build does not know: is it of a later release?",
            ),
        ];
        for (bytes, want) in cases {
            assert_eq!(decode(&bytes).err().as_deref(), Some(want));
        }
    }
}
