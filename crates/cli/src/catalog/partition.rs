//! `quorate catalog partition`.

use quorate_client::{Client, v1};
use serde::Serialize;

use super::read::{Exists, Freshness, Paged, Position, Read, pages, tell_age};
use super::{Dropped, InDatabase, sentence, view};
use crate::exit::Failure;
use crate::output::Output;

/// See the module.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a partition of a collection without a partition key
    #[command(after_help = "Example: quorate catalog partition create y2026 --collection books")]
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Drop a partition
    #[command(after_help = "Example: quorate catalog partition drop y2026 --collection books")]
    Drop {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Say whether a partition exists: prints true or false
    #[command(after_help = "Example: quorate catalog partition has y2026 --collection books")]
    Has {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        freshness: Freshness,
    },
    /// Show all partitions of a collection
    #[command(after_help = "Example: quorate catalog partition list --collection books")]
    List {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        freshness: Freshness,
    },
}

/// Whose partitions.
#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// The collection, by name or alias
    #[arg(long, value_name = "NAME")]
    collection: String,
    #[command(flatten)]
    within: InDatabase,
}

#[derive(Serialize)]
struct Created {
    partition_id: u64,
}

/// Runs one command.
pub(super) async fn run(command: Command, client: &Client, output: &Output) -> Result<(), Failure> {
    let root = client.root();
    match command {
        Command::Create { name, of } => {
            let request = v1::CreatePartitionRequest {
                database: of.within.database,
                collection: of.collection,
                name: name.clone(),
                ..Default::default()
            };
            let partition_id = root.create_partition(request).await?.partition_id;
            output.result(&Created { partition_id }, || {
                sentence("partition", &name, &format!("is created with id {partition_id}"))
            })
        }
        Command::Drop { name, of } => {
            let request = v1::DropPartitionRequest {
                database: of.within.database,
                collection: of.collection,
                name: name.clone(),
                ..Default::default()
            };
            let existed = root.drop_partition(request).await?.existed;
            let dropped = Dropped { existed };
            output.result(&dropped, || dropped.show("partition", &name))
        }
        Command::Has { name, of, freshness } => {
            let request = v1::HasPartitionRequest {
                database: of.within.database,
                collection: of.collection,
                name,
            };
            let (answer, contact) = freshness.source(client).has_partition(request).await?;
            let exists = answer.exists;
            let read = Read {
                view: Exists { exists },
                read: Position::of(answer.position, contact),
            };
            output.result(&read, || format!("{exists}\n"))?;
            tell_age(answer.position, contact);
            Ok(())
        }
        Command::List { of, freshness } => {
            let source = freshness.source(client);
            let rows = pages(|page| {
                let (source, first) = (source.clone(), page.token.is_empty());
                let request = v1::ListPartitionsRequest {
                    database: of.within.database.clone(),
                    collection: of.collection.clone(),
                    page: Some(page),
                };
                async move {
                    let (answer, contact) = source.list_partitions(request).await?;
                    if first {
                        tell_age(answer.position, contact);
                    }
                    Ok(Paged {
                        rows: answer.partitions,
                        next_token: answer.next_token,
                    })
                }
            });
            output
                .listing(
                    rows,
                    view::PARTITION_COLUMNS,
                    view::partition_cells,
                    view::Partition::of,
                )
                .await
        }
    }
}
