//! The writes: from a request to the command that is proposed, and from the reply to the answer.
//!
//! Promises: one table for all of them, so that a write by itself and the same write in a stream cannot differ.

use quorate_api::v1;
use quorate_replica::machine::{self, Command, Reply, RequestId};
use quorate_types::ClientId;

use super::catalog::{consistency_level, shard};
use super::{Malformed, description, keys, name, properties, schema};

/// What is proposed for a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) command: Command,
    pub(crate) request: Option<RequestId>,
}

/// A request that changes something.
pub(crate) trait Write: Sized + Send + 'static {
    /// What it is answered with.
    type Answer: Send + 'static;

    /// Checks the request.
    fn proposal(self) -> Result<Proposal, Malformed>;

    /// The reply in the answer's words; `None` when it answers another write, which can only be when the client used the
    /// number of that one again.
    fn answer(reply: Reply) -> Option<Self::Answer>;
}

/// Checks a request id: absent, or complete. The floor is the machine's to judge.
fn request_id(request: Option<v1::RequestId>) -> Result<Option<RequestId>, Malformed> {
    let Some(v1::RequestId {
        client_id,
        sequence,
        floor,
    }) = request
    else {
        return Ok(None);
    };
    let client = self::client_id(&client_id).map_err(|malformed| malformed.under("request"))?;
    if sequence == 0 {
        return Err(Malformed::new(
            "request.sequence",
            "is 0; requests are numbered from 1 upwards",
        ));
    }
    Ok(Some(RequestId {
        client,
        sequence,
        floor,
    }))
}

/// Checks the id of a client.
fn client_id(bytes: &[u8]) -> Result<ClientId, Malformed> {
    let wrong = || Malformed::new("client_id", format!("has {} bytes; it needs 16", bytes.len()));
    ClientId::from_bytes(bytes).ok_or_else(wrong)
}

impl Write for v1::RegisterRequest {
    type Answer = v1::RegisterResponse;

    fn proposal(self) -> Result<Proposal, Malformed> {
        let client = client_id(&self.client_id)?;
        Ok(Proposal {
            command: Command::RegisterClient { client },
            request: None,
        })
    }

    fn answer(reply: Reply) -> Option<Self::Answer> {
        use quorate_types::limits::{CLIENT_ANSWERS_MAX, CLIENT_IDLE_MS};
        let Reply::ClientRegistered = reply else {
            return None;
        };
        let answers_max = u32::try_from(CLIENT_ANSWERS_MAX).unwrap_or(u32::MAX);
        Some(v1::RegisterResponse {
            answers_max,
            idle_ms: CLIENT_IDLE_MS,
        })
    }
}

/// One line for each write with a request id: the fields of its command, then its reply and its answer.
macro_rules! writes {
    ($($request:ident -> $answer:ident as $command:ident($this:ident) $fields:tt, $reply:pat => $shown:tt;)*) => {
        $(
            impl Write for v1::$request {
                type Answer = v1::$answer;

                fn proposal(self) -> Result<Proposal, Malformed> {
                    let $this = self;
                    let request = request_id($this.request)?;
                    let command = Command::$command(machine::$command $fields);
                    Ok(Proposal { command, request })
                }

                fn answer(reply: Reply) -> Option<Self::Answer> {
                    match reply {
                        $reply => Some(v1::$answer $shown),
                        _ => None,
                    }
                }
            }
        )*
    };
}

