//! `quorate snapshot`: backups of a running cluster, what is in them, and new clusters out of them.
//!
//! Promises: a backup that was saved was read back and checked; a file that was there is never overwritten unasked. Left
//! out on purpose: what a backup is and how a directory is made of it; the library does both.

mod save;
mod view;

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use quorate::backup::{BackupError, inspect, restore};
use quorate::{Coordinator, MemberName};

use crate::connect::Connection;
use crate::exit::{Failure, chain};
use crate::output::{Format, Output};
use crate::serve;
use view::{RestoredView, View};

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, parsed once")]
enum Command {
    /// Back up everything that was acknowledged so far into a new file, while the cluster runs
    #[command(after_help = "Example:
  quorate snapshot save /backup/quorate-monday.snap --seeds 10.0.0.1:2379")]
    Save(Save),
    /// Check a backup without a cluster, and show what is in it
    #[command(after_help = "\
Example: quorate snapshot inspect /backup/quorate-monday.snap --output json

What `etcdctl snapshot save` saved of a replica is a backup, too, with a checksum of its own behind it.")]
    Inspect(Inspect),
    /// Make one replica's data directory of a new cluster out of a backup
    #[command(after_help = "\
Example, on each of three hosts with its own --name, and the same file and list:
  quorate snapshot restore monday.snap --data-dir /var/lib/quorate --name a \\
    --replicas a=10.0.0.1,b=10.0.0.2,c=10.0.0.3
Then start all of them with the same list (quorate serve): they form the new cluster at once.

Restore each directory once. A replica that lost its directory after the new cluster ran must not be restored into it
again: it would have forgotten what it acknowledged. Restore the whole cluster again, with another --token, instead.")]
    Restore(Restore),
}

#[derive(Debug, clap::Args)]
struct Save {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the result is shown: a table for people, or JSON
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The replica's data directory: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The replica's name in the list
    #[arg(long, value_name = "NAME")]
    name: String,
    /// All replicas of the new cluster, as for `serve`: NAME=HOST or NAME=HOST:CLIENTS/PEERS/LIVENESS, ...
    #[arg(long, value_name = "LIST")]
    replicas: String,
    /// Makes the clusters of two restores of one file with one list different; the same text for each replica
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    token: Option<String>,
    /// How the result is shown: words for people, or JSON
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Runs one command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Save(save) => save::run(&save.file, save.force, &save.connection).await,
        Command::Inspect(wanted) => {
            let contents = inspect(&wanted.file).map_err(|error| failure(&error))?;
            let view = View::of(&wanted.file, &contents);
            let format = wanted.output;
            Output { format }.result(&view, || view.show())
        }
        Command::Restore(wanted) => self::restored(wanted).await,
    }
}

async fn restored(wanted: Restore) -> Result<(), Failure> {
    let listed = serve::parse_list(&wanted.replicas).map_err(Failure::Usage)?;
    // All that a start would refuse is refused now.
    let start = Coordinator::builder()
        .name(&wanted.name)
        .replicas(listed.clone())
        .data_dir(&wanted.data_dir);
    start.check().map_err(|error| serve::failure(&error))?;
    let name = MemberName::new(wanted.name).map_err(|error| Failure::Usage(error.to_string()))?;
    let token = wanted.token.unwrap_or_default();
    let restored = restore(&wanted.file, &wanted.data_dir, &name, &listed, &token).await;
    let restored = restored.map_err(|error| failure(&error))?;
    let view = RestoredView::of(&name, &wanted.data_dir, &restored);
    let format = wanted.output;
    Output { format }.result(&view, || view.show())
}

fn failure(error: &BackupError) -> Failure {
    match error {
        BackupError::List(_) => Failure::Usage(chain(error)),
        _ => Failure::Failed(chain(error)),
    }
}
