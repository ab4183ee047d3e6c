//! `quorate catalog collection`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use quorate_client::{Client, v1};
use serde::Serialize;

use super::property::{self, Property, collected};
use super::read::{Exists, Freshness, Paged, Position, Read, pages, tell_age};
use super::{Done, Dropped, InDatabase, schema, sentence, view};
use crate::exit::Failure;
use crate::output::Output;

/// See the module.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a collection
    Create(Create),
    /// Drop a collection, by its name, not by an alias
    #[command(after_help = "Example: quorate catalog collection drop books")]
    Drop {
        /// Its name
        name: String,
        #[command(flatten)]
        within: InDatabase,
    },
    /// Set and remove properties of a collection, or change its description
    #[command(
        after_help = "Example: quorate catalog collection alter books --set ttl=60 --description 'old books'"
    )]
    Alter(Alter),
    /// Rename a collection, or move it to another database
    #[command(after_help = "Example: quorate catalog collection rename books novels --to-database library")]
    Rename {
        /// Its name
        name: String,
        /// Its new name
        new_name: String,
        #[command(flatten)]
        within: InDatabase,
        /// The database that it moves to
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        to_database: String,
    },
    /// Show one collection with its schema
    #[command(after_help = "Examples:
  quorate catalog collection describe books
  quorate catalog collection describe --id 446 --stale")]
    Describe {
        /// Its name, or an alias of it
        #[arg(required_unless_present = "id", conflicts_with = "id", value_parser = NonEmptyStringValueParser::new())]
        name: Option<String>,
        /// Its id, in place of a name
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        id: Option<u64>,
        #[command(flatten)]
        within: InDatabase,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Say whether a collection exists: prints true or false
    #[command(after_help = "Example: quorate catalog collection has books")]
    Has {
        /// Its name, or an alias of it
        name: String,
        #[command(flatten)]
        within: InDatabase,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Show all collections of a database
    #[command(after_help = "Example: quorate catalog collection list --database library --output json")]
    List {
        #[command(flatten)]
        within: InDatabase,
        #[command(flatten)]
        freshness: Freshness,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Options of a field:
  primary, auto_id, partition_key, nullable, dim=N (of a vector), max_length=N (of a varchar),
  max_capacity=N and element=TYPE (of an array), default=VALUE, description=TEXT, property.KEY=VALUE.
  A value with a comma stands in double quotes.

Types:
  bool int8 int16 int32 int64 float double varchar array json
  binary_vector float_vector float16_vector bfloat16_vector sparse_float_vector int8_vector

Examples:
  quorate catalog collection create books --field id:int64,primary,auto_id --field vec:float_vector,dim=128
  quorate catalog collection create books --schema books.json --shards 2")]
pub(super) struct Create {
    /// Its name
    name: String,
    #[command(flatten)]
    within: InDatabase,
    /// A field of its schema; repeatable
    #[arg(
        long = "field",
        value_name = "NAME:TYPE[,OPTION]...",
        value_parser = schema::parse_field,
        required_unless_present = "schema",
        conflicts_with = "schema"
    )]
    fields: Vec<v1::Field>,
    /// Rows may carry fields that the schema does not name
    #[arg(long, conflicts_with = "schema")]
    dynamic_fields: bool,
    /// A file with the schema, as `describe --output json` shows it under "schema"
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// What its owner says of it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Shards, 1 to 16; 0 leaves it to the cluster
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    shards: u32,
    /// Partitions of a collection with a partition key, 1 to 4096; 0 leaves it to the cluster
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    partitions: u32,
    /// How fresh a search is unless it says otherwise
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    consistency: Consistency,
    /// A property that it begins with; repeatable
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = property::parse)]
    properties: Vec<Property>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Alter {
    /// Its name, or an alias of it
    name: String,
    #[command(flatten)]
    within: InDatabase,
    /// A property to set; repeatable
    #[arg(
        long,
        value_name = "KEY=VALUE",
        value_parser = property::parse,
        required_unless_present_any = ["remove", "description"]
    )]
    set: Vec<Property>,
    /// A property to remove; repeatable
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// What its owner says of it from now on
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// Milvus's levels.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Consistency {
    Strong,
    Session,
    #[default]
    Bounded,
    Eventually,
}

impl From<Consistency> for v1::ConsistencyLevel {
    fn from(level: Consistency) -> Self {
        match level {
            Consistency::Strong => Self::Strong,
            Consistency::Session => Self::Session,
            Consistency::Bounded => Self::Bounded,
            Consistency::Eventually => Self::Eventually,
        }
    }
}

