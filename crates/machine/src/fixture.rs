//! What the tables of tests are made of: commands in one line each, and a machine that runs them.

use quorate_types::Index;

use crate::domain::root::{DataType, Field, Schema};
use crate::domain::session::{Worker, WorkerKind};
use crate::reply::Outcome;
use crate::{
    Applied, Command, CreateAlias, CreateCollection, CreateDatabase, CreatePartition, DropCollection,
    Machine, OpenSession, RequestId,
};

/// States above this are not audited after every command; that would only take long.
const AUDITED_ROWS_MAX: u64 = 1_000;

/// A machine with its log's next index and a clock that ticks with every entry.
pub(crate) struct Log {
    pub(crate) machine: Machine,
    next: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            machine: Machine::genesis(),
            next: 0,
        }
    }

    pub(crate) fn apply_at(
        &mut self,
        stamp_ms: u64,
        request: Option<RequestId>,
        command: &Command,
    ) -> Applied {
        let entry = command.encode(stamp_ms, request);
        let applied = self
            .machine
            .apply(Index(self.next), &entry)
            .expect("an entry that can be read");
        self.next += 1;
        let image = self.machine.image();
        if image.counts().rows < AUDITED_ROWS_MAX {
            image.audit().expect("a state that fits together");
        }
        applied
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        self.apply_at(self.next, None, command).outcome
    }
}

/// A table row: what stands already, what is decided, and its answer in words.
pub(crate) type Case<'a> = (&'a str, Vec<Command>, Command, &'a str);

/// Runs each case on a new machine. The answer is a refusal's message or a reply's debug form.
pub(crate) fn check(cases: Vec<Case<'_>>) {
    for (name, before, command, want) in cases {
        let mut log = Log::new();
        for command in &before {
            log.apply(command)
                .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        }
        assert_eq!(words(log.apply(&command)), want, "{name}");
    }
}

pub(crate) fn words(outcome: Outcome) -> String {
    match outcome {
        Ok(reply) => format!("{reply:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

pub(crate) fn schema() -> Schema {
    let mut id = Field::new("id", DataType::Int64);
    id.primary_key = true;
    let mut vector = Field::new("vector", DataType::FloatVector);
    vector.dimension = 8;
    Schema {
        fields: vec![id, vector],
        dynamic_fields: false,
    }
}

/// With a partition key.
pub(crate) fn keyed_schema() -> Schema {
    let mut schema = schema();
    let mut tenant = Field::new("tenant", DataType::VarChar);
    (tenant.partition_key, tenant.max_length) = (true, 64);
    schema.fields.push(tenant);
    schema
}

pub(crate) fn create_database(name: &str) -> Command {
    Command::CreateDatabase(CreateDatabase {
        name: name.into(),
        ..CreateDatabase::default()
    })
}

pub(crate) fn create(name: &str) -> Command {
    create_with(name, |_| ())
}

pub(crate) fn create_with(name: &str, change: impl Fn(&mut CreateCollection)) -> Command {
    let mut command = CreateCollection::new(name, schema());
    change(&mut command);
    Command::CreateCollection(command)
}

pub(crate) fn drop(name: &str) -> Command {
    Command::DropCollection(DropCollection {
        name: name.into(),
        ..DropCollection::default()
    })
}

pub(crate) fn create_partition(collection: &str, name: &str) -> Command {
    Command::CreatePartition(CreatePartition {
        collection: collection.into(),
        name: name.into(),
        ..CreatePartition::default()
    })
}

pub(crate) fn create_alias(alias: &str, collection: &str) -> Command {
    Command::CreateAlias(CreateAlias {
        alias: alias.into(),
        collection: collection.into(),
        ..CreateAlias::default()
    })
}

pub(crate) fn worker(name: &str) -> Worker {
    Worker {
        kind: WorkerKind::QueryNode,
        name: name.into(),
        address: "10.0.0.1:19530".into(),
        zone: String::new(),
        resource_group: String::new(),
        capacity: [("slots".to_owned(), 8)].into(),
    }
}

pub(crate) fn open_session(name: &str) -> Command {
    Command::OpenSession(OpenSession {
        worker: worker(name),
        ttl_ms: 10_000,
    })
}
