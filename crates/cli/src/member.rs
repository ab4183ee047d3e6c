//! `quorate member`: who is a member, and changing that.
//!
//! Promises: members are named by name or node id, and a name that two have is refused rather than guessed; what takes longer
//! than two seconds tells on standard error what it waits for; a change that is answered is committed. Left out on
//! purpose: starting and stopping replicas.

mod roster;

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use quorate_client::{Client, v1};
use tokio::time::{Instant, sleep};

use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::{Output, note};
use roster::Roster;

/// Between two looks at a replica that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What is waited for is told this often.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show all members, and how far each has come
    #[command(after_help = "Example: quorate member list --output json | jq -r 'select(.voter) | .name'")]
    List,
    /// Wait until new replicas have joined and caught up; they do not vote yet
    #[command(after_help = "\
Start each new replica first, with an empty data directory and a list that names it and at least one member; it joins by itself.
Then let it vote:  quorate member promote NAME...")]
    Add {
        #[command(flatten)]
        members: Names,
    },
    /// Let replicas vote that have joined; several at once, in one change
    #[command(after_help = "Example, from three voters to five: quorate member promote quorate-3 quorate-4")]
    Promote {
        #[command(flatten)]
        members: Names,
        /// Accept an even number of voters, which bears no more failures than the odd one below
        #[arg(long)]
        force: bool,
    },
    /// Remove members for good; several at once, in one change
    #[command(after_help = "\
Example, from five voters to three: quorate member remove quorate-3 quorate-4

A removed replica stops by itself. Its data directory is of no more use: delete it. A leader that is removed hands over first.")]
    Remove {
        #[command(flatten)]
        members: Names,
        /// Accept an even number of voters, which bears no more failures than the odd one below
        #[arg(long)]
        force: bool,
    },
    /// Let one replica vote in the place of another, in one change
    #[command(after_help = "\
A replica that lost its data directory needs no command: started again under its name, it joins and takes its old place.")]
    Replace {
        /// The member that leaves, by name or node id
        #[arg(value_name = "OLD", value_parser = NonEmptyStringValueParser::new())]
        old: String,
        /// The replica that has joined and takes its place, by name or node id
        #[arg(value_name = "NEW", value_parser = NonEmptyStringValueParser::new())]
        new: String,
    },
}

#[derive(Debug, clap::Args)]
struct Names {
    /// Replicas, by name or node id
    #[arg(value_name = "NAME|ID", required = true, value_parser = NonEmptyStringValueParser::new())]
    names: Vec<String>,
}

/// Runs one command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.connection.client()?;
    let until = Instant::now() + arguments.connection.deadline();
    let done = carry_out(&client, arguments.command, until).await;
    client.close().await;
    show(&done?, &arguments.connection.output())
}

/// What there is to do, and the members after it.
async fn carry_out(client: &Client, command: Command, until: Instant) -> Result<Roster, Failure> {
    match command {
        Command::List => look(client).await,
        Command::Add { members } => caught_up(client, &members.names, until).await,
        Command::Promote { members, force } => {
            let roster = caught_up(client, &members.names, until).await?;
            let promote = roster.nodes(&members.names)?;
            change(client, promote, Vec::new(), force).await
        }
        Command::Remove { members, force } => {
            let remove = look(client).await?.nodes(&members.names)?;
            change(client, Vec::new(), remove, force).await
        }
        Command::Replace { old, new } => {
            let roster = caught_up(client, std::slice::from_ref(&new), until).await?;
            let (old, new) = (roster.node(&old)?, roster.node(&new)?);
            // As many voters as before, whether odd or not.
            change(client, vec![new], vec![old], true).await
        }
    }
}

async fn change(
    client: &Client,
    promote: Vec<u64>,
    remove: Vec<u64>,
    force: bool,
) -> Result<Roster, Failure> {
    let request = v1::ChangeMembersRequest {
        promote,
        remove,
        force,
    };
    client.cluster().change_members(request).await?;
    look(client).await
}

/// The members as the leader sees them.
async fn look(client: &Client) -> Result<Roster, Failure> {
    let leader = client.ready().await?;
    let status = client.cluster().status(leader.node).await?;
    Ok(Roster::of(leader.node.0, &status))
}

/// Waits until all of `names` are members and have caught up.
async fn caught_up(client: &Client, names: &[String], until: Instant) -> Result<Roster, Failure> {
    let mut told = Instant::now();
    loop {
        let roster = look(client).await?;
        let Some(why) = roster.waits_for(names)? else {
            return Ok(roster);
        };
        if Instant::now() + LOOK_EVERY >= until {
            return Err(Failure::Failed(format!(
                "{why}; look at its log, or allow more time with --deadline-ms"
            )));
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            note(&format!("waiting: {why}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn show(roster: &Roster, output: &Output) -> Result<(), Failure> {
    output.rows(roster.members(), roster::COLUMNS, roster::cells)
}
