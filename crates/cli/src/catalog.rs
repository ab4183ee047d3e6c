//! `quorate catalog`: databases, collections, partitions and aliases.
//!
//! Promises: one request for one command (a listing takes as many as it has pages); a write is executed at most once.
//! Left out on purpose: the rules of the catalog, which the cluster checks and words.

mod alias;
mod collection;
mod database;
mod partition;
mod property;
mod read;
mod schema;
pub(crate) mod view;

use crate::connect::Connection;
use crate::exit::Failure;

/// See the module.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  quorate catalog database create library
  quorate catalog collection create books --database library --field id:int64,primary --field vec:float_vector,dim=128
  quorate catalog collection list --database library --output json
  quorate catalog alias create latest --collection books --database library")]
pub(crate) struct Catalog {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Databases: what collections are kept apart by
    #[command(subcommand)]
    Database(database::Command),
    /// Collections: what holds entities with the fields of a schema
    #[command(subcommand)]
    Collection(collection::Command),
    /// Partitions of a collection
    #[command(subcommand)]
    Partition(partition::Command),
    /// Aliases: other names of collections
    #[command(subcommand)]
    Alias(alias::Command),
}

/// Where a collection is looked for.
#[derive(Debug, Clone, clap::Args)]
struct InDatabase {
    /// The database
    #[arg(long = "database", value_name = "NAME", default_value = "default")]
    database: String,
}

/// Runs one command.
pub(crate) async fn run(catalog: Catalog) -> Result<(), Failure> {
    let client = catalog.connection.client()?;
    let output = catalog.connection.output();
    let ran = match catalog.what {
        What::Database(command) => database::run(command, &client, &output).await,
        What::Collection(command) => collection::run(command, &client, &output).await,
        What::Partition(command) => partition::run(command, &client, &output).await,
        What::Alias(command) => alias::run(command, &client, &output).await,
    };
    client.close().await;
    ran
}

/// What a write without an answer of its own shows as JSON.
#[derive(serde::Serialize)]
struct Done {}

/// What a drop shows as JSON.
#[derive(serde::Serialize)]
struct Dropped {
    existed: bool,
}

impl Dropped {
    fn show(&self, what: &str, name: &str) -> String {
        let name = crate::output::text::plain(name);
        if self.existed {
            format!("{what} {name} is dropped\n")
        } else {
            format!("{what} {name} was not there\n")
        }
    }
}

/// A sentence about a thing with a name.
fn sentence(what: &str, name: &str, rest: &str) -> String {
    format!(
        "{}\n",
        crate::output::text::plain(&format!("{what} {name} {rest}"))
    )
}