writes! {
    CreateDatabaseRequest -> CreateDatabaseResponse as CreateDatabase(this) {
        name: name("name", this.name)?,
        properties: properties("properties", this.properties)?,
    }, Reply::DatabaseCreated { id } => { database_id: id.0 };

    DropDatabaseRequest -> DropDatabaseResponse as DropDatabase(this) {
        name: name("name", this.name)?,
    }, Reply::DatabaseDropped { existed } => { existed };

    AlterDatabaseRequest -> AlterDatabaseResponse as AlterDatabase(this) {
        name: name("name", this.name)?,
        set: properties("set", this.set)?,
        remove: keys("remove", this.remove)?,
    }, Reply::DatabaseAltered => {};

    CreateCollectionRequest -> CreateCollectionResponse as CreateCollection(this) {
        database: name("database", this.database)?,
        name: name("name", this.name)?,
        description: description("description", this.description)?,
        schema: schema::from_proto(this.schema.ok_or_else(|| Malformed::missing("schema"))?)
            .map_err(|malformed| malformed.under("schema"))?,
        shards: this.shards,
        consistency_level: consistency_level("consistency_level", this.consistency_level)?,
        properties: properties("properties", this.properties)?,
        partitions: this.partitions,
    }, Reply::CollectionCreated { id, shards } => {
        collection_id: id.0,
        shards: shards.into_iter().map(shard).collect(),
    };

    DropCollectionRequest -> DropCollectionResponse as DropCollection(this) {
        database: name("database", this.database)?,
        name: name("name", this.name)?,
    }, Reply::CollectionDropped { existed } => { existed };

    AlterCollectionRequest -> AlterCollectionResponse as AlterCollection(this) {
        database: name("database", this.database)?,
        name: name("name", this.name)?,
        set: properties("set", this.set)?,
        remove: keys("remove", this.remove)?,
        description: this.description.map(|text| description("description", text)).transpose()?,
    }, Reply::CollectionAltered => {};

    RenameCollectionRequest -> RenameCollectionResponse as RenameCollection(this) {
        database: name("database", this.database)?,
        name: name("name", this.name)?,
        new_name: name("new_name", this.new_name)?,
        new_database: name("new_database", this.new_database)?,
    }, Reply::CollectionRenamed => {};

    CreatePartitionRequest -> CreatePartitionResponse as CreatePartition(this) {
        database: name("database", this.database)?,
        collection: name("collection", this.collection)?,
        name: name("name", this.name)?,
    }, Reply::PartitionCreated { id } => { partition_id: id.0 };

    DropPartitionRequest -> DropPartitionResponse as DropPartition(this) {
        database: name("database", this.database)?,
        collection: name("collection", this.collection)?,
        name: name("name", this.name)?,
    }, Reply::PartitionDropped { existed } => { existed };

    CreateAliasRequest -> CreateAliasResponse as CreateAlias(this) {
        database: name("database", this.database)?,
        collection: name("collection", this.collection)?,
        alias: name("alias", this.alias)?,
    }, Reply::AliasCreated => {};

    DropAliasRequest -> DropAliasResponse as DropAlias(this) {
        database: name("database", this.database)?,
        alias: name("alias", this.alias)?,
    }, Reply::AliasDropped { existed } => { existed };

    AlterAliasRequest -> AlterAliasResponse as AlterAlias(this) {
        database: name("database", this.database)?,
        collection: name("collection", this.collection)?,
        alias: name("alias", this.alias)?,
    }, Reply::AliasAltered => {};

    AllocateIdsRequest -> AllocateIdsResponse as AllocateIds(this) {
        count: this.count,
    }, Reply::IdsAllocated { first, count } => { first, count };
}

/// A write of a stream, checked, and how its reply is worded.
pub(crate) struct Streamed {
    pub(crate) proposal: Proposal,
    pub(crate) word: fn(Reply) -> Option<v1::write_response::Answer>,
}

macro_rules! streamed {
    ($($field:literal $variant:ident $request:ident;)*) => {
        /// Checks a write of a stream.
        pub(crate) fn streamed(write: v1::write_request::Write) -> Result<Streamed, Malformed> {
            use v1::write_request::Write as Wrapped;
            use v1::write_response::Answer;
            match write {
                $(Wrapped::$variant(write) => Ok(Streamed {
                    proposal: write.proposal().map_err(|malformed| malformed.under($field))?,
                    word: |reply| <v1::$request as Write>::answer(reply).map(Answer::$variant),
                }),)*
            }
        }
    };
}

streamed! {
    "create_database" CreateDatabase CreateDatabaseRequest;
    "drop_database" DropDatabase DropDatabaseRequest;
    "alter_database" AlterDatabase AlterDatabaseRequest;
    "create_collection" CreateCollection CreateCollectionRequest;
    "drop_collection" DropCollection DropCollectionRequest;
    "alter_collection" AlterCollection AlterCollectionRequest;
    "rename_collection" RenameCollection RenameCollectionRequest;
    "create_partition" CreatePartition CreatePartitionRequest;
    "drop_partition" DropPartition DropPartitionRequest;
    "create_alias" CreateAlias CreateAliasRequest;
    "drop_alias" DropAlias DropAliasRequest;
    "alter_alias" AlterAlias AlterAliasRequest;
    "allocate_ids" AllocateIds AllocateIdsRequest;
}

#[cfg(test)]
mod tests {
    use quorate_replica::machine::{
        CollectionId, ConsistencyLevel, CreateCollection, DatabaseId, Schema, Shard,
    };

    use super::*;

    fn n(text: &str) -> String {
        text.to_owned()
    }

    fn id(client_id: Vec<u8>, sequence: u64) -> Option<v1::RequestId> {
        Some(v1::RequestId {
            client_id,
            sequence,
            floor: 3,
        })
    }

    #[test]
    fn a_request_id_is_absent_or_complete() {
        let whole = RequestId {
            client: ClientId(0x0707_0707_0707_0707_0707_0707_0707_0707),
            sequence: 4,
            floor: 3,
        };
        let cases = [
            ("none", None, Ok(None)),
            ("a whole one", id(vec![7; 16], 4), Ok(Some(whole))),
            (
                "no client",
                id(vec![], 4),
                Err("request.client_id has 0 bytes; it needs 16"),
            ),
            (
                "a long client",
                id(vec![7; 17], 4),
                Err("request.client_id has 17 bytes; it needs 16"),
            ),
            (
                "no sequence",
                id(vec![7; 16], 0),
                Err("request.sequence is 0; requests are numbered from 1 upwards"),
            ),
        ];
        for (case, request, want) in cases {
            assert_eq!(
                request_id(request).map_err(|m| m.to_string()),
                want.map_err(n),
                "{case}"
            );
        }
    }

