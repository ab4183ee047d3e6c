//! Answers as they are remembered for clients that number their writes, and as they travel between replicas.
//!
//! Promises: an answer read back is the answer given. The bytes are replicated state, hence codes and names only.

use bytes::Bytes;
use prost::Message;
use quorate_format::v1::answer::Outcome as Wire;
use quorate_format::v1::{self, RefusalCode as Code};
use quorate_types::{ClientId, Epoch, Revision};

use crate::domain::kv;
use crate::domain::root::Shard;
use crate::entry::client_bytes;
use crate::object_id::{CollectionId, DatabaseId, LeaseId, PartitionId};
use crate::refusal::{
    AliasConflict, FixedPartition, KvAuthRule, NameKind, NameRule, ParameterRule, Refusal, SchemaRule,
    ShapeRule,
};
use crate::reply::{Outcome, Reply};

/// The bytes of an answer; never empty.
#[must_use]
pub fn encode(outcome: &Outcome) -> Bytes {
    let wire = match outcome {
        Ok(reply) => reply_to_wire(reply.clone()),
        Err(refusal) => Wire::Refusal(refusal_to_wire(refusal.clone())),
    };
    Bytes::from(v1::Answer { outcome: Some(wire) }.encode_to_vec())
}

/// `None` when the bytes are no answer, or one of a later release.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Outcome> {
    Some(match v1::Answer::decode(bytes).ok()?.outcome? {
        Wire::Refusal(refusal) => Err(refusal_from_wire(refusal)?),
        reply => Ok(reply_from_wire(reply)?),
    })
}

fn reply_to_wire(reply: Reply) -> Wire {
    let done = v1::Done {};
    let created = |id| v1::CreatedId { id };
    let dropped = |existed| v1::Dropped { existed };
    let counted = |count| v1::Counted { count };
    match reply {
        Reply::DatabaseCreated { id } => Wire::DatabaseCreated(created(id.0)),
        Reply::DatabaseDropped { existed } => Wire::DatabaseDropped(dropped(existed)),
        Reply::DatabaseAltered => Wire::DatabaseAltered(done),
        Reply::CollectionCreated { id, shards } => Wire::CollectionCreated(v1::CollectionCreated {
            id: id.0,
            shards: shards.iter().map(Shard::to_format).collect(),
        }),
        Reply::CollectionDropped { existed } => Wire::CollectionDropped(dropped(existed)),
        Reply::CollectionAltered => Wire::CollectionAltered(done),
        Reply::CollectionRenamed => Wire::CollectionRenamed(done),
        Reply::PartitionCreated { id } => Wire::PartitionCreated(created(id.0)),
        Reply::PartitionDropped { existed } => Wire::PartitionDropped(dropped(existed)),
        Reply::AliasCreated => Wire::AliasCreated(done),
        Reply::AliasDropped { existed } => Wire::AliasDropped(dropped(existed)),
        Reply::AliasAltered => Wire::AliasAltered(done),
        Reply::IdsAllocated { first, count } => Wire::IdsAllocated(v1::IdsAllocated { first, count }),
        Reply::SessionOpened {
            session,
            epoch,
            replaced,
        } => Wire::SessionOpened(v1::SessionOpened {
            id: session.0,
            epoch: epoch.0,
            replaced: replaced.map_or(0, |replaced| replaced.0),
        }),
        Reply::SessionClosed => Wire::SessionClosed(done),
        Reply::LeasesExpired { count } => Wire::LeasesExpired(counted(count)),
        Reply::ClientRegistered => Wire::ClientRegistered(done),
        Reply::ClientsEvicted { count } => Wire::ClientsEvicted(counted(count)),
        Reply::FeatureLevelRaised { level } => Wire::FeatureLevelRaised(counted(level.into())),
        Reply::Kv(reply) => Wire::Kv(kv::reply_to_wire(reply)),
        Reply::KvCompacted { revision } => Wire::KvCompacted(counted(revision)),
        Reply::KvLeaseGranted { revision } => Wire::KvLeaseGranted(counted(revision.0)),
        Reply::KvLeaseRevoked { revision } => Wire::KvLeaseRevoked(counted(revision.0)),
        Reply::KvAuthChanged { revision } => Wire::KvAuthChanged(counted(revision.0)),
    }
}

