//! `quorate catalog database`.

use quorate_client::{Client, v1};
use serde::Serialize;

use super::property::{self, Property, collected};
use super::read::{Freshness, Paged, Position, Read, pages, tell_age};
use super::{Done, Dropped, sentence, view};
use crate::exit::Failure;
use crate::output::Output;

/// See the module.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a database
    #[command(after_help = "Example: quorate catalog database create library --property owner=me")]
    Create {
        /// Its name
        name: String,
        /// A property that it begins with; repeatable
        #[arg(long = "property", value_name = "KEY=VALUE", value_parser = property::parse)]
        properties: Vec<Property>,
    },
    /// Drop a database; refused while it has collections
    #[command(after_help = "Example: quorate catalog database drop library")]
    Drop {
        /// Its name
        name: String,
    },
    /// Set and remove properties of a database
    #[command(after_help = "Example: quorate catalog database alter library --set owner=you --remove note")]
    Alter {
        /// Its name
        name: String,
        /// A property to set; repeatable
        #[arg(long, value_name = "KEY=VALUE", value_parser = property::parse, required_unless_present = "remove")]
        set: Vec<Property>,
        /// A property to remove; repeatable
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
    },
    /// Show one database
    #[command(after_help = "Example: quorate catalog database describe library")]
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Show all databases
    #[command(after_help = "Example: quorate catalog database list --output json")]
    List {
        #[command(flatten)]
        freshness: Freshness,
    },
}

#[derive(Serialize)]
struct Created {
    database_id: u64,
}

/// Runs one command.
pub(super) async fn run(command: Command, client: &Client, output: &Output) -> Result<(), Failure> {
    let root = client.root();
    match command {
        Command::Create { name, properties } => {
            let properties = collected("--property", properties)?;
            let request = v1::CreateDatabaseRequest {
                name: name.clone(),
                properties,
                ..Default::default()
            };
            let database_id = root.create_database(request).await?.database_id;
            output.result(&Created { database_id }, || {
                sentence("database", &name, &format!("is created with id {database_id}"))
            })
        }
        Command::Drop { name } => {
            let request = v1::DropDatabaseRequest {
                name: name.clone(),
                ..Default::default()
            };
            let existed = root.drop_database(request).await?.existed;
            let dropped = Dropped { existed };
            output.result(&dropped, || dropped.show("database", &name))
        }
        Command::Alter { name, set, remove } => {
            let request = v1::AlterDatabaseRequest {
                name: name.clone(),
                set: collected("--set", set)?,
                remove,
                ..Default::default()
            };
            root.alter_database(request).await?;
            output.result(&Done {}, || sentence("database", &name, "is altered"))
        }
        Command::Describe { name, freshness } => {
            let request = v1::DescribeDatabaseRequest { name };
            let (answer, contact) = freshness.source(client).describe_database(request).await?;
            let database = answer.database.unwrap_or_default();
            let read = Read {
                view: view::Database::of(&database),
                read: Position::of(answer.position, contact),
            };
            output.result(&read, || view::describe_database(&database))?;
            tell_age(answer.position, contact);
            Ok(())
        }
        Command::List { freshness } => {
            let source = freshness.source(client);
            let rows = pages(|page| {
                let (source, first) = (source.clone(), page.token.is_empty());
                async move {
                    let request = v1::ListDatabasesRequest { page: Some(page) };
                    let (answer, contact) = source.list_databases(request).await?;
                    if first {
                        tell_age(answer.position, contact);
                    }
                    Ok(Paged {
                        rows: answer.databases,
                        next_token: answer.next_token,
                    })
                }
            });
            output
                .listing(
                    rows,
                    view::DATABASE_COLUMNS,
                    view::database_cells,
                    view::Database::of,
                )
                .await
        }
    }
}