    #[test]
    fn a_request_becomes_its_command_word_for_word() {
        let request = v1::CreateCollectionRequest {
            request: id(vec![1; 16], 2),
            database: n("db"),
            name: n("books"),
            description: n("all"),
            schema: Some(v1::Schema {
                fields: vec![],
                dynamic_fields: true,
            }),
            shards: 2,
            consistency_level: 0,
            properties: [(n("k"), n("v"))].into(),
            partitions: 5,
        };
        let proposal = request.proposal().expect("well-formed");
        assert_eq!(proposal.request.map(|request| request.sequence), Some(2));
        let want = Command::CreateCollection(CreateCollection {
            database: n("db"),
            name: n("books"),
            description: n("all"),
            schema: Schema {
                fields: vec![],
                dynamic_fields: true,
            },
            shards: 2,
            consistency_level: ConsistencyLevel::Bounded,
            properties: [(n("k"), n("v"))].into(),
            partitions: 5,
        });
        assert_eq!(proposal.command, want);
    }

    #[test]
    fn an_absent_description_is_not_an_empty_one() {
        for description in [None, Some(n(""))] {
            let request = v1::AlterCollectionRequest {
                description: description.clone(),
                ..Default::default()
            };
            let proposal = request.proposal().expect("well-formed");
            let Command::AlterCollection(alter) = proposal.command else {
                panic!("another command");
            };
            assert_eq!(alter.description, description);
        }
    }

    #[test]
    fn what_is_no_write_names_the_field() {
        use v1::write_request::Write as Wrapped;
        let long = "x".repeat(256);
        let cases: Vec<(Wrapped, &str)> = vec![
            (
                Wrapped::CreateCollection(v1::CreateCollectionRequest::default()),
                "create_collection.schema",
            ),
            (
                Wrapped::CreateCollection(v1::CreateCollectionRequest {
                    schema: Some(v1::Schema {
                        fields: vec![v1::Field::default()],
                        dynamic_fields: false,
                    }),
                    ..Default::default()
                }),
                "create_collection.schema.fields[0].data_type",
            ),
            (
                Wrapped::CreateCollection(v1::CreateCollectionRequest {
                    schema: Some(v1::Schema::default()),
                    consistency_level: 77,
                    ..Default::default()
                }),
                "create_collection.consistency_level",
            ),
            (
                Wrapped::RenameCollection(v1::RenameCollectionRequest {
                    new_database: long.clone(),
                    ..Default::default()
                }),
                "rename_collection.new_database",
            ),
            (
                Wrapped::AlterAlias(v1::AlterAliasRequest {
                    alias: long.clone(),
                    ..Default::default()
                }),
                "alter_alias.alias",
            ),
            (
                Wrapped::DropPartition(v1::DropPartitionRequest {
                    collection: long.clone(),
                    ..Default::default()
                }),
                "drop_partition.collection",
            ),
            (
                Wrapped::AlterDatabase(v1::AlterDatabaseRequest {
                    remove: vec![long],
                    ..Default::default()
                }),
                "alter_database.remove[0]",
            ),
            (
                Wrapped::AllocateIds(v1::AllocateIdsRequest {
                    request: id(vec![], 1),
                    count: 1,
                }),
                "allocate_ids.request.client_id",
            ),
        ];
        for (write, field) in cases {
            let malformed = streamed(write).map(drop).expect_err(field);
            assert_eq!(malformed.field, field);
        }
    }

    #[test]
    fn replies_become_answers_and_none_that_of_another_write() {
        let shards = vec![Shard {
            virtual_channel: n("p_9v0"),
            physical_channel: n("p"),
        }];
        let created = Reply::CollectionCreated {
            id: CollectionId(9),
            shards,
        };
        let answer = v1::CreateCollectionRequest::answer(created.clone()).expect("its answer");
        assert_eq!((answer.collection_id, answer.shards.len()), (9, 1));
        assert!(v1::CreateDatabaseRequest::answer(created).is_none());

        let created = Reply::DatabaseCreated { id: DatabaseId(3) };
        let answer = v1::CreateDatabaseRequest::answer(created.clone());
        assert_eq!(answer, Some(v1::CreateDatabaseResponse { database_id: 3 }));
        let write = v1::write_request::Write::CreateDatabase(v1::CreateDatabaseRequest::default());
        let word = streamed(write).expect("well-formed").word;
        let want = v1::CreateDatabaseResponse { database_id: 3 };
        assert_eq!(
            word(created),
            Some(v1::write_response::Answer::CreateDatabase(want))
        );
        assert_eq!(word(Reply::AliasAltered), None);

        let ids = v1::AllocateIdsRequest::answer(Reply::IdsAllocated { first: 5, count: 2 });
        assert_eq!(ids, Some(v1::AllocateIdsResponse { first: 5, count: 2 }));
        let registered = v1::RegisterRequest::answer(Reply::ClientRegistered).expect("its answer");
        assert_eq!((registered.answers_max, registered.idle_ms), (1_024, 3_600_000));
    }
}
