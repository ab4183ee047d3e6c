//! `quorate catalog alias`.

use quorate_client::{Client, v1};

use super::read::{Freshness, Paged, Position, Read, pages, tell_age};
use super::{Done, Dropped, InDatabase, sentence, view};
use crate::exit::Failure;
use crate::output::Output;

/// See the module.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create an alias of a collection
    #[command(after_help = "Example: quorate catalog alias create latest --collection books")]
    Create {
        /// Its name
        name: String,
        /// The collection that it stands for
        #[arg(long, value_name = "NAME")]
        collection: String,
        #[command(flatten)]
        within: InDatabase,
    },
    /// Drop an alias; its collection stays
    #[command(after_help = "Example: quorate catalog alias drop latest")]
    Drop {
        /// Its name
        name: String,
        #[command(flatten)]
        within: InDatabase,
    },
    /// Point an alias at another collection
    #[command(after_help = "Example: quorate catalog alias alter latest --collection books2")]
    Alter {
        /// Its name
        name: String,
        /// The collection that it stands for from now on
        #[arg(long, value_name = "NAME")]
        collection: String,
        #[command(flatten)]
        within: InDatabase,
    },
    /// Show one alias
    #[command(after_help = "Example: quorate catalog alias describe latest")]
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        within: InDatabase,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Show the aliases of a collection, or of a whole database
    #[command(after_help = "Example: quorate catalog alias list --collection books")]
    List {
        /// Only the aliases of this collection
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        collection: String,
        #[command(flatten)]
        within: InDatabase,
        #[command(flatten)]
        freshness: Freshness,
    },
}

/// Runs one command.
pub(super) async fn run(command: Command, client: &Client, output: &Output) -> Result<(), Failure> {
    let root = client.root();
    match command {
        Command::Create {
            name,
            collection,
            within,
        } => {
            let done = format!("stands for collection {collection}");
            let request = v1::CreateAliasRequest {
                database: within.database,
                collection,
                alias: name.clone(),
                ..Default::default()
            };
            root.create_alias(request).await?;
            output.result(&Done {}, || sentence("alias", &name, &done))
        }
        Command::Drop { name, within } => {
            let request = v1::DropAliasRequest {
                database: within.database,
                alias: name.clone(),
                ..Default::default()
            };
            let existed = root.drop_alias(request).await?.existed;
            let dropped = Dropped { existed };
            output.result(&dropped, || dropped.show("alias", &name))
        }
        Command::Alter {
            name,
            collection,
            within,
        } => {
            let done = format!("stands for collection {collection} from now on");
            let request = v1::AlterAliasRequest {
                database: within.database,
                collection,
                alias: name.clone(),
                ..Default::default()
            };
            root.alter_alias(request).await?;
            output.result(&Done {}, || sentence("alias", &name, &done))
        }
        Command::Describe {
            name,
            within,
            freshness,
        } => {
            let request = v1::DescribeAliasRequest {
                database: within.database,
                alias: name,
            };
            let (answer, contact) = freshness.source(client).describe_alias(request).await?;
            let alias = answer.alias.unwrap_or_default();
            let read = Read {
                view: view::Alias::of(&alias),
                read: Position::of(answer.position, contact),
            };
            output.result(&read, || view::describe_alias(&alias))?;
            tell_age(answer.position, contact);
            Ok(())
        }
        Command::List {
            collection,
            within,
            freshness,
        } => {
            let source = freshness.source(client);
            let rows = pages(|page| {
                let (source, first) = (source.clone(), page.token.is_empty());
                let request = v1::ListAliasesRequest {
                    database: within.database.clone(),
                    collection: collection.clone(),
                    page: Some(page),
                };
                async move {
                    let (answer, contact) = source.list_aliases(request).await?;
                    if first {
                        tell_age(answer.position, contact);
                    }
                    Ok(Paged {
                        rows: answer.aliases,
                        next_token: answer.next_token,
                    })
                }
            });
            output
                .listing(rows, view::ALIAS_COLUMNS, view::alias_cells, view::Alias::of)
                .await
        }
    }
}