fn reply_from_wire(wire: Wire) -> Option<Reply> {
    Some(match wire {
        Wire::Refusal(_) => return None,
        Wire::DatabaseCreated(v1::CreatedId { id }) => Reply::DatabaseCreated { id: DatabaseId(id) },
        Wire::DatabaseDropped(v1::Dropped { existed }) => Reply::DatabaseDropped { existed },
        Wire::DatabaseAltered(_) => Reply::DatabaseAltered,
        Wire::CollectionCreated(v1::CollectionCreated { id, shards }) => Reply::CollectionCreated {
            id: CollectionId(id),
            shards: shards.into_iter().map(Shard::from_format).collect(),
        },
        Wire::CollectionDropped(v1::Dropped { existed }) => Reply::CollectionDropped { existed },
        Wire::CollectionAltered(_) => Reply::CollectionAltered,
        Wire::CollectionRenamed(_) => Reply::CollectionRenamed,
        Wire::PartitionCreated(v1::CreatedId { id }) => Reply::PartitionCreated { id: PartitionId(id) },
        Wire::PartitionDropped(v1::Dropped { existed }) => Reply::PartitionDropped { existed },
        Wire::AliasCreated(_) => Reply::AliasCreated,
        Wire::AliasDropped(v1::Dropped { existed }) => Reply::AliasDropped { existed },
        Wire::AliasAltered(_) => Reply::AliasAltered,
        Wire::IdsAllocated(v1::IdsAllocated { first, count }) => Reply::IdsAllocated { first, count },
        Wire::SessionOpened(v1::SessionOpened { id, epoch, replaced }) => Reply::SessionOpened {
            session: LeaseId(id),
            epoch: Epoch(epoch),
            replaced: (replaced != 0).then_some(LeaseId(replaced)),
        },
        Wire::SessionClosed(_) => Reply::SessionClosed,
        Wire::LeasesExpired(v1::Counted { count }) => Reply::LeasesExpired { count },
        Wire::ClientRegistered(_) => Reply::ClientRegistered,
        Wire::ClientsEvicted(v1::Counted { count }) => Reply::ClientsEvicted { count },
        Wire::FeatureLevelRaised(v1::Counted { count }) => Reply::FeatureLevelRaised {
            level: u32::try_from(count).ok()?,
        },
        Wire::Kv(reply) => Reply::Kv(kv::reply_from_wire(reply)?),
        Wire::KvCompacted(v1::Counted { count }) => Reply::KvCompacted { revision: count },
        Wire::KvLeaseGranted(v1::Counted { count }) => Reply::KvLeaseGranted {
            revision: Revision(count),
        },
        Wire::KvLeaseRevoked(v1::Counted { count }) => Reply::KvLeaseRevoked {
            revision: Revision(count),
        },
        Wire::KvAuthChanged(v1::Counted { count }) => Reply::KvAuthChanged {
            revision: Revision(count),
        },
    })
}

/// A name rule and its kind share a number: the kind is in the hundreds.
const KIND_FACTOR: u32 = 100;
/// Parameter rules with numbers; shape rules come after them.
const RANGE: u32 = 1;
const TOO_LONG: u32 = 2;
const TOO_MANY: u32 = 3;
const SHAPES: u32 = 100;

