//! What the calls of a script do.

use quorate_machine::{
    AllocateIds, AlterAlias, AlterCollection, AlterDatabase, CloseSession, Command, CreateAlias,
    CreateCollection, CreateDatabase, CreatePartition, DropAlias, DropCollection, DropDatabase,
    DropPartition, LeaseId, Machine, OpenSession, Page, PageRequest, Refusal, RenameCollection, ResourceKind,
    Worker, WorkerKind,
};
use quorate_types::{Epoch, Index, Revision};

use crate::parse::{Call, client_id};
use crate::show;

/// A machine in the middle of a script.
pub(crate) struct Story {
    machine: Machine,
    next: u64,
    /// The proposer's clock; every entry moves it.
    clock_ms: u64,
    /// The token of the last page.
    token: String,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            machine: Machine::genesis(),
            next: 0,
            clock_ms: 1000,
            token: String::new(),
        }
    }

    pub(crate) fn run(&mut self, call: &Call) -> Vec<String> {
        match self.command(call) {
            Some(command) => self.write(call, &command),
            None => self.read(call),
        }
    }

    fn write(&mut self, call: &Call, command: &Command) -> Vec<String> {
        self.clock_ms = call.at_ms.unwrap_or(self.clock_ms + 1);
        let entry = command.encode(self.clock_ms, call.request);
        let applied = self.machine.apply(Index(self.next), &entry).unwrap();
        self.next += 1;
        self.machine.image().audit().unwrap();
        let mut said = vec![show::outcome(&applied)];
        if let Some(set) = &applied.change_set {
            said.extend(show::changes(set));
        }
        said
    }

    fn command(&self, call: &Call) -> Option<Command> {
        let database = || call.text("db");
        Some(match call.word.as_str() {
            "create-database" => Command::CreateDatabase(CreateDatabase {
                name: call.arg(0),
                properties: call.properties("properties"),
            }),
            "drop-database" => Command::DropDatabase(DropDatabase { name: call.arg(0) }),
            "alter-database" => Command::AlterDatabase(AlterDatabase {
                name: call.arg(0),
                set: call.properties("set"),
                remove: call.names("remove"),
            }),
            "create-collection" => Command::CreateCollection(CreateCollection {
                database: database(),
                description: call.text("description"),
                shards: call.count("shards"),
                partitions: call.count("partitions"),
                properties: call.properties("properties"),
                ..CreateCollection::new(call.arg(0), call.schema())
            }),
            "drop-collection" => Command::DropCollection(DropCollection {
                database: database(),
                name: call.arg(0),
            }),
            "alter-collection" => Command::AlterCollection(AlterCollection {
                database: database(),
                name: call.arg(0),
                set: call.properties("set"),
                remove: call.names("remove"),
                description: call.named.get("description").cloned(),
            }),
            "rename-collection" => Command::RenameCollection(RenameCollection {
                database: database(),
                name: call.arg(0),
                new_name: call.arg(1),
                new_database: call.text("to"),
            }),
            "create-partition" => Command::CreatePartition(CreatePartition {
                database: database(),
                collection: call.arg(0),
                name: call.arg(1),
            }),
            "drop-partition" => Command::DropPartition(DropPartition {
                database: database(),
                collection: call.arg(0),
                name: call.arg(1),
            }),
            "create-alias" => Command::CreateAlias(CreateAlias {
                database: database(),
                alias: call.arg(0),
                collection: call.arg(1),
            }),
            "alter-alias" => Command::AlterAlias(AlterAlias {
                database: database(),
                alias: call.arg(0),
                collection: call.arg(1),
            }),
            "drop-alias" => Command::DropAlias(DropAlias {
                database: database(),
                alias: call.arg(0),
            }),
            "allocate-ids" => Command::AllocateIds(AllocateIds {
                count: call.number(0),
            }),
            "open-session" => Command::OpenSession(OpenSession {
                worker: worker(call),
                ttl_ms: 10_000,
            }),
            "close-session" => Command::CloseSession(CloseSession {
                session: LeaseId(call.number(0)),
                epoch: Epoch(call.number(1)),
            }),
            "expire-leases" => Command::ExpireLeases {
                ids: call
                    .positional
                    .iter()
                    .map(|id| LeaseId(id.parse().unwrap()))
                    .collect(),
            },
            "register-client" => Command::RegisterClient {
                client: client_id(&call.arg(0)),
            },
            "evict-idle-clients" => Command::EvictClients {
                clients: self.machine.image().clients_to_evict(),
            },
            "raise-feature-level" => Command::RaiseFeatureLevel {
                level: call.number(0) as u32,
            },
            _ => return None,
        })
    }

    fn read(&mut self, call: &Call) -> Vec<String> {
        let image = self.machine.image();
        let database = call.text("db");
        match call.word.as_str() {
            "describe-collection" => one(image
                .describe_collection(&database, &call.arg(0))
                .map(|c| show::collection(&c))),
            "describe-alias" => one(image
                .describe_alias(&database, &call.arg(0))
                .map(|alias| show::alias(&alias))),
            "has-collection" => vec![format!("= {}", image.has_collection(&database, &call.arg(0)))],
            "has-partition" => one(image
                .has_partition(&database, &call.arg(0), &call.arg(1))
                .map(|has| has.to_string())),
            "list-databases" => self.page(image.list_databases(&self.wanted(call)), show::database),
            "list-collections" => self.page(
                image.list_collections(&database, &self.wanted(call)),
                |collection| format!("collection {} {}", collection.id, collection.name),
            ),
            "list-partitions" => {
                let page = image.list_partitions(&database, &call.arg(0), &self.wanted(call));
                self.page(page, show::partition)
            }
            "list-aliases" => {
                let page = image.list_aliases(&database, &call.arg(0), &self.wanted(call));
                self.page(page, show::alias)
            }
            "list-sessions" => self.page(image.list_sessions(None, &self.wanted(call)), show::session),
            "is-live" => {
                let (session, epoch) = (LeaseId(call.number(0)), Epoch(call.number(1)));
                vec![format!("= {}", image.session_is_live(session, epoch))]
            }
            "history" => match image.history(Revision(call.number(0))) {
                Ok(sets) => sets.flat_map(|set| show::changes(&set)).collect(),
                Err(compacted) => vec![format!("! {compacted}")],
            },
            "resources" => ResourceKind::ALL
                .into_iter()
                .flat_map(|kind| image.resources(kind))
                .map(|(revision, resource)| format!("= @{revision} {}", show::resource(&resource)))
                .collect(),
            "counts" => vec![format!("= {:?} at revision {}", image.counts(), image.revision())],
            other => panic!("there is no call {other:?}"),
        }
    }

    fn wanted(&self, call: &Call) -> PageRequest {
        let token = match call.text("token").as_str() {
            "$last" => self.token.clone(),
            other => other.to_owned(),
        };
        PageRequest {
            rows: call.count("rows"),
            token,
        }
    }

    fn page<T>(&mut self, page: Result<Page<T>, Refusal>, show: impl Fn(&T) -> String) -> Vec<String> {
        match page {
            Ok(page) => {
                self.token = page.next_token;
                let more = if self.token.is_empty() {
                    "that is all"
                } else {
                    "and more"
                };
                let items = page.items.iter().map(|item| format!("= {}", show(item)));
                items.chain([format!("  {more}")]).collect()
            }
            Err(refusal) => vec![format!("! {refusal}")],
        }
    }
}

fn one(read: Result<String, Refusal>) -> Vec<String> {
    vec![match read {
        Ok(said) => format!("= {said}"),
        Err(refusal) => format!("! {refusal}"),
    }]
}

fn worker(call: &Call) -> Worker {
    let kind = match call.text("kind").as_str() {
        "proxy" => WorkerKind::Proxy,
        _ => WorkerKind::QueryNode,
    };
    Worker {
        kind,
        name: call.arg(0),
        address: "10.0.0.1:19530".to_owned(),
        zone: call.text("zone"),
        resource_group: String::new(),
        capacity: [("slots".to_owned(), 8)].into(),
    }
}