#[derive(Serialize)]
struct Created {
    collection_id: u64,
    shards: Vec<view::Shard>,
}

/// Runs one command.
pub(super) async fn run(command: Command, client: &Client, output: &Output) -> Result<(), Failure> {
    let root = client.root();
    match command {
        Command::Create(create) => {
            let request = create.request()?;
            let name = request.name.clone();
            let answer = root.create_collection(request).await?;
            let created = Created {
                collection_id: answer.collection_id,
                shards: view::shards(&answer.shards),
            };
            output.result(&created, || {
                let (id, shards) = (answer.collection_id, answer.shards.len());
                let plural = if shards == 1 { "" } else { "s" };
                sentence(
                    "collection",
                    &name,
                    &format!("is created with id {id} and {shards} shard{plural}"),
                )
            })
        }
        Command::Drop { name, within } => {
            let request = v1::DropCollectionRequest {
                database: within.database,
                name: name.clone(),
                ..Default::default()
            };
            let existed = root.drop_collection(request).await?.existed;
            let dropped = Dropped { existed };
            output.result(&dropped, || dropped.show("collection", &name))
        }
        Command::Alter(alter) => {
            let request = v1::AlterCollectionRequest {
                database: alter.within.database,
                name: alter.name.clone(),
                set: collected("--set", alter.set)?,
                remove: alter.remove,
                description: alter.description,
                ..Default::default()
            };
            root.alter_collection(request).await?;
            output.result(&Done {}, || sentence("collection", &alter.name, "is altered"))
        }
        Command::Rename {
            name,
            new_name,
            within,
            to_database,
        } => {
            let mut done = format!("is now {new_name}");
            if !to_database.is_empty() {
                done.push_str(&format!(" in database {to_database}"));
            }
            let request = v1::RenameCollectionRequest {
                database: within.database,
                name: name.clone(),
                new_name,
                new_database: to_database,
                ..Default::default()
            };
            root.rename_collection(request).await?;
            output.result(&Done {}, || sentence("collection", &name, &done))
        }
        Command::Describe {
            name,
            id,
            within,
            freshness,
        } => {
            let request = v1::DescribeCollectionRequest {
                database: within.database,
                name: name.unwrap_or_default(),
                collection_id: id.unwrap_or_default(),
            };
            let (answer, contact) = freshness.source(client).describe_collection(request).await?;
            let collection = answer.collection.unwrap_or_default();
            let read = Read {
                view: view::Collection::of(&collection),
                read: Position::of(answer.position, contact),
            };
            output.result(&read, || view::describe_collection(&collection))?;
            tell_age(answer.position, contact);
            Ok(())
        }
        Command::Has {
            name,
            within,
            freshness,
        } => {
            let request = v1::HasCollectionRequest {
                database: within.database,
                name,
            };
            let (answer, contact) = freshness.source(client).has_collection(request).await?;
            let exists = answer.exists;
            let read = Read {
                view: Exists { exists },
                read: Position::of(answer.position, contact),
            };
            output.result(&read, || format!("{exists}\n"))?;
            tell_age(answer.position, contact);
            Ok(())
        }
        Command::List { within, freshness } => {
            let source = freshness.source(client);
            let rows = pages(|page| {
                let (source, first) = (source.clone(), page.token.is_empty());
                let request = v1::ListCollectionsRequest {
                    database: within.database.clone(),
                    page: Some(page),
                };
                async move {
                    let (answer, contact) = source.list_collections(request).await?;
                    if first {
                        tell_age(answer.position, contact);
                    }
                    Ok(Paged {
                        rows: answer.collections,
                        next_token: answer.next_token,
                    })
                }
            });
            output
                .listing(
                    rows,
                    view::COLLECTION_COLUMNS,
                    view::collection_cells,
                    view::Collection::of,
                )
                .await
        }
    }
}

impl Create {
    fn request(self) -> Result<v1::CreateCollectionRequest, Failure> {
        let schema = match &self.schema {
            Some(path) => schema::read(path)?,
            None => v1::Schema {
                fields: self.fields,
                dynamic_fields: self.dynamic_fields,
            },
        };
        let mut request = v1::CreateCollectionRequest {
            database: self.within.database,
            name: self.name,
            description: self.description,
            schema: Some(schema),
            shards: self.shards,
            properties: collected("--property", self.properties)?,
            partitions: self.partitions,
            ..Default::default()
        };
        request.set_consistency_level(self.consistency.into());
        Ok(request)
    }
}