fn refusal_to_wire(refusal: Refusal) -> v1::Refusal {
    let of = |code: Code| v1::Refusal {
        code: code.into(),
        ..v1::Refusal::default()
    };
    let named = |code, name| v1::Refusal { name, ..of(code) };
    let scoped = |code, scope, name| v1::Refusal {
        scope,
        name,
        ..of(code)
    };
    let numbered = |code, number, bound| v1::Refusal {
        number,
        bound,
        ..of(code)
    };
    match refusal {
        Refusal::InvalidName { kind, name, rule } => v1::Refusal {
            rule: kind.number() * KIND_FACTOR + rule.number(),
            ..named(Code::InvalidName, name)
        },
        Refusal::InvalidSchema { field, rule } => v1::Refusal {
            rule: rule.number(),
            ..named(Code::InvalidSchema, field)
        },
        Refusal::InvalidParameter { parameter, rule } => {
            let (rule, number, bound) = match rule {
                ParameterRule::Range { min, max } => (RANGE, min, max),
                ParameterRule::TooLong { max } => (TOO_LONG, 0, max),
                ParameterRule::TooMany { max } => (TOO_MANY, 0, max),
                ParameterRule::Shape(rule) => (SHAPES + rule.number(), 0, 0),
            };
            v1::Refusal {
                name: parameter,
                rule,
                ..numbered(Code::InvalidParameter, number, bound)
            }
        }
        Refusal::DatabaseNotFound { name } => named(Code::DatabaseNotFound, name),
        Refusal::DatabaseExists { name } => named(Code::DatabaseExists, name),
        Refusal::DatabaseNotEmpty { name } => named(Code::DatabaseNotEmpty, name),
        Refusal::DatabaseIsDefault => of(Code::DatabaseIsDefault),
        Refusal::DatabaseLimit => of(Code::DatabaseLimit),
        Refusal::CollectionNotFound { database, name } => scoped(Code::CollectionNotFound, database, name),
        Refusal::CollectionIdNotFound { id } => numbered(Code::CollectionIdNotFound, id.0, 0),
        Refusal::CollectionExists { database, name } => scoped(Code::CollectionExists, database, name),
        Refusal::CollectionLimit => of(Code::CollectionLimit),
        Refusal::CollectionAliasConflict { database, name, why } => v1::Refusal {
            rule: why.number(),
            ..scoped(Code::CollectionAliasConflict, database, name)
        },
        Refusal::PartitionLimit { collection } => scoped(Code::PartitionLimit, collection, String::new()),
        Refusal::PartitionFixed {
            collection,
            name,
            why,
        } => v1::Refusal {
            rule: why.number(),
            ..scoped(Code::PartitionFixed, collection, name)
        },
        Refusal::CapacityLimit => of(Code::CapacityLimit),
        Refusal::AliasNotFound { database, name } => scoped(Code::AliasNotFound, database, name),
        Refusal::AliasExists {
            database,
            name,
            collection,
        } => v1::Refusal {
            other: collection,
            ..scoped(Code::AliasExists, database, name)
        },
        Refusal::AliasCollectionConflict { database, name } => {
            scoped(Code::AliasCollectionConflict, database, name)
        }
        Refusal::AliasLimit { collection } => scoped(Code::AliasLimit, collection, String::new()),
        Refusal::SessionNotFound { session, epoch } => numbered(Code::SessionNotFound, session.0, epoch.0),
        Refusal::SessionFenced { session, epoch } => numbered(Code::SessionFenced, session.0, epoch.0),
        Refusal::SessionLimit => of(Code::SessionLimit),
        Refusal::ClientUnknown { client } => v1::Refusal {
            client: client_bytes(client),
            ..of(Code::ClientUnknown)
        },
        Refusal::RequestForgotten { sequence, floor } => numbered(Code::RequestForgotten, sequence, floor),
        Refusal::ClientAnswersLimit => of(Code::ClientAnswersLimit),
        Refusal::ClientLimit => of(Code::ClientLimit),
        Refusal::FeatureLevel { needs, has } => numbered(Code::FeatureLevel, needs.into(), has.into()),
        Refusal::KvCompacted { floor } => numbered(Code::KvCompacted, 0, floor),
        Refusal::KvFutureRevision { revision } => numbered(Code::KvFutureRevision, revision, 0),
        Refusal::KvKeyNotFound => of(Code::KvKeyNotFound),
        Refusal::KvLeaseNotFound { lease } => numbered(Code::KvLeaseNotFound, lease.cast_unsigned(), 0),
        Refusal::KvLeaseExists { lease } => numbered(Code::KvLeaseExists, lease.cast_unsigned(), 0),
        Refusal::KvLeaseLimit => of(Code::KvLeaseLimit),
        Refusal::KvAuth { rule } => v1::Refusal {
            rule: rule.number(),
            ..of(Code::KvAuth)
        },
    }
}

fn refusal_from_wire(wire: v1::Refusal) -> Option<Refusal> {
    let code = wire.code();
    let v1::Refusal {
        name,
        scope,
        other,
        rule,
        number,
        bound,
        client,
        ..
    } = wire;
    Some(match code {
        Code::Unspecified => return None,
        Code::InvalidName => Refusal::InvalidName {
            kind: NameKind::from_number(rule / KIND_FACTOR)?,
            name,
            rule: NameRule::from_number(rule % KIND_FACTOR)?,
        },
        Code::InvalidSchema => Refusal::InvalidSchema {
            field: name,
            rule: SchemaRule::from_number(rule)?,
        },
        Code::InvalidParameter => Refusal::InvalidParameter {
            parameter: name,
            rule: match rule {
                RANGE => ParameterRule::Range {
                    min: number,
                    max: bound,
                },
                TOO_LONG => ParameterRule::TooLong { max: bound },
                TOO_MANY => ParameterRule::TooMany { max: bound },
                shape => ParameterRule::Shape(ShapeRule::from_number(shape.checked_sub(SHAPES)?)?),
            },
        },
        Code::DatabaseNotFound => Refusal::DatabaseNotFound { name },
        Code::DatabaseExists => Refusal::DatabaseExists { name },
        Code::DatabaseNotEmpty => Refusal::DatabaseNotEmpty { name },
        Code::DatabaseIsDefault => Refusal::DatabaseIsDefault,
        Code::DatabaseLimit => Refusal::DatabaseLimit,
        Code::CollectionNotFound => Refusal::CollectionNotFound {
            database: scope,
            name,
        },
        Code::CollectionIdNotFound => Refusal::CollectionIdNotFound {
            id: CollectionId(number),
        },
        Code::CollectionExists => Refusal::CollectionExists {
            database: scope,
            name,
        },
        Code::CollectionLimit => Refusal::CollectionLimit,
        Code::CollectionAliasConflict => Refusal::CollectionAliasConflict {
            database: scope,
            name,
            why: AliasConflict::from_number(rule)?,
        },
        Code::PartitionLimit => Refusal::PartitionLimit { collection: scope },
        Code::PartitionFixed => Refusal::PartitionFixed {
            collection: scope,
            name,
            why: FixedPartition::from_number(rule)?,
        },
        Code::CapacityLimit => Refusal::CapacityLimit,
        Code::AliasNotFound => Refusal::AliasNotFound {
            database: scope,
            name,
        },
        Code::AliasExists => Refusal::AliasExists {
            database: scope,
            name,
            collection: other,
        },
        Code::AliasCollectionConflict => Refusal::AliasCollectionConflict {
            database: scope,
            name,
        },
        Code::AliasLimit => Refusal::AliasLimit { collection: scope },
        Code::SessionNotFound => Refusal::SessionNotFound {
            session: LeaseId(number),
            epoch: Epoch(bound),
        },
        Code::SessionFenced => Refusal::SessionFenced {
            session: LeaseId(number),
            epoch: Epoch(bound),
        },
        Code::SessionLimit => Refusal::SessionLimit,
        Code::ClientUnknown => Refusal::ClientUnknown {
            client: ClientId::from_bytes(&client)?,
        },
        Code::RequestForgotten => Refusal::RequestForgotten {
            sequence: number,
            floor: bound,
        },
        Code::ClientAnswersLimit => Refusal::ClientAnswersLimit,
        Code::ClientLimit => Refusal::ClientLimit,
        Code::FeatureLevel => Refusal::FeatureLevel {
            needs: u32::try_from(number).ok()?,
            has: u32::try_from(bound).ok()?,
        },
        Code::KvCompacted => Refusal::KvCompacted { floor: bound },
        Code::KvFutureRevision => Refusal::KvFutureRevision { revision: number },
        Code::KvKeyNotFound => Refusal::KvKeyNotFound,
        Code::KvLeaseNotFound => Refusal::KvLeaseNotFound {
            lease: number.cast_signed(),
        },
        Code::KvLeaseExists => Refusal::KvLeaseExists {
            lease: number.cast_signed(),
        },
        Code::KvLeaseLimit => Refusal::KvLeaseLimit,
        Code::KvAuth => Refusal::KvAuth {
            rule: KvAuthRule::from_number(rule)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_types::Revision;

    use super::*;
    use crate::domain::kv::{KeyRow, KvRanged, KvReply, KvResult, KvResultKind, KvTxnResult};
    use crate::keyspace::Row;

    fn replies() -> Vec<Reply> {
        let shard = Shard {
            virtual_channel: "q-dml_0_2v0".into(),
            physical_channel: "q-dml_0".into(),
        };
        vec![
            Reply::DatabaseCreated { id: DatabaseId(2) },
            Reply::DatabaseDropped { existed: true },
            Reply::DatabaseAltered,
            Reply::CollectionCreated {
                id: CollectionId(3),
                shards: vec![shard],
            },
            Reply::CollectionDropped { existed: false },
            Reply::CollectionAltered,
            Reply::CollectionRenamed,
            Reply::PartitionCreated { id: PartitionId(4) },
            Reply::PartitionDropped { existed: true },
            Reply::AliasCreated,
            Reply::AliasDropped { existed: true },
            Reply::AliasAltered,
            Reply::IdsAllocated {
                first: 5,
                count: u64::MAX,
            },
            Reply::SessionOpened {
                session: LeaseId(6),
                epoch: Epoch(7),
                replaced: None,
            },
            Reply::SessionOpened {
                session: LeaseId(6),
                epoch: Epoch(7),
                replaced: Some(LeaseId(5)),
            },
            Reply::SessionClosed,
            Reply::LeasesExpired { count: 2 },
            Reply::ClientRegistered,
            Reply::ClientsEvicted { count: 1 },
            Reply::FeatureLevelRaised { level: 2 },
            Reply::Kv(kv_reply()),
            Reply::KvCompacted { revision: 9 },
            Reply::KvLeaseGranted {
                revision: Revision(9),
            },
            Reply::KvLeaseRevoked {
                revision: Revision(9),
            },
            Reply::KvAuthChanged {
                revision: Revision(9),
            },
        ]
    }

    /// With a result of each kind, nested.
    fn kv_reply() -> KvReply {
        let row = |key: &'static str| KeyRow {
            key: Bytes::from(key),
            row: Arc::new(Row {
                value: Bytes::from("v"),
                create_revision: Revision(2),
                mod_revision: Revision(3),
                version: 2,
                lease: -5,
            }),
        };
        let at = |kind| KvResult {
            revision: Revision(4),
            kind,
        };
        let nested = KvTxnResult {
            succeeded: false,
            results: vec![
                at(KvResultKind::Put { before: None }),
                at(KvResultKind::Put {
                    before: Some(row("a")),
                }),
                at(KvResultKind::Delete {
                    deleted: 2,
                    before: vec![row("a"), row("b")],
                }),
            ],
        };
        let ranged = KvRanged {
            rows: vec![row("a")],
            more: true,
            count: 3,
        };
        KvReply {
            revision: Revision(4),
            result: KvTxnResult {
                succeeded: true,
                results: vec![at(KvResultKind::Range(ranged)), at(KvResultKind::Txn(nested))],
            },
        }
    }

    fn refusals() -> Vec<Refusal> {
        let name = || String::from("n");
        let database = || String::from("d");
        let collection = || String::from("c");
        let mut all = vec![
            Refusal::parameter(
                "p",
                ParameterRule::Range {
                    min: 1,
                    max: u64::MAX,
                },
            ),
            Refusal::parameter("p", ParameterRule::TooLong { max: 9 }),
            Refusal::parameter("p", ParameterRule::TooMany { max: 9 }),
            Refusal::DatabaseNotFound { name: name() },
            Refusal::DatabaseExists { name: name() },
            Refusal::DatabaseNotEmpty { name: name() },
            Refusal::DatabaseIsDefault,
            Refusal::DatabaseLimit,
            Refusal::CollectionNotFound {
                database: database(),
                name: name(),
            },
            Refusal::CollectionIdNotFound { id: CollectionId(9) },
            Refusal::CollectionExists {
                database: database(),
                name: name(),
            },
            Refusal::CollectionLimit,
            Refusal::PartitionLimit {
                collection: collection(),
            },
            Refusal::CapacityLimit,
            Refusal::AliasNotFound {
                database: database(),
                name: name(),
            },
            Refusal::AliasExists {
                database: database(),
                name: name(),
                collection: collection(),
            },
            Refusal::AliasCollectionConflict {
                database: database(),
                name: name(),
            },
            Refusal::AliasLimit {
                collection: collection(),
            },
            Refusal::SessionNotFound {
                session: LeaseId(1),
                epoch: Epoch(2),
            },
            Refusal::SessionFenced {
                session: LeaseId(1),
                epoch: Epoch(2),
            },
            Refusal::SessionLimit,
            Refusal::ClientUnknown {
                client: ClientId(u128::MAX),
            },
            Refusal::RequestForgotten {
                sequence: 1,
                floor: 2,
            },
            Refusal::ClientAnswersLimit,
            Refusal::ClientLimit,
            Refusal::FeatureLevel { needs: 2, has: 1 },
            Refusal::KvCompacted { floor: 7 },
            Refusal::KvFutureRevision { revision: 7 },
            Refusal::KvKeyNotFound,
            Refusal::KvLeaseNotFound { lease: -7 },
            Refusal::KvLeaseExists { lease: -7 },
            Refusal::KvLeaseLimit,
        ];
        for kind in NameKind::ALL {
            all.extend(NameRule::ALL.iter().map(|rule| Refusal::InvalidName {
                kind: *kind,
                name: name(),
                rule: *rule,
            }));
        }
        all.extend(SchemaRule::ALL.iter().map(|rule| Refusal::InvalidSchema {
            field: name(),
            rule: *rule,
        }));
        all.extend(KvAuthRule::ALL.iter().map(|rule| Refusal::KvAuth { rule: *rule }));
        all.extend(ShapeRule::ALL.iter().map(|rule| Refusal::shape("p", *rule)));
        all.extend(
            AliasConflict::ALL
                .iter()
                .map(|why| Refusal::CollectionAliasConflict {
                    database: database(),
                    name: name(),
                    why: *why,
                }),
        );
        all.extend(FixedPartition::ALL.iter().map(|why| Refusal::PartitionFixed {
            collection: collection(),
            name: name(),
            why: *why,
        }));
        all
    }

    #[test]
    fn every_answer_is_given_back_as_it_was() {
        let outcomes = replies()
            .into_iter()
            .map(Ok)
            .chain(refusals().into_iter().map(Err));
        for outcome in outcomes {
            assert_eq!(decode(&encode(&outcome)), Some(outcome));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let refusal = |code: i32, rule| {
            let refusal = v1::Refusal {
                code,
                rule,
                ..v1::Refusal::default()
            };
            let answer = v1::Answer {
                outcome: Some(Wire::Refusal(refusal)),
            };
            decode(&answer.encode_to_vec())
        };
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0xff]), None);
        assert_eq!(refusal(0, 0), None);
        assert_eq!(refusal(-1, 0), None);
        assert_eq!(refusal(Code::InvalidName.into(), 901), None);
        assert_eq!(refusal(Code::InvalidParameter.into(), 4), None);
        assert_eq!(refusal(Code::ClientUnknown.into(), 0), None);
    }
}
